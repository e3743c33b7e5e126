//! What `append_nowait` gives: a future like those of `concurrent.futures`, but made in a tenth of
//! the time, because most of what it needs is made only when somebody asks for it.
//!
//! `ringlog._future.Future` extends this class and `concurrent.futures.Future`, so that
//! `asyncio.wrap_future`, `wait` and `as_completed` take it for what it is.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyTimeoutError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::error::{self, OrRaise as _};
use crate::guard::{self, guard};
use crate::reader::seconds;
use crate::wait::{Deadline, block_on};

/// What an append answers: to a topic, or to a partition, which speaks in offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    Id(u32, u64),
    Offset(u64),
}

static RECORD_ID: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

impl Value {
    pub(crate) fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Self::Offset(offset) => Ok(offset.into_pyobject(py)?.into_any()),
            Self::Id(partition, offset) => {
                RECORD_ID.import(py, "ringlog._info", "RecordId")?.call1((partition, offset))
            }
        }
    }
}

pub(crate) type Outcome = ringlog::Result<Value>;

/// An append on its way, shared with whoever completes it.
#[derive(Default)]
pub(crate) struct Pending {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    outcome: Option<Outcome>,
    wakers: Vec<Waker>,
    /// Each with the future it is called with.
    callbacks: Vec<(Py<PyAny>, Py<PyAny>)>,
}

/// Callbacks to be run by whoever completed the future, in the order they were added.
#[derive(Default)]
pub(crate) struct Callbacks(Vec<(Py<PyAny>, Py<PyAny>)>);

impl Callbacks {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What one raises keeps nobody else from being called.
    pub(crate) fn run(self, py: Python<'_>) {
        for (callback, future) in self.0 {
            call(py, callback.bind(py), future.bind(py));
        }
    }
}

fn call(py: Python<'_>, callback: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) {
    if let Err(error) = callback.call1((future,)) {
        error.write_unraisable(py, Some(callback));
    }
}

