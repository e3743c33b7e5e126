//! A checkpoint: evidence of what a log consists of, and where recovery starts.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `RINGLOGC` |
//! | 8 | 4 | checksum, CRC32C over bytes 12 to the end |
//! | 12 | 4 | format version |
//! | 16 | 16 | log uuid |
//! | 32 | 8 | length of the whole file in bytes |
//! | 40 | 8 | sequence number: the higher of two is the newer |
//! | 48 | 8 | position: all below is durable, recovery scans from here |
//! | 56 | 4 | leader epoch |
//! | 60 | 4 | flags: bit 0 `clean` (nothing is beyond the position) |
//! | 64 | 4 | number of segments |
//! | 68 | 4 | number of streams |
//! | 72 | 8 | length of the snapshot in bytes |
//! | 80 | 16 each | segments: base position (8), length in bytes (8) |
//! | | 24 each | streams: stream (4), zero (4), log start (8), end (8), which is not below it |
//! | | | the snapshot, the metadata log's |
//!
//! The first three fields keep their place and meaning in every version.

use uuid::Uuid;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::FORMAT_VERSION;
use crate::checksum;
use crate::ids::{LeaderEpoch, Offset, Position, StreamId};

/// First bytes of a checkpoint.
pub const MAGIC: [u8; 8] = *b"RINGLOGC";

const COVERED_FROM: usize = 12;
const CLEAN: u32 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    magic: [u8; 8],
    checksum: U32,
    version: U32,
    log: [u8; 16],
    len: U64,
    sequence: U64,
    position: U64,
    epoch: U32,
    flags: U32,
    segments: U32,
    streams: U32,
    snapshot_len: U64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawSegment {
    base: U64,
    len: U64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawStream {
    stream: U32,
    zero: U32,
    log_start: U64,
    end: U64,
}

const _: () = assert!(size_of::<Raw>() == 80);
const _: () = assert!(size_of::<RawSegment>() == 16);
const _: () = assert!(size_of::<RawStream>() == 24);

/// A live segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEntry {
    /// Position of its first byte.
    pub base: Position,
    /// Its length in bytes.
    pub len_bytes: u64,
}

/// What was known of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// The stream.
    pub stream: StreamId,
    /// Its first retained offset.
    pub log_start: Offset,
    /// Its next offset, as of the checkpoint's position.
    pub end: Offset,
}

/// A checkpoint, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log it belongs to.
    pub log: Uuid,
    /// The higher of two is the newer.
    pub sequence: u64,
    /// Recovery scans from here; all below is durable.
    pub position: Position,
    /// Epoch of the writer.
    pub epoch: LeaderEpoch,
    /// Written by a clean close: nothing is beyond `position`.
    pub clean: bool,
    /// The live segments, in the order given.
    pub segments: Vec<SegmentEntry>,
    /// The streams, in the order given.
    pub streams: Vec<StreamEntry>,
    /// The metadata log's state; opaque here.
    pub snapshot: Vec<u8>,
}

/// Why a checkpoint was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a checkpoint at all.
    #[error("no checkpoint")]
    Magic,
    /// The checksum differs, or the file is cut off.
    #[error("checkpoint checksum differs")]
    Checksum,
    /// Written by another version of the format.
    #[error("format version {0}")]
    Version(u32),
    /// The checksum is right, but a field is out of range.
    #[error("checkpoint {0} out of range")]
    Field(&'static str),
}

impl Checkpoint {
    /// Where in the file the snapshot begins.
    pub fn snapshot_at(&self) -> u64 {
        Self::len_bytes(self.segments.len() as u64, self.streams.len() as u64, 0)
    }

