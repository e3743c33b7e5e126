//! Numbers of a batch side by side, as a buffer: what `NumPy` takes without a copy.

use std::ffi::{CStr, c_int, c_void};

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

/// Bytes, or numbers of one kind.
pub(crate) enum Numbers {
    Bytes(Vec<u8>),
    Wide(Vec<i64>),
}

/// What a memoryview of it holds.
#[pyclass(frozen, module = "ringlog._ringlog", name = "_Column")]
pub(crate) struct PyColumn {
    numbers: Numbers,
    /// Of the buffer: how many there are, and how far apart.
    shape: [isize; 1],
    strides: [isize; 1],
}

impl PyColumn {
    /// A read-only view of these numbers.
    pub(crate) fn view(py: Python<'_>, numbers: Numbers) -> PyResult<Bound<'_, PyMemoryView>> {
        let (count, width) = match &numbers {
            Numbers::Bytes(bytes) => (bytes.len(), 1),
            Numbers::Wide(numbers) => (numbers.len(), 8),
        };
        let column = Self { numbers, shape: [count as isize], strides: [width] };
        PyMemoryView::from(Bound::new(py, column)?.as_any())
    }
}

#[pymethods]
impl PyColumn {
    // SAFETY: called by Python with a view to fill.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("read-only"));
        }
        let this = slf.get();
        let (at, format): (*const c_void, &CStr) = match &this.numbers {
            Numbers::Bytes(bytes) => (bytes.as_ptr().cast(), c"B"),
            Numbers::Wide(numbers) => (numbers.as_ptr().cast(), c"q"),
        };
        let wants = |what: c_int| flags & what == what;
        // SAFETY: the vector, shape and strides belong to this object, which never changes and
        // which the view keeps alive.
        unsafe {
            (*view).buf = at.cast_mut();
            (*view).len = this.shape[0] * this.strides[0];
            (*view).itemsize = this.strides[0];
            (*view).readonly = 1;
            (*view).ndim = 1;
            (*view).format = std::ptr::null_mut();
            if wants(ffi::PyBUF_FORMAT) {
                (*view).format = format.as_ptr().cast_mut();
            }
            (*view).shape = std::ptr::null_mut();
            if wants(ffi::PyBUF_ND) {
                (*view).shape = this.shape.as_ptr().cast_mut();
            }
            (*view).strides = std::ptr::null_mut();
            if wants(ffi::PyBUF_STRIDES) {
                (*view).strides = this.strides.as_ptr().cast_mut();
            }
            (*view).suboffsets = std::ptr::null_mut();
            (*view).internal = std::ptr::null_mut();
            (*view).obj = slf.into_any().into_ptr();
        }
        Ok(())
    }
}
