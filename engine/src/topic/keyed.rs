//! Appending to a topic rather than to one of its partitions: the key says which, or the next in
//! turn takes it. Adds nothing to what a partition promises: each is appended to and acknowledged
//! by itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Topic;
use super::append::{AppendFuture, AppendOptions};
use super::keys::partition_of;
use super::partition::Partition;
use crate::error::{Error, PartOutcome, Result};
use crate::format::record_batch::Record;
use crate::ids::{Appended, PartitionId, RecordId};
use crate::log::append::Payload;

impl Topic {
    /// Which partition a record with this key goes to: Kafka's default, murmur2 of the key. Without
    /// a key the next in turn, and each call takes a turn; this handle and its clones share it.
    pub fn partition_for(&self, key: Option<&[u8]>) -> PartitionId {
        let partitions = self.partitions();
        PartitionId(match key {
            Some(key) => partition_of(key, partitions),
            None => self.turn.fetch_add(1, Ordering::Relaxed) % partitions,
        })
    }

    fn partition_of(&self, record: &Record<'_>) -> Result<Partition> {
        self.partition(self.partition_for(record.key_bytes()).0)
    }

    /// Appends one record to [the partition of its key](Self::partition_for) and blocks until the
    /// topic's acknowledgement: durable for a `sync` topic, written for an `async` one.
    ///
    /// ```
    /// # fn main() -> Result<(), ringlog::Error> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use ringlog::{Engine, Record, TopicSpec};
    /// let engine = Engine::options().open(dir.path())?;
    /// let orders = engine.open_or_create_topic(TopicSpec::new("orders").partitions(8))?;
    /// let first = orders.append(Record::new(b"one espresso").key(b"table 7"))?;
    /// let second = orders.append(Record::new(b"the bill").key(b"table 7"))?;
    /// assert_eq!(second.partition, first.partition);
    /// assert_eq!(second.offset.0, first.offset.0 + 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Partition::append`].
    pub fn append(&self, record: Record<'_>) -> Result<RecordId> {
        self.append_with(record, AppendOptions::default())
    }

    /// As [`append`](Self::append), with options of its own.
    ///
    /// # Errors
    /// As [`Partition::append`].
    pub fn append_with(&self, record: Record<'_>, options: AppendOptions) -> Result<RecordId> {
        let partition = self.partition_of(&record)?;
        let appended = partition.append_with(&[record], options)?;
        Ok(RecordId { partition: partition.id(), offset: appended.first })
    }

    /// As [`append`](Self::append), but [`Error::Busy`] instead of waiting for room in the ring.
    ///
    /// # Errors
    /// As [`Partition::append`], and [`Error::Busy`].
    pub fn try_append(&self, record: Record<'_>) -> Result<RecordId> {
        self.append_with(record, AppendOptions::default().wait_for_room(false))
    }

    /// Starts appending one record; the bytes are taken before this returns.
    pub fn append_async(&self, record: Record<'_>) -> TopicAppend {
        self.append_async_with(record, AppendOptions::default())
    }

    /// As [`append_async`](Self::append_async), with options of its own.
    pub fn append_async_with(&self, record: Record<'_>, options: AppendOptions) -> TopicAppend {
        let partition = self.partition_for(record.key_bytes());
        let there = self.partition(partition.0);
        TopicAppend {
            partition,
            append: there.map(|there| there.append_async_with(&[record], options)),
        }
    }

