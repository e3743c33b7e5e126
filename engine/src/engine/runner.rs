//! Who turns the shards: a thread of its own for each, or the callers themselves.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::maintenance::Maintenance;
use crate::clock::Clock;
use crate::driver::op::Driver;
use crate::log::Log;
use crate::log::flusher::Next;
use crate::park;
use crate::shard::{Control, Shard, ShardThread};

/// How far an idle simulation moves its clock, so that deadlines pass.
const IDLE_STEP: Duration = Duration::from_millis(1);

/// See the module.
pub(crate) enum Runner {
    /// Threads.
    Threads(Vec<ShardThread>),
    /// Whoever calls.
    Caller {
        seats: Mutex<Vec<Seat>>,
        controls: Vec<Arc<Control>>,
        maintenance: Arc<Maintenance>,
        clock: Clock,
    },
}

/// A shard that is turned by hand, and when it wants to be.
pub(crate) struct Seat {
    shard: Shard,
    next: Next,
}

impl Runner {
    pub(crate) fn by_caller(
        controls: Vec<Arc<Control>>,
        drivers: Vec<Box<dyn Driver>>,
        maintenance: Arc<Maintenance>,
        clock: Clock,
    ) -> Self {
        let seat = |(control, driver): (&Arc<Control>, _)| Seat {
            shard: Shard::new(Arc::clone(control), driver, clock.clone()),
            next: Next::Again,
        };
        let seats = Mutex::new(controls.iter().zip(drivers).map(seat).collect());
        Self::Caller { seats, controls, maintenance, clock }
    }

    fn controls(&self) -> Vec<&Control> {
        match self {
            Self::Threads(threads) => threads.iter().map(|thread| &*thread.control).collect(),
            Self::Caller { controls, .. } => controls.iter().map(|control| &**control).collect(),
        }
    }

    pub(crate) fn shards(&self) -> usize {
        match self {
            Self::Threads(threads) => threads.len(),
            Self::Caller { controls, .. } => controls.len(),
        }
    }

    /// Hands a log to its shard.
    pub(crate) fn add(&self, log: Arc<Log>) {
        match self {
            Self::Threads(threads) => threads[log.shard].control.add(log),
            Self::Caller { controls, .. } => controls[log.shard].add(log),
        }
    }

    /// Polls until ready or `timeout`; false if that passes first.
    pub(crate) fn block_on(
        &self,
        timeout: Duration,
        poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> bool {
        let Self::Caller { clock, .. } = self else {
            return park::block_on(timeout, poll).is_some();
        };
        let end = clock.now().saturating_add(timeout);
        let mut context = Context::from_waker(Waker::noop());
        while poll(&mut context).is_pending() {
            if clock.now() >= end {
                return false;
            }
            self.turn();
        }
        true
    }

    /// Turns every shard, and upkeep, once; does nothing where threads do.
    pub(crate) fn turn(&self) {
        let Self::Caller { seats, controls, maintenance, clock } = self else { return };
        let mut busy = maintenance.run_pending();
        let mut seats = seats.lock();
        let earliest = |seats: &[Seat]| {
            seats.iter().fold(Next::Sleep(None), |next, seat| next.earlier(seat.next))
        };
        // Time passes for all of them: nobody sleeps longer than the first one to wake, and once
        // one has slept the others look at what is new.
        let (next, now) = (earliest(&seats), clock.now());
        for at in 0..seats.len() {
            // What would end a thread's sleep ends the simulated one before it has begun.
            for control in controls {
                busy |= control.waker.clear();
            }
            busy |= maintenance.is_pending() || clock.now() != now;
            // An error has latched the logs already.
            let turned = seats[at].shard.turn(if busy { Next::Again } else { next });
            seats[at].next = turned.unwrap_or(Next::Sleep(None));
        }
        let idle = next == Next::Sleep(None) && clock.now() == now;
        if !busy && idle && earliest(&seats) == Next::Sleep(None) {
            clock.advance(IDLE_STEP);
        }
    }

    /// Lets the shards drain and end; false if `timeout` passes first.
    pub(crate) fn end(&self, timeout: Duration) -> bool {
        self.controls().into_iter().for_each(Control::close);
        match self {
            Self::Threads(threads) => {
                let started = Instant::now();
                let left = || timeout.saturating_sub(started.elapsed());
                threads.iter().all(|thread| thread.join(left()))
            }
            Self::Caller { seats, clock, .. } => {
                let end = clock.now().saturating_add(timeout);
                while !seats.lock().iter().all(|seat| seat.shard.is_drained()) {
                    if clock.now() >= end {
                        return false;
                    }
                    self.turn();
                }
                true
            }
        }
    }

    /// Whether the caller runs on a shard's own thread.
    pub(crate) fn is_current(&self) -> bool {
        match self {
            Self::Threads(threads) => threads.iter().any(ShardThread::is_current),
            Self::Caller { .. } => false,
        }
    }

    /// Whether blocking calls turn the shards themselves.
    pub(crate) fn is_caller_driven(&self) -> bool {
        matches!(self, Self::Caller { .. })
    }

    /// Ends the sleep of a blocking call that turns the shards. Only writes to an eventfd.
    pub(crate) fn wake(&self) {
        if let Self::Caller { controls, .. } = self {
            for control in controls {
                control.waker.wake();
            }
        }
    }

    /// Which driver was chosen, and why. Each shard chooses for itself; one that came out otherwise
    /// than the first is named.
    pub(crate) fn driver(&self) -> (&'static str, String) {
        let Self::Threads(threads) = self else { return ("simulator", "asked for".to_owned()) };
        let (first, mut reasons) = (&threads[0], vec![threads[0].reason.clone()]);
        for (number, thread) in threads.iter().enumerate() {
            if thread.driver != first.driver {
                reasons.push(format!("shard {number} {}: {}", thread.driver, thread.reason));
            }
        }
        (first.driver, reasons.join("; "))
    }
}
