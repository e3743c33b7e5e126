//! A shard that a caller turns: whose thread it is, what it wants next, the upkeep of its logs in
//! slices, and one descriptor that an event loop can wait on. Never turned by two at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::event::epoll;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::maintenance::Maintenance;
use crate::buf::Waker;
use crate::clock::Clock;
use crate::driver::Chosen;
use crate::driver::disk::LockGuard;
use crate::error::{Error, Result};
use crate::log::flusher::Next;
use crate::shard::{Control, Shard};

/// See the module.
pub(crate) struct Seat {
    pub(crate) control: Arc<Control>,
    pub(crate) upkeep: Arc<Maintenance>,
    pub(crate) driver: &'static str,
    pub(crate) reason: String,
    /// The kernel knows the thread that turned it first, and lets no other do so.
    is_bound: bool,
    owner: Mutex<Option<ThreadId>>,
    /// `None`: it has drained and ended, or its driver failed.
    turning: Mutex<Option<Turning>>,
    ended: Mutex<bool>,
    end: Condvar,
    watch: Option<Watch>,
    clock: Clock,
}

struct Turning {
    shard: Shard,
    next: Next,
    /// What is in flight must not meet the next writer's.
    _lock: Option<LockGuard>,
}

/// What a seat is made from.
pub(crate) struct SeatParts {
    pub(crate) control: Arc<Control>,
    pub(crate) upkeep: Arc<Maintenance>,
    pub(crate) chosen: Chosen,
    /// `None` in a simulation.
    pub(crate) lock: Option<LockGuard>,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It was turned, and wants to be again as this says.
    Next(Next),
    /// It is being turned, further up on this thread's stack.
    Busy,
    /// It has ended.
    Ended,
}

impl Seat {
    pub(crate) fn new(parts: SeatParts, clock: Clock) -> Result<Self> {
        let SeatParts { control, upkeep, chosen, lock } = parts;
        let Chosen { mut driver, reason } = chosen;
        let failed =
            |error: std::io::Error| Error::io("make a descriptor for", "an event loop", error);
        // In a simulation nothing sleeps.
        let watch = match &lock {
            Some(_) => {
                Some(Watch::new(&control.waker, driver.watch().map_err(failed)?).map_err(failed)?)
            }
            None => None,
        };
        let (name, is_bound) = (driver.name(), driver.is_bound());
        let shard = Shard::new(Arc::clone(&control), driver, clock.clone());
        let turning = Turning { shard, next: Next::Again, _lock: lock };
        Ok(Self {
            upkeep,
            control,
            driver: name,
            reason,
            is_bound,
            owner: Mutex::default(),
            turning: Mutex::new(Some(turning)),
            ended: Mutex::new(false),
            end: Condvar::new(),
            watch,
            clock,
        })
    }

    /// Makes the calling thread its owner, if nobody is; whether it is now.
    pub(crate) fn claim(&self) -> bool {
        let me = std::thread::current().id();
        *self.owner.lock().get_or_insert(me) == me
    }

    /// Makes the calling thread its owner when nobody else can turn it any more.
    pub(crate) fn take_over(&self) {
        let mut owner = self.owner.lock();
        if owner.is_none() || !self.is_bound {
            *owner = Some(std::thread::current().id());
        }
    }

    pub(crate) fn is_mine(&self) -> bool {
        *self.owner.lock() == Some(std::thread::current().id())
    }

    pub(crate) fn has_owner(&self) -> bool {
        self.owner.lock().is_some()
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.lock()
    }

    /// Whether this thread is turning it, further up on its stack.
    pub(crate) fn is_in_turn(&self) -> bool {
        self.is_mine() && self.turning.is_locked()
    }

    /// Whether there is something to do without waiting for anything. What is left when it has
    /// ended nobody does.
    pub(crate) fn is_due(&self) -> bool {
        !self.has_ended() && self.upkeep.is_pending()
    }

    /// What it wants next; an end wants nothing.
    pub(crate) fn next(&self) -> Next {
        let turning = self.turning.try_lock();
        let next = turning.and_then(|turning| turning.as_ref().map(|turning| turning.next));
        next.map_or(Next::Sleep(None), |next| self.with_upkeep(next))
    }

    /// The shard's next turn, or an earlier one if upkeep is due before.
    fn with_upkeep(&self, next: Next) -> Next {
        next.earlier(Next::Sleep(self.upkeep.due_at()))
    }

