//! What C hands in: bytes, names, records, times. Looked at before anything else happens, and never
//! kept beyond the call.

use std::ffi::{CStr, c_char, c_void};
use std::time::Duration;

use ringlog::Record;

use crate::error::Failure;
use crate::sized::{self, Plain};
use crate::status::RINGLOG_E_TOO_LARGE;

/// A timeout: as long as it takes.
pub const RINGLOG_FOREVER: i64 = -1;
/// A timeout: what the engine's options say.
pub const RINGLOG_DEFAULT_TIMEOUT: i64 = -2;
/// A record's `timestamp_ms` of 0 stands for the engine's clock; this stands for 1970.
pub const RINGLOG_TIMESTAMP_ZERO: i64 = i64::MIN;

/// As long as it takes: longer than any process lives, and far from where sums overflow.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
/// No input of the engine is longer; a larger length is garbage, and is not followed.
const BYTES_MAX: usize = 32 << 20;
/// No batch has more records, nor a record more headers.
const COUNT_MAX: usize = 8 << 20;

/// Bytes that somebody else owns. `ptr` NULL: absent; not NULL with `len` 0: there, and empty.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ringlog_bytes {
    /// Where they begin.
    pub ptr: *const c_void,
    /// How many.
    pub len: usize,
}

/// A header of a record; a name may occur more than once, and the order is kept.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ringlog_header {
    /// Its name, UTF-8; never absent.
    pub key: ringlog_bytes,
    /// Its value, or absent.
    pub value: ringlog_bytes,
}

/// A record to append. All zeroes is a record without key, value and headers.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ringlog_record {
    /// Its key, or absent.
    pub key: ringlog_bytes,
    /// Its value, or absent, which is not the same as empty: a tombstone for its key.
    pub value: ringlog_bytes,
    /// Its headers; may be NULL if there are none.
    pub headers: *const ringlog_header,
    /// How many.
    pub n_headers: usize,
    /// Milliseconds since 1970; 0: the engine's clock.
    pub timestamp_ms: i64,
}

// SAFETY: integers and pointers, eight bytes each, for which zero is a value.
unsafe impl Plain for ringlog_record {
    const NAME: &'static str = "ringlog_record";
    const FIRST_SIZE: usize = 56;
}

const _: () = assert!(size_of::<ringlog_record>() == 56);

impl ringlog_bytes {
    pub(crate) const ABSENT: Self = Self { ptr: std::ptr::null(), len: 0 };

    pub(crate) fn of(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::ABSENT, |bytes| Self { ptr: bytes.as_ptr().cast(), len: bytes.len() })
    }
}

/// The bytes that C points to.
///
/// # Safety
/// They may be read, unchanged, during `'a`.
pub(crate) unsafe fn bytes<'a>(from: ringlog_bytes) -> Result<Option<&'a [u8]>, Failure> {
    if from.len > BYTES_MAX {
        let message = format!("{} bytes at once are over any limit", from.len);
        return Err(Failure::new(RINGLOG_E_TOO_LARGE, 0, message));
    }
    if from.ptr.is_null() {
        if from.len > 0 {
            return Err(Failure::invalid(format!("NULL with a length of {}", from.len)));
        }
        return Ok(None);
    }
    // SAFETY: not NULL, and readable for `len` bytes: the caller's promise.
    Ok(Some(unsafe { std::slice::from_raw_parts(from.ptr.cast(), from.len) }))
}

/// A name that C points to, ended by a zero.
///
/// # Safety
/// `from` is NULL or a C string that stays unchanged during `'a`.
pub(crate) unsafe fn name<'a>(from: *const c_char, what: &str) -> Result<&'a str, Failure> {
    if from.is_null() {
        return Err(Failure::invalid(format!("{what} is NULL")));
    }
    // SAFETY: a C string: the caller's promise.
    let name = unsafe { CStr::from_ptr(from) };
    name.to_str().map_err(|_| Failure::invalid(format!("{what} is not UTF-8")))
}

