//! The control page of a ring file: what the ring belongs to, and the watermarks that other
//! processes may read. One 64-byte line per hot word, so that readers do not slow the writer.
//!
//! | word | field |
//! |---|---|
//! | 0 | magic `RINGLOGR` |
//! | 1 | format version |
//! | 2, 3 | log uuid |
//! | 4 | length of the tail in bytes |
//! | 5 | CRC32C of words 0..5 |
//! | 6 | 1: retired, a new file has taken this one's name |
//! | 8 | leader epoch of the writer |
//! | 16 | committed end |
//! | 24 | durable end |
//! | 32 | `lo`: the oldest position still whole in the ring |
//!
//! The rest is zero. The watermarks are evidence of nothing: frames prove themselves.

use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::FORMAT_VERSION;
use crate::buf::RingMap;

/// First word of a ring file.
pub const MAGIC: u64 = u64::from_le_bytes(*b"RINGLOGR");
/// Word of the writer's epoch.
pub const EPOCH: usize = 8;
/// Word of the committed end.
pub const COMMITTED: usize = 16;
/// Word of the durable end.
pub const DURABLE: usize = 24;
/// Word of the oldest position still whole.
pub const LO: usize = 32;

const RETIRED: usize = 6;

fn identity(log: Uuid, len: usize) -> [u64; 5] {
    let (high, low) = log.as_u64_pair();
    [MAGIC, u64::from(FORMAT_VERSION), high, low, len as u64]
}

fn checksum(words: &[u64; 5]) -> u64 {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    u64::from(crc32c::crc32c(&bytes))
}

/// Writes the identity of a ring that has just been made.
pub fn initialise(ring: &RingMap, log: Uuid) {
    let words = identity(log, ring.len());
    for (i, word) in words.iter().enumerate() {
        ring.control(i).store(*word, Ordering::Relaxed);
    }
    ring.control(5).store(checksum(&words), Ordering::Release);
}

/// What a ring file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// This log's.
    Ours,
    /// A ring of another format version.
    Version(u32),
    /// Not a ring of this log, or not whole.
    Foreign,
}

/// Checks the identity of a ring that was found.
pub fn identify(ring: &RingMap, log: Uuid) -> Identity {
    let words: [u64; 5] = std::array::from_fn(|i| ring.control(i).load(Ordering::Relaxed));
    if words[0] != MAGIC || ring.control(5).load(Ordering::Relaxed) != checksum(&words) {
        return Identity::Foreign;
    }
    if words[1] != u64::from(FORMAT_VERSION) {
        return Identity::Version(words[1] as u32);
    }
    if words == identity(log, ring.len()) && ring.control(RETIRED).load(Ordering::Relaxed) == 0 {
        Identity::Ours
    } else {
        Identity::Foreign
    }
}
