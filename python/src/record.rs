//! One record that was read: small, because there are millions of them. It holds its batch and
//! where its parts lie; memoryviews are made when they are asked for.

use std::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyMemoryView, PyString, PyTuple};
use ringlog::RecordView;

use crate::batch::PyBatch;
use crate::guard::guard;
use crate::input::Input;

/// A record of a partition. It is a buffer over its value.
#[pyclass(frozen, module = "ringlog", name = "Record")]
pub(crate) struct PyRecord {
    batch: Py<PyBatch>,
    /// Points into the batch's memory; looked at only while a use of that is counted.
    view: RecordView<'static>,
}

impl PyRecord {
    pub(crate) fn new(batch: Py<PyBatch>, view: RecordView<'static>) -> Self {
        Self { batch, view }
    }

    /// The same record, to be appended somewhere: a copy.
    pub(crate) fn to_input(&self) -> PyResult<Input> {
        let _entered = self.batch.get().enter()?;
        let header = |(name, value): (&[u8], Option<&[u8]>)| {
            (String::from_utf8_lossy(name).into_owned(), value.map(<[u8]>::to_vec))
        };
        let headers = self.view.headers().map(header).collect();
        Ok(Input::copied(self.view.value(), self.view.key(), headers, self.view.timestamp_ms()))
    }

    /// A view of some other part of the batch.
    fn part<'py>(
        &self,
        py: Python<'py>,
        part: Option<&'static [u8]>,
    ) -> PyResult<Option<Bound<'py, PyMemoryView>>> {
        let Some(bytes) = part else { return Ok(None) };
        let part = PyPart { batch: self.batch.clone_ref(py), bytes };
        PyMemoryView::from(Bound::new(py, part)?.as_any()).map(Some)
    }
}

#[pymethods]
impl PyRecord {
    /// Its partition.
    #[getter]
    fn partition(&self) -> u32 {
        self.batch.get().partition()
    }

    /// Its offset in the partition.
    #[getter]
    fn offset(&self) -> u64 {
        self.view.offset().0
    }

    /// Its time, in milliseconds since the Unix epoch.
    #[getter]
    fn timestamp_ms(&self) -> i64 {
        self.view.timestamp_ms()
    }

    /// Its value, a read-only memoryview into the batch; `None` for a null value.
    #[getter]
    fn value(slf: Bound<'_, Self>) -> PyResult<Option<Bound<'_, PyMemoryView>>> {
        if slf.get().view.value().is_none() {
            return Ok(None);
        }
        PyMemoryView::from(slf.as_any()).map(Some)
    }

    /// Its key, a read-only memoryview into the batch; `None` if it has none.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyMemoryView>>> {
        self.part(py, self.view.key())
    }

    /// Its headers: a list of pairs of a str and a memoryview or `None`, in the order given.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        guard(py, || {
            let list = PyList::empty(py);
            let entered = self.batch.get().enter()?;
            for (name, value) in self.view.headers() {
                let name = PyString::new(py, &String::from_utf8_lossy(name)).into_any();
                let value = match self.part(py, value)? {
                    Some(view) => view.into_any(),
                    None => py.None().into_bound(py),
                };
                list.append(PyTuple::new(py, [name, value])?)?;
            }
            drop(entered);
            Ok(list)
        })
    }

    fn __repr__(&self) -> String {
        let len = |part: Option<&[u8]>| part.map_or("none".into(), |part| part.len().to_string());
        format!(
            "<ringlog.Record partition={} offset={} timestamp_ms={} key_bytes={} value_bytes={}>",
            self.batch.get().partition(),
            self.view.offset(),
            self.view.timestamp_ms(),
            len(self.view.key()),
            len(self.view.value())
        )
    }

    // SAFETY: called by Python with a view to fill; the value is memory of the batch that is held.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let this = slf.get();
        let bytes = || this.view.value().map(|value| (value.as_ptr(), value.len()));
        // SAFETY: as above.
        unsafe { this.batch.get().export(slf.as_any(), view, flags, bytes) }
    }

    // SAFETY: called by Python once for each view that was filled.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.batch.get().unexport();
    }
}

/// A key or a header's value: what a memoryview of it holds.
#[pyclass(frozen, module = "ringlog", name = "Part")]
struct PyPart {
    batch: Py<PyBatch>,
    bytes: &'static [u8],
}

#[pymethods]
impl PyPart {
    // SAFETY: as of `PyRecord`.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let this = slf.get();
        let bytes = || Some((this.bytes.as_ptr(), this.bytes.len()));
        // SAFETY: as above.
        unsafe { this.batch.get().export(slf.as_any(), view, flags, bytes) }
    }

    // SAFETY: as of `PyRecord`.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.batch.get().unexport();
    }
}
