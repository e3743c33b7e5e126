//! Batches: what a reader gave, and the views into it. A batch owns what its views point to,
//! beyond its reader, the engine's close and the topic's end.

use std::sync::Arc;

use parking_lot::Mutex;
use ringlog::{Batch, BatchIter, Headers, RecordView, TimestampType};

use crate::error::{Failure, ringlog_error};
use crate::guard::{self, Health};
use crate::handle::{self, Handle, Tag, need, out};
use crate::input::{self, ringlog_bytes};
use crate::sized::{OutArray, Plain};
use crate::status::ringlog_status;

/// The view's timestamp is the time of its append, not its record's own.
pub const RINGLOG_VIEW_APPEND_TIME: u32 = 1;

/// One or more record batches, as a reader gave them. Immutable, thread-safe, counted: each
/// `ringlog_batch_ref` asks for one more `ringlog_batch_free`.
pub struct ringlog_batch {
    tag: Tag,
    pub(crate) health: Arc<Health>,
    /// Borrows from `parts`, hence before them.
    cursor: Mutex<Option<Cursor>>,
    pub(crate) parts: Box<[Batch]>,
    len: usize,
}

/// Where a look at the views stopped, so that the next goes on there.
struct Cursor {
    index: usize,
    part: usize,
    records: BatchIter<'static>,
}

impl Handle for ringlog_batch {
    const KIND: u64 = handle::kind(*b"batch   ");
    const NAME: &'static str = "ringlog_batch";

    fn tag(&self) -> &Tag {
        &self.tag
    }

    fn is_inherited(&self) -> bool {
        self.health.is_inherited()
    }
}

/// A record, seen in its batch, which owns what it points to.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ringlog_view {
    /// Its offset in its partition.
    pub offset: u64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key, or absent.
    pub key: ringlog_bytes,
    /// Its value, or absent.
    pub value: ringlog_bytes,
    /// Its headers, encoded: see `ringlog_header_next`.
    pub headers: ringlog_bytes,
    /// `RINGLOG_VIEW_*` added up.
    pub flags: u32,
    /// The partition it was read from.
    pub partition: u32,
}

// SAFETY: integers and pointers without padding, for which zero is a value.
unsafe impl Plain for ringlog_view {
    const NAME: &'static str = "ringlog_view";
    const FIRST_SIZE: usize = 72;
}

const _: () = assert!(size_of::<ringlog_view>() == 72);

/// Gives batches to C, as one.
pub(crate) fn give(parts: Vec<Batch>, health: &Arc<Health>) -> *mut ringlog_batch {
    let len = parts.iter().map(count).sum();
    let batch = Arc::new(ringlog_batch {
        tag: Tag::new::<ringlog_batch>(),
        health: Arc::clone(health),
        cursor: Mutex::new(None),
        parts: parts.into(),
        len,
    });
    Arc::into_raw(batch).cast_mut()
}

/// As [`give`]; NULL where there are none.
pub(crate) fn give_some(parts: Vec<Batch>, health: &Arc<Health>) -> *mut ringlog_batch {
    if parts.is_empty() { std::ptr::null_mut() } else { give(parts, health) }
}

/// How many records of a batch its reader shows: those from where it stood on.
fn count(batch: &Batch) -> usize {
    let whole = match batch.iter().next() {
        Some(Ok(first)) => first.offset() == batch.base_offset(),
        _ => true,
    };
    if whole { batch.len() } else { batch.iter().count() }
}

/// How many records it has; 0 for NULL. Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_batch_len(batch: *const ringlog_batch) -> usize {
    // SAFETY: NULL or live, as the header asks.
    unsafe { handle::get(batch) }.map_or(0, |batch| batch.len)
}

/// Views of the records from index `from` on, `cap` at most; `elem_size` is sizeof(ringlog_view).
/// On success `*count` says how many; 0: there are none from there. They live as long as the batch.
/// Going on where the last call stopped costs nothing extra.
///
/// Thread-safe. Never blocks (but for another thread in the same call).
/// Errors: `INVALID_BATCH` if the bytes are damaged and the reader did not verify.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_batch_views(
    batch: *const ringlog_batch,
    from: usize,
    views: *mut ringlog_view,
    cap: usize,
    elem_size: usize,
    count: *mut usize,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (batch, mut views, count) = unsafe {
            (need(batch)?, OutArray::new(views, cap, elem_size)?, out(count, "the count")?)
        };
        let _entered = batch.health.enter()?;
        count.write(batch.views(from, &mut views)?);
        Ok(())
    })
}

impl ringlog_batch {
    fn part(&self, part: usize) -> Result<&Batch, Failure> {
        let beyond = || Failure::invalid(format!("record batch {part} of {}", self.parts.len()));
        self.parts.get(part).ok_or_else(beyond)
    }

    /// Writes views from index `from` on; how many.
    fn views(&self, from: usize, to: &mut OutArray<ringlog_view>) -> Result<usize, Failure> {
        if from >= self.len || to.capacity() == 0 {
            return Ok(0);
        }
        let mut kept = self.cursor.lock();
        let mut cursor = match kept.take() {
            Some(cursor) if cursor.index <= from => cursor,
            _ => self.cursor_at(0),
        };
        while cursor.index < from {
            self.step(&mut cursor)?;
        }
        let wanted = to.capacity().min(self.len - from);
        let mut done = 0;
        while done < wanted {
            let of = self.origin(cursor.part);
            // A copy that nothing points to stays in registers.
            let mut records = cursor.records.clone();
            while done < wanted {
                match records.next() {
                    Some(view) => to.write(done, view_of(&view?, of)),
                    None => break,
                }
                done += 1;
            }
            cursor.records = records;
            if done < wanted && !self.next_part(&mut cursor) {
                break;
            }
        }
        cursor.index = from + done;
        *kept = Some(cursor);
        Ok(done)
    }

