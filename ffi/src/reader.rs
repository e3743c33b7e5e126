//! Readers: they walk one partition, batch by batch.

use std::sync::Arc;
use std::time::Duration;

use ringlog::{Batch, Offset, PartitionId, Reader, Start};

use crate::batch::{self, ringlog_batch};
use crate::error::{Failure, ringlog_error};
use crate::guard::{self, Health};
use crate::handle::{self, Handle, Tag, need, out};
use crate::input;
use crate::lend::Lendable;
use crate::status::ringlog_status;
use crate::topic::{enter_stream, ringlog_stream};

/// At the first retained record; `at` is not used.
pub const RINGLOG_START_EARLIEST: u32 = 0;
/// After the newest record; `at` is not used.
pub const RINGLOG_START_LATEST: u32 = 1;
/// At the offset `at`.
pub const RINGLOG_START_OFFSET: u32 = 2;
/// At the first record of the time `at`, in milliseconds since 1970, or later; after the newest
/// record if there is none, so that one which comes is not missed.
pub const RINGLOG_START_TIME: u32 = 3;

/// Do not verify each batch's checksum. Frames are proven either way.
pub const RINGLOG_READ_NO_VERIFY: u32 = 1;

/// Reads one partition, one thread at a time. Holds its engine open; the caller's until
/// `ringlog_reader_free`.
pub struct ringlog_reader {
    tag: Tag,
    pub(crate) partition: PartitionId,
    pub(crate) shared: Arc<Lendable<Reader>>,
    pub(crate) health: Arc<Health>,
}

impl Handle for ringlog_reader {
    const KIND: u64 = handle::kind(*b"reader  ");
    const NAME: &'static str = "ringlog_reader";

    fn tag(&self) -> &Tag {
        &self.tag
    }

    fn is_inherited(&self) -> bool {
        self.health.is_inherited()
    }
}

pub(crate) fn start(start: u32, at: i64) -> Result<Start, Failure> {
    match start {
        RINGLOG_START_EARLIEST => Ok(Start::Earliest),
        RINGLOG_START_LATEST => Ok(Start::Latest),
        RINGLOG_START_OFFSET => u64::try_from(at)
            .map(|offset| Start::Offset(Offset(offset)))
            .map_err(|_| Failure::invalid(format!("offset {at}"))),
        RINGLOG_START_TIME => Ok(Start::Time(at)),
        other => Err(Failure::invalid(format!("start {other}"))),
    }
}

/// Whether a reader's flags ask for checksums to be verified.
pub(crate) fn verify(flags: u32) -> Result<bool, Failure> {
    if flags & !RINGLOG_READ_NO_VERIFY != 0 {
        return Err(Failure::invalid(format!("flags {flags:#x} of a reader")));
    }
    Ok(flags & RINGLOG_READ_NO_VERIFY == 0)
}

/// A reader of a partition from `start` (`RINGLOG_START_*`) and `at` on. `flags` are
/// `RINGLOG_READ_*`. On success `*reader` is the caller's until `ringlog_reader_free`.
///
/// It sees what is durable of a sync topic, what is written of an async one, and never blocks an
/// append.
///
/// Thread-safe. Does not wait; for a time it reads about a record batch.
/// Errors: `OFFSET_OUT_OF_RANGE` for an offset that is trimmed or beyond the end, `UNKNOWN_TOPIC`;
/// for a time `CORRUPT`, `IO`, `PINNED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_reader_open(
    stream: *const ringlog_stream,
    start: u32,
    at: i64,
    flags: u32,
    reader: *mut *mut ringlog_reader,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((stream, _entered), reader) =
            unsafe { (enter_stream(stream)?, out(reader, "the reader")?) };
        let verify = verify(flags)?;
        let partition = &stream.partition;
        let opened = partition.reader(self::start(start, at)?)?.verify(verify);
        reader.write(handle::give(ringlog_reader {
            tag: Tag::new::<ringlog_reader>(),
            partition: partition.id(),
            shared: Arc::new(Lendable::new(opened)),
            health: Arc::clone(&stream.health),
        }));
        Ok(())
    })
}