    /// Length of a file with so many segments and streams, and a snapshot of so many bytes.
    pub fn len_bytes(segments: u64, streams: u64, snapshot_bytes: u64) -> u64 {
        let entries =
            segments * size_of::<RawSegment>() as u64 + streams * size_of::<RawStream>() as u64;
        size_of::<Raw>() as u64 + entries + snapshot_bytes
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let len = self.snapshot_at() as usize + self.snapshot.len();
        let raw = Raw {
            magic: MAGIC,
            checksum: U32::ZERO,
            version: FORMAT_VERSION.into(),
            log: *self.log.as_bytes(),
            len: (len as u64).into(),
            sequence: self.sequence.into(),
            position: self.position.0.into(),
            epoch: self.epoch.0.into(),
            flags: if self.clean { CLEAN } else { 0 }.into(),
            segments: (self.segments.len() as u32).into(),
            streams: (self.streams.len() as u32).into(),
            snapshot_len: (self.snapshot.len() as u64).into(),
        };
        let mut out = Vec::with_capacity(len);
        out.extend_from_slice(raw.as_bytes());
        for segment in &self.segments {
            let raw = RawSegment { base: segment.base.0.into(), len: segment.len_bytes.into() };
            out.extend_from_slice(raw.as_bytes());
        }
        for stream in &self.streams {
            let raw = RawStream {
                stream: stream.stream.0.into(),
                zero: U32::ZERO,
                log_start: stream.log_start.0.into(),
                end: stream.end.0.into(),
            };
            out.extend_from_slice(raw.as_bytes());
        }
        out.extend_from_slice(&self.snapshot);
        let checksum = checksum::crc32c(&out[COVERED_FROM..]);
        out[MAGIC.len()..COVERED_FROM].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads and proves a whole file. The version is looked at before anything else that the
    /// checksum proves.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(CheckpointError::Magic);
        }
        let (raw, rest) = Raw::ref_from_prefix(bytes).map_err(|_| CheckpointError::Checksum)?;
        if raw.checksum.get() != checksum::crc32c(&bytes[COVERED_FROM..]) {
            return Err(CheckpointError::Checksum);
        }
        if raw.version.get() != FORMAT_VERSION {
            return Err(CheckpointError::Version(raw.version.get()));
        }
        if raw.len.get() != bytes.len() as u64 {
            return Err(CheckpointError::Field("length"));
        }
        if raw.flags.get() & !CLEAN != 0 {
            return Err(CheckpointError::Field("flags"));
        }
        let (segments, rest) =
            <[RawSegment]>::ref_from_prefix_with_elems(rest, raw.segments.get() as usize)
                .map_err(|_| CheckpointError::Field("number of segments"))?;
        let (streams, snapshot) =
            <[RawStream]>::ref_from_prefix_with_elems(rest, raw.streams.get() as usize)
                .map_err(|_| CheckpointError::Field("number of streams"))?;
        if raw.snapshot_len.get() != snapshot.len() as u64 {
            return Err(CheckpointError::Field("length of the snapshot"));
        }
        Ok(Self {
            log: Uuid::from_bytes(raw.log),
            sequence: raw.sequence.get(),
            position: Position(raw.position.get()),
            epoch: LeaderEpoch(raw.epoch.get()),
            clean: raw.flags.get() & CLEAN != 0,
            segments: segments.iter().map(RawSegment::decode).collect::<Result<_, _>>()?,
            streams: streams.iter().map(RawStream::decode).collect::<Result<_, _>>()?,
            snapshot: snapshot.to_vec(),
        })
    }
}

impl RawSegment {
    fn decode(&self) -> Result<SegmentEntry, CheckpointError> {
        let (base, len_bytes) = (self.base.get(), self.len.get());
        if base.checked_add(len_bytes).is_none() {
            return Err(CheckpointError::Field("segment"));
        }
        Ok(SegmentEntry { base: Position(base), len_bytes })
    }
}

