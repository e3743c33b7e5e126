//! Closing: no more claims; everything flushed; the shards ended; index and checkpoint with the
//! exact end; then the lock. Dropping the last handle does the same.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Inner;
use crate::config::Ack;
use crate::driver::disk::io_error;
use crate::error::{Error, Result};
use crate::log::{Log, Stop};

impl Inner {
    /// `last`: nobody else has a handle.
    pub(super) fn close(&self, timeout: Duration, last: bool) -> Result<()> {
        if let Some(reading) = &self.reading {
            return self.close_reading(reading, timeout);
        }
        if self.runner.is_current() {
            let reason = "called by a waker on the engine's own thread, which cannot end itself";
            return Err(Error::invalid("close", reason));
        }
        let started = Instant::now();
        // Whoever comes second waits for the first.
        let Some(_one_at_a_time) = self.closing.try_lock_for(timeout) else {
            return Err(Error::Timeout { after: timeout, outcome_unknown: false });
        };
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.stop_claims();
        // A change of topics that is under way may yet make a log; the next one finds the engine
        // closed.
        let changing = self.changing.try_lock_for(timeout);
        let logs = self.stop_claims();
        let left = || timeout.saturating_sub(started.elapsed());
        let drained = self.runner.end(left(), last);
        // What it does may hang as the device does.
        let kept_up = self.runner.end_upkeep(left());
        let outcome = if drained && kept_up && changing.is_some() {
            finish(&logs)
        } else {
            Err(Error::Timeout { after: timeout, outcome_unknown: true })
        };
        for log in &logs {
            log.stop(Stop::Closed);
        }
        let outcome = outcome.and(self.hold_leased());
        // Ends here unless a shard or upkeep still has I/O in flight, which then keeps it; or a
        // change still writes: then it ends with the last handle.
        if changing.is_some() {
            self.lock.lock().take();
        }
        self.tell_closed(started.elapsed(), &outcome);
        outcome
    }

    /// Before LOCK is given back: what is still leased must not be recycled by whoever has it next.
    fn hold_leased(&self) -> Result<()> {
        let disk = &*self.maker.disk;
        self.maker.pins.close(disk).map_err(io_error(disk, "hold", "READERS"))
    }

    /// Every log there is now takes no more claims and flushes what it has.
    fn stop_claims(&self) -> Vec<Arc<Log>> {
        let logs: Vec<Arc<Log>> = self.logs.read().values().cloned().collect();
        for log in &logs {
            log.stop_claims();
            log.want(Ack::Durable, u64::MAX - 1);
        }
        logs
    }
}

/// Leaves a clean end in every log that can have one; the first failure is the answer.
fn finish(logs: &[Arc<Log>]) -> Result<()> {
    let mut outcome = Ok(());
    for log in logs {
        let done = match log.stop_reason() {
            Some(Stop::Latched(_)) => Err(log.stop_error(false)),
            Some(_) => Ok(()),
            None => log.store_clean_end(),
        };
        outcome = outcome.and(done);
    }
    outcome
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A forked child has no business here: the parent goes on.
        if self.closed.load(Ordering::SeqCst) || self.check_fork().is_err() {
            return;
        }
        let timeout = self.options.close_timeout;
        if let Some(reading) = &self.reading {
            // On a thread of its own, which then ends by itself, nothing is waited for.
            self.end_reading(reading, timeout);
            return;
        }
        if self.runner.is_current() {
            // A waker dropped the last handle on the shard's own thread, which cannot wait for
            // itself: it drains and ends by itself, and the next open recovers.
            self.stop_claims();
            self.runner.end(Duration::ZERO, false);
            self.runner.end_upkeep(Duration::ZERO);
            // Without it a successor might recycle what is leased; it has no one to tell.
            let _ = self.hold_leased();
            return;
        }
        // Nobody is left to hear of a failure; what was acknowledged is safe all the same.
        let _ = self.close(timeout, true);
    }
}
