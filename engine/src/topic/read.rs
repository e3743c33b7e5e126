//! Reading a partition: batches as they were appended, and the records in them.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::Host;
use crate::config::{Compression, TimestampType};
use crate::error::{Error, Result};
use crate::format::record_batch::{self, BatchError, BatchHeader, RecordView};
use crate::ids::{Offset, PartitionId, StreamId};
use crate::limits::BATCH_HEADER_BYTES;
use crate::log::Log;
use crate::log::reader::Cursor;
use crate::log::times::Time;

/// A wait of [`Follow`] is cut into pieces of this length; each end is a look around.
pub(crate) const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the log start.
    Earliest,
    /// After the newest record.
    Latest,
    /// At this offset.
    Offset(Offset),
    /// At the first record of this time, in milliseconds since the epoch, or later; where the
    /// visible records end if there is none, so that one which comes is not missed.
    Time(i64),
}

/// What a reader is made for.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) log: &'a Arc<Log>,
    pub(crate) stream: StreamId,
    pub(crate) partition: PartitionId,
    /// For messages: topic and partition.
    pub(crate) label: Arc<str>,
}

/// Reads one partition, one thread at a time. As an iterator it gives batch after batch and ends
/// where the partition ends now; it may be asked again later.
///
/// A reader of a `sync` topic sees what is durable, one of an `async` topic what is written. It
/// never blocks an append, and keeps the segment it reads from being recycled.
pub struct Reader {
    pub(crate) cursor: Cursor,
    log: Arc<Log>,
    stream: StreamId,
    partition: PartitionId,
    host: Arc<dyn Host>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("next_offset", &self.next_offset()).finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(place: Place<'_>, host: &Arc<dyn Host>, start: Start) -> Result<Self> {
        let mut reader = Self {
            cursor: Cursor::new(Arc::clone(place.log), place.stream, place.label, 0),
            log: Arc::clone(place.log),
            stream: place.stream,
            partition: place.partition,
            host: Arc::clone(host),
        };
        reader.seek(start)?;
        Ok(reader)
    }

    pub(crate) fn topic_name(&self) -> String {
        let label = self.cursor.label();
        label.rsplit_once('/').map_or(&*label, |(topic, _)| topic).to_owned()
    }

    /// Goes on elsewhere.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`], the reader staying where it was.
    pub fn seek(&mut self, start: Start) -> Result<()> {
        self.log.check_fork()?;
        let label = self.cursor.label();
        let bounds = self.log.bounds(self.stream).ok_or_else(|| self.log.no_stream(&label))?;
        let offset = match start {
            Start::Earliest => bounds.log_start,
            Start::Latest => bounds.end,
            Start::Offset(offset) => offset.0,
            Start::Time(ms) => match self.log.search_time(self.stream, &label, ms)? {
                Time::At(found) => found.offset.0,
                Time::NotBefore(offset) => offset,
            },
        };
        if !(bounds.log_start..=bounds.end).contains(&offset) {
            if offset > bounds.end {
                self.log.check_end()?;
            }
            return Err(Error::OffsetOutOfRange {
                partition: label.to_string(),
                requested: Offset(offset),
                start: Offset(bounds.log_start),
                end: Offset(bounds.end),
            });
        }
        self.cursor.seek(offset);
        Ok(())
    }

    /// Whether each batch's checksum is verified (default: yes). Frames are proven either way.
    #[must_use]
    pub fn verify(mut self, verify: bool) -> Self {
        self.cursor.verify = verify;
        self
    }

    /// The offset of the next record.
    pub fn next_offset(&self) -> Offset {
        Offset(self.cursor.next_offset())
    }

