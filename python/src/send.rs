//! Sending batches to a socket, with the timeouts that Python's sockets have.
//!
//! The engine is never asked to wait for long: the thread sleeps in poll(2) without the GIL, where
//! a signal ends the wait, and hands the engine a descriptor that takes something.

use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use rustix::event::PollFlags;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;

use crate::batch::busy;
use crate::engine::Handle;
use crate::error::OrRaise as _;
use crate::guard::{Ours, guard};
use crate::reader::seconds;
use crate::wait::{Deadline, ready};

/// A blocking socket may hold a call of the engine for so long: signals wait for it.
const HOLD: Duration = Duration::from_millis(2);

static SENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A descriptor that somebody else owns, and how long to wait for it.
pub(crate) struct Peer<'py> {
    fd: RawFd,
    deadline: Deadline,
    blocks: bool,
    /// Its object is held as long as this is: as far as that is Python's to say, it stays open.
    owner: PhantomData<&'py ()>,
}

impl<'py> Peer<'py> {
    /// A socket, or whatever has a descriptor, with this timeout or its own.
    pub(crate) fn new(owner: &'py Bound<'py, PyAny>, timeout: Option<f64>) -> PyResult<Self> {
        // SAFETY: a call with an object, which gives -1 and an exception if it has no descriptor.
        let fd = unsafe { ffi::PyObject_AsFileDescriptor(owner.as_ptr()) };
        if fd < 0 {
            return Err(PyErr::fetch(owner.py()));
        }
        let given = seconds("timeout", timeout)?;
        // SAFETY: looked at for its flags only; one that is closed gives an error.
        let flags = fcntl_getfl(unsafe { BorrowedFd::borrow_raw(fd) });
        let flags = flags.map_err(|errno| PyErr::from(std::io::Error::from(errno)))?;
        let blocks = !flags.contains(OFlags::NONBLOCK);
        let own = if timeout.is_some() { given } else { own_timeout(owner, blocks)? };
        Ok(Self { fd, deadline: Deadline::after(own), blocks, owner: PhantomData })
    }

    /// Until the descriptor takes something; false: the time is over.
    fn wait(&self, py: Python<'_>) -> PyResult<bool> {
        loop {
            let left = self.deadline.left();
            match py.detach(|| ready(&self.borrow(), PollFlags::OUT, left.unwrap_or_default())) {
                Ok(true) => return Ok(true),
                Ok(false) if left.is_none() => return Ok(false),
                Ok(false) => {}
                Err(Errno::INTR) => py.check_signals()?,
                Err(errno) => return Err(std::io::Error::from(errno).into()),
            }
        }
    }

    /// How long one call of the engine may wait by itself.
    fn hold(&self) -> Duration {
        let most = if self.blocks { HOLD } else { Duration::ZERO };
        self.deadline.left().unwrap_or_default().min(most)
    }

    /// For the time of one call.
    fn borrow(&self) -> BorrowedFd<'_> {
        // SAFETY: open when it was looked at, and not -1. Whoever closes it meanwhile has its
        // number used for something else, as in every other call of Python's on a descriptor.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

/// What `settimeout` said; of what is no socket, what its descriptor does.
fn own_timeout(owner: &Bound<'_, PyAny>, blocks: bool) -> PyResult<Option<Duration>> {
    match owner.getattr_opt(intern!(owner.py(), "gettimeout"))? {
        Some(method) => seconds("timeout", method.call0()?.extract()?),
        None if blocks => Ok(None),
        None => Ok(Some(Duration::ZERO)),
    }
}

/// Sends the batches of a partition one after the other and keeps its place amid a batch, so that a
/// socket which takes no more is no error. One thread at a time.
///
/// Made by `Partition.sender`.
#[pyclass(frozen, module = "ringlog", name = "Sender")]
pub(crate) struct PySender {
    sender: Mutex<Ours<ringlog::Sender>>,
    handle: Arc<Handle>,
}

impl PySender {
    pub(crate) fn new(sender: ringlog::Sender, handle: &Arc<Handle>) -> Self {
        Self { sender: Mutex::new(Ours::new(sender)), handle: Arc::clone(handle) }
    }

    fn look<T>(
        &self,
        py: Python<'_>,
        look: impl FnOnce(&mut ringlog::Sender) -> PyResult<T>,
    ) -> PyResult<T> {
        self.handle.check(py)?;
        let Some(mut sender) = self.sender.try_lock() else { return Err(busy("sender")) };
        look(sender.get_mut(py)?)
    }
}

#[pymethods]
impl PySender {
    /// Sends what a call before has left, then further whole batches up to `max_bytes` and at least
    /// one, until nothing more is visible; see `Partition.send_to`.
    #[pyo3(signature = (socket, *, max_bytes=None, timeout=None))]
    pub(crate) fn send_to<'py>(
        &self,
        py: Python<'py>,
        socket: &Bound<'py, PyAny>,
        max_bytes: Option<u64>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let peer = Peer::new(socket, timeout)?;
        self.look(py, |sender| guard(py, || send(py, sender, &peer, max_bytes)))
    }

    /// The offset after the last batch that was sent whole.
    #[getter]
    fn next_offset(&self, py: Python<'_>) -> PyResult<u64> {
        self.look(py, |sender| Ok(sender.next_offset().0))
    }

    /// Whether the peer has a part of a batch.
    #[getter]
    fn is_amid_batch(&self, py: Python<'_>) -> PyResult<bool> {
        self.look(py, |sender| Ok(sender.is_amid_batch()))
    }
}

/// Sends until all of it is gone, the time is over, or a signal's handler raises.
pub(crate) fn send<'py>(
    py: Python<'py>,
    sender: &mut ringlog::Sender,
    peer: &Peer<'_>,
    max_bytes: Option<u64>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut budget = max_bytes.unwrap_or(u64::MAX);
    let mut bytes = 0;
    let complete = loop {
        if peer.blocks && !peer.wait(py)? {
            break false;
        }
        let hold = peer.hold();
        let begun = sender.left_bytes();
        let sent = py.detach(|| sender.send_to(peer.borrow(), budget, hold)).or_raise(py)?;
        bytes += sent.bytes;
        // What was begun newly: the next call finishes that before it asks for more.
        budget = budget.saturating_sub(sent.bytes + sender.left_bytes() - begun);
        if sent.complete {
            break true;
        }
        py.check_signals()?;
        if peer.deadline.left().is_none() || !(peer.blocks || peer.wait(py)?) {
            break false;
        }
    };
    let class = SENT.import(py, "ringlog._info", "Sent")?;
    class.call1((sender.next_offset().0, bytes, complete))
}
