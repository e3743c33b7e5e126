//! Wakes a sleeping shard: an eventfd that its driver waits on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// A handle that any thread may fire; clones share the eventfd.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// A fresh one.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Ends the current or the next sleep of the driver.
    pub fn wake(&self) {
        // Fails only when the counter is full, and then the sleeper is woken already.
        let _ = rustix::io::write(&*self.0, &[1, 0, 0, 0, 0, 0, 0, 0]);
    }

    /// Takes the count back to zero; whether it had been fired.
    pub fn clear(&self) -> bool {
        rustix::io::read(&*self.0, &mut [0u8; 8]).is_ok()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
