//! A partition: where records are appended to and read from.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::append::{AppendFuture, AppendOptions, appended, with_scratch};
use super::catalog::TopicMeta;
use super::completion::CompletionQueue;
use super::extents::Extents;
use super::read::{Place, Reader, Start};
use super::send::{Sender, Sent};
use super::{Host, PartitionInfo};
use crate::config::{Ack, Compression, LogOptions, TimestampType};
use crate::error::{Error, Result};
use crate::format::frame::FrameKind;
use crate::format::record_batch::{self, Form, Record};
use crate::ids::{Appended, Offset, PartitionId, StreamId, TimedOffset};
use crate::limits::BATCH_HEADER_BYTES;
use crate::log::Log;
use crate::log::append::{Payload, Progress};
use crate::log::times::Time;
use crate::log::writer::Claim;

/// One ordered stream of records; cheap to clone, usable from any thread, keeps its engine open.
///
/// Every append call is one record batch, whole or absent after any crash. All appends of a flush
/// class share groups and flushes, whichever partition they go to.
#[derive(Clone)]
pub struct Partition {
    topic: Arc<TopicMeta>,
    id: PartitionId,
    stream: StreamId,
    log: Arc<Log>,
    host: Arc<dyn Host>,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Partition").field(&self.label()).finish()
    }
}

impl Partition {
    pub(crate) fn new(
        topic: Arc<TopicMeta>,
        id: PartitionId,
        stream: StreamId,
        log: Arc<Log>,
        host: Arc<dyn Host>,
    ) -> Self {
        Self { topic, id, stream, log, host }
    }

    /// For messages: topic and number.
    fn label(&self) -> Arc<str> {
        format!("{}/{}", self.topic.name, self.id).into()
    }

    /// Its number in the topic.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Appends one record and blocks until the topic's acknowledgement: durable for a `sync` topic,
    /// written for an `async` one.
    ///
    /// ```
    /// # fn main() -> Result<(), ringlog::Error> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use ringlog::{Engine, Record, TopicSpec};
    /// let engine = Engine::options().open(dir.path())?;
    /// let orders = engine.open_or_create_topic(TopicSpec::new("orders"))?.partition(0)?;
    /// let offset = orders.append(Record::new(b"one espresso").key(b"table 7"))?;
    /// assert_eq!(offset.0, 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::TooLarge`] and other invalid input: nothing was written. [`Error::Timeout`]: says
    /// whether it may have been. [`Error::Latched`]: the device failed. [`Error::NoSpace`]: nothing
    /// was written; appends resume when there is space. [`Error::Closed`].
    pub fn append(&self, record: Record<'_>) -> Result<Offset> {
        self.append_with(&[record], AppendOptions::default()).map(|appended| appended.first)
    }

    /// As [`append`](Self::append), but [`Error::Busy`] instead of waiting for room in the ring.
    ///
    /// # Errors
    /// As [`append`](Self::append), and [`Error::Busy`].
    pub fn try_append(&self, record: Record<'_>) -> Result<Offset> {
        let options = AppendOptions::default().wait_for_room(false);
        self.append_with(&[record], options).map(|appended| appended.first)
    }

