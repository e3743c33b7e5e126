//! A batch that was read, and who may look into its memory.
//!
//! Python's views (memoryview, `NumPy`) hold the batch while they exist and are counted by its
//! lease; `release()` gives the memory back only when there is none.

use std::ffi::c_int;
use std::sync::OnceLock;

use parking_lot::Mutex;
use pyo3::exceptions::{PyBufferError, PyIndexError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyList, PyMemoryView, PySequence, PyTuple};
use ringlog::{BatchIter, RecordView};

use crate::arrow;
use crate::column::{Numbers, PyColumn};
use crate::error::OrRaise as _;
use crate::guard::guard;
use crate::lease::{Lease, Use};
use crate::record::PyRecord;

/// A batch of records, as it was appended, sharing the memory it was read into.
///
/// Iterating gives its records from the place the reader stood at. The memory lives as long as the
/// batch, its records and views of them do; `release()` gives it back earlier.
#[pyclass(frozen, module = "ringlog", name = "Batch", weakref)]
pub(crate) struct PyBatch {
    lease: Lease<ringlog::Batch>,
    partition: u32,
    /// Where the reader stood: what lies before is left out.
    from: u64,
    /// The records, once somebody asked for them by number.
    all: OnceLock<Vec<RecordView<'static>>>,
}

impl PyBatch {
    pub(crate) fn new(batch: ringlog::Batch, partition: u32, from: u64) -> Self {
        let lease = Lease::new(batch);
        Self { lease, partition, from, all: OnceLock::new() }
    }

    pub(crate) fn partition(&self) -> u32 {
        self.partition
    }

    /// The batch, for as long as the answer is held; `ValueError` after `release()`.
    pub(crate) fn enter(&self) -> PyResult<Use<'_, ringlog::Batch>> {
        self.lease.enter().ok_or_else(released)
    }

    /// As [`Lease::export`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn export(
        &self,
        exporter: &Bound<'_, PyAny>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
        bytes: impl FnOnce() -> Option<(*const u8, usize)>,
    ) -> PyResult<()> {
        let entered = self.enter()?;
        // SAFETY: the caller's.
        unsafe { entered.export(exporter, view, flags, bytes) }
    }

    /// A view that was exported is gone.
    pub(crate) fn unexport(&self) {
        self.lease.unexport();
    }
}

fn released() -> PyErr {
    PyValueError::new_err("the batch was released")
}

/// The records of a batch that is held. `'static` because it borrows from the batch's memory, which
/// is only looked at while a use is counted.
pub(crate) struct Walk {
    pub(crate) batch: Py<PyBatch>,
    iter: BatchIter<'static>,
}

impl Walk {
    pub(crate) fn new(batch: Bound<'_, PyBatch>) -> PyResult<Self> {
        let iter = {
            let entered = batch.get().enter()?;
            let there: *const ringlog::Batch = &raw const *entered;
            // SAFETY: the batch lies in an object that is held beside the iterator and does not
            // move; `next` counts a use while the iterator reads, and refuses after a release.
            unsafe { &*there }.iter()
        };
        Ok(Self { batch: batch.unbind(), iter })
    }

    /// The next record.
    #[inline]
    pub(crate) fn next(&mut self, py: Python<'_>) -> PyResult<Option<PyRecord>> {
        let next = self.next_view(py)?;
        Ok(next.map(|view| PyRecord::new(self.batch.clone_ref(py), view)))
    }

    /// Where the next record lies: to be looked at only while a use of the batch is counted.
    #[inline]
    fn next_view(&mut self, py: Python<'_>) -> PyResult<Option<RecordView<'static>>> {
        let entered = self.batch.get().enter()?;
        let next = self.iter.next();
        drop(entered);
        next.transpose().or_raise(py)
    }
}

#[pymethods]
impl PyBatch {
    /// The partition it was read from.
    #[getter(partition)]
    fn py_partition(&self) -> u32 {
        self.partition
    }

