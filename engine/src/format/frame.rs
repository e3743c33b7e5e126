//! A frame: one entry of a group.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `RLF0` |
//! | 4 | 4 | checksum, CRC32C over the log's uuid, bytes 8..32 of this header, and the covered part of the payload: the first 21 bytes of a record batch (its own CRC covers the rest), all of any other |
//! | 8 | 8 | position of this frame in the log |
//! | 16 | 4 | payload length in bytes |
//! | 20 | 4 | leader epoch |
//! | 24 | 4 | stream: the partition within the log; 0 where none is meant |
//! | 28 | 1 | kind: 1 record batch, 2 metadata, 3 trim |
//! | 29 | 1 | flags: bit 0 `continues` (the next frame belongs to the same chain) |
//! | 30 | 2 | zero |
//!
//! The payload follows, then zeros to a multiple of 8, and to 64 bytes at least.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Seed;
use crate::checksum;
use crate::ids::{LeaderEpoch, Position, StreamId};
use crate::limits::{
    BATCH_UNCOVERED_BYTES, FRAME_ALIGN, FRAME_HEADER_BYTES, FRAME_MIN_BYTES, PAYLOAD_BYTES_MAX,
    STREAMS_MAX,
};

/// First bytes of a frame.
pub const MAGIC: [u8; 4] = *b"RLF0";

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A Kafka `RecordBatch` v2.
    Batch = 1,
    /// A change of topics and settings, JSON; in the metadata log only.
    Metadata = 2,
    /// A new log start of a stream: its offset, 8 bytes.
    Trim = 3,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Batch),
            2 => Some(Self::Metadata),
            3 => Some(Self::Trim),
            _ => None,
        }
    }

    /// How much of a payload of this length the frame's checksum covers.
    pub fn covered(self, payload_len: usize) -> usize {
        match self {
            Self::Batch => payload_len.min(BATCH_UNCOVERED_BYTES),
            Self::Metadata | Self::Trim => payload_len,
        }
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    magic: [u8; 4],
    checksum: U32,
    position: U64,
    payload_len: U32,
    epoch: U32,
    stream: U32,
    kind: u8,
    flags: u8,
    zero: [u8; 2],
}

const _: () = assert!(size_of::<Raw>() == FRAME_HEADER_BYTES);
/// The checksum covers the header from here.
const COVERED_FROM: usize = 8;

/// A frame's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Where the frame starts in the log.
    pub position: Position,
    /// Length of the payload without padding.
    pub payload_len: u32,
    /// Epoch of the writer.
    pub epoch: LeaderEpoch,
    /// The partition within the log.
    pub stream: StreamId,
    /// What the payload is.
    pub kind: FrameKind,
    /// Whether the next frame belongs to the same chain.
    pub continues: bool,
}

/// Bytes a frame with this payload takes in the log.
pub const fn frame_len(payload_len: usize) -> usize {
    let len = (FRAME_HEADER_BYTES + payload_len).next_multiple_of(FRAME_ALIGN);
    if len < FRAME_MIN_BYTES { FRAME_MIN_BYTES } else { len }
}

impl FrameHeader {
    /// The header's bytes, checksummed over `covered`, the part of the payload that
    /// [`FrameKind::covered`] names.
    pub fn encode(&self, seed: Seed, covered: &[u8]) -> [u8; FRAME_HEADER_BYTES] {
        let mut raw = Raw {
            magic: MAGIC,
            checksum: U32::ZERO,
            position: self.position.0.into(),
            payload_len: self.payload_len.into(),
            epoch: self.epoch.0.into(),
            stream: self.stream.0.into(),
            kind: self.kind as u8,
            flags: u8::from(self.continues),
            zero: [0; 2],
        };
        let header = seed.checksum(&raw.as_bytes()[COVERED_FROM..]);
        raw.checksum = checksum::crc32c_append(header, covered).into();
        zerocopy::transmute!(raw)
    }

    /// Reads and proves the frame that starts `bytes`: checksum, and that it was written for
    /// `position`. `bytes` must reach to the end of the covered part, or this is an error; the
    /// length is trusted only after the checksum.
    pub fn decode(seed: Seed, position: Position, bytes: &[u8]) -> Result<Self, FrameError> {
        let (raw, rest) = Raw::ref_from_prefix(bytes).map_err(|_| FrameError::Short)?;
        if raw.magic != MAGIC {
            return Err(FrameError::Magic);
        }
        if raw.position.get() != position.0 {
            return Err(FrameError::Position { found: raw.position.get() });
        }
        let kind = FrameKind::from_byte(raw.kind).ok_or(FrameError::Field("kind"))?;
        let payload_len = raw.payload_len.get() as usize;
        if payload_len > PAYLOAD_BYTES_MAX {
            return Err(FrameError::Field("payload length"));
        }
        let covered = rest.get(..kind.covered(payload_len)).ok_or(FrameError::Short)?;
        let header = seed.checksum(&raw.as_bytes()[COVERED_FROM..]);
        if checksum::crc32c_append(header, covered) != raw.checksum.get() {
            return Err(FrameError::Checksum);
        }
        if raw.stream.get() >= STREAMS_MAX {
            return Err(FrameError::Field("stream"));
        }
        if raw.flags > 1 || raw.zero != [0; 2] {
            return Err(FrameError::Field("flags"));
        }
        Ok(Self {
            position,
            payload_len: raw.payload_len.get(),
            epoch: LeaderEpoch(raw.epoch.get()),
            stream: StreamId(raw.stream.get()),
            kind,
            continues: raw.flags & 1 != 0,
        })
    }

