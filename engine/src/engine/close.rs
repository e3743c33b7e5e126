//! Closing: no more claims; everything flushed; the shard ended; index and checkpoint with the
//! exact end; then the lock. Dropping the last handle does the same.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Inner;
use crate::config::Ack;
use crate::error::{Error, Result};
use crate::log::{Log, Stop};

impl Inner {
    pub(super) fn close(&self, timeout: Duration) -> Result<()> {
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let logs: Vec<Arc<Log>> = self.logs.read().values().cloned().collect();
        for log in &logs {
            log.stop_claims();
            log.want(Ack::Durable, u64::MAX - 1);
        }
        let drained = self.runner.end(timeout);
        self.maintenance.end();
        let outcome = if drained {
            finish(&logs)
        } else {
            Err(Error::Timeout { after: timeout, outcome_unknown: true })
        };
        for log in &logs {
            log.stop(Stop::Closed);
        }
        // Ends here unless the shard still has I/O in flight, which then keeps it.
        self.lock.lock().take();
        outcome
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
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        let timeout = self.options.close_timeout;
        if self.runner.is_current() {
            // A waker dropped the last handle on the shard's own thread, which cannot wait for
            // itself: it drains and ends by itself, and the next open recovers.
            for log in self.logs.read().values() {
                log.stop_claims();
                log.want(Ack::Durable, u64::MAX - 1);
            }
            self.runner.end(Duration::ZERO);
            self.maintenance.end();
            return;
        }
        // Nobody is left to hear of a failure; what was acknowledged is safe all the same.
        let _ = self.close(timeout);
    }
}
