//! The maintenance thread: sleeps until a log signals, then lets every log do what is due.

use std::sync::Arc;
use std::sync::Weak;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::buf::thread;
use crate::error::{Error, Result};
use crate::log::{Log, MaintenanceSignal};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    logs: Mutex<Vec<Arc<Log>>>,
    state: Mutex<State>,
    condvar: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
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
            }
        })
    }

    pub(crate) fn add(&self, log: Arc<Log>) {
        self.logs.lock().push(log);
    }

    /// Starts the thread; without it, [`run_pending`](Self::run_pending) is called by hand.
    pub(crate) fn spawn(this: &Arc<Self>) -> Result<()> {
        let shared = Arc::clone(this);
        let run = move || {
            while shared.wait() {
                shared.run();
            }
        };
        let handle = thread::spawn("ringlog-upkeep", run)
            .map_err(|error| Error::io("start a thread for", "upkeep", error))?;
        *this.thread.lock() = Some(handle);
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
            log.maintain();
        }
    }

    /// Does what has been signalled since; whether there was anything.
    pub(crate) fn run_pending(&self) -> bool {
        let pending = std::mem::take(&mut self.state.lock().pending);
        if pending {
            self.run();
        }
        pending
    }

    /// Ends the thread after what it is doing, and forgets the logs.
    pub(crate) fn end(&self) {
        self.state.lock().ending = true;
        self.condvar.notify_one();
        let handle = self.thread.lock().take();
        if let Some(handle) = handle
            && handle.thread().id() != std::thread::current().id()
        {
            // A panic there has latched nothing that is not in the logs' own state.
            let _ = handle.join();
        }
        self.logs.lock().clear();
    }
}