    /// Appends records as one batch, with the topic's acknowledgement.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_many(&self, records: &[Record<'_>]) -> Result<Appended> {
        self.append_with(records, AppendOptions::default())
    }

    /// Appends records as one batch, with options of its own.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_with(&self, records: &[Record<'_>], options: AppendOptions) -> Result<Appended> {
        with_scratch(|scratch| {
            let what = self.encode(records, &options, scratch)?;
            self.put(scratch, &what, &options)
        })
    }

    /// Appends a ready-made Kafka `RecordBatch` v2, whole, compressed or not: checked first, its
    /// base offset and leader epoch replaced, every other byte kept. Only what a Kafka broker would
    /// set right is set right: in a topic of append time the batch gets it, and a maximum timestamp
    /// that is not its records' is corrected.
    ///
    /// # Errors
    /// As [`append`](Self::append), and [`Error::InvalidBatch`].
    pub fn append_batch(&self, batch: &[u8], options: AppendOptions) -> Result<Appended> {
        with_scratch(|scratch| {
            let what = self.take_batch(batch, scratch)?;
            self.put(scratch, &what, &options)
        })
    }

    /// Starts appending one record; the bytes are taken before this returns.
    pub fn append_async(&self, record: Record<'_>) -> AppendFuture {
        self.append_async_with(&[record], AppendOptions::default())
    }

    /// Starts appending records as one batch, with options of its own.
    pub fn append_async_with(
        &self,
        records: &[Record<'_>],
        options: AppendOptions,
    ) -> AppendFuture {
        with_scratch(|scratch| match self.encode(records, &options, scratch) {
            Ok(what) => self.start(scratch, &what, &options),
            Err(error) => AppendFuture::failed(&self.log, &self.host, error),
        })
    }

    /// Starts appending records as one batch, whose outcome `queue` gives under `tag`. Room is
    /// claimed, and the bytes are taken, before this returns: it waits for room up to the deadline,
    /// unless [`wait_for_room(false)`](AppendOptions::wait_for_room) was asked for. Calls of one
    /// thread are appended in their order.
    ///
    /// # Errors
    /// [`Error::QueueFull`], and what [`append`](Self::append) meets before it is claimed: nothing
    /// was written, and there will be no completion.
    pub fn submit_append(
        &self,
        queue: &CompletionQueue,
        records: &[Record<'_>],
        options: AppendOptions,
        tag: u64,
    ) -> Result<()> {
        self.submit(queue, &options, tag, |scratch| self.encode(records, &options, scratch))
    }

    /// As [`submit_append`](Self::submit_append), of a ready-made Kafka `RecordBatch` v2, as
    /// [`append_batch`](Self::append_batch) takes it.
    ///
    /// # Errors
    /// As [`submit_append`](Self::submit_append), and [`Error::InvalidBatch`].
    pub fn submit_batch(
        &self,
        queue: &CompletionQueue,
        batch: &[u8],
        options: AppendOptions,
        tag: u64,
    ) -> Result<()> {
        self.submit(queue, &options, tag, |scratch| self.take_batch(batch, scratch))
    }

    fn submit(
        &self,
        queue: &CompletionQueue,
        options: &AppendOptions,
        tag: u64,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<Payload>,
    ) -> Result<()> {
        queue.reserve()?;
        let claimed: Result<_> = with_scratch(|scratch| {
            let what = encode(scratch)?;
            let claim = self.claim(scratch, &what, options)?;
            Ok((claim.end, appended(claim.first, what.records)))
        });
        let (end, appended) = claimed.inspect_err(|_| queue.unreserve())?;
        queue.put(&self.log, self.level(options), end, (tag, self.id, appended));
        Ok(())
    }

    /// Claims, waiting for room if `options` say so.
    fn claim(&self, batch: &mut [u8], what: &Payload, options: &AppendOptions) -> Result<Claim> {
        if options.no_wait {
            return self.log.put_now(what, batch);
        }
        let mut progress = self.log.begin(what, batch, self.level(options))?;
        if let Some(claim) = progress.claim() {
            return Ok(claim);
        }
        let after = options.timeout.unwrap_or_else(|| self.host.append_timeout());
        let mut outcome = None;
        self.host.block_on(after, &mut |context| {
            self.log.poll_claim(&mut progress, context).map(|done| outcome = Some(done))
        });
        self.log.settle(&mut progress);
        // It may have been let in just when the time was over.
        let late = progress.claim().ok_or(Error::Timeout { after, outcome_unknown: false });
        outcome.unwrap_or(late)
    }

    /// One batch of these records in `scratch`; answers what [`start`](Self::start) needs to know
    /// of it.
    #[inline]
    pub(crate) fn encode(
        &self,
        records: &[Record<'_>],
        options: &AppendOptions,
        scratch: &mut Vec<u8>,
    ) -> Result<Payload> {
        let form = Form {
            compression: options.compression.unwrap_or(self.topic.compression),
            timestamps: self.topic.timestamps,
        };
        let now_ms = self.host.now_ms();
        let max_timestamp_ms = record_batch::encode_unsealed(records, form, now_ms, scratch)?;
        self.fits(scratch)?;
        let joins = records.len() == 1
            && form.compression == Compression::None
            && scratch.len()
                <= BATCH_HEADER_BYTES + LogOptions::joining_record_bytes(self.log.class);
        if !joins {
            record_batch::seal(scratch);
        }
        Ok(Payload { joins, ..self.payload(records.len() as u64, max_timestamp_ms) })
    }

    /// Checks and copies a ready-made batch.
    fn take_batch(&self, batch: &[u8], scratch: &mut Vec<u8>) -> Result<Payload> {
        let (header, mut max_timestamp_ms) = record_batch::check_times(batch)?;
        scratch.extend_from_slice(batch);
        self.fits(scratch)?;
        if self.topic.timestamps == TimestampType::AppendTime {
            max_timestamp_ms = self.host.now_ms();
            record_batch::stamp(scratch, max_timestamp_ms, true);
        } else if header.max_timestamp_ms != max_timestamp_ms {
            record_batch::stamp(scratch, max_timestamp_ms, false);
        }
        Ok(self.payload(header.record_count.into(), max_timestamp_ms))
    }

    #[inline]
    fn fits(&self, batch: &[u8]) -> Result<()> {
        let max = self.log.options.max_payload_bytes;
        if batch.len() > max {
            return Err(Error::TooLarge { what: "record batch", len: batch.len(), max });
        }
        Ok(())
    }

    #[inline]
    fn payload(&self, records: u64, max_timestamp_ms: i64) -> Payload {
        let (stream, kind) = (self.stream, FrameKind::Batch);
        Payload { stream, kind, records, max_timestamp_ms, joins: false, frees: false }
    }

    pub(crate) fn start(
        &self,
        batch: &mut [u8],
        what: &Payload,
        options: &AppendOptions,
    ) -> AppendFuture {
        AppendFuture::start(&self.log, &self.host, what, batch, self.level(options), options)
    }

    #[inline]
    fn level(&self, options: &AppendOptions) -> Ack {
        options.ack.unwrap_or_else(|| self.log.class.ack())
    }

    /// The shortest way for the commonest case, a claim granted whose level is there already.
    #[inline]
    fn put(&self, batch: &mut [u8], what: &Payload, options: &AppendOptions) -> Result<Appended> {
        let level = self.level(options);
        match self.log.try_put(what, batch) {
            Ok(claim) if self.log.reached(level) >= claim.end => {
                Ok(appended(claim.first, what.records))
            }
            Ok(claim) => {
                let progress = Progress::claimed(level, claim);
                AppendFuture::begun(&self.log, &self.host, what, progress, options).wait()
            }
            Err(refusal) if options.no_wait => Err(self.log.refusal_error(refusal)),
            Err(_) => self.start(batch, what, options).wait(),
        }
    }

    /// A reader from `start` on.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] if the offset is trimmed or beyond the end.
    pub fn reader(&self, start: Start) -> Result<Reader> {
        let place =
            Place { log: &self.log, stream: self.stream, partition: self.id, label: self.label() };
        Reader::new(place, &self.host, start)
    }

    /// The first visible record of this time, in milliseconds since the epoch, or later: Kafka's
    /// `ListOffsets` for a timestamp. Timestamps need not ascend: later records may be of earlier
    /// times. Reads what the index cannot tell: about a batch, decompressed if it is compressed.
    ///
    /// # Errors
    /// As [`Reader::next_batch`], and [`Error::UnknownTopic`] if the topic was deleted.
    pub fn offset_for_time(&self, ms: i64) -> Result<Option<TimedOffset>> {
        self.log.check_fork()?;
        match self.log.search_time(self.stream, &self.label(), ms)? {
            Time::At(found) => Ok(Some(found)),
            Time::NotBefore(_) => Ok(None),
        }
    }

    /// The visible record with the latest timestamp, the first if several have it: Kafka's
    /// `ListOffsets` for the maximum timestamp. `None`: there are no records.
    ///
    /// # Errors
    /// As [`offset_for_time`](Self::offset_for_time).
    pub fn max_timestamp(&self) -> Result<Option<TimedOffset>> {
        self.log.check_fork()?;
        self.log.latest_time(self.stream, &self.label())
    }

    /// Where whole batches lie from `from` on: as many as fit into `max_bytes`, and at least one
    /// if there is one; at most 4,096. What readers may see, and nothing beyond.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`], [`Error::Corrupt`], [`Error::Pinned`], [`Error::Io`].
    pub fn extents(&self, from: Offset, max_bytes: u64) -> Result<Extents> {
        let mut cursor = self.reader(Start::Offset(from))?.cursor;
        let gathered = cursor.gather(max_bytes)?;
        Ok(Extents::new(gathered, cursor.label()))
    }

    /// Sends batches, one after the other, to sockets or pipes that may not take them all at once.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`].
    pub fn sender(&self, from: Offset) -> Result<Sender> {
        Ok(Sender::new(self.reader(Start::Offset(from))?.cursor))
    }

    /// Sends whole batches from `from` on, up to `max_bytes` and at least one, straight from the
    /// page cache where they lie in files; see [`Sender::send_to`], which can also go on after a
    /// deadline: here the peer has then been sent a part of a batch.
    ///
    /// # Errors
    /// As [`Sender::send_to`], and [`Error::OffsetOutOfRange`].
    pub fn send_to(
        &self,
        socket: impl AsFd,
        from: Offset,
        max_bytes: u64,
        timeout: Duration,
    ) -> Result<Sent> {
        self.sender(from)?.send_to(socket, max_bytes, timeout)
    }

    /// What it holds, now.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`] if the topic was deleted; [`Error::Corrupt`] if its log is damaged
    /// so that nobody knows where it ends.
    pub fn info(&self) -> Result<PartitionInfo> {
        self.log.check_fork()?;
        self.log.check_end()?;
        let bounds = self.log.bounds(self.stream).ok_or_else(|| self.deleted())?;
        Ok(PartitionInfo {
            id: self.id,
            log_start: Offset(bounds.log_start),
            end: Offset(bounds.end),
            durable_end: Offset(bounds.durable_end),
            log: self.log.id.0,
            shard: self.log.shard,
        })
    }

    fn deleted(&self) -> Error {
        self.log.no_stream(&self.label())
    }

    /// Gives up every record below `offset`, durably; segments in which nothing else is live are
    /// recycled or removed. Batches are kept whole on disk; readers start at `offset`. Blocks until
    /// the new log start is durable. Works on a full disk, where appends do not: room for some
    /// dozens of trims is kept back.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] beyond the end; trimming below the log start does nothing.
    /// Otherwise as [`append`](Self::append).
    pub fn trim(&self, offset: Offset) -> Result<()> {
        self.log.check_fork()?;
        let bounds = self.log.bounds(self.stream).ok_or_else(|| self.deleted())?;
        if offset.0 > bounds.end {
            return Err(Error::OffsetOutOfRange {
                partition: self.label().to_string(),
                requested: offset,
                start: Offset(bounds.log_start),
                end: Offset(bounds.end),
            });
        }
        if offset.0 <= bounds.log_start {
            return Ok(());
        }
        let what = Payload { kind: FrameKind::Trim, frees: true, ..self.payload(0, 0) };
        let mut payload = offset.0.to_le_bytes();
        let options = AppendOptions::default().ack(Ack::Durable);
        let future =
            AppendFuture::start(&self.log, &self.host, &what, &mut payload, Ack::Durable, &options);
        future.wait()?;
        self.log.set_log_start(self.stream, offset);
        self.log.trimmed();
        Ok(())
    }
}
