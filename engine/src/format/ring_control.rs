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
//! | 40 | position of the frame whose batch may still grow; 0: none |
//! | 48..56, 56..64 | two proofs of that batch, written in turn |
//!
//! The rest is zero. The watermarks are evidence of nothing: frames prove themselves. But the
//! headers of a batch that grows are those of its first record, until it is closed. So each record
//! that joins it writes a proof of all that it holds then, over the older of the two:
//!
//! | word | field |
//! |---|---|
//! | 0 | position of the frame |
//! | 1 | leader epoch (high half), stream |
//! | 2 | base offset |
//! | 3 | base timestamp |
//! | 4 | maximum timestamp |
//! | 5 | number of records (high half), their length in bytes |
//! | 6 | CRC32C of the records (high half), attributes |
//! | 7 | CRC32C over the log's uuid and words 0..7 |

use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::frame::{FrameHeader, FrameKind, frame_len};
use super::record_batch::Joined;
use super::{FORMAT_VERSION, Seed};
use crate::buf::RingMap;
use crate::checksum;
use crate::ids::{LeaderEpoch, Offset, Position, StreamId};
use crate::limits::{BATCH_HEADER_BYTES, FRAME_ALIGN, FRAME_HEADER_BYTES, PAYLOAD_BYTES_MAX};
use crate::moment::{self, Moment};

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

/// Word of the position of the batch that grows.
pub const GROWING: usize = 40;
/// First words of the two proofs of that batch.
pub const PROOFS: [usize; 2] = [48, 56];

const RETIRED: usize = 6;

/// What a batch that grows holds, and proves of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Of its frame.
    pub position: u64,
    /// The partition within the log.
    pub stream: StreamId,
    /// CRC32C of the records.
    pub crc: u32,
    /// Its header, but for what follows from the records.
    pub batch: Joined,
}

const PROOF_WORDS: usize = 8;

impl Proof {
    fn words(&self, seed: Seed) -> [u64; PROOF_WORDS] {
        let halves = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let batch = &self.batch;
        let mut words = [
            self.position,
            halves(batch.epoch.0, self.stream.0),
            batch.base_offset.0,
            batch.base_timestamp_ms as u64,
            batch.max_timestamp_ms as u64,
            halves(batch.records, batch.records_len),
            halves(self.crc, u32::from(batch.attributes as u16)),
            0,
        ];
        words[PROOF_WORDS - 1] = Self::checksum(seed, &words);
        words
    }

    fn checksum(seed: Seed, words: &[u64; PROOF_WORDS]) -> u64 {
        let mut bytes = [0; 8 * (PROOF_WORDS - 1)];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        u64::from(seed.checksum(&bytes))
    }

    /// Writes it over the older of the two: they take turns by the number of records.
    pub fn store(&self, ring: &RingMap, seed: Seed) {
        let first = PROOFS[self.batch.records as usize % PROOFS.len()];
        for (at, word) in self.words(seed).iter().enumerate() {
            if at == PROOF_WORDS / 2 {
                moment::pass(Moment::ProofHalf);
            }
            ring.control(first + at).store(*word, Ordering::Relaxed);
        }
    }

    /// Those of the two that prove themselves for this writer, the one with fewer records first.
    pub fn load(ring: &RingMap, seed: Seed, epoch: LeaderEpoch) -> impl Iterator<Item = Self> {
        let mut found = PROOFS.map(|first| {
            let words: [u64; PROOF_WORDS] =
                std::array::from_fn(|at| ring.control(first + at).load(Ordering::Relaxed));
            Self::decode(seed, &words).filter(|proof| proof.batch.epoch == epoch)
        });
        found.sort_by_key(|proof| proof.map(|proof| (proof.position, proof.batch.records)));
        found.into_iter().flatten()
    }

    fn decode(seed: Seed, words: &[u64; PROOF_WORDS]) -> Option<Self> {
        if Self::checksum(seed, words) != words[PROOF_WORDS - 1] {
            return None;
        }
        let (high, low) = (|word: u64| (word >> 32) as u32, |word: u64| word as u32);
        let proof = Self {
            position: words[0],
            stream: StreamId(low(words[1])),
            crc: high(words[6]),
            batch: Joined {
                epoch: LeaderEpoch(high(words[1])),
                base_offset: Offset(words[2]),
                base_timestamp_ms: words[3] as i64,
                max_timestamp_ms: words[4] as i64,
                records: high(words[5]),
                records_len: low(words[5]),
                attributes: low(words[6]) as u16 as i16,
            },
        };
        let fits = proof.batch.len_bytes() <= PAYLOAD_BYTES_MAX;
        (fits && proof.position.is_multiple_of(FRAME_ALIGN as u64)).then_some(proof)
    }

    /// The bytes of its frame, from the records in the ring; `None`: they are not what it proves.
    pub fn frame(&self, ring: &RingMap, seed: Seed) -> Option<Vec<u8>> {
        let len = FRAME_HEADER_BYTES + self.batch.len_bytes();
        if len > ring.len() {
            return None;
        }
        let mut bytes = vec![0; frame_len(self.batch.len_bytes())];
        ring.load(self.position, &mut bytes[..len]);
        let records = &bytes[FRAME_HEADER_BYTES + BATCH_HEADER_BYTES..len];
        if checksum::crc32c(records) != self.crc {
            return None;
        }
        let head = self.head(seed, records);
        bytes[..head.len()].copy_from_slice(&head);
        Some(bytes)
    }

    /// The final headers of its frame and batch, over these records.
    pub fn head(
        &self,
        seed: Seed,
        records: &[u8],
    ) -> [u8; FRAME_HEADER_BYTES + BATCH_HEADER_BYTES] {
        let batch = self.batch.header(records);
        let frame = FrameHeader {
            position: Position(self.position),
            payload_len: self.batch.len_bytes() as u32,
            epoch: self.batch.epoch,
            stream: self.stream,
            kind: FrameKind::Batch,
            continues: false,
        };
        let mut head = [0; FRAME_HEADER_BYTES + BATCH_HEADER_BYTES];
        let covered = &batch[..FrameKind::Batch.covered(batch.len())];
        head[..FRAME_HEADER_BYTES].copy_from_slice(&frame.encode(seed, covered));
        head[FRAME_HEADER_BYTES..].copy_from_slice(&batch);
        head
    }
}

fn identity(log: Uuid, len: usize) -> [u64; 5] {
    let (high, low) = log.as_u64_pair();
    [MAGIC, u64::from(FORMAT_VERSION), high, low, len as u64]
}

fn checksum(words: &[u64; 5]) -> u64 {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    u64::from(checksum::crc32c(&bytes))
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
