//! A group's header: 64 bytes on a 4096 boundary; frames follow, then zeros to the next boundary.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `RLG0` |
//! | 4 | 4 | checksum, CRC32C over the log's uuid and bytes 8..64 |
//! | 8 | 8 | position of this group in the log |
//! | 16 | 4 | used length in bytes: header and frames; 0 while the group is open (in a ring only) |
//! | 20 | 4 | leader epoch |
//! | 24 | 8 | `durable_upto`: everything below this position was on stable storage when the group closed |
//! | 32 | 4 | flags: bit 0 `last` (no group follows in this segment), bit 1 `cut` (none of its epoch) |
//! | 36 | 28 | zero |

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Seed;
use crate::ids::{LeaderEpoch, Position};
use crate::limits::{GROUP_ALIGN, GROUP_HEADER_BYTES};

/// First bytes of a group.
pub const MAGIC: [u8; 4] = *b"RLG0";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    magic: [u8; 4],
    checksum: U32,
    position: U64,
    used_len: U32,
    epoch: U32,
    durable_upto: U64,
    flags: U32,
    zero: [u8; 28],
}

const _: () = assert!(size_of::<Raw>() == GROUP_HEADER_BYTES);
const COVERED_FROM: usize = 8;

/// A group's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHeader {
    /// Where the group starts in the log.
    pub position: Position,
    /// Header and frames in bytes, without padding; 0 while open.
    pub used_len: u32,
    /// Epoch of the writer.
    pub epoch: LeaderEpoch,
    /// Everything below was durable when this group closed.
    pub durable_upto: Position,
    /// No group follows in this segment.
    pub last: bool,
    /// Recovery ended the group here, as far as its frames proved themselves: none of its epoch
    /// follows, whatever stands there.
    pub cut: bool,
}

/// Bits of the flags.
const LAST: u32 = 1;
const CUT: u32 = 2;

impl GroupHeader {
    /// The header's bytes.
    pub fn encode(&self, seed: Seed) -> [u8; GROUP_HEADER_BYTES] {
        let mut raw = Raw {
            magic: MAGIC,
            checksum: U32::ZERO,
            position: self.position.0.into(),
            used_len: self.used_len.into(),
            epoch: self.epoch.0.into(),
            durable_upto: self.durable_upto.0.into(),
            flags: ((u32::from(self.last) * LAST) | (u32::from(self.cut) * CUT)).into(),
            zero: [0; 28],
        };
        raw.checksum = seed.checksum(&raw.as_bytes()[COVERED_FROM..]).into();
        zerocopy::transmute!(raw)
    }

    /// Reads and proves the header that starts `bytes`; `None` if none for `position` is there.
    pub fn decode(seed: Seed, position: Position, bytes: &[u8]) -> Option<Self> {
        let (raw, _) = Raw::ref_from_prefix(bytes).ok()?;
        let proven = raw.magic == MAGIC
            && raw.position.get() == position.0
            && raw.checksum.get() == seed.checksum(&raw.as_bytes()[COVERED_FROM..])
            && raw.flags.get() & !(LAST | CUT) == 0
            && (raw.used_len.get() == 0 || raw.used_len.get() as usize >= GROUP_HEADER_BYTES)
            && raw.zero == [0; 28];
        proven.then(|| Self {
            position,
            used_len: raw.used_len.get(),
            epoch: LeaderEpoch(raw.epoch.get()),
            durable_upto: Position(raw.durable_upto.get()),
            last: raw.flags.get() & LAST != 0,
            cut: raw.flags.get() & CUT != 0,
        })
    }

    /// The lowest epoch that the next group may have: a lower one is left over from a tail that
    /// was cut.
    pub fn next_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.epoch.0.saturating_add(self.cut.into()))
    }

    /// Bytes the group takes in the log, padding included.
    pub fn group_len(&self) -> u64 {
        (self.used_len as usize).next_multiple_of(GROUP_ALIGN) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::golden::{self, seed};

    fn sample() -> GroupHeader {
        GroupHeader {
            position: Position(0x3000),
            used_len: 4097,
            epoch: LeaderEpoch(2),
            durable_upto: Position(0x2000),
            last: true,
            cut: false,
        }
    }

    fn decode(bytes: &[u8]) -> Option<GroupHeader> {
        GroupHeader::decode(seed(), Position(0x3000), bytes)
    }

    /// A header with `bytes` at `at` and the checksum made right again.
    fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut all = sample().encode(seed()).to_vec();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        let checksum = seed().checksum(&all[COVERED_FROM..]);
        all[4..8].copy_from_slice(&checksum.to_le_bytes());
        all
    }

    #[test]
    fn the_bytes_are_golden_and_come_back() {
        let bytes = sample().encode(seed());
        golden::check("group", &bytes);
        assert_eq!(decode(&bytes), Some(sample()));
        assert_eq!(sample().group_len(), 8192);
        let open = GroupHeader { used_len: 0, last: false, ..sample() };
        assert_eq!(decode(&open.encode(seed())), Some(open));
        let cut = GroupHeader { cut: true, ..sample() };
        assert_eq!(decode(&cut.encode(seed())), Some(cut));
        assert_eq!((open.next_epoch(), cut.next_epoch()), (open.epoch, LeaderEpoch(3)));
    }

    #[test]
    fn every_truncation_and_flipped_bit_is_refused() {
        let bytes = sample().encode(seed());
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), None, "cut to {len} bytes");
        }
        golden::assert_every_flip(&bytes, |bytes| decode(bytes).is_none());
    }

    #[test]
    fn a_group_of_another_log_or_position_is_refused() {
        let bytes = sample().encode(seed());
        let other = Seed::of(uuid::Uuid::from_u128(1));
        assert_eq!(GroupHeader::decode(other, Position(0x3000), &bytes), None);
        assert_eq!(GroupHeader::decode(seed(), Position(0x4000), &bytes), None);
    }

    #[test]
    fn fields_that_lie_are_refused_even_when_checksummed() {
        assert_eq!(decode(&patched(0, b"")), Some(sample()));
        assert_eq!(decode(&patched(16, &63_u32.to_le_bytes())), None);
        assert_eq!(decode(&patched(32, &[4])), None);
        assert_eq!(decode(&patched(63, &[1])), None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode(&bytes), None);
        }

        #[test]
        fn hostile_checksummed_bytes_never_panic(
            at in 8_usize..64,
            byte in any::<u8>(),
        ) {
            if let Some(header) = decode(&patched(at, &[byte])) {
                prop_assert!(header.group_len() >= u64::from(header.used_len));
            }
        }
    }
}