    /// Bytes the frame takes in the log, padding included.
    pub fn frame_len(&self) -> usize {
        frame_len(self.payload_len as usize)
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end before the covered part does.
    #[error("cut off")]
    Short,
    /// No frame starts here.
    #[error("no frame magic")]
    Magic,
    /// A frame written for another position: left over from an earlier use of these blocks.
    #[error("written for position {found}")]
    Position {
        /// That position.
        found: u64,
    },
    /// The checksum differs.
    #[error("frame checksum differs")]
    Checksum,
    /// A field is out of range.
    #[error("{0} out of range")]
    Field(&'static str),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::golden::{self, seed};
    use crate::format::record_batch;

    fn header(kind: FrameKind, payload_len: usize) -> FrameHeader {
        FrameHeader {
            position: Position(0x1040),
            payload_len: payload_len as u32,
            epoch: LeaderEpoch(3),
            stream: StreamId(5),
            kind,
            continues: kind == FrameKind::Metadata,
        }
    }

    fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
        let header = header(kind, payload.len());
        let covered = &payload[..kind.covered(payload.len())];
        [&header.encode(seed(), covered)[..], payload].concat()
    }

    fn decode(bytes: &[u8]) -> Result<FrameHeader, FrameError> {
        FrameHeader::decode(seed(), Position(0x1040), bytes)
    }

    #[test]
    fn the_bytes_are_golden_and_come_back() {
        let batch: Vec<u8> = (0..100).collect();
        for (name, kind, payload) in [
            ("frame_batch", FrameKind::Batch, &batch[..]),
            ("frame_metadata", FrameKind::Metadata, b"{}"),
            ("frame_trim", FrameKind::Trim, &[42, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            let bytes = frame(kind, payload);
            golden::check(name, &bytes);
            let header = header(kind, payload.len());
            assert_eq!(decode(&bytes), Ok(header));
            assert_eq!(header.frame_len(), frame_len(payload.len()));
        }
    }

    #[test]
    fn every_truncation_and_flipped_bit_of_the_covered_part_is_refused() {
        let payload: Vec<u8> = (0..100).collect();
        for kind in [FrameKind::Batch, FrameKind::Metadata, FrameKind::Trim] {
            let bytes = frame(kind, &payload);
            let covered = FRAME_HEADER_BYTES + kind.covered(payload.len());
            for len in 0..covered {
                assert!(decode(&bytes[..len]).is_err(), "{kind:?} cut to {len} bytes");
            }
            golden::assert_every_flip(&bytes[..covered], |bytes| decode(bytes).is_err());
        }
    }

    #[test]
    fn every_flipped_bit_of_a_framed_batch_is_caught_by_the_frame_or_by_the_batch() {
        let mut batch = Vec::new();
        let records = [record_batch::Record::new(b"value").key(b"key")];
        record_batch::encode(&records, 1, &mut batch).unwrap();
        let bytes = frame(FrameKind::Batch, &batch);
        let refused = |bytes: &[u8]| {
            decode(bytes).is_err() || !record_batch::verify_crc(&bytes[FRAME_HEADER_BYTES..])
        };
        assert!(!refused(&bytes));
        golden::assert_every_flip(&bytes, refused);
    }

    #[test]
    fn a_frame_of_another_log_or_position_is_refused() {
        let bytes = frame(FrameKind::Trim, &[0; 8]);
        let other = Seed::of(uuid::Uuid::from_u128(1));
        let decoded = FrameHeader::decode(other, Position(0x1040), &bytes);
        assert_eq!(decoded, Err(FrameError::Checksum));
        let decoded = FrameHeader::decode(seed(), Position(0x2040), &bytes);
        assert_eq!(decoded, Err(FrameError::Position { found: 0x1040 }));
    }

    #[test]
    fn a_frame_has_a_slot_of_its_own_and_stays_aligned() {
        for payload_len in 0..1000 {
            let len = frame_len(payload_len);
            assert!(len >= FRAME_MIN_BYTES && len.is_multiple_of(FRAME_ALIGN));
            assert!(len >= FRAME_HEADER_BYTES + payload_len);
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(decode(&bytes).is_err());
            let mut ours = [&MAGIC[..], &[0; 4], &0x1040_u64.to_le_bytes(), &bytes].concat();
            if ours.len() >= FRAME_HEADER_BYTES {
                ours[28] = 1 + ours[28] % 3;
            }
            prop_assert!(decode(&ours).is_err());
        }
    }
}
