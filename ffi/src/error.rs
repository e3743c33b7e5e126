//! What went wrong, as C hears of it: a code, a sentence, what to do about it.

use std::any::Any;
use std::ffi::{CString, c_char};
use std::io;

use ringlog::{Error, ErrorKind};

use crate::guard;
use crate::handle::{self, Handle, Tag};
use crate::status::{
    RINGLOG_E_BUSY, RINGLOG_E_CLOSED, RINGLOG_E_CORRUPT, RINGLOG_E_FORKED,
    RINGLOG_E_INVALID_ARGUMENT, RINGLOG_E_INVALID_BATCH, RINGLOG_E_IO, RINGLOG_E_LATCHED,
    RINGLOG_E_LOCKED, RINGLOG_E_NO_SPACE, RINGLOG_E_NOT_A_DATA_DIRECTORY, RINGLOG_E_NOT_DURABLE,
    RINGLOG_E_OFFSET_OUT_OF_RANGE, RINGLOG_E_OTHER, RINGLOG_E_PANIC, RINGLOG_E_PARTLY_APPENDED,
    RINGLOG_E_PEER, RINGLOG_E_PINNED, RINGLOG_E_QUEUE_FULL, RINGLOG_E_READ_ONLY, RINGLOG_E_TIMEOUT,
    RINGLOG_E_TOO_LARGE, RINGLOG_E_TOPIC_EXISTS, RINGLOG_E_TRUNCATED, RINGLOG_E_UNKNOWN_PARTITION,
    RINGLOG_E_UNKNOWN_TOPIC, RINGLOG_E_UNSUPPORTED_FORMAT, RINGLOG_E_WRONG_THREAD, RINGLOG_OK,
    ringlog_status,
};

/// The same call may succeed later without anything else being done.
pub const RINGLOG_ERROR_RETRIABLE: u32 = 1;
/// Nothing will succeed until the engine is opened again, or the data restored.
pub const RINGLOG_ERROR_FATAL: u32 = 2;
/// An append that failed with this may nevertheless be, or become, part of the log.
pub const RINGLOG_ERROR_OUTCOME_UNKNOWN: u32 = 4;
/// A fault of the library itself. The engine takes no more calls through its handles; close it.
pub const RINGLOG_ERROR_PANIC: u32 = 8;

/// What went wrong. Immutable, thread-safe; the caller's until `ringlog_error_free`.
pub struct ringlog_error {
    tag: Tag,
    failure: Failure,
    message: CString,
}

impl Handle for ringlog_error {
    const KIND: u64 = handle::kind(*b"error   ");
    const NAME: &'static str = "ringlog_error";

    fn tag(&self) -> &Tag {
        &self.tag
    }
}

