//! What pins memory or files, can be given back while its Python object lives on, and is looked at
//! by others meanwhile.
//!
//! Python's views of it are counted while they exist, and everything that looks at it without a
//! view counts itself for as long as it looks; it is given back only when nobody does.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Set in the count once it was given back.
const RELEASED: usize = 1 << (usize::BITS - 1);

/// See the module.
pub(crate) struct Lease<T> {
    what: UnsafeCell<Option<T>>,
    /// Who looks at it now; [`RELEASED`] when it is gone.
    uses: AtomicUsize,
}

// SAFETY: it is read by whoever has counted itself in `uses`, shared, and taken out by the one who
// swaps a count of nought for RELEASED, after which nobody gets in any more.
unsafe impl<T: Send + Sync> Sync for Lease<T> {}

/// Somebody looks; it stays until this is dropped.
pub(crate) struct Use<'a, T>(&'a Lease<T>);

impl<T> Deref for Use<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this use is counted, so that it is there and nobody takes it out.
        let what = unsafe { &*self.0.what.get() };
        what.as_ref().expect("there while it is in use")
    }
}

impl<T> Drop for Use<'_, T> {
    fn drop(&mut self) {
        self.0.uses.fetch_sub(1, Ordering::Release);
    }
}

impl<T> Use<'_, T> {
    /// Fills `view` with a part of what is looked at, and leaves it counted until
    /// [`Lease::unexport`].
    ///
    /// # Safety
    /// `view` is as Python passes it to a `getbuffer`; `bytes` stay while a use is counted.
    pub(crate) unsafe fn export(
        self,
        exporter: &Bound<'_, PyAny>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
        bytes: impl FnOnce() -> Option<(*const u8, usize)>,
    ) -> PyResult<()> {
        let Some((at, len)) = bytes() else {
            return Err(PyBufferError::new_err("this record has no value"));
        };
        let at = at.cast_mut().cast::<c_void>();
        // SAFETY: the caller's; the memory is read-only and stays while the use is counted.
        let filled =
            unsafe { ffi::PyBuffer_FillInfo(view, exporter.as_ptr(), at, len as isize, 1, flags) };
        if filled != 0 {
            return Err(PyErr::fetch(exporter.py()));
        }
        std::mem::forget(self);
        Ok(())
    }
}

impl<T> Lease<T> {
    pub(crate) fn new(what: T) -> Self {
        Self { what: UnsafeCell::new(Some(what)), uses: AtomicUsize::new(0) }
    }

    /// To look at it; `None` once it was given back.
    pub(crate) fn enter(&self) -> Option<Use<'_, T>> {
        if self.uses.fetch_add(1, Ordering::Acquire) & RELEASED == 0 {
            return Some(Use(self));
        }
        self.uses.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// A view that was exported is gone.
    pub(crate) fn unexport(&self) {
        drop(Use(self));
    }

    /// It, if nobody looks at it, once; `Err` says how many do.
    pub(crate) fn take(&self) -> Result<Option<T>, usize> {
        let taken = self.uses.compare_exchange(0, RELEASED, Ordering::AcqRel, Ordering::Relaxed);
        match taken {
            // SAFETY: nobody was in, and nobody gets in.
            Ok(_) => Ok(unsafe { (*self.what.get()).take() }),
            Err(uses) if uses & RELEASED != 0 => Ok(None),
            Err(uses) => Err(uses),
        }
    }
}
