//! Sleeping without the GIL, so that a signal ends it at once.
//!
//! The engine's own blocking calls sleep where a signal does not wake them. Here a thread sleeps in
//! poll(2) on an eventfd of its own, which the engine's wakers write to: a signal interrupts that,
//! Python's handlers run, and what they raise (`KeyboardInterrupt`) leaves the call. No slices, no
//! ticks. Like Python's own blocking calls, this leaves an instant between looking for signals and
//! falling asleep.
//!
//! What the engine can only do blocking (opening, closing, changing topics) is done by a helper
//! thread while the main thread sleeps in this way; other threads get no signals and do it
//! themselves.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::guard;

/// Longest single sleep: what poll(2) takes without overflow. Its end is a look around.
const SLEEP_MAX: Duration = Duration::from_secs(1 << 30);

/// An eventfd as a waker.
pub(crate) struct Signal(OwnedFd);

impl Signal {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    fn raise(&self) {
        // Any number will do, and this one is the same in either byte order. It fails only when the
        // sum of those that nobody took is at its end: the descriptor is readable then, too.
        let _ = rustix::io::write(&self.0, &[1; 8]);
    }

    fn take(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0, &mut count);
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}

thread_local! {
    /// This thread's signal, and the process that made it: a child would share the parent's.
    static THIS: RefCell<Option<(u64, Arc<Signal>)>> = const { RefCell::new(None) };
}

fn this_thread() -> std::io::Result<Arc<Signal>> {
    THIS.with_borrow_mut(|slot| {
        if let Some((generation, signal)) = slot
            && *generation == guard::generation()
        {
            return Ok(Arc::clone(signal));
        }
        let signal = Arc::new(Signal::new()?);
        *slot = Some((guard::generation(), Arc::clone(&signal)));
        Ok(signal)
    })
}

/// A point in time, or never.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// `None`, and what is too far away to be a time, is never.
    pub(crate) fn after(timeout: Option<Duration>) -> Self {
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// What is left of it; `None`: it is over.
    pub(crate) fn left(self) -> Option<Duration> {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        Some(self.0.map_or(SLEEP_MAX, left).min(SLEEP_MAX)).filter(|left| !left.is_zero())
    }
}

enum Slept<T> {
    Ready(T),
    Deadline,
    Signal,
    Failed(std::io::Error),
}

/// Polls until ready or until the deadline (`None`), without the GIL; raises what a signal's
/// handler raises.
pub(crate) fn block_on<T: Send>(
    py: Python<'_>,
    deadline: Deadline,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T> + Send,
) -> PyResult<Option<T>> {
    let signal = this_thread().map_err(PyOSError::new_err)?;
    loop {
        match py.detach(|| sleep(&signal, deadline, &mut poll)) {
            Slept::Ready(value) => return Ok(Some(value)),
            Slept::Deadline => return Ok(None),
            Slept::Signal => py.check_signals()?,
            Slept::Failed(error) => return Err(error.into()),
        }
    }
}

fn sleep<T>(
    signal: &Arc<Signal>,
    deadline: Deadline,
    poll: &mut impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Slept<T> {
    let waker = Waker::from(Arc::clone(signal));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = poll(&mut context) {
            return Slept::Ready(value);
        }
        let Some(left) = deadline.left() else { return Slept::Deadline };
        match ready(&signal.0, PollFlags::IN, left) {
            Ok(true) => signal.take(),
            Ok(false) => {}
            Err(Errno::INTR) => return Slept::Signal,
            Err(error) => return Slept::Failed(error.into()),
        }
    }
}

/// Sleeps until the descriptor is ready, or the time is over (false), or a signal comes.
pub(crate) fn ready(fd: &impl AsFd, what: PollFlags, left: Duration) -> Result<bool, Errno> {
    let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    let mut fds = [PollFd::new(fd, what)];
    poll(&mut fds, Some(&left)).map(|ready| ready > 0)
}

/// Runs what only blocks, so that ^C still interrupts: it goes on alone then, and its result is
/// dropped.
pub(crate) fn blocking<T: Send + 'static>(
    py: Python<'_>,
    run: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    if !is_main_thread() {
        return Ok(py.detach(run));
    }
    let done: Arc<Mutex<Done<T>>> = Arc::new(Mutex::new(Done { value: None, waker: None }));
    let there = Arc::clone(&done);
    spawn("ringlog-call", move || {
        let value = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let mut done = there.lock();
        done.value = Some(value);
        if let Some(waker) = done.waker.take() {
            waker.wake();
        }
    })?;
    let value = block_on(py, Deadline(None), |context| {
        let mut done = done.lock();
        if let Some(value) = done.value.take() {
            return Poll::Ready(value);
        }
        done.waker = Some(context.waker().clone());
        Poll::Pending
    })?;
    let value = value.expect("a wait without a deadline ends with its value");
    Ok(value.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

struct Done<T> {
    value: Option<thread::Result<T>>,
    waker: Option<Waker>,
}

/// Where Python runs signal handlers.
fn is_main_thread() -> bool {
    rustix::thread::gettid() == rustix::process::getpid()
}

/// Starts a thread that takes no signals, so that they reach the threads of the program.
pub(crate) fn spawn<F>(name: &str, run: F) -> PyResult<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    let masked = Masked::all();
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    drop(masked);
    spawned.map_err(Into::into)
}

/// All signals blocked on this thread, until dropped; a thread started meanwhile inherits it.
struct Masked(libc::sigset_t);

impl Masked {
    fn all() -> Self {
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both are written by the calls before they are read; the thread's own mask is
        // changed, and put back when this is dropped.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        // SAFETY: the mask that was there before.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}
