//! What of one log waits for one level: in the order of positions, so that a watermark that has
//! moved completes a prefix, and one registration serves them all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use super::signal::{LaneWaker, Signal};
use super::{Completion, Outcome};
use crate::config::Ack;
use crate::error::Error;
use crate::ids::{Appended, PartitionId};
use crate::log::Log;
use crate::log::waiters::Ticket;

/// A flush of several logs: completes with the last of them.
#[derive(Debug)]
pub(super) struct FlushState {
    pub(super) tag: u64,
    pub(super) left: AtomicUsize,
    pub(super) error: Mutex<Option<Error>>,
}

impl FlushState {
    /// One log has done its part; the completion, if it was the last.
    pub(super) fn part(&self, error: Option<Error>) -> Option<Completion> {
        if let Some(error) = error {
            self.error.lock().get_or_insert(error);
        }
        (self.left.fetch_sub(1, Ordering::SeqCst) == 1).then(|| {
            let result = self.error.lock().take().map_or(Ok(()), Err);
            Completion { tag: self.tag, outcome: Outcome::Flush(result) }
        })
    }
}

#[derive(Debug)]
pub(super) enum What {
    Append { tag: u64, partition: PartitionId, appended: Appended },
    Flush(Arc<FlushState>),
}

#[derive(Debug)]
struct Pending {
    end: u64,
    what: What,
}

impl Pending {
    fn complete(self, error: Option<Error>) -> Option<Completion> {
        match self.what {
            What::Append { tag, partition, appended } => {
                let result = error.map_or(Ok(appended), Err);
                Some(Completion { tag, outcome: Outcome::Append { partition, result } })
            }
            What::Flush(state) => state.part(error),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lane {
    log: Arc<Log>,
    level: Ack,
    pending: VecDeque<Pending>,
    ticket: Option<Ticket>,
    flag: Arc<LaneWaker>,
    waker: Waker,
}

impl Lane {
    pub(super) fn new(log: &Arc<Log>, level: Ack, signal: &Arc<Signal>) -> Self {
        let signal = Arc::clone(signal);
        let flag = Arc::new(LaneWaker { signal, fired: AtomicBool::new(false) });
        let waker = Waker::from(Arc::clone(&flag));
        let log = Arc::clone(log);
        Self { log, level, pending: VecDeque::new(), ticket: None, flag, waker }
    }

    pub(super) fn is(&self, log: &Arc<Log>, level: Ack) -> bool {
        Arc::ptr_eq(&self.log, log) && self.level == level
    }

    /// Puts in what ends at `end`.
    pub(super) fn push(&mut self, end: u64, what: What, ready: &mut VecDeque<Completion>) {
        // Another thread's later claim may have come here first.
        let after = self.pending.iter().rev().take_while(|pending| pending.end > end).count();
        let at = self.pending.len() - after;
        self.pending.insert(at, Pending { end, what });
        self.log.want_level(self.level, end);
        if at == 0 {
            self.forget();
            self.collect(ready);
        }
    }

    /// Takes out what has its level, if the watermark may have moved.
    pub(super) fn look(&mut self, ready: &mut VecDeque<Completion>) {
        if self.flag.fired.swap(false, Ordering::SeqCst) {
            self.collect(ready);
        }
    }

    fn collect(&mut self, ready: &mut VecDeque<Completion>) {
        while self.take_reached(ready) {
            let Some(first) = self.pending.front() else { break };
            let waiters = self.log.waiters(self.level);
            self.ticket = Some(waiters.register(first.end, &self.waker, self.ticket));
            if self.log.reached(self.level) >= first.end {
                continue;
            }
            if !self.log.moves_no_more() {
                return;
            }
            let error = self.log.stop_error(true);
            let failed = self.pending.drain(..);
            ready.extend(failed.filter_map(|pending| pending.complete(Some(error.clone()))));
        }
        self.forget();
    }

    /// Whether anything is left.
    fn take_reached(&mut self, ready: &mut VecDeque<Completion>) -> bool {
        let reached = self.log.reached(self.level);
        while let Some(first) = self.pending.pop_front() {
            if first.end > reached {
                self.pending.push_front(first);
                return true;
            }
            ready.extend(first.complete(None));
        }
        false
    }

    fn forget(&mut self) {
        if let Some(ticket) = self.ticket.take().filter(|_| self.log.check_fork().is_ok()) {
            self.log.waiters(self.level).forget(ticket);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.forget();
    }
}
