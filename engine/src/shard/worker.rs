//! A thread of the engine's that can be waited for with a deadline, which a join cannot.

use std::io;
use std::sync::Arc;
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::buf::thread;

/// See the module.
#[derive(Debug)]
pub(crate) struct Worker {
    thread: ThreadId,
    handle: Mutex<Option<JoinHandle<()>>>,
    ended: Arc<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    done: Mutex<bool>,
    condvar: Condvar,
}

/// Ends are announced however the thread ends.
struct Announce(Arc<Ended>);

impl Drop for Announce {
    fn drop(&mut self) {
        *self.0.done.lock() = true;
        self.0.condvar.notify_all();
    }
}

impl Worker {
    /// Starts it. What `run` owns is dropped before the end is announced.
    pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let ended = Arc::new(Ended::default());
        let announce = Announce(Arc::clone(&ended));
        let handle = thread::spawn(name, move || {
            let _announce = announce;
            run();
        })?;
        Ok(Self { thread: handle.thread().id(), handle: Mutex::new(Some(handle)), ended })
    }

    /// Whether the caller is this thread, which must not wait for itself.
    pub(crate) fn is_current(&self) -> bool {
        std::thread::current().id() == self.thread
    }

    /// Waits until it has ended; false if the deadline passes first.
    pub(crate) fn join(&self, timeout: Duration) -> bool {
        // Beyond what a clock can say is for ever.
        let deadline = Instant::now().checked_add(timeout);
        let mut done = self.ended.done.lock();
        while !*done {
            match deadline {
                None => self.ended.condvar.wait(&mut done),
                Some(deadline) => {
                    if self.ended.condvar.wait_until(&mut done, deadline).timed_out() {
                        return *done;
                    }
                }
            }
        }
        drop(done);
        if let Some(handle) = self.handle.lock().take() {
            // Announced: what is left of it is a return.
            let _ = handle.join();
        }
        true
    }
}
