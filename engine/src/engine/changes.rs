//! Changes of the catalog: first durable in the metadata log, then true in memory, one at a time.
//!
//! A change whose wait ended early may become durable later. Until that is known no other change is
//! made: the next one would give out the same streams again, and a recovery would find both.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::open::{check_rings, recover_data};
use super::{Inner, META, placement};
use crate::config::{Ack, Flush};
use crate::error::{Error, Result};
use crate::format::frame::FrameKind;
use crate::ids::{LogId, StreamId};
use crate::limits::{LOGS_MAX, STREAMS_MAX};
use crate::log::Log;
use crate::log::append::{Payload, Progress};
use crate::log::recovery;
use crate::topic::catalog::{Change, Placement, to_json};

const WHAT: Payload = Payload {
    stream: StreamId(0),
    kind: FrameKind::Metadata,
    records: 0,
    max_timestamp_ms: 0,
    joins: false,
    frees: false,
};

/// A change that has its place in the metadata log, and of which no more is known.
#[derive(Debug)]
pub(super) struct Unsettled {
    change: Change,
    progress: Progress,
}

impl Inner {
    /// Waits for the changes of before whose outcome is unknown.
    pub(super) fn begin_change(&self) -> Result<MutexGuard<'_, Vec<Unsettled>>> {
        self.check_writable()?;
        let mut unsettled = self.changing.lock();
        self.check_open()?;
        while let Some(first) = unsettled.first_mut() {
            let done = self.wait_durable(&mut first.progress);
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

    /// Where the partitions of a new topic go: spread over the emptiest log of this class of each
    /// shard, which is made if there is none.
    pub(super) fn place(
        &self,
        partitions: u32,
        flush: Flush,
        unsettled: &mut Vec<Unsettled>,
    ) -> Result<Vec<Placement>> {
        let (loads, there) = {
            let catalog = self.catalog.read();
            (catalog.loads(), catalog.logs_of(flush).collect::<Vec<_>>())
        };
        let mut logs = Vec::new();
        for id in there {
            let log = self.opened_log(id, flush)?;
            // Until it is repaired nobody appends there.
            if log.damage().is_none() {
                logs.push((id, log.shard, loads.get(&id).copied().unwrap_or(0)));
            }
        }
        let from = placement::candidates(&logs, self.options.shards);
        let mut runs = Vec::new();
        for (log, partitions) in placement::spread(partitions, from) {
            let log = match log {
                Some(id) => id,
                None => self.create_log(flush, unsettled)?,
            };
            let there = self.catalog.read().logs.get(&log).copied();
            let first_stream = there.map_or(0, |log| log.next_stream);
            if first_stream.saturating_add(partitions) > STREAMS_MAX {
                let reason = format!("log {log} has had {first_stream} of at most {STREAMS_MAX}");
                return Err(Error::invalid("partitions", reason));
            }
            runs.push(Placement { log, first_stream, partitions });
        }
        Ok(runs)
    }

    /// A log of the catalog, on its shard. One whose first opening failed is in the catalog all the
    /// same, and never made anew.
    fn opened_log(&self, id: u32, flush: Flush) -> Result<Arc<Log>> {
        let id = LogId(id);
        if let Some(log) = self.logs.read().get(&id) {
            return Ok(Arc::clone(log));
        }
        let shard = {
            let logs = self.logs.read();
            let hosted = logs.values().filter(|log| log.id != META);
            let hosted = hosted.map(|log| (log.class, log.shard));
            placement::shard_for(flush, hosted, self.options.shards)
        };
        let live = self.catalog.read().live_streams(id.0);
        let recovered = recover_data(&self.maker.disk, id, &self.options, live)?;
        let log = self.maker.make(id, flush, shard, &self.options.log, recovered)?;
        self.adopt(&log);
        Ok(log)
    }

    fn create_log(&self, flush: Flush, unsettled: &mut Vec<Unsettled>) -> Result<u32> {
        let (last, there) = {
            let logs = &self.catalog.read().logs;
            (logs.keys().next_back().copied(), logs.len())
        };
        let id = last.unwrap_or(META.0) + 1;
        if id > LOGS_MAX {
            return Err(Error::invalid("shards", format!("there are {LOGS_MAX} logs already")));
        }
        check_rings(&self.options, there + 1)?;
        recovery::create(&self.maker.disk, LogId(id), &self.options.log)?;
        self.change(Change::LogCreated { id, flush }, unsettled)?;
        self.opened_log(id, flush)?;
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
        let mut after = self.catalog.read().clone();
        after.apply(change.clone());
        *meta.next_snapshot.lock() = Some(after.snapshot());
        let frees = matches!(change, Change::TopicDeleted { .. });
        let what = Payload { frees, ..WHAT };
        let mut progress = meta.begin(&what, &mut payload, Ack::Durable)?;
        match self.wait_durable(&mut progress) {
            Ok(()) => self.make_true(change),
            Err(error) => {
                if progress.claim().is_some() {
                    unsettled.push(Unsettled { change, progress });
                }
                Err(error)
            }
        }
    }

    fn wait_durable(&self, progress: &mut Progress) -> Result<()> {
        let meta = self.log(META)?;
        let mut outcome = None;
        let timeout = self.options.append_timeout;
        self.runner.block_on(timeout, &mut |context| {
            meta.poll_put(progress, context).map(|done| outcome = Some(done))
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
                for (run, log) in topic.placement.iter().zip(self.logs_of(topic)?.iter()) {
                    for stream in run.streams() {
                        log.add_stream(StreamId(stream), recovery::fresh_stream());
                    }
                }
            }
            Change::TopicDeleted { uuid } => {
                let topic = self.catalog.read().topic_of(*uuid).cloned();
                if let Some(topic) = topic {
                    for (run, log) in topic.placement.iter().zip(self.logs_of(&topic)?.iter()) {
                        for stream in run.streams() {
                            log.remove_stream(StreamId(stream));
                        }
                        log.trimmed();
                    }
                }
            }
        }
        self.tell_change(&change);
        let mut catalog = self.catalog.write();
        catalog.apply(change);
        if let Some(meta) = self.logs.read().get(&META) {
            *meta.snapshot.lock() = catalog.snapshot();
        }
        Ok(())
    }
}
