//! The engine's handle: opening, topics, closing.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use ringlog::{Compression, Engine, Flush, Options, TimestampType, TopicSpec};

use crate::dispatch::Dispatcher;
use crate::error::OrRaise as _;
use crate::guard::{Ours, guard};
use crate::reader::seconds;
use crate::topic::PyTopic;
use crate::wait::blocking;

/// What everything that came from one `open` shares, and keeps open.
pub(crate) struct Handle {
    engine: Option<Ours<Engine>>,
    /// Who completes the futures of `append_nowait`, once there are any.
    dispatcher: Mutex<Option<Arc<Ours<Dispatcher>>>>,
    pub(crate) path: PathBuf,
    /// The class of topics made without one.
    flush: Flush,
    pub(crate) append_timeout: Duration,
    close_timeout: Duration,
}

impl Handle {
    pub(crate) fn engine(&self, py: Python<'_>) -> PyResult<&Engine> {
        self.ours().get(py)
    }

    fn ours(&self) -> &Ours<Engine> {
        self.engine.as_ref().expect("there until it is dropped")
    }

    pub(crate) fn dispatcher(&self, py: Python<'_>) -> PyResult<Arc<Ours<Dispatcher>>> {
        let engine = self.engine(py)?;
        let mut dispatcher = self.dispatcher.lock();
        if let Some(there) = &*dispatcher {
            return Ok(Arc::clone(there));
        }
        let started = Arc::new(Ours::new(Dispatcher::start(py, engine)?));
        *dispatcher = Some(Arc::clone(&started));
        Ok(started)
    }

    /// As Python ends: nothing is left in flight, no thread of ours left to call Python.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        if !self.ours().is_ours() {
            return Ok(());
        }
        let (engine, timeout) = (self.engine(py)?.clone(), self.close_timeout);
        let closed = blocking(py, move || engine.close(timeout))?;
        let dispatcher = self.dispatcher.lock().take();
        py.detach(|| drop(dispatcher));
        closed.or_raise(py)
    }

    /// `ForkedError` in another process than the one that opened it.
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.ours().get(py).map(drop)
    }
}

impl Drop for Handle {
    /// The last handle closes the engine, which flushes: without the GIL, as others may need it.
    fn drop(&mut self) {
        let ours = self.engine.as_ref().is_some_and(Ours::is_ours);
        let dispatcher = self.dispatcher.get_mut().take();
        // In this order: the thread that completes futures keeps the engine open.
        let mut held = Some((dispatcher, self.engine.take()));
        if ours {
            let mut drop_held = || drop(held.take());
            let _ = Python::try_attach(|py| py.detach(&mut drop_held));
        }
        // Without the GIL, while the interpreter is taken down; in a forked child, to leak it.
        drop(held);
    }
}

/// Every handle there is, for the end of the interpreter.
static OPEN: Mutex<Vec<Weak<Handle>>> = Mutex::new(Vec::new());

/// Closes what is still open; called as the interpreter ends, while Python still runs.
#[pyfunction]
pub(crate) fn _close_all(py: Python<'_>) {
    let open: Vec<Arc<Handle>> = OPEN.lock().iter().filter_map(Weak::upgrade).collect();
    for handle in open {
        if let Err(error) = guard(py, || handle.end(py)) {
            error.write_unraisable(py, None);
        }
    }
}

/// An open data directory: topics, and what they hold. Usable from any thread.
///
/// Made by `ringlog.open`. As a context manager it closes itself.
#[pyclass(frozen, module = "ringlog", name = "Engine", weakref)]
pub(crate) struct PyEngine {
    pub(crate) handle: Arc<Handle>,
}

impl PyEngine {
    fn close_within(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let timeout = seconds("timeout", timeout)?.unwrap_or(self.handle.close_timeout);
        let engine = self.handle.engine(py)?.clone();
        guard(py, || blocking(py, move || engine.close(timeout))?.or_raise(py))
    }
}

#[pymethods]
impl PyEngine {
    /// The data directory.
    #[getter]
    fn path(&self) -> PathBuf {
        self.handle.path.clone()
    }