    /// Turns it once: a slice of upkeep, a wait as it wants, but `limit` at most, and what has come
    /// of it. With a `limit` of zero nothing is waited for, not even a write that this thread would
    /// make itself, where the driver can avoid it.
    pub(crate) fn turn(&self, wanted: Option<Next>, limit: Duration) -> Turned {
        let Some(mut slot) = self.turning.try_lock() else { return Turned::Busy };
        let Some(turning) = slot.as_mut() else { return Turned::Ended };
        let turned = catch_unwind(AssertUnwindSafe(|| {
            self.upkeep.run_slice();
            let due = self.upkeep.is_pending();
            let next = wanted.unwrap_or_else(|| self.with_upkeep(turning.next));
            let next = if due { Next::Again } else { next };
            turning.shard.turn(next, limit)
        }));
        let turned = match turned {
            // An error has latched the logs already.
            Ok(turned) => turned.map_err(drop),
            Err(panic) => {
                turning.shard.fail(&std::io::Error::other("a panic, perhaps of a waker"));
                *slot = None;
                drop(slot);
                self.announce_end();
                resume_unwind(panic);
            }
        };
        let over = self.control.is_closing() && turning.shard.is_drained();
        match turned {
            Ok(next) if !over => {
                turning.next = next;
                let is_due = self.upkeep.is_pending();
                let next = if is_due { Next::Again } else { self.with_upkeep(next) };
                self.watch(next);
                Turned::Next(next)
            }
            _ => {
                *slot = None;
                drop(slot);
                self.announce_end();
                Turned::Ended
            }
        }
    }

    fn announce_end(&self) {
        *self.ended.lock() = true;
        self.end.notify_all();
        // Whoever waits for the descriptor shall hear of it.
        self.watch(Next::Again);
    }

    /// Waits until another thread has turned it to its end.
    pub(crate) fn wait_for_end(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut ended = self.ended.lock();
        while !*ended {
            match deadline {
                None => self.end.wait(&mut ended),
                Some(deadline) => {
                    if self.end.wait_until(&mut ended, deadline).timed_out() {
                        return *ended;
                    }
                }
            }
        }
        true
    }

    fn watch(&self, next: Next) {
        if let Some(watch) = &self.watch {
            watch.arm(next, self.clock.now());
        }
    }

    /// Readable when it is time to turn it; `None` in a simulation.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(Watch::descriptor)
    }
}

/// One descriptor for all that a shard waits for: the driver's completions, a wake, the time.
#[derive(Debug)]
struct Watch {
    epoll: OwnedFd,
    timer: OwnedFd,
    /// Somebody waits on it: before that, the timer would be set for nobody.
    watched: AtomicBool,
    armed: Mutex<Option<Next>>,
}

impl Watch {
    fn new(waker: &Waker, driver: Option<BorrowedFd<'_>>) -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let parts = [Some(waker.as_fd()), Some(timer.as_fd()), driver];
        for part in parts.into_iter().flatten() {
            let data = epoll::EventData::new_u64(0);
            epoll::add(&epoll, part, data, epoll::EventFlags::IN)?;
        }
        Ok(Self { epoll, timer, watched: AtomicBool::new(false), armed: Mutex::default() })
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        if !self.watched.swap(true, Ordering::SeqCst) {
            // What it waits for was not armed so far: let the first turn find out.
            self.arm(Next::Again, Duration::ZERO);
        }
        self.epoll.as_fd()
    }

    fn arm(&self, next: Next, now: Duration) {
        if !self.watched.load(Ordering::SeqCst) {
            return;
        }
        let mut armed = self.armed.lock();
        // What has passed stays readable until it is set anew.
        let passed = matches!(*armed, Some(Next::Sleep(Some(at))) if at <= now);
        if *armed == Some(next) && !passed && next != Next::Again {
            return;
        }
        let after = match next {
            Next::Again => Duration::from_nanos(1),
            Next::Sleep(Some(at)) => at.saturating_sub(now).max(Duration::from_nanos(1)),
            Next::Sleep(None) => Duration::ZERO,
        };
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let seconds = after.as_secs().min(i32::MAX as u64) as i64;
        let value = Timespec { tv_sec: seconds, tv_nsec: i64::from(after.subsec_nanos()) };
        let set = Itimerspec { it_interval: none, it_value: value };
        // It fails for bad arguments only.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &set);
        *armed = Some(next);
    }
}
