//! `engine.meta`: what a data directory is. Two copies, at 0 and at 4096, each in a block of its
//! own, so that one torn or rotten block loses nothing.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `RINGLOGE` |
//! | 8 | 4 | checksum, CRC32C over bytes 12..4096 |
//! | 12 | 4 | format version |
//! | 16 | 16 | engine uuid |
//! | 32 | 8 | created, milliseconds since the Unix epoch, signed |
//! | 40 | 4056 | zero |
//!
//! The first three fields keep their place and meaning in every version.

use uuid::Uuid;
use zerocopy::little_endian::{I64, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::FORMAT_VERSION;
use crate::checksum;

/// First bytes of each copy.
pub const MAGIC: [u8; 8] = *b"RINGLOGE";
/// Size of the file.
pub const ENGINE_META_BYTES: usize = 2 * COPY_BYTES;

const COPY_BYTES: usize = 4096;
const COVERED_FROM: usize = 12;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    magic: [u8; 8],
    checksum: U32,
    version: U32,
    uuid: [u8; 16],
    created_ms: I64,
    zero: [u8; 4056],
}

const _: () = assert!(size_of::<Raw>() == COPY_BYTES);

/// The contents of `engine.meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineMeta {
    /// Names the engine for ever.
    pub uuid: Uuid,
    /// When the directory was made.
    pub created_ms: i64,
}

/// Why `engine.meta` was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// Neither copy has the magic: something else's file.
    #[error("no engine.meta of ringlog")]
    NotOurs,
    /// A whole copy is of another format version.
    #[error("format version {0}")]
    Version(u32),
    /// Ours, but no copy is whole, or two whole ones contradict each other.
    #[error("engine.meta is damaged")]
    Damaged,
}

impl EngineMeta {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut raw = Raw::new_zeroed();
        raw.magic = MAGIC;
        raw.version = FORMAT_VERSION.into();
        raw.uuid = *self.uuid.as_bytes();
        raw.created_ms = self.created_ms.into();
        raw.checksum = checksum::crc32c(&raw.as_bytes()[COVERED_FROM..]).into();
        raw.as_bytes().repeat(2)
    }

    /// Reads the file; one whole copy is enough. A whole copy of another version is refused even
    /// beside one of this version: a newer build was here.
    pub fn decode(bytes: &[u8]) -> Result<Self, MetaError> {
        let second = bytes.get(COPY_BYTES..).unwrap_or_default();
        match (Self::decode_copy(bytes), Self::decode_copy(second)) {
            (Err(MetaError::Version(version)), _) | (_, Err(MetaError::Version(version))) => {
                Err(MetaError::Version(version))
            }
            (Ok(first), Ok(second)) if first != second => Err(MetaError::Damaged),
            (Ok(meta), _) | (_, Ok(meta)) => Ok(meta),
            (Err(MetaError::NotOurs), Err(MetaError::NotOurs)) => Err(MetaError::NotOurs),
            _ => Err(MetaError::Damaged),
        }
    }

    fn decode_copy(bytes: &[u8]) -> Result<Self, MetaError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(MetaError::NotOurs);
        }
        let (raw, _) = Raw::ref_from_prefix(bytes).map_err(|_| MetaError::Damaged)?;
        if raw.checksum.get() != checksum::crc32c(&raw.as_bytes()[COVERED_FROM..]) {
            return Err(MetaError::Damaged);
        }
        if raw.version.get() != FORMAT_VERSION {
            return Err(MetaError::Version(raw.version.get()));
        }
        Ok(Self { uuid: Uuid::from_bytes(raw.uuid), created_ms: raw.created_ms.get() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::golden;

    fn sample() -> EngineMeta {
        EngineMeta { uuid: Uuid::from_u128(0x0123_4567_89ab_cdef), created_ms: -2 }
    }

    /// `bytes` with another version in the copy at `at`, whole.
    fn with_version(bytes: &[u8], at: usize, version: u32) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes[at + 12..at + 16].copy_from_slice(&version.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[at + COVERED_FROM..at + COPY_BYTES]);
        bytes[at + 8..at + 12].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn the_bytes_are_golden_and_come_back() {
        let bytes = sample().encode();
        assert_eq!(bytes.len(), ENGINE_META_BYTES);
        golden::check("engine_meta", &bytes);
        assert_eq!(EngineMeta::decode(&bytes), Ok(sample()));
    }

    #[test]
    fn one_bad_copy_is_fine_and_two_are_not() {
        let bytes = sample().encode();
        for bit in 0..COPY_BYTES * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(EngineMeta::decode(&bad), Ok(sample()), "bit {bit}");
            bad[COPY_BYTES + bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 64 { MetaError::NotOurs } else { MetaError::Damaged };
            assert_eq!(EngineMeta::decode(&bad), Err(expected), "bit {bit}");
        }
    }

    #[test]
    fn a_truncated_file_needs_one_whole_copy() {
        let bytes = sample().encode();
        for len in 0..bytes.len() {
            let expected = match len {
                ..8 => Err(MetaError::NotOurs),
                8..COPY_BYTES => Err(MetaError::Damaged),
                _ => Ok(sample()),
            };
            assert_eq!(EngineMeta::decode(&bytes[..len]), expected, "{len}");
        }
    }

    #[test]
    fn another_version_in_either_copy_is_refused() {
        let bytes = sample().encode();
        for at in [0, COPY_BYTES] {
            let newer = with_version(&bytes, at, 7);
            assert_eq!(EngineMeta::decode(&newer), Err(MetaError::Version(7)));
        }
    }

    #[test]
    fn copies_of_two_engines_are_refused() {
        let other = EngineMeta { created_ms: 3, ..sample() }.encode();
        let mixed = [&sample().encode()[..COPY_BYTES], &other[COPY_BYTES..]].concat();
        assert_eq!(EngineMeta::decode(&mixed), Err(MetaError::Damaged));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
            prop_assert!(EngineMeta::decode(&bytes).is_err());
            let ours = [&MAGIC, &bytes[..]].concat();
            prop_assert_eq!(EngineMeta::decode(&ours), Err(MetaError::Damaged));
        }
    }
}