    /// The topic of this name, made if it is not there; the other arguments count only then.
    ///
    /// `compression` ("none", "gzip", "snappy", "lz4", "zstd") is how its batches are compressed;
    /// `timestamps` says whose time records have, the appender's ("create-time") or the engine's
    /// ("append-time").
    ///
    /// Making one is durable when this returns. Raises `UnknownTopicError` with `create=False`.
    #[pyo3(signature = (
        name, *, partitions=1, flush=None, compression="none", timestamps="create-time",
        create=true
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn topic(
        &self,
        py: Python<'_>,
        name: String,
        partitions: u32,
        flush: Option<&str>,
        compression: &str,
        timestamps: &str,
        create: bool,
    ) -> PyResult<PyTopic> {
        let flush = flush.map_or(Ok(self.handle.flush), |word| parse("flush", word))?;
        let compression: Compression = parse("compression", compression)?;
        let timestamps: TimestampType = parse("timestamps", timestamps)?;
        let engine = self.handle.engine(py)?.clone();
        guard(py, || {
            // Not on the helper thread where it is there, as it mostly is.
            let topic = match engine.topic(&name) {
                Err(ringlog::Error::UnknownTopic { .. }) if create => {
                    let spec = TopicSpec::new(name).partitions(partitions).flush(flush);
                    let spec = spec.compression(compression).timestamps(timestamps);
                    blocking(py, move || engine.open_or_create_topic(spec))?
                }
                found => found,
            };
            PyTopic::new(py, topic.or_raise(py)?, &self.handle)
        })
    }

    /// Deletes a topic and all its records, durably. Handles to it raise `UnknownTopicError` then.
    fn delete_topic(&self, py: Python<'_>, name: String) -> PyResult<()> {
        let engine = self.handle.engine(py)?.clone();
        guard(py, || blocking(py, move || engine.delete_topic(&name))?.or_raise(py))
    }

    /// Every topic, by name.
    fn topics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let engine = self.handle.engine(py)?;
        guard(py, || described(py, "topics", &py.detach(|| engine.topics())))
    }

    /// Everything about the directory that is worth printing: what was chosen for it and why, its
    /// topics and counters. A dict, as `ringlog stat --json` prints it.
    fn stat<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let engine = self.handle.engine(py)?;
        guard(py, || described(py, "stat", &py.detach(|| engine.stat())))
    }

    /// The counters as Prometheus text, for an endpoint of yours to answer with (content type
    /// `text/plain; version=0.0.4`).
    fn metrics(&self, py: Python<'_>) -> PyResult<String> {
        let engine = self.handle.engine(py)?;
        guard(py, || Ok(py.detach(|| engine.metrics().to_prometheus())))
    }

    /// Makes durable whatever has been appended up to now, in topics of either class; waits at most
    /// `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let timeout = seconds("timeout", timeout)?.unwrap_or(self.handle.append_timeout);
        let engine = self.handle.engine(py)?.clone();
        guard(py, || blocking(py, move || engine.flush(timeout))?.or_raise(py))
    }

    /// Flushes everything and closes, within `timeout` seconds (by default the `close_timeout` it
    /// was opened with). Closing again does nothing; what else is called then raises `ClosedError`.
    ///
    /// `TimeoutError`: what was acknowledged is safe all the same, and the next open recovers.
    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        self.close_within(py, timeout)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _class: Option<Bound<'_, PyAny>>,
        _error: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.close_within(py, None)
    }

    fn __repr__(&self) -> String {
        format!("<ringlog.Engine {}>", self.handle.path.display())
    }
}

/// A description by the engine, as the object that `ringlog._info` makes of it.
fn described<'py>(
    py: Python<'py>,
    make: &str,
    value: &impl serde::Serialize,
) -> PyResult<Bound<'py, PyAny>> {
    let json = serde_json::to_string(value);
    let json = json.map_err(|error| crate::error::internal(py, &error.to_string()))?;
    py.import("ringlog._info")?.getattr(make)?.call1((json,))
}

/// A word that names one of a few.
pub(crate) fn parse<T: std::str::FromStr<Err = String>>(what: &str, word: &str) -> PyResult<T> {
    word.parse().map_err(|why| PyValueError::new_err(format!("{what}: {why}, not {word:?}")))
}