    /// The offset of its first record on disk; a reader that began within the batch gives the rest.
    #[getter]
    fn base_offset(&self) -> PyResult<u64> {
        Ok(self.enter()?.base_offset().0)
    }

    /// The offset of its last record.
    #[getter]
    fn last_offset(&self) -> PyResult<u64> {
        Ok(self.enter()?.last_offset().0)
    }

    /// How many records iterating gives.
    fn __len__(slf: Bound<'_, Self>) -> PyResult<usize> {
        let py = slf.py();
        guard(py, || {
            let batch = slf.get().enter()?;
            if slf.get().from <= batch.base_offset().0 {
                return Ok(batch.len());
            }
            slf.get().all(py).map(<[_]>::len)
        })
    }

    fn __iter__(slf: Bound<'_, Self>) -> PyResult<PyBatchIter> {
        let py = slf.py();
        guard(py, || Ok(PyBatchIter { walk: Mutex::new(Walk::new(slf)?) }))
    }

    /// Record number `index` of those that iterating gives.
    fn __getitem__(slf: Bound<'_, Self>, index: isize) -> PyResult<PyRecord> {
        let py = slf.py();
        guard(py, || {
            let _entered = slf.get().enter()?;
            let all = slf.get().all(py)?;
            let at = if index < 0 { index + all.len() as isize } else { index };
            let view = usize::try_from(at).ok().and_then(|at| all.get(at).copied());
            let view = view.ok_or_else(|| PyIndexError::new_err("record index out of range"))?;
            Ok(PyRecord::new(slf.clone().unbind(), view))
        })
    }

    /// The values, in order: a memoryview each, or `None`. Nothing is copied.
    fn values(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyList>> {
        let py = slf.py();
        guard(py, || {
            let values = PyList::empty(py);
            let whole = PyMemoryView::from(slf.as_any())?;
            let cut = whole.as_any().cast::<PySequence>()?;
            let bytes = slf.get().enter()?.bytes().as_ptr_range();
            let mut walk = Walk::new(slf)?;
            while let Some(view) = walk.next_view(py)? {
                let value = view.value().map(<[u8]>::as_ptr_range);
                if let Some(value) = value.filter(|v| bytes.start <= v.start && v.end <= bytes.end)
                {
                    // A slice of one view: less than half the time of a record and a view of that,
                    // and half as many objects for Python's collector to visit.
                    let from = value.start as usize - bytes.start as usize;
                    let to = value.end as usize - bytes.start as usize;
                    values.append(cut.get_slice(from, to)?)?;
                } else {
                    // Null, or decompressed and therefore elsewhere.
                    let record = PyRecord::new(walk.batch.clone_ref(py), view);
                    values.append(Bound::new(py, record)?.as_any().getattr("value")?)?;
                }
            }
            Ok(values)
        })
    }

    /// The offsets of the records: a memoryview of signed 64-bit numbers, which `NumPy` takes as
    /// it is.
    fn offsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        guard(py, || self.numbers(py, |record| record.offset().0 as i64))
    }

    /// The times of the records, in milliseconds since the Unix epoch; as `offsets`.
    fn timestamps_ms<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        guard(py, || self.numbers(py, RecordView::timestamp_ms))
    }

