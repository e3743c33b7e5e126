//! Readers: iterators over records or batches, which end where the partition ends now, or follow.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString};
use ringlog::{Offset, Start};

use crate::batch::{PyBatch, Walk, busy};
use crate::engine::Handle;
use crate::error::OrRaise as _;
use crate::guard::{Ours, guard};
use crate::record::PyRecord;
use crate::wait::{Deadline, block_on};

/// Where to read from, as Python says it: "earliest", "latest", an offset.
#[derive(Clone, Copy)]
pub(crate) struct From(pub(crate) Start);

impl From {
    pub(crate) const EARLIEST: Self = Self(Start::Earliest);
}

impl FromPyObject<'_, '_> for From {
    type Error = PyErr;

    fn extract(from: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let wrong = "an offset, \"earliest\" or \"latest\" is required";
        if let Ok(word) = from.cast::<PyString>() {
            return match &*word.to_cow()? {
                "earliest" => Ok(Self(Start::Earliest)),
                "latest" => Ok(Self(Start::Latest)),
                other => Err(PyValueError::new_err(format!("{wrong}, not {other:?}"))),
            };
        }
        if from.is_instance_of::<PyInt>() && !from.is_instance_of::<PyBool>() {
            return Ok(Self(Start::Offset(Offset(from.extract()?))));
        }
        Err(PyTypeError::new_err(format!("{wrong}, not '{}'", from.get_type().name()?)))
    }
}

/// What the iterators of one reader share.
struct State {
    reader: Ours<ringlog::Reader>,
    partition: u32,
    walk: Option<Walk>,
}

/// When an iterator has no more.
#[derive(Clone, Copy)]
enum End {
    /// Where the partition ends now.
    Now,
    /// Never, or once nothing has come for so long.
    Quiet(Option<Duration>),
}

impl State {
    fn next_batch<'py>(
        &mut self,
        py: Python<'py>,
        end: End,
    ) -> PyResult<Option<Bound<'py, PyBatch>>> {
        let reader = self.reader.get_mut(py)?;
        let from = reader.next_offset().0;
        let batch = match end {
            End::Now => py.detach(|| reader.next_batch()).or_raise(py)?,
            End::Quiet(timeout) => {
                let deadline = Deadline::after(timeout);
                let batch = block_on(py, deadline, |context| reader.poll_next(context))?;
                batch.transpose().or_raise(py)?
            }
        };
        batch.map(|batch| Bound::new(py, PyBatch::new(batch, self.partition, from))).transpose()
    }

    fn next_record(&mut self, py: Python<'_>, end: End) -> PyResult<Option<PyRecord>> {
        loop {
            if let Some(walk) = &mut self.walk {
                if let Some(record) = walk.next(py)? {
                    return Ok(Some(record));
                }
                self.walk = None;
            }
            let Some(batch) = self.next_batch(py, end)? else { return Ok(None) };
            self.walk = Some(Walk::new(batch)?);
        }
    }
}

/// Reads records in order. As an iterator it ends where the partition ends now, and may be asked
/// again later; `follow()` waits for more. One thread at a time.
#[pyclass(frozen, module = "ringlog", name = "Reader")]
pub(crate) struct PyReader {
    state: Arc<Mutex<State>>,
    end: End,
    handle: Arc<Handle>,
}

impl PyReader {
    pub(crate) fn new(reader: ringlog::Reader, partition: u32, handle: &Arc<Handle>) -> Self {
        let state = State { reader: Ours::new(reader), partition, walk: None };
        Self { state: Arc::new(Mutex::new(state)), end: End::Now, handle: Arc::clone(handle) }
    }
}

#[pymethods]
impl PyReader {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyRecord>> {
        self.handle.check(py)?;
        let Some(mut state) = self.state.try_lock() else { return Err(busy()) };
        guard(py, || state.next_record(py, self.end))
    }

    /// The same reader, giving whole batches.
    fn batches(&self) -> PyBatchReader {
        let handle = Arc::clone(&self.handle);
        PyBatchReader { state: Arc::clone(&self.state), end: self.end, handle }
    }

    /// The same reader, sleeping until there is more instead of ending; with a timeout in seconds
    /// it ends once nothing has come for so long.
    #[pyo3(signature = (timeout=None))]
    fn follow(&self, timeout: Option<f64>) -> PyResult<Self> {
        let end = End::Quiet(seconds("timeout", timeout)?);
        Ok(Self { state: Arc::clone(&self.state), end, handle: Arc::clone(&self.handle) })
    }

    /// The offset of the next batch's first record.
    #[getter]
    fn next_offset(&self, py: Python<'_>) -> PyResult<u64> {
        self.handle.check(py)?;
        let Some(mut state) = self.state.try_lock() else { return Err(busy()) };
        Ok(state.reader.get_mut(py)?.next_offset().0)
    }

    /// Goes on at "earliest", "latest" or an offset. Outside of what is there it raises
    /// `OffsetOutOfRangeError` and stays where it was.
    fn seek(&self, py: Python<'_>, start: From) -> PyResult<()> {
        self.handle.check(py)?;
        let From(start) = start;
        let Some(mut state) = self.state.try_lock() else { return Err(busy()) };
        guard(py, || {
            state.reader.get_mut(py)?.seek(start).or_raise(py)?;
            state.walk = None;
            Ok(())
        })
    }
}

/// Reads whole batches in order; see `Reader.batches`.
#[pyclass(frozen, module = "ringlog", name = "BatchReader")]
pub(crate) struct PyBatchReader {
    state: Arc<Mutex<State>>,
    end: End,
    handle: Arc<Handle>,
}

#[pymethods]
impl PyBatchReader {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBatch>>> {
        self.handle.check(py)?;
        let Some(mut state) = self.state.try_lock() else { return Err(busy()) };
        guard(py, || state.next_batch(py, self.end))
    }
}

/// A timeout in seconds as Python gives it; `None` is none.
pub(crate) fn seconds(what: &str, timeout: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(timeout) = timeout else { return Ok(None) };
    if timeout.is_nan() || timeout < 0.0 {
        let text = format!("{what} must be None or a number of seconds >= 0, not {timeout}");
        return Err(PyValueError::new_err(text));
    }
    // What is beyond a duration is as good as for ever.
    Ok(Duration::try_from_secs_f64(timeout).ok())
}
