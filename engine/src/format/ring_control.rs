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

/// Says that a new file has taken this ring's name, to whoever still maps it.
pub fn retire(ring: &RingMap) {
    ring.control(RETIRED).store(1, Ordering::SeqCst);
    ring.wake(COMMITTED);
    ring.wake(DURABLE);
}

/// Whether the writer of `epoch` still writes to this ring, as far as the ring tells.
pub fn is_written_by(ring: &RingMap, epoch: u64) -> bool {
    ring.control(RETIRED).load(Ordering::SeqCst) == 0
        && ring.control(EPOCH).load(Ordering::SeqCst) == epoch
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::golden;
    use crate::limits::{RING_BYTES_MIN, RING_CONTROL_BYTES};

    const LOG: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

    fn sample() -> RingMap {
        let ring = RingMap::private(RING_BYTES_MIN).unwrap();
        initialise(&ring, LOG);
        ring
    }

    #[test]
    fn the_bytes_are_golden_and_identify_the_log() {
        let ring = sample();
        for (word, value) in [(EPOCH, 5), (COMMITTED, 0x3040), (DURABLE, 0x2000), (LO, 0x1000)] {
            ring.control(word).store(value, Ordering::Relaxed);
        }
        let words = 0..RING_CONTROL_BYTES / size_of::<u64>();
        let words = words.map(|word| ring.control(word).load(Ordering::Relaxed));
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        golden::check("ring_control", &bytes);
        assert_eq!(identify(&ring, LOG), Identity::Ours);
        assert_eq!(identify(&ring, Uuid::from_u128(1)), Identity::Foreign);
    }

    #[test]
    fn every_flipped_bit_of_the_identity_is_refused() {
        let ring = sample();
        for bit in 0..7 * u64::BITS as usize {
            let word = ring.control(bit / 64);
            word.fetch_xor(1 << (bit % 64), Ordering::Relaxed);
            assert_eq!(identify(&ring, LOG), Identity::Foreign, "bit {bit}");
            word.fetch_xor(1 << (bit % 64), Ordering::Relaxed);
        }
        assert_eq!(identify(&ring, LOG), Identity::Ours);
    }

    #[test]
    fn another_version_is_told_from_a_foreign_ring() {
        let ring = sample();
        ring.control(1).store(7, Ordering::Relaxed);
        assert_eq!(identify(&ring, LOG), Identity::Foreign);
        let words = std::array::from_fn(|i| ring.control(i).load(Ordering::Relaxed));
        ring.control(5).store(checksum(&words), Ordering::Relaxed);
        assert_eq!(identify(&ring, LOG), Identity::Version(7));
    }
}
