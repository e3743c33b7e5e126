//! Who turns the shard: a thread of its own, or the callers themselves.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::maintenance::Maintenance;
use crate::clock::Clock;
use crate::log::Log;
use crate::log::flusher::Next;
use crate::park;
use crate::shard::{Control, Shard, ShardThread};

/// How far an idle simulation moves its clock, so that deadlines pass.
const IDLE_STEP: Duration = Duration::from_millis(1);

/// See the module.
pub(crate) enum Runner {
    /// A thread.
    Thread(ShardThread),
    /// Whoever calls.
    Caller {
        shard: Mutex<(Shard, Next)>,
        control: Arc<Control>,
        maintenance: Arc<Maintenance>,
        clock: Clock,
    },
}

impl Runner {
    pub(crate) fn by_caller(
        shard: Shard,
        control: Arc<Control>,
        maintenance: Arc<Maintenance>,
        clock: Clock,
    ) -> Self {
        Self::Caller { shard: Mutex::new((shard, Next::Again)), control, maintenance, clock }
    }

    fn control(&self) -> &Control {
        match self {
            Self::Thread(thread) => &thread.control,
            Self::Caller { control, .. } => control,
        }
    }

    pub(crate) fn add(&self, log: Arc<Log>) {
        self.control().add(log);
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

    /// Turns shard and upkeep once; does nothing where a thread does.
    pub(crate) fn turn(&self) {
        let Self::Caller { shard, control, maintenance, clock } = self else { return };
        // What would end a thread's sleep ends the simulated one before it has begun.
        let busy = maintenance.run_pending() | control.waker.clear();
        let mut shard = shard.lock();
        let (shard, next) = &mut *shard;
        let idle = *next == Next::Sleep(None);
        // An error has latched the logs already.
        *next = shard.turn(if busy { Next::Again } else { *next }).unwrap_or(Next::Sleep(None));
        if !busy && idle && *next == Next::Sleep(None) {
            clock.advance(IDLE_STEP);
        }
    }

    /// Lets the shard drain and end; false if `timeout` passes first.
    pub(crate) fn end(&self, timeout: Duration) -> bool {
        self.control().close();
        match self {
            Self::Thread(thread) => thread.join(timeout),
            Self::Caller { shard, clock, .. } => {
                let end = clock.now().saturating_add(timeout);
                while !shard.lock().0.is_drained() {
                    if clock.now() >= end {
                        return false;
                    }
                    self.turn();
                }
                true
            }
        }
    }

    /// Whether the caller runs on the shard's own thread.
    pub(crate) fn is_current(&self) -> bool {
        match self {
            Self::Thread(thread) => thread.is_current(),
            Self::Caller { .. } => false,
        }
    }

    /// Whether blocking calls turn the shard themselves.
    pub(crate) fn is_caller_driven(&self) -> bool {
        matches!(self, Self::Caller { .. })
    }

    /// Ends the sleep of a blocking call that turns the shard. Only writes to an eventfd.
    pub(crate) fn wake(&self) {
        if let Self::Caller { control, .. } = self {
            control.waker.wake();
        }
    }

    /// Which driver was chosen, and why.
    pub(crate) fn driver(&self) -> (&'static str, String) {
        match self {
            Self::Thread(thread) => (thread.driver, thread.reason.clone()),
            Self::Caller { .. } => ("simulator", "asked for".to_owned()),
        }
    }
}
