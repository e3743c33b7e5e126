//! `ringlog._ringlog`: the engine's public API for Python. The package `ringlog` (in
//! `python/ringlog`) gives it its names, its exceptions and asyncio.
//!
//! Every class is frozen and usable from any thread, with or without a GIL. No call waits while it
//! holds the GIL, no lock of ours is held while the GIL is waited for, nothing of ours runs Python
//! on a thread of the engine. The module never decides what an error means or when something is
//! durable: the engine does.

#![expect(unsafe_code, reason = "buffers that Python looks into, and the signal mask of threads")]
#![expect(clippy::needless_pass_by_value, reason = "Python's calls hand over what they pass")]

mod arrow;
mod batch;
#[path = "../../engine/src/bin/ringlog/main.rs"]
mod cli;
mod column;
mod dispatch;
mod engine;
mod error;
mod extents;
mod future;
mod guard;
mod input;
mod lease;
mod queue;
mod reader;
mod record;
mod send;
mod topic;
mod wait;

use pyo3::prelude::*;

/// The engine, for the package `ringlog`.
#[pymodule(gil_used = false)]
mod _ringlog {
    #[pymodule_export]
    use super::batch::{PyBatch, PyBatchIter};
    #[pymodule_export]
    use super::engine::{_close_all, _open, PyEngine};
    #[pymodule_export]
    use super::extents::{PyExtents, PyFileExtent};
    #[pymodule_export]
    use super::future::PyFuture;
    #[pymodule_export]
    use super::queue::PyQueue;
    #[pymodule_export]
    use super::reader::{PyBatchReader, PyReader};
    #[pymodule_export]
    use super::record::PyRecord;
    #[pymodule_export]
    use super::send::PySender;
    #[pymodule_export]
    use super::topic::{PyPartition, PyTopic};
    use pyo3::prelude::*;
    use std::ffi::OsString;

    /// The command line with these arguments, after the program's name; gives the exit code.
    #[pyfunction]
    fn _main(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
        let arguments = std::iter::once("ringlog".into()).chain(arguments);
        super::guard::guard(py, || Ok(py.detach(|| super::cli::main_with(arguments))))
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::guard::install();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
