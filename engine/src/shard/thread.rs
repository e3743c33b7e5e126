//! A shard's own thread: makes the driver (which belongs to the thread that uses it), then turns
//! the shard until it is closed and drained.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{Control, Shard};
use crate::buf;
use crate::clock::Clock;
use crate::driver::disk::LockGuard;
use crate::driver::{DriverChoice, choose};
use crate::error::{Error, Result};
use crate::log::flusher::Next;

/// A running shard.
#[derive(Debug)]
pub(crate) struct ShardThread {
    pub(crate) control: Arc<Control>,
    pub(crate) driver: &'static str,
    pub(crate) reason: String,
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

/// Starts a shard whose driver keeps `lock`.
pub(crate) fn spawn(
    control: Arc<Control>,
    choice: DriverChoice,
    lock: LockGuard,
    clock: Clock,
) -> Result<ShardThread> {
    let (send, receive) = crossbeam::channel::bounded(1);
    let ended = Arc::new(Ended::default());
    let announce = Announce(Arc::clone(&ended));
    let shared = Arc::clone(&control);
    let run = move || {
        let _announce = announce;
        let chosen = match choose(choice, &lock, shared.waker.clone()) {
            Ok(chosen) => chosen,
            Err(error) => {
                let _ = send.send(Err(error));
                return;
            }
        };
        let _ = send.send(Ok((chosen.driver.name(), chosen.reason)));
        turn_until_closed(Shard::new(shared, chosen.driver, clock));
        drop(lock);
    };
    let handle = buf::thread::spawn("ringlog-shard", run)
        .map_err(|error| Error::io("start a thread for", "the shard", error))?;
    let thread = handle.thread().id();
    let (driver, reason) = receive.recv().unwrap_or_else(|_| {
        Err(Error::io("start", "the shard", std::io::Error::other("its thread ended")))
    })?;
    Ok(ShardThread { control, driver, reason, thread, handle: Mutex::new(Some(handle)), ended })
}

/// However this ends, nobody waits for a shard that is gone: the panic of a caller's waker, which
/// runs here, latches the logs as a failed driver does.
fn turn_until_closed(mut shard: Shard) {
    let turned = catch_unwind(AssertUnwindSafe(|| keep_turning(&mut shard)));
    if turned.is_err() {
        shard.fail(&std::io::Error::other("a panic, perhaps of a waker"));
    }
}

fn keep_turning(shard: &mut Shard) {
    let mut next = Next::Again;
    loop {
        match shard.turn(next) {
            Ok(then) => next = then,
            Err(_) => return,
        }
        if shard.control().is_closing() && shard.is_drained() {
            return;
        }
    }
}

impl ShardThread {
    /// Whether the caller is this thread, which must not wait for itself.
    pub(crate) fn is_current(&self) -> bool {
        std::thread::current().id() == self.thread
    }

    /// Waits until it has drained and ended; false if the deadline passes first.
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
