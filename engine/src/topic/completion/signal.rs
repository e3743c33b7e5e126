//! How those who complete something tell the poller of a completion queue: a flag, and an eventfd
//! written only when somebody may be listening.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::buf::Waker as Event;

/// See the module.
#[derive(Debug)]
pub(super) struct Signal {
    event: Event,
    /// There may be completions that the poller has not looked for.
    raised: AtomicBool,
    /// The descriptor was handed out, for good.
    watched: AtomicBool,
    /// The poller is about to sleep, or sleeps.
    sleeping: AtomicBool,
    /// Somebody asked for the poll to end.
    woken: AtomicBool,
    /// Readers for which there may be more, by their number in the queue.
    readers: Mutex<Vec<u64>>,
    /// The poller turns shards, and sleeps in them: whom to wake then.
    turner: Mutex<Option<std::task::Waker>>,
    turning: AtomicBool,
}

impl Signal {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            event: Event::new()?,
            raised: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            readers: Mutex::default(),
            turner: Mutex::default(),
            turning: AtomicBool::new(false),
        })
    }

    /// There is, or may be, a completion.
    pub(super) fn raise(&self) {
        let listened =
            || self.watched.load(Ordering::SeqCst) || self.sleeping.load(Ordering::SeqCst);
        if self.raised.swap(true, Ordering::SeqCst) {
            return;
        }
        if listened() {
            self.event.wake();
        }
        if self.turning.load(Ordering::SeqCst)
            && let Some(waker) = &*self.turner.lock()
        {
            waker.wake_by_ref();
        }
    }

    /// From now on [`raise`](Self::raise) wakes this; `None`: nobody any more. The caller looks for
    /// completions afterwards.
    pub(super) fn turn_with(&self, waker: Option<&std::task::Waker>) {
        *self.turner.lock() = waker.cloned();
        self.turning.store(waker.is_some(), Ordering::SeqCst);
    }

    /// Before looking for completions: what comes from now on raises it anew.
    pub(super) fn lower(&self) {
        self.raised.store(false, Ordering::SeqCst);
        if self.watched.load(Ordering::SeqCst) || self.sleeping.load(Ordering::SeqCst) {
            // Whether or not it was raised: whoever raised it may be late in writing.
            self.event.clear();
        }
    }

    /// Ends the poll that is going on, or the next. Nothing here allocates or locks.
    pub(super) fn wake(&self) {
        self.woken.store(true, Ordering::SeqCst);
        self.event.wake();
    }

    /// Whether somebody asked for the poll to end; asked once.
    pub(super) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }

    /// The descriptor, readable from now on while there may be completions.
    pub(super) fn watch(&self) -> BorrowedFd<'_> {
        if !self.watched.swap(true, Ordering::SeqCst) && self.raised.load(Ordering::SeqCst) {
            self.event.wake();
        }
        self.event.as_fd()
    }

    /// From now on [`raise`](Self::raise) ends a [`sleep`](Self::sleep).
    pub(super) fn listen(&self, sleeping: bool) {
        self.sleeping.store(sleeping, Ordering::SeqCst);
    }

    /// Sleeps until something is raised or `timeout`; false if a signal handler ran.
    pub(super) fn sleep(&self, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).ok();
        let mut fds = [PollFd::new(&self.event, PollFlags::IN)];
        rustix::event::poll(&mut fds, timeout.as_ref()) != Err(Errno::INTR)
    }

    fn reader(&self, number: u64) {
        self.readers.lock().push(number);
        self.raise();
    }

    /// Readers for which there may be more.
    pub(super) fn take_readers(&self) -> Vec<u64> {
        std::mem::take(&mut *self.readers.lock())
    }
}

/// Registered on a log's watermark for a lane of the queue.
#[derive(Debug)]
pub(super) struct LaneWaker {
    pub(super) signal: Arc<Signal>,
    pub(super) fired: AtomicBool,
}

impl Wake for LaneWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.fired.store(true, Ordering::SeqCst);
        self.signal.raise();
    }
}

/// Registered by a reader that waits in the queue. It fires once.
#[derive(Debug)]
pub(super) struct ReaderWaker {
    pub(super) signal: Arc<Signal>,
    pub(super) number: u64,
    pub(super) fired: AtomicBool,
}

impl Wake for ReaderWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.fired.swap(true, Ordering::SeqCst) {
            self.signal.reader(self.number);
        }
    }
}
