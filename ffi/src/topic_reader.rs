//! Readers of topics: all partitions as one, batch by batch, in turns.

use std::sync::Arc;
use std::time::Duration;

use ringlog::{Batch, PartitionId, TopicReader};

use crate::batch::{self, ringlog_batch};
use crate::error::{Failure, ringlog_error};
use crate::guard::{self, Health};
use crate::handle::{self, Handle, Tag, need, out};
use crate::input;
use crate::lend::Lendable;
use crate::reader;
use crate::status::ringlog_status;
use crate::topic::ringlog_topic;

/// Reads all partitions of a topic, one thread at a time. Holds its engine open; the caller's until
/// `ringlog_topic_reader_free`.
pub struct ringlog_topic_reader {
    tag: Tag,
    pub(crate) shared: Arc<Lendable<TopicReader>>,
    pub(crate) health: Arc<Health>,
}

impl Handle for ringlog_topic_reader {
    const KIND: u64 = handle::kind(*b"treader ");
    const NAME: &'static str = "ringlog_topic_reader";

    fn tag(&self) -> &Tag {
        &self.tag
    }

    fn is_inherited(&self) -> bool {
        self.health.is_inherited()
    }
}

/// A reader of all partitions of a topic, each from `start` (`RINGLOG_START_*`) and `at` on; an
/// offset is taken for that of every partition. `flags` are `RINGLOG_READ_*`. On success `*reader`
/// is the caller's until `ringlog_topic_reader_free`; it may outlive `topic`.
///
/// What `ringlog_reader_open` says of visibility holds for each partition.
///
/// Thread-safe. Does not wait; for a time it reads about a record batch of each partition.
/// Errors: as `ringlog_reader_open`, of any partition.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_reader_open(
    topic: *const ringlog_topic,
    start: u32,
    at: i64,
    flags: u32,
    reader: *mut *mut ringlog_topic_reader,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (topic, to) = unsafe { (need(topic)?, out(reader, "the reader")?) };
        let _entered = topic.enter()?;
        let verify = reader::verify(flags)?;
        let opened = topic.topic.reader(reader::start(start, at)?)?.verify(verify);
        to.write(handle::give(ringlog_topic_reader {
            tag: Tag::new::<ringlog_topic_reader>(),
            shared: Arc::new(Lendable::new(opened)),
            health: Arc::clone(&topic.health),
        }));
        Ok(())
    })
}

/// What comes next: whole record batches, one at least, and more while they are there at once and
/// together below `max_bytes` (0: just one), in turns between the partitions that have something,
/// in order within each. `partition` of a view, or `ringlog_batch_partition`, says where it is
/// from. On success `*batch` is the caller's until `ringlog_batch_free`, or NULL if nothing came in
/// any partition in time. The first batch of a partition may begin before the offset asked for; the
/// views start there.
///
/// One thread at a time. Blocks up to `timeout_ns` (0: not at all) until there is something.
/// Errors: as `ringlog_reader_next`, for one partition, which stays where it was; the next call
/// goes on with the others. `CLOSED`, `LATCHED` when everything is read and a log of the topic
/// takes no appends any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_reader_next(
    reader: *mut ringlog_topic_reader,
    max_bytes: usize,
    timeout_ns: i64,
    batch: *mut *mut ringlog_batch,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (handle, to) = unsafe { (need(reader.cast_const())?, out(batch, "the batch")?) };
        let timeout = input::timeout(timeout_ns)?.unwrap_or_default();
        let _entered = handle.health.enter()?;
        let parts = handle.shared.with(|reader| next(reader, max_bytes, timeout))?;
        to.write(batch::give_some(parts, &handle.health));
        Ok(())
    })
}

/// The next batches: none if nothing came in time.
fn next(
    reader: &mut TopicReader,
    max_bytes: usize,
    timeout: Duration,
) -> Result<Vec<Batch>, Failure> {
    let first = match reader.next_batch()? {
        None if !timeout.is_zero() => reader.next_timeout(timeout)?,
        first => first,
    };
    let batch = |found: (PartitionId, Batch)| found.1;
    // A partition that fails here stays where it was, so its next turn tells it again.
    let more = || Ok(reader.next_batch()?.map(batch));
    Ok(reader::gather(first.map(batch), max_bytes, more))
}

/// Goes on elsewhere in one partition: see `ringlog_reader_open`.
///
/// One thread at a time. Does not wait; for a time it reads about a record batch.
/// Errors: `UNKNOWN_PARTITION`, `OFFSET_OUT_OF_RANGE` (or, for a time, `CORRUPT`, `IO`, `PINNED`),
/// the reader staying where it was; `IN_USE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_reader_seek(
    reader: *mut ringlog_topic_reader,
    partition: u32,
    start: u32,
    at: i64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or live, as the header asks.
        let handle = unsafe { need(reader.cast_const()) }?;
        let _entered = handle.health.enter()?;
        let start = reader::start(start, at)?;
        handle.shared.with(|reader| Ok(reader.seek(PartitionId(partition), start)?))
    })
}

/// The offset of the next record of one partition. On success it is in `*offset`.
///
/// One thread at a time. Never blocks.
/// Errors: `UNKNOWN_PARTITION`, `IN_USE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_reader_position(
    reader: *const ringlog_topic_reader,
    partition: u32,
    offset: *mut u64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (handle, to) = unsafe { (need(reader)?, out(offset, "the offset")?) };
        let _entered = handle.health.enter()?;
        let next = |reader: &mut TopicReader| Ok(reader.next_offset(PartitionId(partition))?);
        to.write(handle.shared.with(next)?.0);
        Ok(())
    })
}

/// Frees the reader; NULL is fine. Batches it gave stay. A submitted read completes all the same.
/// Blocks only if it is the engine's last handle: see `ringlog_engine_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_reader_free(reader: *mut ringlog_topic_reader) {
    // SAFETY: NULL or the caller's own reader, not used again, as the header asks.
    guard::quietly(|| drop(unsafe { handle::take(reader) }));
}
