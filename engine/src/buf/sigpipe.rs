//! Keeps SIGPIPE away while a thread writes to what may have no reader. `sendfile` knows no
//! `MSG_NOSIGNAL`, and the default action would end the host process.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

/// While it lives, this thread takes no SIGPIPE. Stays on its thread.
#[derive(Debug)]
pub struct SigpipeBlocked {
    /// It was blocked before: the mask stays as it is.
    was_blocked: bool,
    /// One was pending before: it is somebody else's, and no second one can be told from it.
    was_pending: bool,
    on_this_thread: PhantomData<*const ()>,
}

fn only_sigpipe() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set, sigaddset changes it; SIGPIPE is a valid signal.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
        set.assume_init()
    }
}

fn has_sigpipe(set: &libc::sigset_t) -> bool {
    // SAFETY: an initialised set and a valid signal.
    unsafe { libc::sigismember(set, libc::SIGPIPE) == 1 }
}

fn is_pending() -> bool {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigpending initialises the set, and cannot fail with a valid pointer.
    unsafe { libc::sigpending(set.as_mut_ptr()) == 0 && has_sigpipe(&set.assume_init()) }
}

impl SigpipeBlocked {
    /// Blocks it in this thread.
    pub fn new() -> Self {
        let was_pending = is_pending();
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets are valid; the old mask is written before it is read. With these
        // arguments the call cannot fail.
        let was_blocked = unsafe {
            let done = libc::pthread_sigmask(libc::SIG_BLOCK, &only_sigpipe(), before.as_mut_ptr());
            done == 0 && has_sigpipe(&before.assume_init())
        };
        Self { was_blocked, was_pending, on_this_thread: PhantomData }
    }
}

impl Default for SigpipeBlocked {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for SigpipeBlocked {
    fn drop(&mut self) {
        let set = only_sigpipe();
        if !self.was_pending && is_pending() {
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: takes the signal that this thread's write has raised, without waiting.
            while unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const now) }
                == -1
                && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
            {
            }
        }
        if !self.was_blocked {
            // SAFETY: undoes what `new` did, with a valid set.
            unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut()) };
        }
    }
}