/// A timeout in nanoseconds, or one of the two names; `None` stands for the engine's default.
pub(crate) fn timeout(timeout_ns: i64) -> Result<Option<Duration>, Failure> {
    match timeout_ns {
        RINGLOG_FOREVER => Ok(Some(FOREVER)),
        RINGLOG_DEFAULT_TIMEOUT => Ok(None),
        ns => u64::try_from(ns)
            .map(|ns| Some(Duration::from_nanos(ns)))
            .map_err(|_| Failure::invalid(format!("a timeout of {ns} ns"))),
    }
}

/// One record.
///
/// # Safety
/// What it points to may be read, unchanged, during `'a`.
pub(crate) unsafe fn record<'a>(from: &ringlog_record) -> Result<Record<'a>, Failure> {
    // SAFETY: the caller's promise.
    let (key, value) = unsafe { (bytes(from.key)?, bytes(from.value)?) };
    let mut record = match value {
        Some(value) => Record::new(value),
        None => Record::null_value(),
    };
    if let Some(key) = key {
        record = record.key(key);
    }
    match from.timestamp_ms {
        0 => {}
        RINGLOG_TIMESTAMP_ZERO => record = record.timestamp_ms(0),
        at => record = record.timestamp_ms(at),
    }
    if from.n_headers == 0 {
        return Ok(record);
    }
    if from.headers.is_null() || !from.headers.is_aligned() {
        return Err(Failure::invalid(format!("no headers, but {} of them", from.n_headers)));
    }
    if from.n_headers > COUNT_MAX {
        let message = format!("{} headers are over any limit", from.n_headers);
        return Err(Failure::new(RINGLOG_E_TOO_LARGE, 0, message));
    }
    // SAFETY: so many headers may be read: the caller's promise.
    for header in unsafe { std::slice::from_raw_parts(from.headers, from.n_headers) } {
        // SAFETY: as above.
        let (key, value) = unsafe { (bytes(header.key)?, bytes(header.value)?) };
        let key = key.ok_or_else(|| Failure::invalid("a header without a name"))?;
        let key = std::str::from_utf8(key)
            .map_err(|_| Failure::invalid("the name of a header is not UTF-8"))?;
        record = record.header(key, value);
    }
    Ok(record)
}

/// Runs `with` on `count` records, each `record_size` bytes from the one before.
///
/// # Safety
/// The records, and what they point to, may be read and stay unchanged during the call.
pub(crate) unsafe fn with_records<T>(
    records: *const ringlog_record,
    count: usize,
    record_size: usize,
    with: impl FnOnce(&[Record<'_>]) -> Result<T, Failure>,
) -> Result<T, Failure> {
    sized::check_size::<ringlog_record>(record_size)?;
    if count > COUNT_MAX {
        let message = format!("{count} records are over any limit");
        return Err(Failure::new(RINGLOG_E_TOO_LARGE, 0, message));
    }
    if count == 0 || records.is_null() || !records.is_aligned() {
        return Err(Failure::invalid("no records"));
    }
    let at = |index: usize| records.cast::<u8>().wrapping_add(index * record_size).cast();
    // SAFETY: each of `count` elements may be read for `record_size` bytes.
    let read = |index| unsafe { read_record(at(index), record_size) };
    if count == 1 {
        return with(&[read(0)?]);
    }
    let all: Vec<Record<'_>> = (0..count).map(read).collect::<Result<_, _>>()?;
    with(&all)
}

/// # Safety
/// `from` may be read for `size` bytes, and what it points to, during `'a`.
#[inline]
unsafe fn read_record<'a>(from: *const ringlog_record, size: usize) -> Result<Record<'a>, Failure> {
    if size == size_of::<ringlog_record>() {
        // SAFETY: the caller's promise, which is the same.
        return unsafe { record(&*from) };
    }
    // SAFETY: the caller's promise.
    let own = unsafe { sized::read(from, size)? };
    // SAFETY: as above.
    unsafe { record(&own) }
}
