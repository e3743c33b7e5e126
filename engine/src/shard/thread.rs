//! A shard's own thread: makes the driver (which belongs to the thread that uses it), then turns
//! the shard until it is closed and drained.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{Control, Shard, Worker};
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
    worker: Worker,
}

/// How a shard is started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Its number.
    pub(crate) shard: usize,
    /// Which driver it shall have.
    pub(crate) choice: DriverChoice,
    /// Kept by the driver.
    pub(crate) lock: LockGuard,
    pub(crate) clock: Clock,
    /// Whether its thread stays on one processor.
    pub(crate) pin: bool,
}

/// Starts a shard.
pub(crate) fn spawn(control: Arc<Control>, start: Start) -> Result<ShardThread> {
    let (send, receive) = crossbeam::channel::bounded(1);
    let shared = Arc::clone(&control);
    let name = format!("ringlog-shard-{}", start.shard);
    let run = move || {
        let pinned = if start.pin { pin(start.shard) } else { Ok(()) };
        let chosen =
            match pinned.and_then(|()| choose(start.choice, &start.lock, shared.waker.clone())) {
                Ok(chosen) => chosen,
                Err(error) => {
                    let _ = send.send(Err(error));
                    return;
                }
            };
        let _ = send.send(Ok((chosen.driver.name(), chosen.reason)));
        turn_until_closed(Shard::new(shared, chosen.driver, start.clock));
        drop(start.lock);
    };
    let worker = Worker::spawn(&name, run)
        .map_err(|error| Error::io("start a thread for", "the shard", error))?;
    let (driver, reason) = receive.recv().unwrap_or_else(|_| {
        Err(Error::io("start", "the shard", std::io::Error::other("its thread ended")))
    })?;
    Ok(ShardThread { control, driver, reason, worker })
}

/// Keeps this thread on one of the processors that it may use; shards take them in turn.
fn pin(shard: usize) -> Result<()> {
    let failed = |error: rustix::io::Errno| Error::io("pin", "the shard's thread", error.into());
    let allowed = sched_getaffinity(None).map_err(failed)?;
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let Some(cpu) = allowed.get(shard % allowed.len().max(1)) else { return Ok(()) };
    let mut only = CpuSet::new();
    only.set(*cpu);
    sched_setaffinity(None, &only).map_err(failed)
}

/// However this ends, nobody waits for a shard that is gone: the panic of a caller's waker, which
/// runs here, latches the logs as a failed driver does.
pub(super) fn turn_until_closed(mut shard: Shard) {
    let turned = catch_unwind(AssertUnwindSafe(|| keep_turning(&mut shard)));
    if turned.is_err() {
        shard.fail(&std::io::Error::other("a panic, perhaps of a waker"));
    }
}

fn keep_turning(shard: &mut Shard) {
    let mut next = Next::Again;
    loop {
        match shard.turn(next, Duration::MAX) {
            Ok(then) => next = then,
            Err(_) => return,
        }
        if shard.control().is_closing() && shard.is_drained() {
            return;
        }
    }
}

impl ShardThread {
    /// A thread that is no shard's, to be waited for as one.
    #[cfg(test)]
    pub(crate) fn stand_in(worker: Worker) -> Self {
        let control = Arc::new(Control::new().expect("a descriptor for a test"));
        Self { control, driver: "none", reason: String::new(), worker }
    }

    /// Whether the caller is this thread, which must not wait for itself.
    pub(crate) fn is_current(&self) -> bool {
        self.worker.is_current()
    }

    /// Waits until it has drained and ended; false if the deadline passes first.
    pub(crate) fn join(&self, timeout: Duration) -> bool {
        self.worker.join(timeout)
    }
}
