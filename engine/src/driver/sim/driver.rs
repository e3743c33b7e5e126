//! [`SimDriver`]: the data path, with seeded delays. An op takes effect in the `wait` that hands
//! out its completion; until then a crash may find any part of it done.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::disk::SimDisk;
use super::state::{Data, Fate, InFlight, Io, State, killed};
use super::{FaultOp, Order};
use crate::buf::Waker;
use crate::checksum;
use crate::driver::op::{Completion, Driver, Op, Token};
use crate::limits::{DRIVER_OPS_MAX, GROUP_ALIGN};

/// Simulated time passes even for a caller who only polls.
const POLL_STEP_NANOS: u64 = 1_000;
/// How often a frozen driver with a waker looks for the thaw.
const THAW_CHECK: Duration = Duration::from_millis(1);
/// When an op is due that is stuck.
const NEVER: u64 = u64::MAX;

/// A simulated driver. Dropped with ops in flight, it lets each of them land or not at once, as a
/// killed process would.
#[derive(Debug)]
pub struct SimDriver {
    disk: SimDisk,
    id: u64,
    waker: Option<Waker>,
}

impl SimDriver {
    /// A driver whose `wait` never sleeps: simulated time jumps to the next completion, or by the
    /// timeout. For single-threaded harnesses.
    pub fn new(disk: &SimDisk) -> Self {
        Self::make(disk, None)
    }

    /// A driver whose `wait` sleeps, for real, while it has nothing in flight or the disk is
    /// frozen. For engines with threads of their own.
    pub fn with_waker(disk: &SimDisk, waker: Waker) -> Self {
        Self::make(disk, Some(waker))
    }

    fn make(disk: &SimDisk, waker: Option<Waker>) -> Self {
        let mut state = disk.shared.state.lock();
        state.next_driver += 1;
        Self { disk: disk.clone(), id: state.next_driver, waker }
    }

