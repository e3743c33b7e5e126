//! Appending, blocking. The bytes are taken before a call returns.

use ringlog::{Ack, AppendOptions, Appended, Compression, Offset};

use crate::error::{Failure, ringlog_error};
use crate::guard;
use crate::handle::{Out, maybe_out};
use crate::input::{self, ringlog_bytes, ringlog_record};
use crate::status::ringlog_status;
use crate::topic::{enter_stream, ringlog_stream};

/// Acknowledge when written: survives the process. Neither this nor durable: as the topic says.
pub const RINGLOG_APPEND_WRITTEN: u32 = 1;
/// Acknowledge when durable: survives a power loss.
pub const RINGLOG_APPEND_DURABLE: u32 = 2;
/// Do not wait for room: `BUSY` if the ring is full.
pub const RINGLOG_APPEND_NO_WAIT: u32 = 4;

/// Do not compress the batch. This or another of `RINGLOG_APPEND_COMPRESSION_*`, or none: as the
/// topic says. A ready-made batch stays as it is.
pub const RINGLOG_APPEND_COMPRESSION_NONE: u32 = 8;
/// Compress the batch with gzip.
pub const RINGLOG_APPEND_COMPRESSION_GZIP: u32 = 16;
/// Compress the batch with snappy.
pub const RINGLOG_APPEND_COMPRESSION_SNAPPY: u32 = 32;
/// Compress the batch with lz4.
pub const RINGLOG_APPEND_COMPRESSION_LZ4: u32 = 64;
/// Compress the batch with zstd.
pub const RINGLOG_APPEND_COMPRESSION_ZSTD: u32 = 128;

const LEVELS: &[(u32, Ack)] =
    &[(RINGLOG_APPEND_WRITTEN, Ack::Written), (RINGLOG_APPEND_DURABLE, Ack::Durable)];
const COMPRESSIONS: &[(u32, Compression)] = &[
    (RINGLOG_APPEND_COMPRESSION_NONE, Compression::None),
    (RINGLOG_APPEND_COMPRESSION_GZIP, Compression::Gzip),
    (RINGLOG_APPEND_COMPRESSION_SNAPPY, Compression::Snappy),
    (RINGLOG_APPEND_COMPRESSION_LZ4, Compression::Lz4),
    (RINGLOG_APPEND_COMPRESSION_ZSTD, Compression::Zstd),
];

/// Takes out of `flags` the first of `table` that is set. A second one would contradict it, and is
/// left in for the caller to refuse.
fn one_of<T: Copy>(table: &[(u32, T)], flags: &mut u32) -> Option<T> {
    let (flag, value) = table.iter().find(|(flag, _)| *flags & flag != 0)?;
    *flags &= !flag;
    Some(*value)
}

/// What the flags and timeout of an append ask for.
pub(crate) fn append_options(flags: u32, timeout_ns: i64) -> Result<AppendOptions, Failure> {
    let mut rest = flags & !RINGLOG_APPEND_NO_WAIT;
    let level = one_of(LEVELS, &mut rest);
    let compression = one_of(COMPRESSIONS, &mut rest);
    if rest != 0 {
        let message = format!("flags {flags:#x} of an append: unknown, or contradict each other");
        return Err(Failure::invalid(message));
    }
    let mut options = AppendOptions::default().wait_for_room(flags & RINGLOG_APPEND_NO_WAIT == 0);
    if let Some(level) = level {
        options = options.ack(level);
    }
    if let Some(compression) = compression {
        options = options.compression(compression);
    }
    if let Some(timeout) = input::timeout(timeout_ns)? {
        options = options.timeout(timeout);
    }
    Ok(options)
}

fn answer(first_offset: Option<Out<u64>>, appended: Appended) {
    if let Some(first_offset) = first_offset {
        first_offset.write(appended.first.0);
    }
}

/// Appends `n` records as one batch, whole or absent after any crash, and waits for the
/// acknowledgement: the topic's, or that of `flags` (`RINGLOG_APPEND_*`). `record_size` is
/// sizeof(ringlog_record). On success `*first_offset`, which may be NULL, is the first record's
/// offset; the others follow it.
///
/// Thread-safe. Blocks up to `timeout_ns`, for room and for the acknowledgement.
/// Errors: `INVALID_ARGUMENT`, `TOO_LARGE`, `BUSY`, `NO_SPACE`, `UNKNOWN_TOPIC`: nothing was
/// written. `TIMEOUT`, `LATCHED`, `CLOSED`: `RINGLOG_ERROR_OUTCOME_UNKNOWN` says whether it may be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_append(
    stream: *const ringlog_stream,
    records: *const ringlog_record,
    n: usize,
    record_size: usize,
    flags: u32,
    timeout_ns: i64,
    first_offset: *mut u64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((stream, _entered), first_offset) =
            unsafe { (enter_stream(stream)?, maybe_out(first_offset)) };
        let options = append_options(flags, timeout_ns)?;
        let append =
            |records: &[ringlog::Record<'_>]| Ok(stream.partition.append_with(records, options)?);
        // SAFETY: the records are valid for the call, as the header asks.
        let appended = unsafe { input::with_records(records, n, record_size, append) }?;
        answer(first_offset, appended);
        Ok(())
    })
}

/// Appends a ready-made Kafka RecordBatch v2, whole: checked first, its base offset and leader
/// epoch replaced, every other byte kept. Otherwise as `ringlog_append`.
///
/// Thread-safe. Blocks up to `timeout_ns`.
/// Errors: as `ringlog_append`, and `INVALID_BATCH`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_append_batch(
    stream: *const ringlog_stream,
    batch: ringlog_bytes,
    flags: u32,
    timeout_ns: i64,
    first_offset: *mut u64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((stream, _entered), batch, first_offset) =
            unsafe { (enter_stream(stream)?, input::bytes(batch)?, maybe_out(first_offset)) };
        let batch = batch.ok_or_else(|| Failure::invalid("the batch is NULL"))?;
        let options = append_options(flags, timeout_ns)?;
        answer(first_offset, stream.partition.append_batch(batch, options)?);
        Ok(())
    })
}

/// Gives up every record below `offset`, durably. Readers start at `offset` from then on; trimming
/// below the log start does nothing.
///
/// Thread-safe. Blocks until the new log start is durable.
/// Errors: `OFFSET_OUT_OF_RANGE` beyond the end; otherwise as `ringlog_append`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_trim(
    stream: *const ringlog_stream,
    offset: u64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or live, as the header asks.
        let (stream, _entered) = unsafe { enter_stream(stream) }?;
        Ok(stream.partition.trim(Offset(offset))?)
    })
}
