//! The codes of `ringlog_status`. A code is never given another number, nor another meaning.

use std::ffi::{CStr, c_char};

/// 0: done; below 0: one of `RINGLOG_E_*`. Not an enum, so that a newer library may say more.
pub type ringlog_status = i32;

/// Done.
pub const RINGLOG_OK: ringlog_status = 0;
/// An argument or option is out of its documented range; nothing happened.
pub const RINGLOG_E_INVALID_ARGUMENT: ringlog_status = -1;
/// No topic has this name.
pub const RINGLOG_E_UNKNOWN_TOPIC: ringlog_status = -2;
/// A topic of this name is there already.
pub const RINGLOG_E_TOPIC_EXISTS: ringlog_status = -3;
/// The topic has fewer partitions.
pub const RINGLOG_E_UNKNOWN_PARTITION: ringlog_status = -4;
/// A record, batch or number is over the limit; nothing was written.
pub const RINGLOG_E_TOO_LARGE: ringlog_status = -5;
/// Bytes given as a record batch are none; nothing was written.
pub const RINGLOG_E_INVALID_BATCH: ringlog_status = -6;
/// The offset lies before the log start or beyond the end.
pub const RINGLOG_E_OFFSET_OUT_OF_RANGE: ringlog_status = -7;
/// No room in the ring right now; nothing was written.
pub const RINGLOG_E_BUSY: ringlog_status = -8;
/// The deadline passed.
pub const RINGLOG_E_TIMEOUT: ringlog_status = -9;
/// Another process, or another engine of this one, holds the directory.
pub const RINGLOG_E_LOCKED: ringlog_status = -10;
/// No space to allocate a segment; nothing was accepted. Appends resume when there is.
pub const RINGLOG_E_NO_SPACE: ringlog_status = -11;
/// The engine is closed, or closing.
pub const RINGLOG_E_CLOSED: ringlog_status = -12;
/// A write or flush failed: no appends until the engine is opened again. Reads go on.
pub const RINGLOG_E_LATCHED: ringlog_status = -13;
/// Bytes on disk are proven damaged. Nothing was changed.
pub const RINGLOG_E_CORRUPT: ringlog_status = -14;
/// The directory holds something else; nothing was touched.
pub const RINGLOG_E_NOT_A_DATA_DIRECTORY: ringlog_status = -15;
/// The files are of another format version; nothing was touched.
pub const RINGLOG_E_UNSUPPORTED_FORMAT: ringlog_status = -16;
/// The engine was opened read-only, or the directory cannot be written.
pub const RINGLOG_E_READ_ONLY: ringlog_status = -17;
/// This filesystem keeps nothing over a power loss.
pub const RINGLOG_E_NOT_DURABLE: ringlog_status = -18;
/// The operating system refused an operation: see `ringlog_error_errno`.
pub const RINGLOG_E_IO: ringlog_status = -19;
/// Too many bytes are pinned by batches or extents; free some.
pub const RINGLOG_E_PINNED: ringlog_status = -20;
/// A socket failed, or its peer went away.
pub const RINGLOG_E_PEER: ringlog_status = -21;
/// The handle is from before a fork. In the child it can only be freed, which leaks it.
pub const RINGLOG_E_FORKED: ringlog_status = -22;
/// A fault of the library itself. The engine takes no more calls; close it.
pub const RINGLOG_E_PANIC: ringlog_status = -23;
/// The header does not fit the library.
pub const RINGLOG_E_ABI: ringlog_status = -24;
/// Another call, or a submitted read, uses the reader.
pub const RINGLOG_E_IN_USE: ringlog_status = -25;
/// As many submissions wait in the queue as it takes; poll first.
pub const RINGLOG_E_QUEUE_FULL: ringlog_status = -26;
/// An error that this library has no code for; the message says what.
pub const RINGLOG_E_OTHER: ringlog_status = -27;
/// Some partitions took their part of an append, others did not.
pub const RINGLOG_E_PARTLY_APPENDED: ringlog_status = -28;
/// In caller-driven mode: another thread turned this shard first, and it is that thread's.
pub const RINGLOG_E_WRONG_THREAD: ringlog_status = -29;
/// A reader beside a writer had read what that lost with its device, and the next writer does not
/// have. The reader stays where it is; seek, to go on.
pub const RINGLOG_E_TRUNCATED: ringlog_status = -30;

