//! Readers: iterators over records or batches, which end where the partition ends now, or follow.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyInt, PyString};
use ringlog::{Offset, PartitionId, Start, TopicReader};

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

/// `ringlog._time.milliseconds`.
static MILLISECONDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A time as Python gives it, a datetime or milliseconds, in milliseconds since the epoch.
pub(crate) fn milliseconds(time: &Bound<'_, PyAny>) -> PyResult<i64> {
    MILLISECONDS.import(time.py(), "ringlog._time", "milliseconds")?.call1((time,))?.extract()
}

/// Where to start: at a time, if one is given, which then is all that is given.
pub(crate) fn start(start: Option<From>, time: Option<&Bound<'_, PyAny>>) -> PyResult<Start> {
    match (start, time) {
        (Some(_), Some(_)) => Err(PyTypeError::new_err("read() takes a start or a time, not both")),
        (None, Some(time)) => Ok(Start::Time(milliseconds(time)?)),
        (start, None) => Ok(start.unwrap_or(From::EARLIEST).0),
    }
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

/// Of one partition, or of all of a topic.
enum Source {
    One(Box<ringlog::Reader>, u32),
    All(Box<TopicReader>),
}

/// A batch with its partition, and the offset that its reader stood at.
type Found = (u32, u64, ringlog::Batch);

impl Source {
    fn next(&mut self) -> ringlog::Result<Option<Found>> {
        match self {
            Self::One(reader, partition) => {
                let from = reader.next_offset().0;
                Ok(reader.next_batch()?.map(|batch| (*partition, from, batch)))
            }
            Self::All(reader) => Ok(reader.next_batch()?.map(of_all)),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ringlog::Result<Found>> {
        match self {
            Self::One(reader, partition) => {
                let from = reader.next_offset().0;
                reader.poll_next(context).map_ok(|batch| (*partition, from, batch))
            }
            Self::All(reader) => reader.poll_next(context).map_ok(of_all),
        }
    }
}

/// Where its reader stood is not told: whoever counts its records walks it.
fn of_all((partition, batch): (PartitionId, ringlog::Batch)) -> Found {
    (partition.0, u64::MAX, batch)
}

/// What the iterators of one reader share.
struct State {
    source: Ours<Source>,
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
        let source = self.source.get_mut(py)?;
        let found = match end {
            End::Now => py.detach(|| source.next()).or_raise(py)?,
            End::Quiet(timeout) => {
                let deadline = Deadline::after(timeout);
                let found = block_on(py, deadline, |context| source.poll(context))?;
                found.transpose().or_raise(py)?
            }
        };
        found.map(|found| bound(py, found)).transpose()
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

fn bound(py: Python<'_>, (partition, from, batch): Found) -> PyResult<Bound<'_, PyBatch>> {
    Bound::new(py, PyBatch::new(batch, partition, from))
}

impl PyReader {
    pub(crate) fn of_partition(
        reader: ringlog::Reader,
        partition: u32,
        handle: &Arc<Handle>,
    ) -> Self {
        Self::new(Source::One(Box::new(reader), partition), handle)
    }

    pub(crate) fn of_topic(reader: TopicReader, handle: &Arc<Handle>) -> Self {
        Self::new(Source::All(Box::new(reader)), handle)
    }

    fn new(source: Source, handle: &Arc<Handle>) -> Self {
        let state = State { source: Ours::new(source), walk: None };
        Self { state: Arc::new(Mutex::new(state)), end: End::Now, handle: Arc::clone(handle) }
    }

    /// The next batch, or `Pending` with the waker left for when there may be one.
    pub(crate) fn poll_batch<'py>(
        &self,
        py: Python<'py>,
        context: &mut Context<'_>,
    ) -> PyResult<Poll<Bound<'py, PyBatch>>> {
        let Some(mut state) = self.state.try_lock() else { return Err(busy("iterator")) };
        let source = state.source.get_mut(py)?;
        match source.poll(context) {
            Poll::Ready(found) => bound(py, found.or_raise(py)?).map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }
}

#[pymethods]
impl PyReader {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyRecord>> {
        self.handle.check(py)?;
        let Some(mut state) = self.state.try_lock() else { return Err(busy("iterator")) };
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

    /// Where the next batch begins that has not been begun; `None` for a reader of a topic.
    #[getter]
    fn next_offset(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        self.handle.check(py)?;
        let Some(mut state) = self.state.try_lock() else { return Err(busy("iterator")) };
        match state.source.get_mut(py)? {
            Source::One(reader, _) => Ok(Some(reader.next_offset().0)),
            Source::All(_) => Ok(None),
        }
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
        let Some(mut state) = self.state.try_lock() else { return Err(busy("iterator")) };
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
