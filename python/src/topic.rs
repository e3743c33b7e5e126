//! Topics and their partitions: appending, and where readers come from.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyRange;
use ringlog::{Ack, AppendFuture, AppendOptions, Appended, Offset};

use crate::engine::{Handle, parse};
use crate::error::OrRaise as _;
use crate::guard::{Ours, guard};
use crate::input::{self, Input};
use crate::reader::{From, PyReader, seconds};
use crate::wait::{Deadline, block_on, blocking};

/// A named set of partitions. Usable from any thread.
#[pyclass(frozen, module = "ringlog", name = "Topic")]
pub(crate) struct PyTopic {
    topic: Ours<ringlog::Topic>,
    handle: Arc<Handle>,
}

impl PyTopic {
    pub(crate) fn new(topic: ringlog::Topic, handle: &Arc<Handle>) -> Self {
        Self { topic: Ours::new(topic), handle: Arc::clone(handle) }
    }
}

#[pymethods]
impl PyTopic {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.topic.name()
    }

    /// When its appends are acknowledged: "sync", when durable; "async", when written.
    #[getter]
    fn flush(&self) -> String {
        self.topic.flush().to_string()
    }

    /// How many partitions it has.
    #[getter]
    fn partitions(&self) -> u32 {
        self.topic.partitions()
    }

    /// One of its partitions, numbered from 0.
    fn partition(&self, py: Python<'_>, number: u32) -> PyResult<PyPartition> {
        let partition = self.topic.get(py)?.partition(number).or_raise(py)?;
        let handle = Arc::clone(&self.handle);
        Ok(PyPartition { partition: Ours::new(partition), topic: self.topic.name().into(), handle })
    }

    fn __repr__(&self) -> String {
        format!("<ringlog.Topic {:?} partitions={}>", self.topic.name(), self.topic.partitions())
    }
}

/// One ordered stream of records, which speaks in offsets. Usable from any thread.
#[pyclass(frozen, module = "ringlog", name = "Partition")]
pub(crate) struct PyPartition {
    partition: Ours<ringlog::Partition>,
    topic: Arc<str>,
    handle: Arc<Handle>,
}

/// How a call differs from its topic's way.
pub(crate) fn options(ack: Option<&str>) -> PyResult<AppendOptions> {
    let ack: Option<Ack> = ack.map(|word| parse("ack", word)).transpose()?;
    Ok(ack.map_or_else(AppendOptions::default, |ack| AppendOptions::default().ack(ack)))
}

impl PyPartition {
    /// Waits for the acknowledgement; most often it is there.
    fn finish(
        &self,
        py: Python<'_>,
        mut future: AppendFuture,
        timeout: Option<Duration>,
    ) -> PyResult<Appended> {
        if future.is_done() {
            return future.wait().or_raise(py);
        }
        let timeout = timeout.unwrap_or(self.handle.append_timeout);
        let mut poll = |context: &mut Context<'_>| Pin::new(&mut future).poll(context);
        match block_on(py, Deadline::after(Some(timeout)), &mut poll)? {
            Some(outcome) => outcome.or_raise(py),
            // The engine knows whether it may yet be written, and says so.
            None => match future.wait_timeout(Duration::ZERO) {
                Err(ringlog::Error::Timeout { outcome_unknown, .. }) => {
                    Err(ringlog::Error::Timeout { after: timeout, outcome_unknown }).or_raise(py)
                }
                outcome => outcome.or_raise(py),
            },
        }
    }
}

#[pymethods]
impl PyPartition {
    /// Its number in the topic.
    #[getter]
    fn id(&self) -> u32 {
        self.partition.id().0
    }

    /// Its topic's name.
    #[getter]
    fn topic(&self) -> &str {
        &self.topic
    }

    /// Appends one record and gives its offset, once it is acknowledged: as its topic does, or at
    /// the level of `ack`, "written" or "durable".
    ///
    /// `value` and `key` are bytes-like or `None`; `headers` are pairs of a str and a bytes-like
    /// object or `None`. Everything is taken in before this returns. Waits for room and for the
    /// acknowledgement, `timeout` seconds at most.
    #[pyo3(signature = (
        value, *, key=None, headers=None, timestamp_ms=None, ack=None, timeout=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn append(
        &self,
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        timestamp_ms: Option<i64>,
        ack: Option<&str>,
        timeout: Option<f64>,
    ) -> PyResult<u64> {
        let partition = self.partition.get(py)?;
        let timeout = seconds("timeout", timeout)?;
        let options = options(ack)?;
        let input = Input::new(value, key, headers, timestamp_ms)?;
        guard(py, || {
            let future = partition.append_async_with(&[input.record()], options);
            Ok(self.finish(py, future, timeout)?.first.0)
        })
    }

    /// Appends records as one batch, whole or absent after any crash, and gives their offsets.
    ///
    /// Takes an iterable of bytes-like objects, of dicts (`value`, `key`, `headers`,
    /// `timestamp_ms`) or of records that were read.
    #[pyo3(signature = (records, *, ack=None, timeout=None))]
    fn append_many<'py>(
        &self,
        py: Python<'py>,
        records: &Bound<'py, PyAny>,
        ack: Option<&str>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyRange>> {
        let partition = self.partition.get(py)?;
        let timeout = seconds("timeout", timeout)?;
        let options = options(ack)?;
        let inputs = input::collect(records)?;
        guard(py, || {
            if inputs.is_empty() {
                return PyRange::new(py, 0, 0);
            }
            let future = py.detach(|| {
                let records: Vec<_> = inputs.iter().map(Input::record).collect();
                partition.append_async_with(&records, options)
            });
            drop(inputs);
            let appended = self.finish(py, future, timeout)?;
            PyRange::new(py, appended.first.0 as isize, appended.last.0 as isize + 1)
        })
    }

    /// Reads from "earliest", "latest" or an offset on.
    #[pyo3(signature = (start=From::EARLIEST), text_signature = "($self, start='earliest')")]
    fn read(&self, py: Python<'_>, start: From) -> PyResult<PyReader> {
        let partition = self.partition.get(py)?;
        let From(start) = start;
        guard(py, || {
            let reader = partition.reader(start).or_raise(py)?;
            Ok(PyReader::new(reader, self.partition.id().0, &self.handle))
        })
    }

    /// Forgets the records before `offset`, durably. Readers begin there from now on.
    fn trim(&self, py: Python<'_>, offset: u64) -> PyResult<()> {
        let partition = self.partition.get(py)?.clone();
        guard(py, || blocking(py, move || partition.trim(Offset(offset)))?.or_raise(py))
    }

    /// The first offset that is kept.
    #[getter]
    fn log_start(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.partition.get(py)?.info().or_raise(py)?.log_start.0)
    }

    /// The offset that the next record will get.
    #[getter]
    fn end(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.partition.get(py)?.info().or_raise(py)?.end.0)
    }

    /// Everything below is on stable storage.
    #[getter]
    fn durable_end(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.partition.get(py)?.info().or_raise(py)?.durable_end.0)
    }

    fn __repr__(&self) -> String {
        format!("<ringlog.Partition {:?}/{}>", self.topic, self.partition.id())
    }
}