impl Pending {
    /// Sets the outcome, once, and wakes who waits. Needs no GIL.
    pub(crate) fn complete(&self, outcome: Outcome, callbacks: &mut Callbacks) {
        let wakers = {
            let mut inner = self.inner.lock();
            inner.outcome = Some(outcome);
            callbacks.0.append(&mut inner.callbacks);
            std::mem::take(&mut inner.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn outcome(&self) -> Option<Outcome> {
        self.inner.lock().outcome.clone()
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Outcome> {
        let mut inner = self.inner.lock();
        if let Some(outcome) = &inner.outcome {
            return Poll::Ready(outcome.clone());
        }
        if !inner.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            inner.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

enum State {
    Done(Outcome),
    Pending { pending: Arc<Pending>, generation: u64 },
}

thread_local! {
    /// What the next future of this thread is made of: its class is instantiated by Python.
    static NEXT: Cell<Option<State>> = const { Cell::new(None) };
}

static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The native half of `ringlog.Future`.
#[pyclass(frozen, subclass, module = "ringlog._ringlog", name = "_Future")]
pub(crate) struct PyFuture {
    state: State,
}

impl PyFuture {
    /// A future that is done.
    pub(crate) fn of_outcome(py: Python<'_>, outcome: Outcome) -> PyResult<Bound<'_, PyAny>> {
        Self::make(py, State::Done(outcome))
    }

    /// A future that somebody will complete.
    pub(crate) fn of_pending(py: Python<'_>, pending: Arc<Pending>) -> PyResult<Bound<'_, PyAny>> {
        Self::make(py, State::Pending { pending, generation: guard::generation() })
    }

    fn make(py: Python<'_>, state: State) -> PyResult<Bound<'_, PyAny>> {
        let class = CLASS.import(py, "ringlog._future", "Future")?;
        NEXT.set(Some(state));
        // Past `__init__`: that of concurrent.futures makes what is made here only when needed.
        let none = PyTuple::empty(py);
        // SAFETY: `Future` is a class that inherits its `tp_new` from this one, which takes a type
        // of that kind, an empty tuple and no keywords, and gives a new reference or an error.
        unsafe {
            let slot = ffi::PyType_GetSlot(class.as_ptr().cast(), ffi::Py_tp_new);
            let new: ffi::newfunc = std::mem::transmute(slot);
            let made = new(class.as_ptr().cast(), none.as_ptr(), std::ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, made)
        }
    }

    /// The outcome, if it is known; `ForkedError` if it never will be.
    fn look(&self, py: Python<'_>) -> PyResult<Option<Outcome>> {
        match &self.state {
            State::Done(outcome) => Ok(Some(outcome.clone())),
            State::Pending { generation, .. } if *generation != guard::generation() => {
                Err(error::forked(py))
            }
            State::Pending { pending, .. } => Ok(pending.outcome()),
        }
    }

    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Outcome> {
        let timeout = seconds("timeout", timeout)?;
        if let Some(outcome) = self.look(py)? {
            return Ok(outcome);
        }
        let State::Pending { pending, .. } = &self.state else {
            return Err(PyRuntimeError::new_err("a future that is done has an outcome"));
        };
        let deadline = Deadline::after(timeout);
        let outcome = block_on(py, deadline, |context| pending.poll(context))?;
        outcome.ok_or_else(|| PyTimeoutError::new_err("the append is not acknowledged yet"))
    }
}

#[pymethods]
impl PyFuture {
    #[new]
    fn new() -> PyResult<Self> {
        let state = NEXT.take();
        let state = state.ok_or_else(|| PyTypeError::new_err("made by append_nowait only"))?;
        Ok(Self { state })
    }

    /// The answer of the append, once it is acknowledged; raises what made it fail. Waits, at most
    /// `timeout` seconds (`TimeoutError`).
    #[pyo3(signature = (timeout=None))]
    fn result<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        guard(py, || self.wait(py, timeout)?.or_raise(py)?.into_python(py))
    }

    /// What made the append fail, or `None`. Waits as `result` does.
    #[pyo3(signature = (timeout=None))]
    fn exception<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        guard(py, || {
            let failed = self.wait(py, timeout)?.or_raise(py).err();
            Ok(failed.map(|error| error.into_value(py).into_bound(py).into_any()))
        })
    }

    /// Whether it is acknowledged or has failed.
    fn done(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.look(py)?.is_some())
    }

    /// Whether it is neither acknowledged nor failed.
    fn running(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.look(py)?.is_none())
    }

    /// Never succeeds: what was claimed is appended.
    #[expect(clippy::unused_self, reason = "as concurrent.futures has it")]
    fn cancel(&self) -> bool {
        false
    }

    /// Never.
    #[expect(clippy::unused_self, reason = "as concurrent.futures has it")]
    fn cancelled(&self) -> bool {
        false
    }

    /// Calls `callback` with this future once it is done: at once if it is, else on a thread of
    /// Ringlog's, which also calls those of other futures. What it raises is reported and ignored.
    #[pyo3(name = "add_done_callback")]
    fn add_done_callback(slf: Bound<'_, Self>, r#fn: Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if slf.get().look(py)?.is_none()
            && let State::Pending { pending, .. } = &slf.get().state
        {
            let entry = (r#fn.clone().unbind(), slf.clone().into_any().unbind());
            let mut inner = pending.inner.lock();
            if inner.outcome.is_none() {
                inner.callbacks.push(entry);
                return Ok(());
            }
        }
        call(py, &r#fn, slf.as_any());
        Ok(())
    }

    fn __repr__(slf: Bound<'_, Self>) -> String {
        let state = match slf.get().look(slf.py()) {
            Ok(Some(Ok(value))) => format!("done {value:?}"),
            Ok(Some(Err(error))) => format!("failed: {error}"),
            Ok(None) => "pending".to_owned(),
            Err(_) => "of another process".to_owned(),
        };
        format!("<ringlog.Future {state}>")
    }
}
