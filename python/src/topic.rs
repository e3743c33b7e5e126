//! Topics and their partitions: appending, and where readers come from.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Context;
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyRange};
use ringlog::{Ack, AppendFuture, AppendOptions, Appended, Error, Flush, Offset, TimedOffset};

use crate::dispatch::Speaks;
use crate::engine::{Handle, parse};
use crate::error::OrRaise as _;
use crate::extents::PyExtents;
use crate::future::PyFuture;
use crate::guard::{Ours, guard};
use crate::input::{self, Input};
use crate::reader::{self, From, PyReader, milliseconds, seconds};
use crate::send::PySender;
use crate::wait::{Deadline, block_on, blocking};

/// Where one record goes, and how the answer is told.
pub(crate) struct Target<'a> {
    pub(crate) partition: &'a ringlog::Partition,
    pub(crate) speaks: Speaks,
    /// *Written* is reached when the append is claimed: nothing to wait for.
    quick: bool,
    flush: Flush,
}

impl<'a> Target<'a> {
    /// That partition, or the one of that topic which the record's key says.
    pub(crate) fn of(
        py: Python<'_>,
        target: &'a Bound<'_, PyAny>,
        input: &Input,
    ) -> PyResult<Self> {
        if let Ok(partition) = target.cast::<PyPartition>() {
            return partition.get().target(py);
        }
        match target.cast::<PyTopic>() {
            Ok(topic) => topic.get().target(py, input),
            Err(_) => Err(PyTypeError::new_err("a topic or a partition is required")),
        }
    }

    fn append(
        &self,
        py: Python<'_>,
        handle: &Handle,
        input: &Input,
        (options, timeout): (AppendOptions, Option<Duration>),
    ) -> PyResult<u64> {
        let future = self.partition.append_async_with(&[input.record()], options);
        Ok(finish(py, future, timeout.unwrap_or(handle.append_timeout))?.first.0)
    }

    fn append_nowait<'py>(
        &self,
        py: Python<'py>,
        handle: &Handle,
        input: &Input,
        NoWait { ack, options, wait }: NoWait,
    ) -> PyResult<Bound<'py, PyAny>> {
        let at_once = options.wait_for_room(false);
        let record = [input.record()];
        let refused = if self.quick && ack.unwrap_or(self.flush.ack()) == Ack::Written {
            let mut future = self.partition.append_async_with(&record, at_once);
            let outcome = if future.is_done() {
                future.wait()
            } else {
                // Another thread is between its claim and its commit, which is one copy.
                finish_as(py, future, handle.append_timeout)?
            };
            match outcome {
                Err(error) => error,
                Ok(at) => {
                    let value = self.speaks.of(self.partition.id().0, at.first.0);
                    return PyFuture::of_outcome(py, Ok(value));
                }
            }
        } else {
            let submitted = handle.dispatcher(py)?.submit(self.speaks, |queue, tag| {
                self.partition.submit_append(queue, &record, at_once, tag)
            });
            match submitted {
                Ok(pending) => return PyFuture::of_pending(py, pending),
                Err(error) => error,
            }
        };
        if !(wait && matches!(refused, Error::Busy { .. } | Error::QueueFull { .. })) {
            return Err(refused).or_raise(py);
        }
        // Back-pressure: this one is seen through to its acknowledgement, which makes room.
        let offset = self.append(py, handle, input, (options, None))?;
        PyFuture::of_outcome(py, Ok(self.speaks.of(self.partition.id().0, offset)))
    }
}

/// How an append goes that is not waited for.
struct NoWait {
    ack: Option<Ack>,
    options: AppendOptions,
    /// For room, if there is none.
    wait: bool,
}

impl NoWait {
    fn parse(ack: Option<&str>, compression: Option<&str>, wait: bool) -> PyResult<Self> {
        Ok(Self { ack: parse_ack(ack)?, options: options(ack, compression)?, wait })
    }
}

/// Waits for the acknowledgement; most often it is there.
fn finish(py: Python<'_>, future: AppendFuture, timeout: Duration) -> PyResult<Appended> {
    finish_as(py, future, timeout)?.or_raise(py)
}

fn finish_as(
    py: Python<'_>,
    mut future: AppendFuture,
    timeout: Duration,
) -> PyResult<ringlog::Result<Appended>> {
    if future.is_done() {
        return Ok(future.wait());
    }
    let mut poll = |context: &mut Context<'_>| Pin::new(&mut future).poll(context);
    if let Some(outcome) = block_on(py, Deadline::after(Some(timeout)), &mut poll)? {
        return Ok(outcome);
    }
    // The engine knows whether it may yet be written, and says so.
    Ok(future.wait_timeout(Duration::ZERO).map_err(|error| match error {
        Error::Timeout { outcome_unknown, .. } => {
            Error::Timeout { after: timeout, outcome_unknown }
        }
        other => other,
    }))
}

