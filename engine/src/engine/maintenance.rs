//! Slow work: a thread that sleeps until a log signals, then lets every log do what is due; or the
//! same in slices, where callers turn the shards.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::scrub::Scrub;
use crate::buf::Waker;
use crate::driver::disk::LockGuard;
use crate::error::{Error, Result};
use crate::log::{Log, MaintenanceSignal};
use crate::shard::Worker;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    logs: Mutex<Vec<Arc<Log>>>,
    state: Mutex<State>,
    condvar: Condvar,
    worker: Mutex<Option<Arc<Worker>>>,
    /// Wakes the shard whose turns do this, where there is no thread.
    by_hand: Option<Waker>,
    /// The logs that have not been looked at since the last signal, or have more to do.
    due: Mutex<VecDeque<Arc<Log>>>,
    /// What is done when nothing else is due.
    scrub: Scrub,
}

#[derive(Debug, Default)]
struct State {
    pending: bool,
    ending: bool,
}

impl Maintenance {
    /// What logs call; holds no reference, so that logs and maintenance do not keep each other.
    pub(crate) fn signal(this: &Arc<Self>) -> MaintenanceSignal {
        let this: Weak<Self> = Arc::downgrade(this);
        Arc::new(move || {
            if let Some(this) = this.upgrade() {
                this.state.lock().pending = true;
                this.condvar.notify_one();
                if let Some(waker) = &this.by_hand {
                    waker.wake();
                }
            }
        })
    }

    /// `by_hand`: there is no thread, and whoever it wakes calls [`run_slice`](Self::run_slice).
    pub(crate) fn new(scrub: Scrub, by_hand: Option<Waker>) -> Self {
        Self { by_hand, scrub, ..Self::default() }
    }

    pub(crate) fn add(&self, log: Arc<Log>) {
        self.logs.lock().push(log);
        self.scrub.look(&self.logs);
        if self.scrub.due().is_some() {
            // Whoever sleeps does not know of it.
            let _state = self.state.lock();
            self.condvar.notify_one();
            if let Some(waker) = &self.by_hand {
                waker.wake();
            }
        }
    }

    /// When something is due that no signal tells of.
    pub(crate) fn due_at(&self) -> Option<Duration> {
        self.scrub.due().map(|(at, _)| at)
    }

    /// Starts the thread. It keeps `lock` until it has ended: what it still writes must not meet
    /// the next writer's.
    pub(crate) fn spawn(this: &Arc<Self>, lock: LockGuard) -> Result<()> {
        let shared = Arc::clone(this);
        let run = move || {
            while shared.wait() {
                shared.run_slice();
            }
            drop(lock);
        };
        let worker = Worker::spawn("ringlog-upkeep", run)
            .map_err(|error| Error::io("start a thread for", "upkeep", error))?;
        *this.worker.lock() = Some(Arc::new(worker));
        Ok(())
    }

    /// Sleeps until there is something to do; false when it shall end.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.pending && !state.ending && self.due.lock().is_empty() {
            match self.scrub.due() {
                None => self.condvar.wait(&mut state),
                Some((_, left)) if left.is_zero() => break,
                Some((_, left)) => drop(self.condvar.wait_for(&mut state, left)),
            }
        }
        !state.ending
    }

    /// Whether there is something left to do in slices.
    pub(crate) fn is_pending(&self) -> bool {
        let state = self.state.lock();
        !state.ending && (state.pending || !self.due.lock().is_empty() || self.scrub.is_due())
    }

    /// Does a piece of what is due: what can be made to wait waits for the next call. Logs take
    /// turns, also those signalled meanwhile, or one that is written without a pause would keep the
    /// others from their next segments.
    pub(crate) fn run_slice(&self) {
        let log = {
            let mut state = self.state.lock();
            if state.ending {
                return;
            }
            let mut due = self.due.lock();
            if std::mem::take(&mut state.pending) {
                for log in self.logs.lock().iter() {
                    if !due.iter().any(|other| Arc::ptr_eq(other, log)) {
                        due.push_back(Arc::clone(log));
                    }
                }
            }
            due.pop_front()
        };
        match log {
            Some(log) => {
                if log.maintain() {
                    self.due.lock().push_back(log);
                }
                self.scrub.look(&self.logs);
            }
            None if self.scrub.is_due() => self.scrub.piece(&self.logs),
            None => {}
        }
    }

    /// Ends the thread after what it is doing, and forgets the logs; false if that takes longer
    /// than `timeout`.
    pub(crate) fn end(&self, timeout: Duration) -> bool {
        self.state.lock().ending = true;
        self.condvar.notify_one();
        let worker = self.worker.lock().clone();
        // A panic there has latched nothing that is not in the logs' own state.
        let ended = worker.is_none_or(|worker| worker.is_current() || worker.join(timeout));
        self.scrub.end();
        self.logs.lock().clear();
        self.due.lock().clear();
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upkeep_that_hangs_is_not_waited_for_beyond_the_deadline() {
        let maintenance = Maintenance::default();
        let (hang, gone) = crossbeam::channel::bounded::<()>(0);
        let hangs = move || assert!(gone.recv().is_err());
        let worker = Worker::spawn("hangs", hangs).unwrap();
        *maintenance.worker.lock() = Some(Arc::new(worker));
        assert!(!maintenance.end(Duration::from_millis(10)));
        drop(hang);
        assert!(maintenance.end(Duration::from_secs(60)));
    }
}