/// Opens a data directory; `ringlog.open` documents the options.
#[pyfunction]
#[pyo3(signature = (path, flush, options))]
pub(crate) fn _open(
    py: Python<'_>,
    path: PathBuf,
    flush: &str,
    options: &Bound<'_, PyDict>,
) -> PyResult<PyEngine> {
    let opening = Opening::parse(path, flush, options)?;
    guard(py, || {
        let (engine, mut handle) = blocking(py, move || opening.open())?;
        handle.engine = Some(Ours::new(engine.or_raise(py)?));
        let handle = Arc::new(handle);
        let mut open = OPEN.lock();
        open.retain(|handle| handle.strong_count() > 0);
        open.push(Arc::downgrade(&handle));
        Ok(PyEngine { handle })
    })
}

/// What to open, and how.
pub(crate) struct Opening {
    options: Options,
    handle: Handle,
}

/// The options of which two make one.
fn paired(mut options: Options, given: &Bound<'_, PyDict>) -> PyResult<Options> {
    let bytes_of = |name: &str| -> PyResult<Option<u64>> {
        given.get_item(name)?.map_or(Ok(None), |given| given.extract())
    };
    let seconds_of = |name: &str| -> PyResult<Option<Duration>> {
        let given = given.get_item(name)?.map_or(Ok(None), |given| given.extract())?;
        seconds(name, given)
    };
    let (bytes, age) = (bytes_of("window_bytes")?, seconds_of("window_seconds")?);
    if bytes.is_some() || age.is_some() {
        let age = age.unwrap_or(Duration::from_millis(200));
        options = options.async_window(bytes.unwrap_or(16 << 20), age);
    }
    let rate = bytes_of("scrub_bytes_per_second")?.unwrap_or(0);
    let every = seconds_of("scrub_every")?.unwrap_or(Duration::from_secs(24 * 60 * 60));
    Ok(options.scrub(rate, every))
}

impl Opening {
    fn parse(path: PathBuf, flush: &str, given: &Bound<'_, PyDict>) -> PyResult<Self> {
        let seconds_of = |name: &str, default| -> PyResult<Duration> {
            let given: Option<f64> = match given.get_item(name)? {
                Some(given) => given.extract()?,
                None => None,
            };
            Ok(seconds(name, given)?.unwrap_or(default))
        };
        let append_timeout = seconds_of("append_timeout", Duration::from_secs(30))?;
        let close_timeout = seconds_of("close_timeout", Duration::from_secs(30))?;
        let mut options =
            Engine::options().append_timeout(append_timeout).close_timeout(close_timeout);
        for (name, value) in given {
            if value.is_none() {
                continue;
            }
            let name: String = name.extract()?;
            options = match name.as_str() {
                "append_timeout"
                | "close_timeout"
                | "window_bytes"
                | "window_seconds"
                | "scrub_bytes_per_second"
                | "scrub_every" => options,
                "create" => options.create(value.extract()?),
                "backend" => options.backend(parse("backend", value.extract()?)?),
                "segment_bytes" => options.segment_bytes(value.extract()?),
                "ring_bytes" => options.ring_bytes(value.extract()?),
                "group_bytes" => options.group_bytes(value.extract()?),
                "batch_bytes" => options.batch_bytes(value.extract()?),
                "groups_in_flight" => options.groups_in_flight(value.extract()?),
                "max_payload_bytes" => options.max_payload_bytes(value.extract()?),
                "spare_segments" => options.spare_segments(value.extract()?),
                "read_only" => options.read_only(value.extract()?),
                "shards" => options.shards(value.extract()?),
                "pin_shards" => options.pin_shards(value.extract()?),
                "mmap" => options.mmap(value.extract()?),
                "pinned_bytes_max" => options.pinned_bytes_max(value.extract()?),
                "allow_volatile" => options.allow_volatile(value.extract()?),
                "lock_timeout" => {
                    let timeout = seconds(&name, Some(value.extract()?))?;
                    options.lock_timeout(timeout.unwrap_or(Duration::MAX))
                }
                other => {
                    let text = format!("open() got an unexpected keyword argument '{other}'");
                    return Err(PyTypeError::new_err(text));
                }
            };
        }
        let options = paired(options, given)?;
        let flush = parse("flush", flush)?;
        let handle = Handle {
            engine: None,
            dispatcher: Mutex::default(),
            path,
            flush,
            append_timeout,
            close_timeout,
        };
        Ok(Self { options, handle })
    }

    fn open(self) -> (ringlog::Result<Engine>, Handle) {
        (self.options.open(&self.handle.path), self.handle)
    }
}
