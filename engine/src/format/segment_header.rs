//! A segment's header: the first 4096 bytes of its file.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `RINGLOGS` |
//! | 8 | 4 | checksum, CRC32C over bytes 12..4096 |
//! | 12 | 4 | format version |
//! | 16 | 16 | log uuid |
//! | 32 | 8 | base position |
//! | 40 | 8 | length in bytes of the segment, header included |
//! | 48 | 8 | in-flight limit: the most bytes that were ever written past the durable end |
//! | 56 | 4 | layout: 1, groups as appended |
//! | 60 | 4036 | zero |

use uuid::Uuid;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::FORMAT_VERSION;
use crate::checksum;
use crate::ids::Position;
use crate::limits::{GROUP_ALIGN, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_HEADER_BYTES};

/// First bytes of a segment.
pub const MAGIC: [u8; 8] = *b"RINGLOGS";
/// Groups as they were appended.
pub const LAYOUT_APPENDED: u32 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    magic: [u8; 8],
    checksum: U32,
    version: U32,
    log: [u8; 16],
    base: U64,
    len: U64,
    in_flight: U64,
    layout: U32,
    zero: [u8; 4036],
}

const _: () = assert!(size_of::<Raw>() == SEGMENT_HEADER_BYTES);
const COVERED_FROM: usize = 12;

/// A segment's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log it belongs to.
    pub log: Uuid,
    /// Position of its first byte, this header's.
    pub base: Position,
    /// Its length in bytes, this header included.
    pub len_bytes: u64,
    /// The most bytes ever written past the durable end.
    pub in_flight_limit_bytes: u64,
}

/// Why a header was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentHeaderError {
    /// Not a segment at all.
    #[error("no segment header")]
    Magic,
    /// The checksum differs.
    #[error("segment header checksum differs")]
    Checksum,
    /// Written by another version of the format.
    #[error("format version {0}")]
    Version(u32),
    /// A field is out of range.
    #[error("segment header field out of range")]
    Field,
}

impl SegmentHeader {
    /// The header's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut raw = Raw::new_zeroed();
        raw.magic = MAGIC;
        raw.version = FORMAT_VERSION.into();
        raw.log = *self.log.as_bytes();
        raw.base = self.base.0.into();
        raw.len = self.len_bytes.into();
        raw.in_flight = self.in_flight_limit_bytes.into();
        raw.layout = LAYOUT_APPENDED.into();
        raw.checksum = checksum::crc32c(&raw.as_bytes()[COVERED_FROM..]).into();
        raw.as_bytes().to_vec()
    }

    /// Reads and proves a header.
    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentHeaderError> {
        let (raw, _) = Raw::ref_from_prefix(bytes).map_err(|_| SegmentHeaderError::Magic)?;
        if raw.magic != MAGIC {
            return Err(SegmentHeaderError::Magic);
        }
        if raw.checksum.get() != checksum::crc32c(&raw.as_bytes()[COVERED_FROM..]) {
            return Err(SegmentHeaderError::Checksum);
        }
        if raw.version.get() != FORMAT_VERSION {
            return Err(SegmentHeaderError::Version(raw.version.get()));
        }
        let len_bytes = raw.len.get();
        let in_range = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&len_bytes)
            && len_bytes.is_multiple_of(GROUP_ALIGN as u64)
            && raw.base.get().is_multiple_of(GROUP_ALIGN as u64)
            && raw.base.get().checked_add(len_bytes).is_some()
            && raw.layout.get() == LAYOUT_APPENDED;
        if !in_range {
            return Err(SegmentHeaderError::Field);
        }
        Ok(Self {
            log: Uuid::from_bytes(raw.log),
            base: Position(raw.base.get()),
            len_bytes,
            in_flight_limit_bytes: raw.in_flight.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::golden;

    fn sample() -> SegmentHeader {
        SegmentHeader {
            log: Uuid::from_u128(0x5eed),
            base: Position(1 << 20),
            len_bytes: 128 << 20,
            in_flight_limit_bytes: 512 << 10,
        }
    }

    /// A header with `bytes` at `at` and the checksum made right again.
    fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut all = sample().encode();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        let checksum = crc32c::crc32c(&all[COVERED_FROM..]);
        all[8..12].copy_from_slice(&checksum.to_le_bytes());
        all
    }

    #[test]
    fn the_bytes_are_golden_and_come_back() {
        let bytes = sample().encode();
        golden::check("segment_header", &bytes);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(sample()));
    }

    #[test]
    fn every_truncation_and_flipped_bit_is_refused() {
        let bytes = sample().encode();
        for len in 0..bytes.len() {
            assert!(SegmentHeader::decode(&bytes[..len]).is_err(), "cut to {len} bytes");
        }
        golden::assert_every_flip(&bytes, |bytes| SegmentHeader::decode(bytes).is_err());
    }

    #[test]
    fn fields_that_lie_are_refused_even_when_checksummed() {
        let refused = |at, bytes: &[u8]| SegmentHeader::decode(&patched(at, bytes)).unwrap_err();
        assert_eq!(refused(12, &7_u32.to_le_bytes()), SegmentHeaderError::Version(7));
        assert_eq!(refused(32, &[1]), SegmentHeaderError::Field);
        assert_eq!(refused(32, &(u64::MAX << 12).to_le_bytes()), SegmentHeaderError::Field);
        assert_eq!(refused(40, &[0xff; 8]), SegmentHeaderError::Field);
        assert_eq!(refused(56, &[2]), SegmentHeaderError::Field);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(SegmentHeader::decode(&bytes).is_err());
            let _ = SegmentHeader::decode(&patched(12, &bytes));
        }
    }
}