    fn sleep(&self, timeout: Option<Duration>) -> io::Result<()> {
        let Some(waker) = &self.waker else { return Ok(()) };
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let mut fds = [PollFd::new(waker, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(()),
            Ok(_) => {
                waker.clear();
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Driver for SimDriver {
    fn submit(&mut self, token: Token, op: Op) {
        let mut state = self.disk.shared.state.lock();
        // A dead process submits nothing; its next `wait` says so.
        if let Ok(fate) = state.enter() {
            state.submit(self.id, token, op);
            debug_assert!(fate == Fate::Dies || state.count(self.id) <= DRIVER_OPS_MAX);
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        let idle = {
            let mut state = self.disk.shared.state.lock();
            if state.enter()? == Fate::Dies {
                return Err(killed());
            }
            state.complete_due(self.id, timeout, out);
            let idle = state.frozen || state.count(self.id) == 0;
            (idle && out.is_empty() && timeout != Some(Duration::ZERO)).then_some(state.frozen)
        };
        match idle {
            None => Ok(()),
            Some(false) => self.sleep(timeout),
            Some(true) => self.sleep(Some(timeout.map_or(THAW_CHECK, |t| t.min(THAW_CHECK)))),
        }
    }

    fn in_flight(&self) -> usize {
        self.disk.shared.state.lock().count(self.id)
    }

    fn name(&self) -> &'static str {
        "simulator"
    }
}

impl Drop for SimDriver {
    fn drop(&mut self) {
        let mut state = self.disk.shared.state.lock();
        // After a kill the crash decides, so that the order of drops does not matter.
        if !state.killed {
            let id = self.id;
            state.abandon(|op| op.driver == id);
        }
    }
}

impl State {
    fn count(&self, driver: u64) -> usize {
        self.in_flight.iter().filter(|op| op.driver == driver).count()
    }

    /// Lets simulated time pass.
    pub(super) fn pass(&mut self, by: Duration) {
        self.now += by.as_nanos() as u64;
        self.config.clock.advance(by);
    }

    fn submit(&mut self, driver: u64, token: Token, op: Op) {
        let submitted = self.next_tick();
        let (file, io, kind) = match op {
            Op::Write { file, at, data, durable } => {
                let checksum = checksum::crc32c(data.as_bytes());
                (file, Io::Write { at, data: Data::Live(data), checksum, durable }, FaultOp::Write)
            }
            Op::Flush { file } => (file, Io::Flush, FaultOp::Flush),
        };
        let latency_max = self.config.latency_max.as_nanos() as u64;
        let delay = self.rng.below(latency_max + 1);
        let due = match self.config.order {
            Order::Any => (self.now + delay, self.rng.word()),
            Order::Submitted => {
                let ahead = self.in_flight.iter().map(|op| op.due.0).filter(|due| *due != NEVER);
                let last = ahead.max().unwrap_or(0);
                (last.max(self.now + delay), submitted)
            }
        };
        let due = if self.sticks(kind) { (NEVER, submitted) } else { due };
        let fault = self.fault(kind);
        let node = file.sim_id().unwrap_or(u64::MAX);
        self.in_flight.push(InFlight { driver, token, node, io, submitted, due, fault });
    }

    /// Whether this op is one that shall never complete.
    fn sticks(&mut self, kind: FaultOp) -> bool {
        let mut sticks = false;
        for (_, left) in self.sticking.iter_mut().filter(|(op, _)| *op == kind) {
            *left -= 1;
            sticks |= *left == 0;
        }
        self.sticking.retain(|(_, left)| *left > 0);
        self.stats.stuck_ops += u64::from(sticks);
        sticks
    }

    fn complete_due(&mut self, driver: u64, timeout: Option<Duration>, out: &mut Vec<Completion>) {
        self.pass_until_due(driver, timeout);
        if self.frozen {
            return;
        }
        let now = self.now;
        let mut due: Vec<InFlight> = Vec::new();
        self.in_flight.retain(|op| {
            let done = op.driver == driver && op.due.0 <= now;
            if done {
                due.push(op.clone());
            }
            !done
        });
        due.sort_by_key(|op| op.due);
        for (i, op) in due.iter().enumerate() {
            let earlier = |other: &InFlight| other.submitted < op.submitted;
            if due[i..].iter().any(earlier) || self.in_flight.iter().any(earlier) {
                self.stats.overtakes += 1;
            }
            let result = self.complete(op);
            out.push(Completion { token: op.token, result });
        }
    }

    /// Moves simulated time to the driver's next completion or by the timeout, whichever is first.
    fn pass_until_due(&mut self, driver: u64, timeout: Option<Duration>) {
        let timeout = timeout.map(|timeout| timeout.as_nanos() as u64);
        let moving = || self.in_flight.iter().filter(|op| op.due.0 != NEVER);
        let next = moving().filter(|op| op.driver == driver).map(|op| op.due.0).min();
        let others = moving().filter(|op| op.driver != driver && !self.frozen);
        let others = others.map(|op| op.due.0.saturating_sub(self.now)).min().unwrap_or(u64::MAX);
        let by = match (next, timeout) {
            (_, Some(0)) => POLL_STEP_NANOS,
            (Some(next), _) if !self.frozen => {
                // A little later, so that completions also come several at a time.
                let spread = self.config.latency_max.as_nanos() as u64 / 4;
                let until = next.saturating_sub(self.now) + self.rng.below(spread + 1);
                until.min(timeout.unwrap_or(u64::MAX))
            }
            // Nobody sleeps past what other drivers wait for: it may wake this one.
            (_, timeout) => timeout.unwrap_or(0).min(others),
        };
        self.pass(Duration::from_nanos(by));
    }

    /// An op takes effect.
    pub(super) fn complete(&mut self, op: &InFlight) -> io::Result<()> {
        match &op.io {
            Io::Write { at, data, checksum, durable } => {
                if checksum::crc32c(data.bytes()) != *checksum {
                    self.stats.changed_in_flight += 1;
                }
                self.complete_write(op, *at, data.bytes(), *durable)
            }
            Io::Flush => {
                if let Err(error) = self.data_fault(op.fault, false) {
                    self.flush_failed(op.node, op.submitted);
                    return Err(error);
                }
                self.next_tick();
                self.stats.flushes += 1;
                self.flushed(op.node, op.submitted)
            }
        }
    }

    fn complete_write(
        &mut self,
        op: &InFlight,
        at: u64,
        data: &[u8],
        durable: bool,
    ) -> io::Result<()> {
        let align = GROUP_ALIGN as u64;
        if !at.is_multiple_of(align) || !(data.len() as u64).is_multiple_of(align) {
            return Err(Errno::INVAL.into());
        }
        let (len, end) = (self.file(op.node)?.len(), at + data.len() as u64);
        let done = self.data_fault(op.fault, end > len);
        if let Err(error) = done.and_then(|()| self.check_growth(len, end)) {
            self.write_failed(op.node, data, at);
            return Err(error);
        }
        let tick = self.next_tick();
        let content = self.file(op.node)?;
        let cut = content.cut(data, at);
        if durable {
            content.land_durable(&cut, tick);
            self.empty_cache(op.submitted);
            self.stats.durable_writes += 1;
        } else {
            content.land(cut, tick);
        }
        self.stats.writes += 1;
        Ok(())
    }
}
