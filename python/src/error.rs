//! The engine's errors as Python's exceptions. The classes are in `ringlog/_errors.py`; this module
//! only says which one, and never decides what a caller may do: the engine does.

use std::path::Path;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use ringlog::{Error, ErrorKind};

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
    let (code, path, pid) = describe(error);
    let fatal = matches!(error.kind(), ErrorKind::Reopen | ErrorKind::Restore);
    Exception {
        code,
        message: &error.to_string(),
        retriable: error.is_retriable(),
        fatal,
        outcome_unknown: error.outcome_is_unknown(),
        path,
        pid,
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
    pid: Option<u32>,
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
            more.set_item("pid", self.pid)?;
            make.call((self.code, self.message), Some(&more))
        };
        match make() {
            Ok(exception) => PyErr::from_value(exception),
            // Only while the interpreter is taken down can the class be missing.
            Err(_) => PyRuntimeError::new_err(self.message.to_owned()),
        }
    }
}

/// The name of an error, and what its class carries besides.
fn describe(error: &Error) -> (&'static str, Option<&Path>, Option<u32>) {
    match error {
        Error::InvalidArgument { .. } => ("invalid_argument", None, None),
        Error::UnknownTopic { .. } => ("unknown_topic", None, None),
        Error::TopicExists { .. } => ("topic_exists", None, None),
        Error::UnknownPartition { .. } => ("unknown_partition", None, None),
        Error::TooLarge { .. } => ("too_large", None, None),
        Error::InvalidBatch { .. } => ("invalid_batch", None, None),
        Error::OffsetOutOfRange { .. } => ("offset_out_of_range", None, None),
        Error::Busy { .. } => ("busy", None, None),
        Error::Timeout { .. } => ("timeout", None, None),
        Error::Locked { path, pid, .. } => ("locked", Some(path), *pid),
        Error::NoSpace { path } => ("no_space", Some(path), None),
        Error::Closed { .. } => ("closed", None, None),
        Error::Latched { .. } => ("latched", None, None),
        Error::Corrupt { path, .. } => ("corrupt", Some(path), None),
        Error::NotADataDirectory { path, .. } => ("not_a_data_directory", Some(path), None),
        Error::UnsupportedFormat { path, .. } => ("unsupported_format", Some(path), None),
        Error::ReadOnly { path } => ("read_only", Some(path), None),
        Error::NotDurable { path, .. } => ("not_durable", Some(path), None),
        Error::Io { path, .. } => ("io", Some(path), None),
        _ => ("error", None, None),
    }
}
