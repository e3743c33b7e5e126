//! Slow work: a thread that sleeps until a log signals, then lets every log do what is due; or the
//! same in slices, where callers turn the shards.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

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
    /// The logs that have not been looked at since the last signal, where there is no thread.
    due: Mutex<VecDeque<Arc<Log>>>,
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

    /// Without a thread: whoever `waker` wakes calls [`run_slice`](Self::run_slice).
    pub(crate) fn by_hand(waker: Waker) -> Self {
        Self { by_hand: Some(waker), ..Self::default() }
    }

    pub(crate) fn add(&self, log: Arc<Log>) {
        self.logs.lock().push(log);
    }

    /// Starts the thread. It keeps `lock` until it has ended: what it still writes must not meet
    /// the next writer's.
    pub(crate) fn spawn(this: &Arc<Self>, lock: LockGuard) -> Result<()> {
        let shared = Arc::clone(this);
        let run = move || {
            while shared.wait() {
                shared.run();
            }
            drop(lock);
        };
        let worker = Worker::spawn("ringlog-upkeep", run)
            .map_err(|error| Error::io("start a thread for", "upkeep", error))?;
        *this.worker.lock() = Some(Arc::new(worker));
        Ok(())
    }

    /// Sleeps until something is pending; false when it shall end.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.pending && !state.ending {
            self.condvar.wait(&mut state);
        }
        state.pending = false;
        !state.ending
    }

    fn run(&self) {
        let logs = self.logs.lock().clone();
        for log in &logs {
            while !self.state.lock().ending && log.maintain() {}
        }
    }

    /// Whether there is something left to do in slices.
    pub(crate) fn is_pending(&self) -> bool {
        let state = self.state.lock();
        !state.ending && (state.pending || !self.due.lock().is_empty())
    }

    /// Does a piece of what has been signalled: what can be made to wait waits for the next call.
    pub(crate) fn run_slice(&self) {
        {
            let mut state = self.state.lock();
            if state.ending {
                return;
            }
            if std::mem::take(&mut state.pending) {
                let mut due = self.due.lock();
                for log in self.logs.lock().iter() {
                    if !due.iter().any(|other| Arc::ptr_eq(other, log)) {
                        due.push_back(Arc::clone(log));
                    }
                }
            }
        }
        let log = self.due.lock().front().cloned();
        if let Some(log) = log
            && !log.maintain()
        {
            self.due.lock().pop_front();
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