    fn cursor_at(&self, part: usize) -> Cursor {
        // SAFETY: the iterator borrows from a part, which lives in a box of `self` that is never
        // changed, and goes after the cursor; nobody gets it out of `self`.
        let records = unsafe {
            std::mem::transmute::<BatchIter<'_>, BatchIter<'static>>(self.parts[part].iter())
        };
        Cursor { index: 0, part, records }
    }

    /// Moves past one record.
    fn step(&self, cursor: &mut Cursor) -> Result<(), Failure> {
        loop {
            if let Some(view) = cursor.records.next() {
                view?;
                break;
            }
            if !self.next_part(cursor) {
                break;
            }
        }
        cursor.index += 1;
        Ok(())
    }

    fn next_part(&self, cursor: &mut Cursor) -> bool {
        let next = cursor.part + 1;
        if next < self.parts.len() {
            *cursor = Cursor { index: cursor.index, ..self.cursor_at(next) };
        }
        next < self.parts.len()
    }

    fn origin(&self, part: usize) -> Origin {
        let part = &self.parts[part];
        let append_time = part.timestamps() == TimestampType::AppendTime;
        let flags = if append_time { RINGLOG_VIEW_APPEND_TIME } else { 0 };
        Origin { flags, partition: part.partition().0 }
    }
}

/// What all records of one part have in common.
#[derive(Clone, Copy)]
struct Origin {
    flags: u32,
    partition: u32,
}

#[inline]
fn view_of(record: &RecordView<'_>, of: Origin) -> ringlog_view {
    ringlog_view {
        offset: record.offset().0,
        timestamp_ms: record.timestamp_ms(),
        key: ringlog_bytes::of(record.key()),
        value: ringlog_bytes::of(record.value()),
        headers: ringlog_bytes::of(Some(record.headers().encoded())),
        flags: of.flags,
        partition: of.partition,
    }
}

/// The next header of a view: `headers` is the view's, `*cursor` 0 at first. 1: `*key` and `*value`
/// are it, and belong to the batch; 0: there are no more.
///
/// Thread-safe (each thread with a cursor of its own), never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_header_next(
    headers: ringlog_bytes,
    cursor: *mut usize,
    key: *mut ringlog_bytes,
    value: *mut ringlog_bytes,
) -> i32 {
    let mut found = 0;
    guard::quietly(|| {
        // SAFETY: NULL or valid for the call, as the header asks.
        let places = unsafe {
            (
                input::bytes(headers),
                cursor.as_mut(),
                handle::maybe_out(key),
                handle::maybe_out(value),
            )
        };
        let (Ok(Some(all)), Some(at), Some(key), Some(value)) = places else { return };
        let Some(mut left) = all.get(*at..) else { return };
        let Some((name, header)) = Headers::next_encoded(&mut left) else { return };
        *at = all.len() - left.len();
        key.write(ringlog_bytes::of(Some(name)));
        value.write(ringlog_bytes::of(header));
        found = 1;
    });
    found
}

/// How many record batches it holds; 0 for NULL. Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_batch_parts(batch: *const ringlog_batch) -> usize {
    // SAFETY: NULL or live, as the header asks.
    unsafe { handle::get(batch) }.map_or(0, |batch| batch.parts.len())
}

/// The bytes of the record batch at index `part`: a whole Kafka RecordBatch v2. On success `*bytes`
/// is it, which belongs to the batch.
///
/// Thread-safe, never blocks.
/// Errors: `INVALID_ARGUMENT` beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_batch_bytes(
    batch: *const ringlog_batch,
    part: usize,
    bytes: *mut ringlog_bytes,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (batch, bytes) = unsafe { (need(batch)?, out(bytes, "the bytes")?) };
        let _entered = batch.health.enter()?;
        bytes.write(ringlog_bytes::of(Some(batch.part(part)?.bytes())));
        Ok(())
    })
}

/// The partition that the record batch at index `part` was read from. On success it is in
/// `*partition`.
///
/// Thread-safe, never blocks.
/// Errors: `INVALID_ARGUMENT` beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_batch_partition(
    batch: *const ringlog_batch,
    part: usize,
    partition: *mut u32,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (batch, partition) = unsafe { (need(batch)?, out(partition, "the partition")?) };
        let _entered = batch.health.enter()?;
        partition.write(batch.part(part)?.partition().0);
        Ok(())
    })
}

/// One more owner; gives the same batch, or NULL for NULL. Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_batch_ref(batch: *const ringlog_batch) -> *mut ringlog_batch {
    // SAFETY: NULL or live, as the header asks.
    if unsafe { handle::get(batch) }.is_none() {
        return std::ptr::null_mut();
    }
    // SAFETY: `give` made it from an `Arc`, which lives as its caller owns a count of it.
    unsafe { Arc::increment_strong_count(batch) };
    batch.cast_mut()
}

/// Gives up one owner's share; NULL is fine. With the last, its views are gone. Thread-safe, never
/// blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_batch_free(batch: *mut ringlog_batch) {
    guard::quietly(|| {
        // SAFETY: NULL or live, as the header asks.
        if unsafe { handle::get(batch) }.is_some_and(|batch| !batch.is_inherited()) {
            // SAFETY: `give` made it from an `Arc`, and its caller gives up a count of it.
            drop(unsafe { Arc::from_raw(batch.cast_const()) });
        }
    });
}

impl Drop for ringlog_batch {
    fn drop(&mut self) {
        *self.cursor.get_mut() = None;
        self.tag.forget();
    }
}
