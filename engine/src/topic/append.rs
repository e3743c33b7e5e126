//! The handles of an append: its options, its answer, and the future of one that is on its way.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Host;
use crate::config::{Ack, Compression};
use crate::error::{Error, Result};
use crate::ids::{Appended, Offset};
use crate::log::Log;
use crate::log::append::{Payload, Progress};

/// A thread keeps its encoding buffer between appends up to this size.
const SCRATCH_KEPT_BYTES: usize = 1 << 20;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `with` on this thread's encoding buffer, emptied.
#[inline]
pub(crate) fn with_scratch<T>(with: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    // A waker run from within may append again: it finds an empty buffer, and leaves its own.
    // One that runs while its thread ends may find none any more.
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.clear();
    let out = with(&mut scratch);
    if scratch.capacity() <= SCRATCH_KEPT_BYTES {
        let _ = SCRATCH.try_with(|kept| kept.set(scratch));
    }
    out
}

/// How one append differs from its topic's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct AppendOptions {
    pub(crate) ack: Option<Ack>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) no_wait: bool,
    pub(crate) compression: Option<Compression>,
}

impl AppendOptions {
    /// The acknowledgement to wait for (default: the topic's).
    pub fn ack(mut self, ack: Ack) -> Self {
        self.ack = Some(ack);
        self
    }

    /// The deadline (default: the engine's `append_timeout`). Before room was found nothing was
    /// written; after it the outcome is unknown, and the error says which.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How the batch is compressed (default: as the topic says). Ready-made batches stay as they
    /// are.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Whether to wait for room (default: yes); if not, a full ring is [`Error::Busy`].
    pub fn wait_for_room(mut self, wait: bool) -> Self {
        self.no_wait = !wait;
        self
    }
}

/// An append on its way. Resolves when it is acknowledged; runs on any executor.
///
/// Room is claimed, and the offset assigned, before this is handed out, wherever there is room.
/// What finds none waits for it in the order of the calls, polled or not, with a copy of its
/// records; an append that does not wait
/// ([`wait_for_room(false)`](AppendOptions::wait_for_room)) is [`Error::Busy`] as long as another
/// does. So what one thread appends to a partition is there in the order of its calls.
///
/// Dropping it gives up a wait for room. It does not take back what was claimed: that is appended
/// all the same, and nobody hears of it.
#[must_use = "an append that nobody waits for is not known to have succeeded"]
pub struct AppendFuture {
    log: Arc<Log>,
    host: Arc<dyn Host>,
    records: u64,
    progress: Progress,
    timeout: Duration,
    outcome: Option<Result<Appended>>,
}

impl std::fmt::Debug for AppendFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppendFuture").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl AppendFuture {
    /// Claims at once if there is room.
    pub(crate) fn start(
        log: &Arc<Log>,
        host: &Arc<dyn Host>,
        what: &Payload,
        payload: &mut [u8],
        level: Ack,
        options: &AppendOptions,
    ) -> Self {
        let begun = if options.no_wait {
            log.put_now(what, payload).map(|claim| Progress::claimed(level, claim))
        } else {
            log.begin(what, payload, level)
        };
        match begun {
            Ok(progress) => Self::begun(log, host, what, progress, options),
            Err(error) => Self::failed(log, host, error),
        }
    }

    /// For one that has its claim, or waits for it.
    pub(crate) fn begun(
        log: &Arc<Log>,
        host: &Arc<dyn Host>,
        what: &Payload,
        progress: Progress,
        options: &AppendOptions,
    ) -> Self {
        let timeout = options.timeout.unwrap_or_else(|| host.append_timeout());
        let (log, host, records) = (Arc::clone(log), Arc::clone(host), what.records);
        Self { log, host, records, progress, timeout, outcome: None }
    }

    pub(crate) fn failed(log: &Arc<Log>, host: &Arc<dyn Host>, error: Error) -> Self {
        let (log, host, progress) = (Arc::clone(log), Arc::clone(host), Progress::none());
        let (records, timeout) = (0, Duration::ZERO);
        Self { log, host, records, progress, timeout, outcome: Some(Err(error)) }
    }

    /// Blocks until it is acknowledged or the append's deadline passes, counted from this call.
    ///
    /// # Errors
    /// As of [`Partition::append`](crate::Partition::append).
    pub fn wait(self) -> Result<Appended> {
        let timeout = self.timeout;
        self.wait_timeout(timeout)
    }

    /// Blocks until it is acknowledged or `timeout` passes.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<Appended> {
        if let Some(outcome) = self.look() {
            return outcome;
        }
        let host = Arc::clone(&self.host);
        let mut outcome = None;
        host.block_on(timeout, &mut |context| match self.advance(context) {
            Poll::Ready(done) => {
                outcome = Some(done);
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        });
        outcome.unwrap_or_else(|| {
            let outcome_unknown = self.give_up();
            Err(Error::Timeout { after: timeout, outcome_unknown })
        })
    }

    /// Whether it has been acknowledged or has failed.
    pub fn is_done(&mut self) -> bool {
        self.look().is_some()
    }

    /// The outcome, if it is known without waiting.
    pub(crate) fn look(&mut self) -> Option<Result<Appended>> {
        let is_claimed = self.progress.claim().is_some();
        if self.outcome.is_none() && (is_claimed || self.progress.is_refused()) {
            if let Err(forked) = self.log.check_fork() {
                self.outcome = Some(Err(forked));
                return self.outcome.clone();
            }
            let mut context = Context::from_waker(std::task::Waker::noop());
            let is_reached = self.log.is_reached(&mut self.progress);
            if is_claimed && !is_reached && self.log.stop_reason().is_none() {
                return None;
            }
            if let Poll::Ready(outcome) = self.advance(&mut context) {
                self.outcome = Some(outcome);
            }
        }
        self.outcome.clone()
    }

    /// Waits no longer for room. Whether it has its offsets: then its outcome is unknown.
    pub(crate) fn give_up(&mut self) -> bool {
        self.log.settle(&mut self.progress);
        self.progress.claim().is_some()
    }

    pub(crate) fn advance(&mut self, context: &mut Context<'_>) -> Poll<Result<Appended>> {
        if let Some(outcome) = &self.outcome {
            return Poll::Ready(outcome.clone());
        }
        let polled = self.log.poll_put(&mut self.progress, context);
        let polled = polled.map_ok(|claim| appended(claim.first, self.records));
        if let Poll::Ready(outcome) = &polled {
            self.outcome = Some(outcome.clone());
        }
        polled
    }
}

/// The offsets of `records` records from `first` on.
pub(crate) fn appended(first: Offset, records: u64) -> Appended {
    Appended { first, last: first + records.saturating_sub(1) }
}

impl Future for AppendFuture {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.advance(context)
    }
}

impl Drop for AppendFuture {
    fn drop(&mut self) {
        self.log.settle(&mut self.progress);
    }
}