fn ack_of(ack: Option<Ack>) -> AppendOptions {
    ack.map_or_else(AppendOptions::default, |ack| AppendOptions::default().ack(ack))
}

fn parse_ack(ack: Option<&str>) -> PyResult<Option<Ack>> {
    ack.map(|word| parse("ack", word)).transpose()
}

/// How a call differs from its topic's way.
pub(crate) fn options(ack: Option<&str>, compression: Option<&str>) -> PyResult<AppendOptions> {
    let options = ack_of(parse_ack(ack)?);
    Ok(match compression {
        Some(word) => options.compression(parse("compression", word)?),
        None => options,
    })
}

static TIMED_OFFSET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// As a `ringlog.TimedOffset`.
fn timed(py: Python<'_>, found: Option<TimedOffset>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let Some(found) = found else { return Ok(None) };
    let class = TIMED_OFFSET.import(py, "ringlog._info", "TimedOffset")?;
    class.call1((found.offset.0, found.timestamp_ms)).map(Some)
}

fn range(py: Python<'_>, appended: Appended) -> PyResult<Bound<'_, PyRange>> {
    PyRange::new(py, appended.first.0 as isize, appended.last.0 as isize + 1)
}

/// A named set of partitions, which speaks in `RecordId`s. Usable from any thread.
#[pyclass(frozen, module = "ringlog", name = "Topic")]
pub(crate) struct PyTopic {
    topic: Ours<ringlog::Topic>,
    /// Made when first used.
    partitions: Ours<Vec<OnceLock<ringlog::Partition>>>,
    quick: bool,
    handle: Arc<Handle>,
}

impl PyTopic {
    pub(crate) fn new(
        py: Python<'_>,
        topic: ringlog::Topic,
        handle: &Arc<Handle>,
    ) -> PyResult<Self> {
        let logs = handle.engine(py)?.capabilities().logs;
        let mut logs = logs.iter().filter(|log| log.flush == Flush::Async);
        let quick = topic.flush() == Flush::Async && logs.all(|log| log.ring_in_file);
        let partitions = (0..topic.partitions()).map(|_| OnceLock::new()).collect();
        let partitions = Ours::new(partitions);
        Ok(Self { topic: Ours::new(topic), partitions, quick, handle: Arc::clone(handle) })
    }

    fn native(&self, py: Python<'_>, number: u32) -> PyResult<&ringlog::Partition> {
        let place = self.partitions.get(py)?.get(number as usize);
        if let Some(there) = place.and_then(OnceLock::get) {
            return Ok(there);
        }
        let partition = self.topic.get(py)?.partition(number).or_raise(py)?;
        let place = place.expect("the engine knows of as many partitions");
        Ok(place.get_or_init(|| partition))
    }

    fn target(&self, py: Python<'_>, input: &Input) -> PyResult<Target<'_>> {
        let partition = self.topic.get(py)?.partition_for(input.key());
        let (quick, flush) = (self.quick, self.topic.flush());
        Ok(Target { partition: self.native(py, partition.0)?, speaks: Speaks::Ids, quick, flush })
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

    /// How its batches are compressed, where the append does not say.
    #[getter]
    fn compression(&self) -> String {
        self.topic.compression().to_string()
    }

    /// Whose time its records have: "create-time", the appenders'; "append-time", the engine's.
    #[getter]
    fn timestamps(&self) -> String {
        self.topic.timestamps().to_string()
    }

    /// How many partitions it has.
    #[getter]
    fn partitions(&self) -> u32 {
        self.topic.partitions()
    }

    /// One of its partitions, numbered from 0.
    fn partition(&self, py: Python<'_>, number: u32) -> PyResult<PyPartition> {
        let partition = Ours::new(self.native(py, number)?.clone());
        let (topic, handle) = (self.topic.name().into(), Arc::clone(&self.handle));
        let (quick, flush) = (self.quick, self.topic.flush());
        Ok(PyPartition { partition, topic, quick, flush, handle })
    }

    /// Appends one record to the partition of its key (Kafka's murmur2; without a key the next in
    /// turn) and gives its `RecordId`, once it is acknowledged. Otherwise as `Partition.append`.
    #[pyo3(signature = (
        value, *, key=None, headers=None, timestamp_ms=None, ack=None, compression=None,
        timeout=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn append<'py>(
        &self,
        py: Python<'py>,
        value: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        timestamp_ms: Option<i64>,
        ack: Option<&str>,
        compression: Option<&str>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let how = (options(ack, compression)?, seconds("timeout", timeout)?);
        let input = Input::new(value, key, headers, timestamp_ms)?;
        let target = self.target(py, &input)?;
        guard(py, || {
            let offset = target.append(py, &self.handle, &input, how)?;
            Speaks::Ids.of(target.partition.id().0, offset).into_python(py)
        })
    }

    /// Appends one record to the partition of its key and gives a `Future` of its `RecordId`.
    /// Otherwise as `Partition.append_nowait`.
    #[pyo3(signature = (
        value, *, key=None, headers=None, timestamp_ms=None, ack=None, compression=None,
        wait=true
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn append_nowait<'py>(
        &self,
        py: Python<'py>,
        value: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        timestamp_ms: Option<i64>,
        ack: Option<&str>,
        compression: Option<&str>,
        wait: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let how = NoWait::parse(ack, compression, wait)?;
        let input = Input::new(value, key, headers, timestamp_ms)?;
        let target = self.target(py, &input)?;
        guard(py, || target.append_nowait(py, &self.handle, &input, how))
    }

    /// Appends records, each to the partition of its key, and gives the offsets in each partition
    /// that got any. What goes to one partition is one batch there; nothing makes batches of
    /// several whole or absent together. Otherwise as `Partition.append_many`.
    ///
    /// `compression` is the topic's unless it is given: "none", "gzip", "snappy", "lz4" or "zstd".
    #[pyo3(signature = (records, *, ack=None, compression=None, timeout=None))]
    fn append_many<'py>(
        &self,
        py: Python<'py>,
        records: &Bound<'py, PyAny>,
        ack: Option<&str>,
        compression: Option<&str>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let topic = self.topic.get(py)?.clone();
        let timeout = seconds("timeout", timeout)?.unwrap_or(self.handle.append_timeout);
        let options = options(ack, compression)?.timeout(timeout);
        let inputs = input::collect(records)?;
        guard(py, || {
            let ranges = PyDict::new(py);
            if inputs.is_empty() {
                return Ok(ranges);
            }
            let appended = blocking(py, move || {
                let records: Vec<_> = inputs.iter().map(Input::record).collect();
                topic.append_many_with(&records, options)
            })?;
            for (partition, part) in appended.or_raise(py)?.ranges() {
                ranges.set_item(partition.0, range(py, *part)?)?;
            }
            Ok(ranges)
        })
    }

    /// Reads all partitions, each in order, none kept waiting by another, from "earliest" or
    /// "latest" on, or from a `time` on as `Partition.read` has it.
    #[pyo3(
        signature = (start=None, *, time=None),
        text_signature = "($self, start=None, *, time=None)"
    )]
    fn read(
        &self,
        py: Python<'_>,
        start: Option<From>,
        time: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyReader> {
        let topic = self.topic.get(py)?;
        let start = reader::start(start, time)?;
        guard(py, || {
            let reader = py.detach(|| topic.reader(start)).or_raise(py)?;
            Ok(PyReader::of_topic(reader, &self.handle))
        })
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
    quick: bool,
    flush: Flush,
    handle: Arc<Handle>,
}

impl PyPartition {
    pub(crate) fn native(&self, py: Python<'_>) -> PyResult<&ringlog::Partition> {
        self.partition.get(py)
    }

    fn target(&self, py: Python<'_>) -> PyResult<Target<'_>> {
        let (quick, flush) = (self.quick, self.flush);
        Ok(Target { partition: self.partition.get(py)?, speaks: Speaks::Offsets, quick, flush })
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
    /// object or `None`. Everything is taken in before this returns. `compression` ("none", "gzip",
    /// "snappy", "lz4" or "zstd") is the topic's unless it is given. Waits for room and for the
    /// acknowledgement, `timeout` seconds at most.
    #[pyo3(signature = (
        value, *, key=None, headers=None, timestamp_ms=None, ack=None, compression=None,
        timeout=None
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
        compression: Option<&str>,
        timeout: Option<f64>,
    ) -> PyResult<u64> {
        let how = (options(ack, compression)?, seconds("timeout", timeout)?);
        let input = Input::new(value, key, headers, timestamp_ms)?;
        let target = self.target(py)?;
        guard(py, || target.append(py, &self.handle, &input, how))
    }

    /// Appends one record and gives a `Future` of its offset, without waiting for the
    /// acknowledgement.
    ///
    /// The offset is claimed, in the order of calls, when this returns. Where there is no room it
    /// waits for that, or with `wait=False` raises `BackpressureError`: nothing was written then.
    #[pyo3(signature = (
        value, *, key=None, headers=None, timestamp_ms=None, ack=None, compression=None,
        wait=true
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn append_nowait<'py>(
        &self,
        py: Python<'py>,
        value: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        timestamp_ms: Option<i64>,
        ack: Option<&str>,
        compression: Option<&str>,
        wait: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let how = NoWait::parse(ack, compression, wait)?;
        let input = Input::new(value, key, headers, timestamp_ms)?;
        let target = self.target(py)?;
        guard(py, || target.append_nowait(py, &self.handle, &input, how))
    }

    /// Appends records as one batch, whole or absent after any crash, and gives their offsets.
    ///
    /// Takes an iterable of bytes-like objects, of dicts (`value`, `key`, `headers`,
    /// `timestamp_ms`) or of records that were read. All of it is held until it is appended: at
    /// most 1,048,576 records, and about 16 MiB (`TooLargeError`).
    ///
    /// `compression` is the topic's unless it is given: "none", "gzip", "snappy", "lz4" or "zstd".
    #[pyo3(signature = (records, *, ack=None, compression=None, timeout=None))]
    fn append_many<'py>(
        &self,
        py: Python<'py>,
        records: &Bound<'py, PyAny>,
        ack: Option<&str>,
        compression: Option<&str>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyRange>> {
        let partition = self.partition.get(py)?;
        let timeout = seconds("timeout", timeout)?.unwrap_or(self.handle.append_timeout);
        let options = options(ack, compression)?;
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
            range(py, finish(py, future, timeout)?)
        })
    }

    /// Reads from "earliest" (if nothing is said), "latest" or an offset on.
    ///
    /// With a `time`, a datetime with its zone or milliseconds since the epoch, it reads from the
    /// first record of that time or later; where there is none, from the next one that comes.
    #[pyo3(
        signature = (start=None, *, time=None),
        text_signature = "($self, start=None, *, time=None)"
    )]
    fn read(
        &self,
        py: Python<'_>,
        start: Option<From>,
        time: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyReader> {
        let partition = self.partition.get(py)?;
        let start = reader::start(start, time)?;
        guard(py, || {
            let reader = py.detach(|| partition.reader(start)).or_raise(py)?;
            Ok(PyReader::of_partition(reader, self.partition.id().0, &self.handle))
        })
    }

    /// Where whole batches lie from `offset` on, as many as fit into `max_bytes` and at least one
    /// if there is one, for a program that sends them by itself: ranges of files, and memoryviews
    /// of what is still in memory. What readers may see, and nothing beyond.
    #[pyo3(signature = (offset, max_bytes=1_048_576))]
    fn extents(&self, py: Python<'_>, offset: u64, max_bytes: u64) -> PyResult<PyExtents> {
        let partition = self.partition.get(py)?;
        guard(py, || {
            let extents = py.detach(|| partition.extents(Offset(offset), max_bytes));
            Ok(PyExtents::new(extents.or_raise(py)?))
        })
    }

    /// A sender of its batches from `offset` on, which keeps its place: for sockets that may not
    /// take them all at once.
    fn sender(&self, py: Python<'_>, offset: u64) -> PyResult<PySender> {
        let partition = self.partition.get(py)?;
        guard(py, || {
            let sender = py.detach(|| partition.sender(Offset(offset))).or_raise(py)?;
            Ok(PySender::new(sender, &self.handle))
        })
    }

    /// Sends whole batches from `offset` on to a socket, as they lie on disk (Kafka's record
    /// batches, version 2): up to `max_bytes` and at least one, or until nothing more is visible.
    /// What lies in files goes from the page cache by sendfile, never copied into this process.
    ///
    /// `socket` is a socket, or what else has a `fileno()`: a pipe, a file. It is waited for as
    /// its own `settimeout()` says, or `timeout` seconds in all: without a timeout until everything
    /// is sent, with 0 not at all. Gives a `Sent`; if that is not `complete`, the peer may have a
    /// part of a batch, which only a `sender` can go on with. `IoError` if the peer is gone.
    #[pyo3(signature = (socket, offset, *, max_bytes=None, timeout=None))]
    fn send_to<'py>(
        &self,
        py: Python<'py>,
        socket: &Bound<'py, PyAny>,
        offset: u64,
        max_bytes: Option<u64>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.sender(py, offset)?.send_to(py, socket, max_bytes, timeout)
    }

    /// The first record of this time or later, with its timestamp, or `None`: a datetime with its
    /// zone, or milliseconds since the epoch. Timestamps need not ascend.
    fn offset_for_time<'py>(
        &self,
        py: Python<'py>,
        time: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let partition = self.partition.get(py)?;
        let time = milliseconds(time)?;
        guard(py, || timed(py, py.detach(|| partition.offset_for_time(time)).or_raise(py)?))
    }

    /// The record with the latest timestamp, the first if several have it; `None` without records.
    fn max_timestamp<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let partition = self.partition.get(py)?;
        guard(py, || timed(py, py.detach(|| partition.max_timestamp()).or_raise(py)?))
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
