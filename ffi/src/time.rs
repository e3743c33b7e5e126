//! Records by their time.

use ringlog::{Partition, TimedOffset};

use crate::error::ringlog_error;
use crate::guard;
use crate::handle::{maybe_out, out};
use crate::status::ringlog_status;
use crate::topic::{enter_stream, ringlog_stream};

/// What stands for an offset where no record is meant.
pub const RINGLOG_NO_OFFSET: u64 = u64::MAX;

/// The time that goes with no record.
const NO_TIME: i64 = -1;

/// The first visible record of the time `ms`, in milliseconds since 1970, or later. On success
/// `*offset` is its offset and `*timestamp_ms`, which may be NULL, its time; `RINGLOG_NO_OFFSET`
/// and -1 if there is none. Times need not ascend: later records may be of earlier times.
///
/// Thread-safe. Does not wait; reads about a record batch.
/// Errors: `UNKNOWN_TOPIC` if the topic was deleted, `CORRUPT`, `IO`, `PINNED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_offset_for_time(
    stream: *const ringlog_stream,
    ms: i64,
    offset: *mut u64,
    timestamp_ms: *mut i64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    // SAFETY: NULL or valid for the call, as the header asks.
    unsafe { find(stream, |partition| partition.offset_for_time(ms), offset, timestamp_ms, error) }
}

/// The visible record with the latest time, the first if several have it. On success `*offset` is
/// its offset and `*timestamp_ms`, which may be NULL, its time, in milliseconds since 1970;
/// `RINGLOG_NO_OFFSET` and -1 if there are no records.
///
/// Thread-safe. Does not wait; reads about a record batch.
/// Errors: as `ringlog_offset_for_time`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_max_timestamp(
    stream: *const ringlog_stream,
    offset: *mut u64,
    timestamp_ms: *mut i64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    // SAFETY: NULL or valid for the call, as the header asks.
    unsafe { find(stream, Partition::max_timestamp, offset, timestamp_ms, error) }
}

/// # Safety
/// Each pointer is NULL or valid for the call.
unsafe fn find(
    stream: *const ringlog_stream,
    search: impl FnOnce(&Partition) -> ringlog::Result<Option<TimedOffset>>,
    offset: *mut u64,
    timestamp_ms: *mut i64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call: the caller's promise.
        let ((stream, _entered), offset, timestamp_ms) =
            unsafe { (enter_stream(stream)?, out(offset, "the offset")?, maybe_out(timestamp_ms)) };
        let found = search(&stream.partition)?;
        offset.write(found.map_or(RINGLOG_NO_OFFSET, |found| found.offset.0));
        if let Some(timestamp_ms) = timestamp_ms {
            timestamp_ms.write(found.map_or(NO_TIME, |found| found.timestamp_ms));
        }
        Ok(())
    })
}