    /// The next batch; `None`: nothing more right now. Does not block on appends. A batch is given
    /// whole, so the first may begin before the offset asked for: its iterator starts there.
    ///
    /// # Errors
    /// [`Error::Corrupt`] names file and byte, and the reader stays before the damage;
    /// [`Error::OffsetOutOfRange`] if the place was trimmed meanwhile; [`Error::Io`].
    #[inline]
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        let from = self.next_offset();
        let partition = self.partition;
        let next = self.cursor.next_batch()?;
        Ok(next.map(|(header, bytes)| Batch::new(header, bytes, partition, from)))
    }

    /// The next batch, sleeping up to `timeout` until there is one.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch), and [`Error::Closed`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Batch>> {
        let mut outcome = Ok(None);
        let host = Arc::clone(&self.host);
        host.block_on(timeout, &mut |context| {
            self.poll_next(context).map(|polled| outcome = polled.map(Some))
        });
        outcome
    }

    /// The next batch, or `Pending`, and the waker is woken when there may be one: for callers who
    /// sleep in their own way. Only the waker of the latest call counts.
    ///
    /// # Errors
    /// As [`next_timeout`](Self::next_timeout).
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch>> {
        loop {
            if let Some(polled) = self.next_batch().transpose() {
                return Poll::Ready(polled);
            }
            match self.cursor.follow(context.waker()) {
                // Registered: what came in between has been looked for by the registration.
                Ok(true) => return Poll::Pending,
                Ok(false) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Registers `waker` for when there may be more than the last look found; false: look again.
    pub(super) fn follow_with(&mut self, waker: &Waker) -> Result<bool> {
        self.cursor.follow(waker)
    }

    /// An iterator that sleeps until there is more, and ends only with an error.
    pub fn follow(self) -> Follow {
        Follow { reader: self, ended: false }
    }

    /// An iterator over records instead of batches; ends where the partition ends now.
    pub fn records(self) -> Records {
        Records { reader: self, queue: Vec::new().into_iter() }
    }
}

impl Iterator for Reader {
    type Item = Result<Batch>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

/// See [`Reader::follow`].
#[derive(Debug)]
pub struct Follow {
    reader: Reader,
    ended: bool,
}

impl Iterator for Follow {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.reader.next_timeout(FOREVER) {
                Ok(None) => {}
                Ok(Some(batch)) => return Some(Ok(batch)),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// A record with its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its value, if it has one.
    pub value: Option<Bytes>,
    /// Its headers, in the order they were given: name (UTF-8, unless a foreign client wrote it)
    /// and value.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// See [`Reader::records`].
#[derive(Debug)]
pub struct Records {
    reader: Reader,
    queue: std::vec::IntoIter<OwnedRecord>,
}

impl Iterator for Records {
    type Item = Result<OwnedRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.queue.next() {
                return Some(Ok(record));
            }
            match self.reader.next_batch() {
                Ok(None) => return None,
                Ok(Some(batch)) => match batch.to_records() {
                    Ok(records) => self.queue = records.into_iter(),
                    Err(error) => return Some(Err(error)),
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A record batch, sharing the memory it was read into.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Bytes,
    /// Decoded from the bytes.
    header: BatchHeader,
    partition: PartitionId,
    from: Offset,
    /// The records of a compressed one, once somebody wanted them.
    plain: Option<Arc<OnceLock<Result<Bytes, BatchError>>>>,
}

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        (&self.bytes, self.partition, self.from) == (&other.bytes, other.partition, other.from)
    }
}

impl Eq for Batch {}

impl Batch {
    fn new(header: BatchHeader, bytes: Bytes, partition: PartitionId, from: Offset) -> Self {
        let plain = (header.compression() != Ok(Compression::None)).then(Arc::default);
        Self { bytes, header, partition, from, plain }
    }

    /// The records: in place, or decompressed once for all who share this batch.
    fn plain(&self) -> Result<&[u8], BatchError> {
        let Some(plain) = &self.plain else {
            return self.bytes.get(BATCH_HEADER_BYTES..).ok_or(BatchError::RecordLength);
        };
        let plain = plain.get_or_init(|| {
            self.header.plain(&self.bytes).map(|plain| Bytes::from(plain.into_owned()))
        });
        plain.as_deref().map_err(|error| *error)
    }

    /// The memory that [`plain`](Self::plain) lies in.
    fn plain_owner(&self) -> &Bytes {
        let decompressed = self.plain.as_ref().and_then(|plain| plain.get()?.as_ref().ok());
        decompressed.unwrap_or(&self.bytes)
    }

    /// The bytes: a Kafka `RecordBatch` v2, compressed if it was appended so.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How its records are compressed in [`bytes`](Self::bytes); its iterator decompresses them,
    /// once for all clones.
    pub fn compression(&self) -> Compression {
        self.header.compression().unwrap_or_default()
    }

    /// Whose time its records have.
    pub fn timestamps(&self) -> TimestampType {
        self.header.timestamps()
    }

    /// The latest timestamp of its records, in milliseconds since the epoch.
    pub fn max_timestamp_ms(&self) -> i64 {
        self.header.max_timestamp_ms
    }

    /// The partition it was read from.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The offset of its first record.
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// The offset of its last record.
    pub fn last_offset(&self) -> Offset {
        self.header.last_offset()
    }

    /// How many records are in it.
    pub fn len(&self) -> usize {
        self.header.record_count as usize
    }

    /// Never: a batch has at least one record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its records from the offset that the reader stood at on; an item is an error only if the
    /// bytes are damaged and the reader did not verify. A compressed batch is decompressed by the
    /// first who asks, for all clones.
    pub fn iter(&self) -> BatchIter<'_> {
        let records = self.plain().map(|plain| self.header.records(plain));
        BatchIter { records: Some(records), from: self.from }
    }

    pub(crate) fn to_records(&self) -> Result<Vec<OwnedRecord>> {
        let records = self.iter();
        let memory = self.plain_owner();
        let own = |part: &[u8]| memory.slice_ref(part);
        let header = |(name, value): (&[u8], Option<&[u8]>)| (own(name), value.map(own));
        let owned = records.map(|view| {
            let view = view?;
            Ok(OwnedRecord {
                partition: self.partition,
                offset: view.offset(),
                timestamp_ms: view.timestamp_ms(),
                key: view.key().map(own),
                value: view.value().map(own),
                headers: view.headers().map(header).collect(),
            })
        });
        owned.collect()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = Result<RecordView<'a>>;
    type IntoIter = BatchIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// See [`Batch::iter`].
#[derive(Clone, Debug)]
pub struct BatchIter<'a> {
    /// `None` after an error, which ends it.
    records: Option<Result<record_batch::Records<'a>, BatchError>>,
    from: Offset,
}

impl<'a> Iterator for BatchIter<'a> {
    type Item = Result<RecordView<'a>>;

    #[expect(clippy::inline_always, reason = "measured: a call a record costs a fifth of a read")]
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let error = match self.records.as_mut()? {
            Ok(records) => loop {
                match records.next()? {
                    Ok(view) if view.offset() < self.from => {}
                    Ok(view) => return Some(Ok(view)),
                    Err(error) => break error,
                }
            },
            Err(error) => *error,
        };
        self.records = None;
        Some(Err(error.into()))
    }
}
