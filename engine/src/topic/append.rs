//! The handles of an append: its options, its answer, and the future of one that is on its way.

use std::cell::RefCell;
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
use crate::log::writer::Claim;

/// A thread keeps its encoding buffer between appends up to this size.
const SCRATCH_KEPT_BYTES: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs `with` on this thread's encoding buffer, emptied.
pub(crate) fn with_scratch<T>(with: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    SCRATCH.with(|scratch| {
        // A waker run from within may append again: it gets a buffer of its own.
        let mut own = Vec::new();
        let Ok(mut kept) = scratch.try_borrow_mut() else { return with(&mut own) };
        kept.clear();
        let out = with(&mut kept);
        if kept.capacity() > SCRATCH_KEPT_BYTES {
            *kept = Vec::new();
        }
        out
    })
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
/// Room is claimed, and the offset assigned, before this is handed out, wherever there is room;
/// else when it is polled with room. Appends that wait for room do not queue: a later one may come
/// first. Whoever needs the order of calls under back-pressure asks with
/// [`wait_for_room(false)`](AppendOptions::wait_for_room), and lets what is in flight finish when
/// the answer is [`Error::Busy`]. One that was polled and waits must be polled on, or dropped: a
/// large one, for which the ring has to drain, keeps others out until then.
///
/// Dropping it does not take back what was claimed: that
/// is appended all the same, and nobody hears of it.
#[must_use = "an append that nobody waits for is not known to have succeeded"]
pub struct AppendFuture {
    log: Arc<Log>,
    host: Arc<dyn Host>,
    what: Payload,
    /// Empty once claimed.
    payload: Vec<u8>,
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
        what: Payload,
        payload: &mut [u8],
        level: Ack,
        options: AppendOptions,
    ) -> Self {
        let mut future = Self {
            log: Arc::clone(log),
            host: Arc::clone(host),
            what,
            payload: Vec::new(),
            progress: Progress::new(level),
            timeout: options.timeout.unwrap_or_else(|| host.append_timeout()),
            outcome: None,
        };
        match log.try_put(what, payload) {
            Ok(claim) => future.progress.claimed(claim),
            Err(refusal) if options.no_wait => {
                future.outcome = Some(Err(log.refusal_error(refusal)));
            }
            Err(_) => payload.clone_into(&mut future.payload),
        }
        future
    }

    /// For a claim that was granted already.
    pub(crate) fn claimed(
        log: &Arc<Log>,
        host: &Arc<dyn Host>,
        what: Payload,
        claim: Claim,
        level: Ack,
        options: AppendOptions,
    ) -> Self {
        let timeout = options.timeout.unwrap_or_else(|| host.append_timeout());
        let mut progress = Progress::new(level);
        progress.claimed(claim);
        let (log, host) = (Arc::clone(log), Arc::clone(host));
        Self { log, host, what, payload: Vec::new(), progress, timeout, outcome: None }
    }

    pub(crate) fn failed(
        log: &Arc<Log>,
        host: &Arc<dyn Host>,
        what: Payload,
        error: Error,
    ) -> Self {
        Self {
            log: Arc::clone(log),
            host: Arc::clone(host),
            what,
            payload: Vec::new(),
            progress: Progress::new(Ack::Written),
            timeout: Duration::ZERO,
            outcome: Some(Err(error)),
        }
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
            let outcome_unknown = self.progress.claim().is_some();
            Err(Error::Timeout { after: timeout, outcome_unknown })
        })
    }

    /// Whether it has been acknowledged or has failed.
    pub fn is_done(&mut self) -> bool {
        self.look().is_some()
    }

    /// The outcome, if it is known without waiting.
    pub(crate) fn look(&mut self) -> Option<Result<Appended>> {
        if self.outcome.is_none() && self.progress.claim().is_some() {
            if let Err(forked) = self.log.check_fork() {
                self.outcome = Some(Err(forked));
                return self.outcome.clone();
            }
            let mut context = Context::from_waker(std::task::Waker::noop());
            if !self.log.is_reached(&self.progress) && self.log.stop_reason().is_none() {
                return None;
            }
            if let Poll::Ready(outcome) = self.advance(&mut context) {
                self.outcome = Some(outcome);
            }
        }
        self.outcome.clone()
    }

    /// Whether it has its offsets; what then fails leaves the outcome unknown.
    pub(crate) fn is_claimed(&self) -> bool {
        self.progress.claim().is_some()
    }

    pub(crate) fn advance(&mut self, context: &mut Context<'_>) -> Poll<Result<Appended>> {
        if let Some(outcome) = &self.outcome {
            return Poll::Ready(outcome.clone());
        }
        let polled = self.log.poll_put(self.what, &mut self.payload, &mut self.progress, context);
        if self.progress.claim().is_some() {
            self.payload = Vec::new();
        }
        let records = self.what.records;
        let polled = polled.map_ok(|claim| appended(claim.first, records));
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