impl RawStream {
    fn decode(&self) -> Result<StreamEntry, CheckpointError> {
        // A log start beyond the end would hide what is appended next.
        let ordered = self.log_start <= self.end && i64::try_from(self.end.get()).is_ok();
        let in_range = self.stream.get() < crate::limits::STREAMS_MAX && self.zero.get() == 0;
        if !ordered || !in_range {
            return Err(CheckpointError::Field("stream"));
        }
        Ok(StreamEntry {
            stream: StreamId(self.stream.get()),
            log_start: Offset(self.log_start.get()),
            end: Offset(self.end.get()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::golden;

    fn sample() -> Checkpoint {
        let stream = |stream, log_start, end| StreamEntry {
            stream: StreamId(stream),
            log_start: Offset(log_start),
            end: Offset(end),
        };
        Checkpoint {
            log: Uuid::from_u128(7),
            sequence: 3,
            position: Position(0x12_3000),
            epoch: LeaderEpoch(9),
            clean: true,
            segments: vec![
                SegmentEntry { base: Position(0), len_bytes: 1 << 20 },
                SegmentEntry { base: Position(1 << 20), len_bytes: 128 << 20 },
            ],
            streams: vec![stream(1, 0, 10), stream(2, 5, 5), stream(7, 1, 1 << 40)],
            snapshot: b"{\"topics\":[]}".to_vec(),
        }
    }

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
        golden::check("checkpoint", &bytes);
        assert_eq!(Checkpoint::decode(&bytes), Ok(sample()));
        let empty = Checkpoint {
            clean: false,
            segments: Vec::new(),
            streams: Vec::new(),
            snapshot: Vec::new(),
            ..sample()
        };
        assert_eq!(Checkpoint::decode(&empty.encode()), Ok(empty));
    }

    #[test]
    fn every_truncation_extension_and_flipped_bit_is_refused() {
        golden::assert_fragile(&sample().encode(), |bytes| Checkpoint::decode(bytes).is_err());
    }

    #[test]
    fn fields_that_lie_are_refused_even_when_checksummed() {
        let refused = |at, bytes: &[u8]| Checkpoint::decode(&patched(at, bytes)).unwrap_err();
        assert_eq!(refused(12, &7_u32.to_le_bytes()), CheckpointError::Version(7));
        assert_eq!(refused(32, &[0]), CheckpointError::Field("length"));
        assert_eq!(refused(60, &[2]), CheckpointError::Field("flags"));
        assert_eq!(refused(64, &[0xff; 4]), CheckpointError::Field("number of segments"));
        assert_eq!(refused(68, &[0xff; 4]), CheckpointError::Field("number of streams"));
        assert_eq!(refused(68, &[2]), CheckpointError::Field("length of the snapshot"));
        assert_eq!(refused(80, &[0xff; 16]), CheckpointError::Field("segment"));
        assert_eq!(refused(116, &[1]), CheckpointError::Field("stream"));
        assert_eq!(refused(120, &[11]), CheckpointError::Field("stream"));
        assert_eq!(refused(135, &[0x80]), CheckpointError::Field("stream"));
    }

    proptest! {
        #[test]
        fn any_checkpoint_round_trips(
            numbers in any::<(u128, u64, u64, u32, bool)>(),
            segments in prop::collection::vec((any::<u32>(), any::<u32>()), 0..20),
            streams in prop::collection::vec(any::<(u32, u64, u64)>(), 0..20),
            snapshot in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let checkpoint = Checkpoint {
                log: Uuid::from_u128(numbers.0),
                sequence: numbers.1,
                position: Position(numbers.2),
                epoch: LeaderEpoch(numbers.3),
                clean: numbers.4,
                segments: segments
                    .iter()
                    .map(|(base, len)| SegmentEntry {
                        base: Position(u64::from(*base)),
                        len_bytes: u64::from(*len),
                    })
                    .collect(),
                streams: streams
                    .iter()
                    .map(|(stream, log_start, end)| StreamEntry {
                        stream: StreamId(*stream % crate::limits::STREAMS_MAX),
                        log_start: Offset((log_start & end) >> 1),
                        end: Offset(*end >> 1),
                    })
                    .collect(),
                snapshot,
            };
            prop_assert_eq!(Checkpoint::decode(&checkpoint.encode()), Ok(checkpoint));
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Checkpoint::decode(&bytes).is_err());
        }

        #[test]
        fn hostile_checksummed_bytes_never_panic(
            at in 16_usize..100,
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let _ = Checkpoint::decode(&patched(at, &bytes));
        }
    }
}