/// Every code with its name, in the order of their numbers.
const NAMES: &[(ringlog_status, &CStr)] = &[
    (RINGLOG_OK, c"RINGLOG_OK"),
    (RINGLOG_E_INVALID_ARGUMENT, c"RINGLOG_E_INVALID_ARGUMENT"),
    (RINGLOG_E_UNKNOWN_TOPIC, c"RINGLOG_E_UNKNOWN_TOPIC"),
    (RINGLOG_E_TOPIC_EXISTS, c"RINGLOG_E_TOPIC_EXISTS"),
    (RINGLOG_E_UNKNOWN_PARTITION, c"RINGLOG_E_UNKNOWN_PARTITION"),
    (RINGLOG_E_TOO_LARGE, c"RINGLOG_E_TOO_LARGE"),
    (RINGLOG_E_INVALID_BATCH, c"RINGLOG_E_INVALID_BATCH"),
    (RINGLOG_E_OFFSET_OUT_OF_RANGE, c"RINGLOG_E_OFFSET_OUT_OF_RANGE"),
    (RINGLOG_E_BUSY, c"RINGLOG_E_BUSY"),
    (RINGLOG_E_TIMEOUT, c"RINGLOG_E_TIMEOUT"),
    (RINGLOG_E_LOCKED, c"RINGLOG_E_LOCKED"),
    (RINGLOG_E_NO_SPACE, c"RINGLOG_E_NO_SPACE"),
    (RINGLOG_E_CLOSED, c"RINGLOG_E_CLOSED"),
    (RINGLOG_E_LATCHED, c"RINGLOG_E_LATCHED"),
    (RINGLOG_E_CORRUPT, c"RINGLOG_E_CORRUPT"),
    (RINGLOG_E_NOT_A_DATA_DIRECTORY, c"RINGLOG_E_NOT_A_DATA_DIRECTORY"),
    (RINGLOG_E_UNSUPPORTED_FORMAT, c"RINGLOG_E_UNSUPPORTED_FORMAT"),
    (RINGLOG_E_READ_ONLY, c"RINGLOG_E_READ_ONLY"),
    (RINGLOG_E_NOT_DURABLE, c"RINGLOG_E_NOT_DURABLE"),
    (RINGLOG_E_IO, c"RINGLOG_E_IO"),
    (RINGLOG_E_PINNED, c"RINGLOG_E_PINNED"),
    (RINGLOG_E_PEER, c"RINGLOG_E_PEER"),
    (RINGLOG_E_FORKED, c"RINGLOG_E_FORKED"),
    (RINGLOG_E_PANIC, c"RINGLOG_E_PANIC"),
    (RINGLOG_E_ABI, c"RINGLOG_E_ABI"),
    (RINGLOG_E_IN_USE, c"RINGLOG_E_IN_USE"),
    (RINGLOG_E_QUEUE_FULL, c"RINGLOG_E_QUEUE_FULL"),
    (RINGLOG_E_OTHER, c"RINGLOG_E_OTHER"),
    (RINGLOG_E_PARTLY_APPENDED, c"RINGLOG_E_PARTLY_APPENDED"),
    (RINGLOG_E_WRONG_THREAD, c"RINGLOG_E_WRONG_THREAD"),
    (RINGLOG_E_TRUNCATED, c"RINGLOG_E_TRUNCATED"),
];

/// The name of a status, such as "RINGLOG_E_BUSY"; "RINGLOG_E_?" for one this library does not
/// know. Thread-safe, never blocks. The text is static.
#[unsafe(no_mangle)]
pub extern "C" fn ringlog_status_name(status: ringlog_status) -> *const c_char {
    let found = NAMES.iter().find(|(code, _)| *code == status);
    found.map_or(c"RINGLOG_E_?", |(_, name)| name).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_without_gaps_downwards() {
        for (at, (code, name)) in NAMES.iter().enumerate() {
            assert_eq!(*code, -(at as i32), "{name:?}");
        }
    }
}