/// A failure on its way to C.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: ringlog_status,
    pub(crate) flags: u32,
    pub(crate) errno: i32,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: ringlog_status, flags: u32, message: impl Into<String>) -> Self {
        Self { code, flags, errno: 0, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(RINGLOG_E_INVALID_ARGUMENT, 0, message)
    }

    /// A panic, caught; `payload` is what it carried.
    pub(crate) fn panic(payload: &(dyn Any + Send)) -> Self {
        let said = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let flags = RINGLOG_ERROR_PANIC | RINGLOG_ERROR_FATAL | RINGLOG_ERROR_OUTCOME_UNKNOWN;
        Self::new(RINGLOG_E_PANIC, flags, format!("a fault in ringlog itself: {said}"))
    }

    /// A handle whose engine has met a panic before.
    pub(crate) fn poisoned() -> Self {
        let flags = RINGLOG_ERROR_PANIC | RINGLOG_ERROR_FATAL;
        let message = "refused after an earlier fault in ringlog itself; close the engine";
        Self::new(RINGLOG_E_PANIC, flags, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut flags = 0;
        if error.is_retriable() {
            flags |= RINGLOG_ERROR_RETRIABLE;
        }
        if matches!(error.kind(), ErrorKind::Reopen | ErrorKind::Restore) {
            flags |= RINGLOG_ERROR_FATAL;
        }
        if error.outcome_is_unknown() {
            flags |= RINGLOG_ERROR_OUTCOME_UNKNOWN;
        }
        let (code, errno) = code(&error);
        Self { code, flags, errno, message: error.to_string() }
    }
}

/// The code of an engine's error, and the system's error number where one is known.
fn code(error: &Error) -> (ringlog_status, i32) {
    let code = match error {
        Error::InvalidArgument { .. } => RINGLOG_E_INVALID_ARGUMENT,
        Error::UnknownTopic { .. } => RINGLOG_E_UNKNOWN_TOPIC,
        Error::TopicExists { .. } => RINGLOG_E_TOPIC_EXISTS,
        Error::UnknownPartition { .. } => RINGLOG_E_UNKNOWN_PARTITION,
        Error::TooLarge { .. } => RINGLOG_E_TOO_LARGE,
        Error::InvalidBatch { .. } => RINGLOG_E_INVALID_BATCH,
        Error::OffsetOutOfRange { .. } => RINGLOG_E_OFFSET_OUT_OF_RANGE,
        Error::Truncated { .. } => RINGLOG_E_TRUNCATED,
        Error::WrongThread { .. } => RINGLOG_E_WRONG_THREAD,
        Error::Busy { .. } => RINGLOG_E_BUSY,
        Error::PartlyAppended { .. } => RINGLOG_E_PARTLY_APPENDED,
        Error::Pinned { .. } => RINGLOG_E_PINNED,
        Error::Peer { source, .. } => return (RINGLOG_E_PEER, errno(source)),
        Error::QueueFull { .. } => RINGLOG_E_QUEUE_FULL,
        Error::Timeout { .. } => RINGLOG_E_TIMEOUT,
        Error::Locked { .. } => RINGLOG_E_LOCKED,
        Error::NoSpace { .. } => return (RINGLOG_E_NO_SPACE, libc::ENOSPC),
        Error::Closed { .. } => RINGLOG_E_CLOSED,
        Error::Latched { .. } => RINGLOG_E_LATCHED,
        Error::Forked => RINGLOG_E_FORKED,
        Error::Corrupt { .. } => RINGLOG_E_CORRUPT,
        Error::NotADataDirectory { .. } => RINGLOG_E_NOT_A_DATA_DIRECTORY,
        Error::UnsupportedFormat { .. } => RINGLOG_E_UNSUPPORTED_FORMAT,
        Error::ReadOnly { .. } => RINGLOG_E_READ_ONLY,
        Error::NotDurable { .. } => RINGLOG_E_NOT_DURABLE,
        Error::Io { source, .. } => return (RINGLOG_E_IO, errno(source)),
        // A new kind of error has no code until it is given one here.
        _ => RINGLOG_E_OTHER,
    };
    (code, 0)
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// Hands a failure to C, if C wants it; gives its code.
///
/// # Safety
/// `to` is NULL or may be written.
pub(crate) unsafe fn give(to: *mut *mut ringlog_error, failure: Failure) -> ringlog_status {
    let code = failure.code;
    if !to.is_null() {
        // SAFETY: not NULL, so it may be written: the caller's promise.
        unsafe { to.write(boxed(failure)) };
    }
    code
}

/// A failure as an object of its own.
pub(crate) fn boxed(failure: Failure) -> *mut ringlog_error {
    let text: Vec<u8> = failure.message.bytes().filter(|byte| *byte != 0).collect();
    let message = CString::new(text).unwrap_or_default();
    handle::give(ringlog_error { tag: Tag::new::<ringlog_error>(), failure, message })
}

/// The error's `RINGLOG_E_*`; `RINGLOG_OK` for NULL. Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_error_code(error: *const ringlog_error) -> ringlog_status {
    // SAFETY: NULL or a live error, as the header asks.
    let error = unsafe { handle::get(error) };
    error.map_or(RINGLOG_OK, |error| error.failure.code)
}

/// What went wrong, in a sentence that names the file, offset or topic; "" for NULL. UTF-8.
/// Thread-safe, never blocks. The text is the error's, and lives as long.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_error_message(error: *const ringlog_error) -> *const c_char {
    // SAFETY: NULL or a live error, as the header asks.
    let error = unsafe { handle::get(error) };
    error.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// What can be done about it: `RINGLOG_ERROR_*` added up; 0 for NULL. Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_error_flags(error: *const ringlog_error) -> u32 {
    // SAFETY: NULL or a live error, as the header asks.
    let error = unsafe { handle::get(error) };
    error.map_or(0, |error| error.failure.flags)
}

/// The system's error number behind it; 0 if there is none, and for NULL. Thread-safe, never
/// blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_error_errno(error: *const ringlog_error) -> i32 {
    // SAFETY: NULL or a live error, as the header asks.
    let error = unsafe { handle::get(error) };
    error.map_or(0, |error| error.failure.errno)
}

/// Frees an error; NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_error_free(error: *mut ringlog_error) {
    // SAFETY: NULL or the caller's own error, not used again, as the header asks.
    guard::quietly(|| drop(unsafe { handle::take(error) }));
}
