//! Who turns the shards and does the upkeep: threads, or the callers themselves.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::maintenance::Maintenance;
use super::seat::Seat;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::park;
use crate::shard::{Control, ShardThread};

/// See the module.
pub(crate) enum Runner {
    /// Threads: one for each shard, and one for the upkeep of all logs.
    Threads(Vec<ShardThread>, Arc<Maintenance>),
    /// Whoever calls.
    Caller(Caller),
}

impl Runner {
    fn controls(&self) -> Vec<&Control> {
        match self {
            Self::Threads(threads, _) => threads.iter().map(|thread| &*thread.control).collect(),
            Self::Caller(caller) => caller.seats.iter().map(|seat| &*seat.control).collect(),
        }
    }

    pub(crate) fn shards(&self) -> usize {
        match self {
            Self::Threads(threads, _) => threads.len(),
            Self::Caller(caller) => caller.seats.len(),
        }
    }

    /// Hands a log to its shard and to upkeep.
    pub(crate) fn add(&self, log: Arc<Log>) {
        let (control, upkeep) = match self {
            Self::Threads(threads, upkeep) => (&threads[log.shard].control, upkeep),
            Self::Caller(caller) => {
                let seat = &caller.seats[log.shard];
                (&seat.control, &seat.upkeep)
            }
        };
        upkeep.add(Arc::clone(&log));
        control.add(log);
    }

    /// Polls until ready or `timeout`; false if that passes first.
    pub(crate) fn block_on(
        &self,
        timeout: Duration,
        poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> bool {
        match self {
            Self::Threads(..) => park::block_on(timeout, poll).is_some(),
            Self::Caller(caller) => caller.block_on(timeout, poll),
        }
    }

    /// Turns every shard, and upkeep, once; does nothing where threads do.
    pub(crate) fn turn(&self) {
        if let Self::Caller(caller) = self {
            caller.turn_all();
        }
    }

    /// The shards that callers turn.
    pub(crate) fn caller(&self, what: &'static str) -> Result<&Caller> {
        match self {
            Self::Caller(caller) => Ok(caller),
            Self::Threads(..) => {
                let reason = "the engine turns its shards itself; see Options::caller_driven";
                Err(Error::invalid(what, reason))
            }
        }
    }

    /// Lets the shards drain and end; false if `timeout` passes first. `last`: nobody else has a
    /// handle any more.
    pub(crate) fn end(&self, timeout: Duration, last: bool) -> bool {
        self.controls().into_iter().for_each(Control::close);
        match self {
            Self::Threads(threads, _) => {
                let started = Instant::now();
                let left = || timeout.saturating_sub(started.elapsed());
                threads.iter().all(|thread| thread.join(left()))
            }
            Self::Caller(caller) => caller.end(timeout, last),
        }
    }

    /// Ends upkeep; false if what it is doing takes longer than `timeout`.
    pub(crate) fn end_upkeep(&self, timeout: Duration) -> bool {
        match self {
            Self::Threads(_, upkeep) => upkeep.end(timeout),
            // Done in turns, which have ended.
            Self::Caller(caller) => caller.seats.iter().all(|seat| seat.upkeep.end(timeout)),
        }
    }

    /// Whether the caller runs on a shard's own thread, or within a turn of one.
    pub(crate) fn is_current(&self) -> bool {
        match self {
            Self::Threads(threads, _) => threads.iter().any(ShardThread::is_current),
            Self::Caller(caller) => caller.seats.iter().any(Seat::is_in_turn),
        }
    }

    /// Whether a blocking call on this thread turns shards.
    pub(crate) fn is_caller_driven(&self) -> bool {
        matches!(self, Self::Caller(caller) if caller.turns_here())
    }

    /// Ends the sleep of a blocking call that turns shards. Only writes to eventfds.
    pub(crate) fn wake(&self) {
        if let Self::Caller(caller) = self {
            for seat in &caller.seats {
                seat.control.waker.wake();
            }
        }
    }

    /// Which driver was chosen, and why. Each shard chooses for itself; one that came out otherwise
    /// than the first is named.
    pub(crate) fn driver(&self) -> (&'static str, String) {
        let chosen: Vec<(&'static str, &str)> = match self {
            Self::Threads(threads, _) => {
                threads.iter().map(|thread| (thread.driver, &*thread.reason)).collect()
            }
            Self::Caller(caller) => {
                caller.seats.iter().map(|seat| (seat.driver, &*seat.reason)).collect()
            }
        };
        let Some(&(first, reason)) = chosen.first() else {
            return ("none", "opened to read only".to_owned());
        };
        let mut reasons = vec![reason.to_owned()];
        for (shard, (driver, reason)) in chosen.iter().enumerate() {
            if *driver != first {
                reasons.push(format!("shard {shard} {driver}: {reason}"));
            }
        }
        (first, reasons.join("; "))
    }
}
