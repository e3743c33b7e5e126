//! A shard: the only owner of a driver. It turns the flushers of its logs, and is itself turned: by
//! a thread of its own, or by whoever holds it (the simulator, a caller).

#[cfg(all(test, ringlog_shuttle))]
mod model;
mod thread;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use crate::buf::Waker;
use crate::clock::Clock;
use crate::driver::op::{Completion, Driver, Token};
use crate::error::Result;
use crate::limits::DRIVER_OPS_MAX;
use crate::log::flusher::{Flusher, Next};
use crate::log::{Log, Stop};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

pub(crate) use thread::{ShardThread, Start, spawn};
pub(crate) use worker::Worker;

/// Token bits that name the op within its log; the rest names the log.
const OP_BITS: u32 = 48;

/// What others may tell a shard.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) waker: Waker,
    inbox: Mutex<Vec<Arc<Log>>>,
    closing: AtomicBool,
}

impl Control {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { waker: Waker::new()?, inbox: Mutex::default(), closing: AtomicBool::new(false) })
    }

    /// Hands a log to the shard.
    pub(crate) fn add(&self, log: Arc<Log>) {
        self.inbox.lock().push(log);
        self.waker.wake();
    }

    /// Asks the shard to flush everything and end.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }
}

/// See the module.
pub(crate) struct Shard {
    control: Arc<Control>,
    driver: Box<dyn Driver>,
    clock: Clock,
    flushers: Vec<Flusher>,
    completions: Vec<Completion>,
    ops: u64,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("flushers", &self.flushers).finish_non_exhaustive()
    }
}

impl Shard {
    pub(crate) fn new(control: Arc<Control>, driver: Box<dyn Driver>, clock: Clock) -> Self {
        Self { control, driver, clock, flushers: Vec::new(), completions: Vec::new(), ops: 0 }
    }

    /// Waits as `next` says, but `limit` at most, takes in what has completed, and emits what can
    /// be emitted. An error means that the driver is gone: every log is latched.
    pub(crate) fn turn(&mut self, next: Next, limit: Duration) -> Result<Next, std::io::Error> {
        let timeout = match next {
            Next::Again => Some(Duration::ZERO),
            Next::Sleep(at) => at.map(|at| at.saturating_sub(self.clock.now())),
        };
        let timeout = match timeout {
            None if limit == Duration::MAX => None,
            timeout => Some(timeout.map_or(limit, |timeout| timeout.min(limit))),
        };
        let waited = self.driver.wait(timeout, &mut self.completions);
        if let Err(error) = waited {
            self.fail(&error);
            return Err(error);
        }
        for log in self.control.inbox.lock().drain(..) {
            self.flushers.push(Flusher::new(log));
        }
        let now = self.clock.now();
        for Completion { token, result } in self.completions.drain(..) {
            let flusher = &mut self.flushers[(token.0 >> OP_BITS) as usize];
            flusher.complete(token.0, result, now);
        }
        // First, so that what they append next can still join the group that goes now.
        for flusher in &mut self.flushers {
            flusher.fire();
        }
        let (mut next, submitted) = self.emit(now);
        if submitted {
            match self.driver.start(!limit.is_zero()) {
                Ok(true) => {}
                Ok(false) => next = Next::Again,
                Err(error) => {
                    self.fail(&error);
                    return Err(error);
                }
            }
        }
        // Of several that were submitted at once a turn executes one.
        Ok(if self.driver.has_queued() { Next::Again } else { next })
    }

    fn emit(&mut self, now: Duration) -> (Next, bool) {
        let mut earliest = Next::Sleep(None);
        let mut submitted = false;
        for (number, flusher) in self.flushers.iter_mut().enumerate() {
            flusher.tick(now);
            let next = flusher.turn(now, &mut |op| {
                debug_assert!(self.driver.in_flight() < DRIVER_OPS_MAX);
                self.ops += 1;
                let token = ((number as u64) << OP_BITS) | (self.ops & ((1 << OP_BITS) - 1));
                self.driver.submit(Token(token), op);
                submitted = true;
                token
            });
            earliest = earliest.earlier(next);
        }
        (earliest, submitted)
    }

    pub(crate) fn fail(&self, error: &std::io::Error) {
        let cause: Arc<str> = format!("{}: {error}", self.driver.name()).into();
        let waiting = self.control.inbox.lock().clone();
        for log in self.flushers.iter().map(Flusher::log).chain(&waiting) {
            log.stop(Stop::Latched(Arc::clone(&cause)));
        }
    }

    /// Whether nothing is claimed, queued or in flight, or never will move again.
    pub(crate) fn is_drained(&self) -> bool {
        self.control.inbox.lock().is_empty()
            && self.flushers.iter().all(|flusher| {
                !flusher.has_ops() && (flusher.is_idle() || flusher.log().stop_reason().is_some())
            })
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }
}