    /// Appends records, each to the partition of its key, and blocks until all are acknowledged.
    /// What goes to one partition is one batch there, in the order given. The partitions
    /// acknowledge one by one: nothing makes batches of several whole or absent together.
    ///
    /// # Errors
    /// As [`Partition::append`], and then nothing was written; [`Error::PartlyAppended`] tells the
    /// partitions that took their part from those that did not.
    pub fn append_many(&self, records: &[Record<'_>]) -> Result<TopicAppended> {
        self.append_many_with(records, AppendOptions::default())
    }

    /// As [`append_many`](Self::append_many), with options of its own; the deadline is one for all.
    ///
    /// # Errors
    /// As [`append_many`](Self::append_many).
    pub fn append_many_with(
        &self,
        records: &[Record<'_>],
        options: AppendOptions,
    ) -> Result<TopicAppended> {
        let parts = self.parts(records, &options)?;
        let started = parts.into_iter().map(|part| {
            let mut batch = part.batch;
            let append = part.partition.start(&mut batch, &part.what, &options);
            Started { partition: part.partition.id(), records: part.records, append, result: None }
        });
        let mut started: Vec<Started> = started.collect();
        let timeout = options.timeout.unwrap_or_else(|| self.host.append_timeout());
        let mut at = 0;
        let mut first = true;
        self.host.block_on(timeout, &mut |context| {
            if std::mem::take(&mut first) {
                // Each that has its place says at once how far it wants its log flushed.
                for part in &mut started {
                    let _ = part.advance(context);
                }
            }
            while let Some(part) = started.get_mut(at) {
                if part.advance(context).is_pending() {
                    return Poll::Pending;
                }
                at += 1;
            }
            Poll::Ready(())
        });
        let outcomes = started.into_iter().map(|part| part.end(timeout)).collect();
        TopicAppended::of(records.len(), outcomes)
    }

    /// Everything encoded before anything is claimed, so that a record which is refused is refused
    /// with all the others.
    fn parts(&self, records: &[Record<'_>], options: &AppendOptions) -> Result<Vec<Part>> {
        if records.is_empty() {
            return Err(Error::invalid("records", "none given"));
        }
        let mut order: Vec<(PartitionId, usize)> = Vec::with_capacity(records.len());
        for (at, record) in records.iter().enumerate() {
            order.push((self.partition_for(record.key_bytes()), at));
        }
        order.sort_unstable();
        let mut parts = Vec::new();
        for chunk in order.chunk_by(|a, b| a.0 == b.0) {
            let partition = self.partition(chunk[0].0.0)?;
            let places: Vec<usize> = chunk.iter().map(|(_, at)| *at).collect();
            let chosen: Vec<Record<'_>> = places.iter().map(|at| records[*at].clone()).collect();
            let mut batch = Vec::new();
            let what = partition.encode(&chosen, options, &mut batch)?;
            parts.push(Part { partition, records: places, batch, what });
        }
        Ok(parts)
    }
}

/// One partition's part of what is appended.
struct Part {
    partition: Partition,
    records: Vec<usize>,
    batch: Vec<u8>,
    what: Payload,
}

struct Started {
    partition: PartitionId,
    records: Vec<usize>,
    append: AppendFuture,
    result: Option<Result<Appended>>,
}

impl Started {
    fn advance(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.result.is_none()
            && let Poll::Ready(result) = self.append.advance(context)
        {
            self.result = Some(result);
        }
        if self.result.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What is not known when the deadline passes stays unknown.
    fn end(mut self, timeout: Duration) -> PartOutcome {
        let known = self.result.take().or_else(|| self.append.look());
        let outcome_unknown = self.append.give_up();
        let result = known.unwrap_or(Err(Error::Timeout { after: timeout, outcome_unknown }));
        PartOutcome { partition: self.partition, records: self.records, result }
    }
}

/// Where the records of [`Topic::append_many`] went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicAppended {
    ranges: Vec<(PartitionId, Appended)>,
    ids: Vec<RecordId>,
}

impl TopicAppended {
    fn of(count: usize, parts: Vec<PartOutcome>) -> Result<Self> {
        let failed = parts.iter().find_map(|part| part.result.as_ref().err().cloned());
        let Some(cause) = failed else {
            return Ok(Self::of_all(count, &parts));
        };
        let untouched = |part: &PartOutcome| {
            part.result.as_ref().is_err_and(|error| !error.outcome_is_unknown())
        };
        if parts.iter().all(untouched) {
            return Err(cause);
        }
        Err(Error::PartlyAppended { parts: parts.into(), cause: Arc::new(cause) })
    }

    fn of_all(count: usize, parts: &[PartOutcome]) -> Self {
        let none = RecordId { partition: PartitionId(0), offset: crate::ids::Offset(0) };
        let mut ids = vec![none; count];
        let mut ranges = Vec::with_capacity(parts.len());
        for part in parts {
            let Ok(appended) = part.result else { continue };
            ranges.push((part.partition, appended));
            for (nth, at) in (0..).zip(&part.records) {
                let offset = appended.first + nth;
                ids[*at] = RecordId { partition: part.partition, offset };
            }
        }
        Self { ranges, ids }
    }

    /// The offsets of each partition that got any, ascending by partition.
    pub fn ranges(&self) -> &[(PartitionId, Appended)] {
        &self.ranges
    }

    /// Where each record is, in the order they were given.
    pub fn ids(&self) -> &[RecordId] {
        &self.ids
    }
}

/// An append to a topic on its way; everything of [`AppendFuture`] holds.
#[must_use = "an append that nobody waits for is not known to have succeeded"]
#[derive(Debug)]
pub struct TopicAppend {
    partition: PartitionId,
    append: Result<AppendFuture>,
}

impl TopicAppend {
    /// The partition it goes to.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Blocks until it is acknowledged or the append's deadline passes, counted from this call.
    ///
    /// # Errors
    /// As of [`Partition::append`].
    pub fn wait(self) -> Result<RecordId> {
        let partition = self.partition;
        self.append?.wait().map(|appended| id_of(partition, appended))
    }

    /// Blocks until it is acknowledged or `timeout` passes.
    ///
    /// # Errors
    /// As of [`Partition::append`].
    pub fn wait_timeout(self, timeout: Duration) -> Result<RecordId> {
        let partition = self.partition;
        self.append?.wait_timeout(timeout).map(|appended| id_of(partition, appended))
    }

    /// Whether it has been acknowledged or has failed.
    pub fn is_done(&mut self) -> bool {
        self.append.as_mut().map_or(true, AppendFuture::is_done)
    }
}

fn id_of(partition: PartitionId, appended: Appended) -> RecordId {
    RecordId { partition, offset: appended.first }
}

impl Future for TopicAppend {
    type Output = Result<RecordId>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let partition = self.partition;
        match &mut self.append {
            Ok(append) => {
                Pin::new(append).poll(context).map_ok(|appended| id_of(partition, appended))
            }
            Err(error) => Poll::Ready(Err(error.clone())),
        }
    }
}