    /// The values side by side and where they end: bytes, and one signed 64-bit number more than
    /// there are records, beginning with 0. A null value takes no bytes. This is a copy.
    fn value_buffers<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyMemoryView>, Bound<'py, PyMemoryView>)> {
        guard(py, || {
            let _entered = self.enter()?;
            let (mut bytes, mut ends) = (Vec::new(), vec![0]);
            for record in self.all(py)? {
                bytes.extend_from_slice(record.value().unwrap_or_default());
                ends.push(bytes.len() as i64);
            }
            Ok((
                PyColumn::view(py, Numbers::Bytes(bytes))?,
                PyColumn::view(py, Numbers::Wide(ends))?,
            ))
        })
    }

    /// A `pyarrow.RecordBatch`: partition, offset, timestamp, key, value, headers. Needs pyarrow;
    /// other libraries take the batch itself, by `__arrow_c_array__` or `__arrow_c_stream__`.
    fn to_arrow(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        let py = slf.py();
        py.import("pyarrow")?.call_method1("record_batch", (slf,))
    }

    /// Arrow's C data interface: schema and array, as capsules.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        // A request that is not met is allowed: the taker casts.
        drop(requested_schema);
        guard(py, || {
            let batch = self.enter()?;
            arrow::array(py, &batch)
        })
    }

    /// Arrow's C stream interface: a stream of this batch alone, as a capsule.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        guard(py, || {
            let batch = self.enter()?;
            arrow::stream(py, &batch)
        })
    }

    /// Arrow's C data interface: what the columns are, as a capsule.
    #[expect(clippy::unused_self, reason = "as the interface has it")]
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        guard(py, || arrow::schema(py))
    }

    /// The batch as it lies on disk: a Kafka RecordBatch v2. Nothing is copied.
    #[getter]
    fn raw(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyMemoryView>> {
        PyMemoryView::from(slf.as_any())
    }

    /// Gives the memory back now; the batch and its records then raise `ValueError`. Releasing
    /// again does nothing. `BufferError` while there are views of it.
    fn release(&self) -> PyResult<()> {
        let taken = self.lease.take().map_err(|uses| {
            PyBufferError::new_err(format!("{uses} views of the batch's memory exist"))
        })?;
        drop(taken);
        Ok(())
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        _class: Option<Bound<'_, PyAny>>,
        _error: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.release()
    }

    fn __repr__(&self) -> String {
        match self.enter() {
            Err(_) => "<ringlog.Batch, released>".to_owned(),
            Ok(batch) => format!(
                "<ringlog.Batch partition={} offsets={}..={}>",
                self.partition,
                batch.base_offset(),
                batch.last_offset()
            ),
        }
    }

    // SAFETY: called by Python with a view to fill; `bytes` is this batch's memory.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = || {
            let batch = slf.get().enter().ok()?;
            Some((batch.bytes().as_ptr(), batch.bytes().len()))
        };
        // SAFETY: as above.
        unsafe { slf.get().export(slf.as_any(), view, flags, bytes) }
    }

    // SAFETY: called by Python once for each view that was filled.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.unexport();
    }
}

impl PyBatch {
    /// Every record, in order. Only for as long as a use is counted; what leaves goes into a
    /// `PyRecord`, which holds this batch.
    pub(crate) fn all(&self, py: Python<'_>) -> PyResult<&[RecordView<'static>]> {
        if let Some(all) = self.all.get() {
            return Ok(all);
        }
        let entered = self.enter()?;
        let there: *const ringlog::Batch = &raw const *entered;
        // SAFETY: as in `Walk::new`.
        let batch: &'static ringlog::Batch = unsafe { &*there };
        let all = batch.iter().collect::<ringlog::Result<Vec<_>>>().or_raise(py)?;
        Ok(self.all.get_or_init(|| all))
    }

    fn numbers<'py>(
        &self,
        py: Python<'py>,
        number: impl Fn(&RecordView<'static>) -> i64,
    ) -> PyResult<Bound<'py, PyMemoryView>> {
        let _entered = self.enter()?;
        PyColumn::view(py, Numbers::Wide(self.all(py)?.iter().map(number).collect()))
    }
}

/// The records of one batch.
#[pyclass(frozen, module = "ringlog", name = "BatchIterator")]
pub(crate) struct PyBatchIter {
    walk: Mutex<Walk>,
}

#[pymethods]
impl PyBatchIter {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyRecord>> {
        let Some(mut walk) = self.walk.try_lock() else { return Err(busy("iterator")) };
        guard(py, || walk.next(py))
    }
}

/// An iterator, or a sender, is for one thread at a time.
pub(crate) fn busy(what: &str) -> PyErr {
    PyValueError::new_err(format!("another thread is in this {what}"))
}
