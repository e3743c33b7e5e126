//! What stands between Python and a call into the engine: a panic becomes an exception, and in a
//! forked child nothing of the parent's engine is touched, not even to drop it.
//!
//! A fork copies locks in whatever state another thread had them, and that thread is not there to
//! unlock them; the descriptors are the parent's. So every value of the engine lives in an
//! [`Ours`], which remembers in which process it was made: elsewhere it is refused with
//! `ForkedError`, and leaked.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

use crate::error;

/// How many forks lie between this process and the one that loaded the module.
static GENERATION: AtomicU64 = AtomicU64::new(0);

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::SeqCst);
}

/// Counts forks from now on.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler is a function of this library, which Python never unloads; it does
        // nothing but add to an atomic, which is safe between fork and exec.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// The number of this process's generation.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// A value of the engine, usable only in the process that made it.
pub(crate) struct Ours<T> {
    inner: ManuallyDrop<T>,
    generation: u64,
}

impl<T> Ours<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner: ManuallyDrop::new(inner), generation: generation() }
    }

    /// Whether this is the process that made it.
    pub(crate) fn is_ours(&self) -> bool {
        self.generation == generation()
    }

    /// The value, or `ForkedError`.
    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<&T> {
        if self.is_ours() { Ok(&self.inner) } else { Err(error::forked(py)) }
    }

    /// As [`get`](Self::get), to change it.
    pub(crate) fn get_mut(&mut self, py: Python<'_>) -> PyResult<&mut T> {
        if self.is_ours() { Ok(&mut self.inner) } else { Err(error::forked(py)) }
    }
}

impl<T> Deref for Ours<T> {
    type Target = T;

    /// For what is harmless in any process: names and numbers.
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> Drop for Ours<T> {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.inner) };
        }
    }
}

/// Runs a call; a panic in it is an `InternalError`, which `except Exception` catches.
pub(crate) fn guard<T>(py: Python<'_>, run: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().map(ToString::to_string);
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(error::internal(py, said.as_deref().unwrap_or("no message")))
    })
}
