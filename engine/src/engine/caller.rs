//! Shards that callers turn, each on the thread that did so first. Blocking calls turn the shards
//! of their thread while they wait; on a thread that has none, and can have none, they wait for
//! those who do. Nothing here runs by itself.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::seat::{Seat, Turned};
use crate::buf;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::log::flusher::Next;
use crate::park;

/// How far an idle simulation moves its clock, so that deadlines pass.
const IDLE_STEP: Duration = Duration::from_millis(1);

/// See the module.
pub(crate) struct Caller {
    pub(crate) seats: Vec<Seat>,
    clock: Clock,
    /// Time passes only as the disk is simulated, and all is done on one thread at a time.
    simulated: bool,
}

/// Ends the sleep of a thread that waits in its shard.
struct Rouse(buf::Waker);

impl Wake for Rouse {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake();
    }
}

impl Caller {
    pub(crate) fn new(seats: Vec<Seat>, clock: Clock, simulated: bool) -> Self {
        Self { seats, clock, simulated }
    }

    /// The shards of this thread. One that has none takes those that nobody has.
    fn mine(&self) -> Vec<&Seat> {
        let mine: Vec<&Seat> = self.seats.iter().filter(|seat| seat.is_mine()).collect();
        if mine.is_empty() { self.seats.iter().filter(|seat| seat.claim()).collect() } else { mine }
    }

    /// Whether a blocking call on this thread turns shards.
    pub(crate) fn turns_here(&self) -> bool {
        self.simulated || self.seats.iter().any(|seat| seat.is_mine() || !seat.has_owner())
    }

    pub(crate) fn block_on(
        &self,
        timeout: Duration,
        poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> bool {
        let mine = if self.simulated { Vec::new() } else { self.mine() };
        // In a turn already: this is a waker that blocks. It waits for itself, but not for ever.
        let waits_here = !self.simulated && !mine.iter().any(|seat| seat.is_in_turn());
        if !self.simulated && (mine.is_empty() || !waits_here) {
            return park::block_on(timeout, poll).is_some();
        }
        let rouse =
            mine.first().map(|seat| Waker::from(Arc::new(Rouse(seat.control.waker.clone()))));
        let mut context = Context::from_waker(rouse.as_ref().unwrap_or(Waker::noop()));
        let end = self.clock.now().saturating_add(timeout);
        while poll(&mut context).is_pending() {
            let left = end.saturating_sub(self.clock.now());
            if left.is_zero() {
                return false;
            }
            if self.simulated {
                self.turn_all();
            } else if Self::turn_mine(&mine, left).is_none() {
                // Ended: whoever waits has been told.
                return poll(&mut context).is_ready() || park::block_on(left, poll).is_some();
            }
        }
        true
    }

    /// Turns the shards of this thread, sleeping up to `limit` while there is nothing to do; `None`
    /// if they have all ended.
    fn turn_mine(mine: &[&Seat], limit: Duration) -> Option<()> {
        let going: Vec<&&Seat> = mine.iter().filter(|seat| !seat.has_ended()).collect();
        match *going {
            [] => return None,
            [seat] => {
                seat.turn(None, limit);
            }
            _ => {
                sleep(&going, limit);
                for seat in going {
                    seat.turn(None, Duration::ZERO);
                }
            }
        }
        Some(())
    }

    /// Turns one shard once.
    pub(crate) fn run_once(&self, shard: usize, timeout: Duration) -> Result<()> {
        let seat = self.seat(shard)?;
        if !seat.claim() {
            return Err(Error::WrongThread { shard });
        }
        match seat.turn(None, timeout) {
            Turned::Next(_) => Ok(()),
            Turned::Busy => {
                let reason = "called by a waker, which the shard runs on this thread";
                Err(Error::invalid("run_once", reason))
            }
            Turned::Ended => Err(Error::Closed { outcome_unknown: false }),
        }
    }

    pub(crate) fn seat(&self, shard: usize) -> Result<&Seat> {
        let there = self.seats.len();
        let reason = || format!("{shard} is not within 0..{there}");
        self.seats.get(shard).ok_or_else(|| Error::invalid("shard", reason()))
    }

    /// Turns every shard once, in order: for simulations, where time is one for all. Nobody sleeps
    /// longer than the first one to wake, and once one has slept the others look at what is new.
    pub(crate) fn turn_all(&self) {
        let earliest =
            || self.seats.iter().fold(Next::Sleep(None), |next, seat| next.earlier(seat.next()));
        let (next, now) = (earliest(), self.clock.now());
        let mut busy = false;
        for seat in &self.seats {
            // What would end a thread's sleep ends the simulated one before it has begun.
            for other in &self.seats {
                busy |= other.control.waker.clear() || other.is_due();
            }
            busy |= self.clock.now() != now;
            seat.turn(Some(if busy { Next::Again } else { next }), Duration::MAX);
        }
        let idle = next == Next::Sleep(None) && self.clock.now() == now;
        if !busy && idle && earliest() == Next::Sleep(None) {
            self.clock.advance(IDLE_STEP);
        }
    }

    /// Lets the shards drain and end; false if `timeout` passes first. `last`: no other thread can
    /// turn any of them any more, so that waiting for one is in vain.
    pub(crate) fn end(&self, timeout: Duration, last: bool) -> bool {
        let end = self.clock.now().saturating_add(timeout);
        let left = || end.saturating_sub(self.clock.now());
        if last {
            self.seats.iter().for_each(Seat::take_over);
        }
        if self.simulated {
            while !self.seats.iter().all(Seat::has_ended) {
                if left().is_zero() {
                    return false;
                }
                self.turn_all();
            }
            return true;
        }
        let mine = self.mine();
        while Self::turn_mine(&mine, left()).is_some() {
            if left().is_zero() {
                return mine.iter().all(|seat| seat.has_ended()) && self.others_end(Duration::ZERO);
            }
        }
        self.others_end(if last { Duration::ZERO } else { left() })
    }

    fn others_end(&self, timeout: Duration) -> bool {
        let end = self.clock.now().saturating_add(timeout);
        self.seats.iter().all(|seat| seat.wait_for_end(end.saturating_sub(self.clock.now())))
    }
}

/// Sleeps until one of them is due.
fn sleep(seats: &[&&Seat], limit: Duration) {
    let mut fds: Vec<PollFd<'_>> = Vec::new();
    for fd in seats.iter().filter_map(|seat| seat.descriptor()) {
        fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
    }
    let seconds = limit.as_secs().min(i32::MAX as u64) as i64;
    let timeout = Timespec { tv_sec: seconds, tv_nsec: i64::from(limit.subsec_nanos()) };
    // A signal ends it early, as a wake does.
    let _ = poll(&mut fds, Some(&timeout));
}
