//! Changes of the catalog: first durable in the metadata log, then true in memory, one at a time.
//!
//! A change whose wait ended early may become durable later. Until that is known no other change is
//! made: the next one would give out the same streams again, and a recovery would find both.

use parking_lot::MutexGuard;

use super::{Inner, META};
use crate::config::{Ack, Flush};
use crate::error::{Error, Result};
use crate::format::frame::FrameKind;
use crate::ids::{LogId, StreamId};
use crate::log::append::{Payload, Progress};
use crate::log::recovery;
use crate::topic::catalog::{Change, to_json};

const WHAT: Payload =
    Payload { stream: StreamId(0), kind: FrameKind::Metadata, records: 0, max_timestamp_ms: 0 };

/// A change that has its place in the metadata log, and of which no more is known.
#[derive(Debug)]
pub(super) struct Unsettled {
    change: Change,
    progress: Progress,
}

impl Inner {
    /// Waits for the changes of before whose outcome is unknown.
    pub(super) fn begin_change(&self) -> Result<MutexGuard<'_, Vec<Unsettled>>> {
        let mut unsettled = self.changing.lock();
        self.check_open()?;
        while let Some(first) = unsettled.first_mut() {
            let done = self.wait_durable(&mut [], &mut first.progress, || ());
            done.map_err(|error| match error {
                // The call that asks for another change has done nothing.
                Error::Timeout { after, .. } => Error::Timeout { after, outcome_unknown: false },
                Error::Latched { log, cause, .. } => {
                    Error::Latched { log, cause, outcome_unknown: false }
                }
                Error::Closed { .. } => Error::Closed { outcome_unknown: false },
                other => other,
            })?;
            let settled = unsettled.remove(0);
            self.make_true(settled.change)?;
        }
        Ok(unsettled)
    }

    /// The number of the log of this class, made if this is the first topic of it.
    pub(super) fn log_for(&self, flush: Flush, unsettled: &mut Vec<Unsettled>) -> Result<u32> {
        let found = self.catalog.read().log_of(flush).map(|(id, _)| id);
        let id = match found {
            Some(id) => id,
            None => self.create_log(flush, unsettled)?,
        };
        // One whose first opening failed is in the catalog all the same, and never made anew.
        if !self.logs.read().contains_key(&LogId(id)) {
            let id = LogId(id);
            let recovered = recovery::recover(&self.maker.disk, id, &self.options.log)?;
            self.adopt(&self.maker.make(id, flush, &self.options.log, recovered)?);
        }
        Ok(id)
    }

    fn create_log(&self, flush: Flush, unsettled: &mut Vec<Unsettled>) -> Result<u32> {
        let last = self.catalog.read().logs.keys().next_back().copied();
        let id = last.unwrap_or(META.0) + 1;
        recovery::create(&self.maker.disk, LogId(id), &self.options.log)?;
        self.change(Change::LogCreated { id, flush }, unsettled)?;
        Ok(id)
    }

    /// Makes a change durable, then true.
    pub(super) fn change(&self, change: Change, unsettled: &mut Vec<Unsettled>) -> Result<()> {
        let meta = self.log(META)?;
        let mut payload = to_json(&change);
        let max = meta.options.max_payload_bytes;
        if payload.len() > max {
            return Err(Error::TooLarge { what: "change of topics", len: payload.len(), max });
        }
        let mut progress = Progress::new(Ack::Durable);
        // A checkpoint above the change's place must have it: recovery reads no frame below.
        let claimed = || {
            let mut after = self.catalog.read().clone();
            after.apply(change.clone());
            *meta.snapshot.lock() = after.snapshot();
        };
        match self.wait_durable(&mut payload, &mut progress, claimed) {
            Ok(()) => self.make_true(change),
            Err(error) => {
                if progress.claim().is_some() {
                    unsettled.push(Unsettled { change, progress });
                }
                Err(error)
            }
        }
    }

    /// Calls `claimed` once the change has its place.
    fn wait_durable(
        &self,
        payload: &mut [u8],
        progress: &mut Progress,
        claimed: impl FnOnce(),
    ) -> Result<()> {
        let meta = self.log(META)?;
        let mut outcome = None;
        let mut claimed = Some(claimed);
        let timeout = self.options.append_timeout;
        self.runner.block_on(timeout, &mut |context| {
            let polled = meta.poll_put(WHAT, payload, progress, context);
            if progress.claim().is_some()
                && let Some(claimed) = claimed.take()
            {
                claimed();
            }
            polled.map(|done| outcome = Some(done))
        });
        meta.settle(progress);
        let outcome_unknown = progress.claim().is_some();
        outcome.unwrap_or(Err(Error::Timeout { after: timeout, outcome_unknown })).map(|_| ())
    }

    /// Makes a durable change true.
    fn make_true(&self, change: Change) -> Result<()> {
        match &change {
            Change::LogCreated { .. } => {}
            Change::TopicCreated(topic) => {
                let log = self.log(LogId(topic.log))?;
                for stream in topic.first_stream..topic.first_stream + topic.partitions {
                    log.add_stream(StreamId(stream), recovery::fresh_stream());
                }
            }
            Change::TopicDeleted { uuid } => {
                let topic = self.catalog.read().topic_of(*uuid).cloned();
                if let Some(topic) = topic {
                    let log = self.log(LogId(topic.log))?;
                    for stream in topic.first_stream..topic.first_stream + topic.partitions {
                        log.remove_stream(StreamId(stream));
                    }
                    log.trimmed();
                }
            }
        }
        let mut catalog = self.catalog.write();
        catalog.apply(change);
        if let Some(meta) = self.logs.read().get(&META) {
            *meta.snapshot.lock() = catalog.snapshot();
        }
        Ok(())
    }
}
