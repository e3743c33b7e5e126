//! The engine's errors as Python's exceptions. The classes are in `ringlog/_errors.py`; this module
//! only says which one, and never decides what a caller may do: the engine does.

use std::path::Path;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyRange};
use ringlog::{Error, ErrorKind, PartOutcome};

/// `ringlog._errors.make`.
static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The result of a call into the engine, as Python's.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception for the error.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for ringlog::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raise(py, &error))
    }
}

/// The exception for an error of the engine.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let (code, path) = describe(error);
    let fatal = matches!(error.kind(), ErrorKind::Reopen | ErrorKind::Restore);
    Exception {
        code,
        message: &error.to_string(),
        retriable: error.is_retriable(),
        fatal,
        outcome_unknown: error.outcome_is_unknown(),
        path,
        about: Some(error),
    }
    .make(py)
}

/// In a forked child.
pub(crate) fn forked(py: Python<'_>) -> PyErr {
    let message = "opened before a fork: open it again in this process, or use it in its parent";
    Exception { code: "forked", message, ..Exception::default() }.make(py)
}

/// A panic of ours: a bug.
pub(crate) fn internal(py: Python<'_>, said: &str) -> PyErr {
    let message = format!("a bug in ringlog, please report it: {said}");
    let exception = Exception { code: "internal", message: &message, ..Exception::default() };
    Exception { fatal: true, outcome_unknown: true, ..exception }.make(py)
}

/// More than a batch takes; nothing was written.
pub(crate) fn too_large(py: Python<'_>, records: usize, bytes: usize) -> PyErr {
    let message = format!("a batch has at most {records} records and {bytes} bytes");
    Exception { code: "too_large", message: &message, ..Exception::default() }.make(py)
}

#[derive(Default)]
struct Exception<'a> {
    code: &'a str,
    message: &'a str,
    retriable: bool,
    fatal: bool,
    outcome_unknown: bool,
    path: Option<&'a Path>,
    /// What its class carries besides.
    about: Option<&'a Error>,
}

impl Exception<'_> {
    fn make(&self, py: Python<'_>) -> PyErr {
        let make = || -> PyResult<Bound<'_, PyAny>> {
            let make = MAKE.import(py, "ringlog._errors", "make")?;
            let more = PyDict::new(py);
            more.set_item("retriable", self.retriable)?;
            more.set_item("fatal", self.fatal)?;
            more.set_item("outcome_unknown", self.outcome_unknown)?;
            more.set_item("path", self.path.map(Path::as_os_str))?;
            self.about.map_or(Ok(()), |error| carry(py, error, &more))?;
            make.call((self.code, self.message), Some(&more))
        };
        match make() {
            Ok(exception) => PyErr::from_value(exception),
            // Only while the interpreter is taken down can the class be missing.
            Err(_) => PyRuntimeError::new_err(self.message.to_owned()),
        }
    }
}

/// What the class of an error has besides what every error has.
fn carry(py: Python<'_>, error: &Error, more: &Bound<'_, PyDict>) -> PyResult<()> {
    match error {
        Error::Locked { pid, .. } => more.set_item("pid", pid),
        Error::Truncated { end, .. } => more.set_item("end", end.0),
        Error::PartlyAppended { parts, .. } => more.set_item("parts", parts_of(py, parts)?),
        Error::Peer { source, .. } | Error::Io { source, .. } => {
            more.set_item("number", source.raw_os_error())
        }
        _ => Ok(()),
    }
}

/// What became of each partition's part, as `ringlog.PartOutcome` has it.
fn parts_of<'py>(py: Python<'py>, parts: &[PartOutcome]) -> PyResult<Bound<'py, PyList>> {
    let made = PyList::empty(py);
    for part in parts {
        let (offsets, error) = match &part.result {
            Ok(at) => (Some(PyRange::new(py, at.first.0 as isize, at.last.0 as isize + 1)?), None),
            Err(error) => (None, Some(raise(py, error).into_value(py))),
        };
        made.append((part.partition.0, part.records.clone(), offsets, error))?;
    }
    Ok(made)
}

/// The name of an error, and the file or directory that it is about.
fn describe(error: &Error) -> (&'static str, Option<&Path>) {
    match error {
        Error::InvalidArgument { .. } => ("invalid_argument", None),
        Error::UnknownTopic { .. } => ("unknown_topic", None),
        Error::TopicExists { .. } => ("topic_exists", None),
        Error::UnknownPartition { .. } => ("unknown_partition", None),
        Error::TooLarge { .. } => ("too_large", None),
        Error::InvalidBatch { .. } => ("invalid_batch", None),
        Error::OffsetOutOfRange { .. } => ("offset_out_of_range", None),
        Error::Truncated { .. } => ("truncated", None),
        Error::Busy { .. } => ("busy", None),
        Error::Pinned { .. } => ("pinned", None),
        Error::PartlyAppended { .. } => ("partly_appended", None),
        Error::QueueFull { .. } => ("queue_full", None),
        Error::Peer { .. } => ("peer", None),
        Error::Timeout { .. } => ("timeout", None),
        Error::Locked { path, .. } => ("locked", Some(path)),
        Error::NoSpace { path } => ("no_space", Some(path)),
        Error::WrongThread { .. } => ("wrong_thread", None),
        Error::Closed { .. } => ("closed", None),
        Error::Forked => ("forked", None),
        Error::Latched { .. } => ("latched", None),
        Error::Corrupt { path, .. } => ("corrupt", Some(path)),
        Error::NotADataDirectory { path, .. } => ("not_a_data_directory", Some(path)),
        Error::UnsupportedFormat { path, .. } => ("unsupported_format", Some(path)),
        Error::ReadOnly { path } => ("read_only", Some(path)),
        Error::NotDurable { path, .. } => ("not_durable", Some(path)),
        Error::Io { path, .. } => ("io", Some(path)),
        // One that is newer than this module; the tests look for that.
        _ => ("error", None),
    }
}
