//! Threads of the engine's own: no signal of the host's is delivered to them.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread named `name` that blocks every signal which is not about a fault of its own.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // A thread inherits the mask: there is no moment at which a signal could reach it.
    let before = block()?;
    let spawned = Builder::new().name(name.to_owned()).spawn(run);
    restore(&before);
    spawned
}

const FAULTS: [i32; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
];

fn block() -> io::Result<libc::sigset_t> {
    // SAFETY: a signal set is plain bits; both sets are initialised before they are read.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        for signal in FAULTS {
            libc::sigdelset(&raw mut all, signal);
        }
        match libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) {
            0 => Ok(before),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

fn restore(before: &libc::sigset_t) {
    // SAFETY: the mask that this thread had. It fails only for a bad argument.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}
