//! Wakes a sleeping shard: an eventfd that its driver waits on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// A handle that any thread may fire; clones share the eventfd.
#[derive(Clone, Debug)]
pub struct Waker {
    fd: Arc<OwnedFd>,
    /// What a model checker's threads sleep on instead.
    #[cfg(ringlog_shuttle)]
    model: Arc<crate::sync::Flag>,
}

impl Waker {
    /// A fresh one.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            fd: Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?),
            #[cfg(ringlog_shuttle)]
            model: Arc::default(),
        })
    }

    /// Ends the current or the next sleep of the driver.
    pub fn wake(&self) {
        #[cfg(ringlog_shuttle)]
        self.model.raise();
        // Fails only when the counter is full, and then the sleeper is woken already.
        let _ = rustix::io::write(&*self.fd, &[1, 0, 0, 0, 0, 0, 0, 0]);
    }

    /// Sleeps until it is fired, and takes that back.
    #[cfg(ringlog_shuttle)]
    pub(crate) fn sleep(&self) {
        self.model.wait();
    }

    /// Takes the count back to zero; whether it had been fired.
    pub fn clear(&self) -> bool {
        rustix::io::read(&*self.fd, &mut [0u8; 8]).is_ok()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