/// What comes next: whole record batches, one at least, and more while they are there at once and
/// together below `max_bytes` (0: just one). On success `*batch` is the caller's until
/// `ringlog_batch_free`, or NULL if nothing came in time. The first batch may begin before the
/// offset asked for; the views start there.
///
/// One thread at a time. Blocks up to `timeout_ns` (0: not at all) until there is something.
/// Errors: `CORRUPT` names file and byte, and the reader stays before the damage;
/// `OFFSET_OUT_OF_RANGE` if the place was trimmed meanwhile; `TRUNCATED` on a read-only engine;
/// `IO`, `PINNED`, `CLOSED`; `IN_USE` while another call or a submitted read uses the reader.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_reader_next(
    reader: *mut ringlog_reader,
    max_bytes: usize,
    timeout_ns: i64,
    batch: *mut *mut ringlog_batch,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (handle, batch) = unsafe { (need(reader)?, out(batch, "the batch")?) };
        let timeout = input::timeout(timeout_ns)?.unwrap_or_default();
        let _entered = handle.health.enter()?;
        let parts = handle.shared.with(|reader| next(reader, max_bytes, timeout))?;
        batch.write(batch::give_some(parts, &handle.health));
        Ok(())
    })
}

/// The next batches: none if nothing came in time.
fn next(reader: &mut Reader, max_bytes: usize, timeout: Duration) -> Result<Vec<Batch>, Failure> {
    let first = match reader.next_batch()? {
        None if !timeout.is_zero() => reader.next_timeout(timeout)?,
        first => first,
    };
    Ok(gather(first, max_bytes, || reader.next_batch()))
}

/// A batch, and what is there at once behind it, while all is below `max_bytes`. What `more` fails
/// with is met again, and told, by the next call.
pub(crate) fn gather(
    first: Option<Batch>,
    max_bytes: usize,
    mut more: impl FnMut() -> ringlog::Result<Option<Batch>>,
) -> Vec<Batch> {
    let Some(first) = first else { return Vec::new() };
    let mut bytes = first.bytes().len();
    let mut parts = vec![first];
    while bytes < max_bytes {
        let Ok(Some(more)) = more() else { break };
        bytes += more.bytes().len();
        parts.push(more);
    }
    parts
}

/// Goes on elsewhere: see `ringlog_reader_open`.
///
/// One thread at a time. Does not wait; for a time it reads about a record batch.
/// Errors: `OFFSET_OUT_OF_RANGE` (or, for a time, `CORRUPT`, `IO`, `PINNED`), the reader staying
/// where it was; `IN_USE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_reader_seek(
    reader: *mut ringlog_reader,
    start: u32,
    at: i64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or live, as the header asks.
        let handle = unsafe { need(reader) }?;
        let _entered = handle.health.enter()?;
        let start = self::start(start, at)?;
        handle.shared.with(|reader| Ok(reader.seek(start)?))
    })
}

/// The offset of the next record. On success it is in `*offset`.
///
/// One thread at a time. Never blocks.
/// Errors: `IN_USE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_reader_position(
    reader: *const ringlog_reader,
    offset: *mut u64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (handle, offset) = unsafe { (need(reader)?, out(offset, "the offset")?) };
        let _entered = handle.health.enter()?;
        offset.write(handle.shared.with(|reader| Ok(reader.next_offset().0))?);
        Ok(())
    })
}

/// Frees the reader; NULL is fine. Batches it gave stay. A submitted read completes all the same.
/// Blocks only if it is the engine's last handle: see `ringlog_engine_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_reader_free(reader: *mut ringlog_reader) {
    // SAFETY: NULL or the caller's own reader, not used again, as the header asks.
    guard::quietly(|| drop(unsafe { handle::take(reader) }));
}
