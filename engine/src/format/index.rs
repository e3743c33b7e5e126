//! A sealed segment's index: where each stream's batches lie. Derived from the segment, never
//! evidence; one that is refused is built again.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `RINGLOGI` |
//! | 8 | 4 | header checksum, CRC32C over bytes 12..64 |
//! | 12 | 4 | format version |
//! | 16 | 16 | log uuid |
//! | 32 | 8 | base position of the segment |
//! | 40 | 8 | end: the position up to which it is indexed |
//! | 48 | 8 | length of the whole file in bytes |
//! | 56 | 4 | number of streams |
//! | 60 | 4 | directory checksum, CRC32C over the directory |
//! | 64 | 48 each | the directory, ascending by stream |
//! | | 24 each | runs: in the order of the directory, without gaps |
//!
//! An entry of the directory:
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | stream |
//! | 4 | 4 | number of runs |
//! | 8 | 8 | first offset |
//! | 16 | 8 | end: the offset after the last |
//! | 24 | 8 | where its runs start in this file |
//! | 32 | 4 | checksum, CRC32C over its runs |
//! | 36 | 4 | zero |
//! | 40 | 8 | the latest timestamp of its batches; the least there is if it has no runs |
//!
//! A run: first offset (8), position of the frame that holds it (8), ascending by both; the latest
//! timestamp of its batches (8).

use uuid::Uuid;
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::FORMAT_VERSION;
use crate::checksum;
use crate::ids::{Offset, Position, StreamId};
use crate::limits::{FRAME_MIN_BYTES, SEGMENT_BYTES_MAX};

/// First bytes of an index.
pub const MAGIC: [u8; 8] = *b"RINGLOGI";
/// Size of the header, from which [`Directory::len_from_header`] tells the directory's.
pub const INDEX_HEADER_BYTES: usize = 64;

const COVERED_FROM: usize = 12;
/// A segment has no more frames than this, hence no more streams or runs.
const FRAMES_MAX: u64 = SEGMENT_BYTES_MAX / FRAME_MIN_BYTES as u64;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 8],
    checksum: U32,
    version: U32,
    log: [u8; 16],
    base: U64,
    end: U64,
    file_len: U64,
    streams: U32,
    directory_checksum: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawEntry {
    stream: U32,
    runs: U32,
    first: U64,
    end: U64,
    runs_at: U64,
    checksum: U32,
    zero: U32,
    max_timestamp: I64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawRun {
    first_offset: U64,
    position: U64,
    max_timestamp: I64,
}

const _: () = assert!(size_of::<RawHeader>() == INDEX_HEADER_BYTES);
const _: () = assert!(size_of::<RawEntry>() == 48);
const _: () = assert!(size_of::<RawRun>() == 24);

/// Where a run of one stream's batches starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunEntry {
    /// Its first offset.
    pub first_offset: Offset,
    /// Position of the frame that holds it.
    pub position: Position,
    /// The latest timestamp of its batches, in milliseconds since the epoch.
    pub max_timestamp_ms: i64,
}

/// One stream's part of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamIndex {
    /// The stream.
    pub stream: StreamId,
    /// Its first offset in this segment.
    pub first: Offset,
    /// The offset after its last in this segment.
    pub end: Offset,
    /// Its runs, ascending by offset and position.
    pub runs: Vec<RunEntry>,
}

impl StreamIndex {
    /// The latest timestamp of its batches; `i64::MIN` if it has none.
    pub fn max_timestamp_ms(&self) -> i64 {
        latest(&self.runs)
    }
}

fn latest(runs: &[RunEntry]) -> i64 {
    runs.iter().map(|run| run.max_timestamp_ms).max().unwrap_or(i64::MIN)
}

/// A whole index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentIndex {
    /// The log it belongs to.
    pub log: Uuid,
    /// Base position of the segment.
    pub base: Position,
    /// Indexed up to here.
    pub end: Position,
    /// The streams, ascending.
    pub streams: Vec<StreamIndex>,
}

/// An index without its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The log it belongs to.
    pub log: Uuid,
    /// Base position of the segment.
    pub base: Position,
    /// Indexed up to here.
    pub end: Position,
    /// Length of the whole file.
    pub file_len_bytes: u64,
    /// The streams, ascending.
    pub entries: Vec<DirectoryEntry>,
}

/// One stream in a [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The stream.
    pub stream: StreamId,
    /// Its first offset in this segment.
    pub first: Offset,
    /// The offset after its last in this segment.
    pub end: Offset,
    /// Where its runs start in the file.
    pub runs_at: u64,
    /// Their number.
    pub run_count: u32,
    /// CRC32C over them.
    pub checksum: u32,
    /// The latest timestamp of its batches.
    pub max_timestamp_ms: i64,
}

/// Why an index was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Not an index at all.
    #[error("no index")]
    Magic,
    /// The bytes are fewer or more than they should be.
    #[error("index length differs")]
    Length,
    /// A checksum differs.
    #[error("checksum of the index {0} differs")]
    Checksum(&'static str),
    /// Written by another version of the format.
    #[error("format version {0}")]
    Version(u32),
    /// The checksum is right, but a field is out of range or out of order.
    #[error("index {0} out of range")]
    Field(&'static str),
}

impl SegmentIndex {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let directory_end = INDEX_HEADER_BYTES + self.streams.len() * size_of::<RawEntry>();
        let run_count: usize = self.streams.iter().map(|stream| stream.runs.len()).sum();
        let len = directory_end + run_count * size_of::<RawRun>();
        let mut out = Vec::with_capacity(len);
        out.resize(directory_end, 0);
        for (i, stream) in self.streams.iter().enumerate() {
            let runs_at = out.len();
            for run in &stream.runs {
                out.extend_from_slice(RawRun::from(run).as_bytes());
            }
            let entry = RawEntry {
                stream: stream.stream.0.into(),
                runs: (stream.runs.len() as u32).into(),
                first: stream.first.0.into(),
                end: stream.end.0.into(),
                runs_at: (runs_at as u64).into(),
                checksum: checksum::crc32c(&out[runs_at..]).into(),
                zero: U32::ZERO,
                max_timestamp: stream.max_timestamp_ms().into(),
            };
            let at = INDEX_HEADER_BYTES + i * size_of::<RawEntry>();
            out[at..at + size_of::<RawEntry>()].copy_from_slice(entry.as_bytes());
        }
        let mut header = RawHeader {
            magic: MAGIC,
            checksum: U32::ZERO,
            version: FORMAT_VERSION.into(),
            log: *self.log.as_bytes(),
            base: self.base.0.into(),
            end: self.end.0.into(),
            file_len: (len as u64).into(),
            streams: (self.streams.len() as u32).into(),
            directory_checksum: checksum::crc32c(&out[INDEX_HEADER_BYTES..directory_end]).into(),
        };
        header.checksum = checksum::crc32c(&header.as_bytes()[COVERED_FROM..]).into();
        out[..INDEX_HEADER_BYTES].copy_from_slice(header.as_bytes());
        debug_assert_eq!(Self::decode(&out).as_ref(), Ok(self), "what is written can be read");
        out
    }

    /// Reads and proves a whole file.
    pub fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        let directory = Directory::decode(bytes)?;
        if bytes.len() as u64 != directory.file_len_bytes {
            return Err(IndexError::Length);
        }
        let mut rest = &bytes[directory.len_bytes()..];
        let mut streams = Vec::with_capacity(directory.entries.len());
        for entry in &directory.entries {
            let runs = rest.split_off(..entry.runs_len_bytes()).ok_or(IndexError::Length)?;
            streams.push(StreamIndex {
                stream: entry.stream,
                first: entry.first,
                end: entry.end,
                runs: directory.decode_runs(entry, runs)?,
            });
        }
        Ok(Self { log: directory.log, base: directory.base, end: directory.end, streams })
    }
}

impl RawHeader {
    fn prove(bytes: &[u8]) -> Result<(&Self, &[u8]), IndexError> {
        let (header, rest) = Self::ref_from_prefix(bytes).map_err(|_| IndexError::Length)?;
        if header.magic != MAGIC {
            return Err(IndexError::Magic);
        }
        if header.checksum.get() != checksum::crc32c(&header.as_bytes()[COVERED_FROM..]) {
            return Err(IndexError::Checksum("header"));
        }
        if header.version.get() != FORMAT_VERSION {
            return Err(IndexError::Version(header.version.get()));
        }
        if header.base > header.end || header.end - header.base > U64::new(SEGMENT_BYTES_MAX) {
            return Err(IndexError::Field("end"));
        }
        let directory_end = Self::directory_end(header.streams.get());
        if u64::from(header.streams.get()) > FRAMES_MAX
            || (directory_end as u64) > header.file_len.get()
        {
            return Err(IndexError::Field("number of streams"));
        }
        Ok((header, rest))
    }

    fn directory_end(streams: u32) -> usize {
        INDEX_HEADER_BYTES + streams as usize * size_of::<RawEntry>()
    }
}

impl Directory {
    /// Length of header and directory, from a file's first [`INDEX_HEADER_BYTES`]. Compare it with
    /// the file's length before reading that much.
    pub fn len_from_header(bytes: &[u8]) -> Result<usize, IndexError> {
        let (header, _) = RawHeader::prove(bytes)?;
        Ok(RawHeader::directory_end(header.streams.get()))
    }

    /// Reads and proves the directory from a file's first bytes; the runs need not be there.
    pub fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        let (header, rest) = RawHeader::prove(bytes)?;
        let count = header.streams.get() as usize;
        let (raw, _) = <[RawEntry]>::ref_from_prefix_with_elems(rest, count)
            .map_err(|_| IndexError::Length)?;
        if header.directory_checksum.get() != checksum::crc32c(raw.as_bytes()) {
            return Err(IndexError::Checksum("directory"));
        }
        let directory = Self {
            log: Uuid::from_bytes(header.log),
            base: Position(header.base.get()),
            end: Position(header.end.get()),
            file_len_bytes: header.file_len.get(),
            entries: raw.iter().map(RawEntry::decode).collect::<Result<_, _>>()?,
        };
        directory.check_order()?;
        Ok(directory)
    }

    /// Streams ascend, and their runs fill the rest of the file without gaps.
    fn check_order(&self) -> Result<(), IndexError> {
        if !self.entries.is_sorted_by(|a, b| a.stream < b.stream) {
            return Err(IndexError::Field("order of streams"));
        }
        let mut runs_at = self.len_bytes() as u64;
        for entry in &self.entries {
            if entry.runs_at != runs_at {
                return Err(IndexError::Field("place of runs"));
            }
            runs_at += entry.runs_len_bytes() as u64;
        }
        if runs_at == self.file_len_bytes { Ok(()) } else { Err(IndexError::Field("file length")) }
    }

    /// Length of header and directory in the file.
    pub fn len_bytes(&self) -> usize {
        INDEX_HEADER_BYTES + self.entries.len() * size_of::<RawEntry>()
    }

    /// Reads and proves the runs of `entry`, one of this directory's: `bytes` are the
    /// [`DirectoryEntry::runs_len_bytes`] of the file from [`DirectoryEntry::runs_at`].
    pub fn decode_runs(
        &self,
        entry: &DirectoryEntry,
        bytes: &[u8],
    ) -> Result<Vec<RunEntry>, IndexError> {
        if bytes.len() != entry.runs_len_bytes() {
            return Err(IndexError::Length);
        }
        if entry.checksum != checksum::crc32c(bytes) {
            return Err(IndexError::Checksum("runs"));
        }
        let raw = <[RawRun]>::ref_from_bytes(bytes).map_err(|_| IndexError::Length)?;
        let runs: Vec<RunEntry> = raw.iter().map(RunEntry::from).collect();
        let ascending =
            runs.is_sorted_by(|a, b| a.first_offset < b.first_offset && a.position < b.position);
        let in_range = runs.iter().all(|run| {
            (entry.first..entry.end).contains(&run.first_offset)
                && (self.base..self.end).contains(&run.position)
        });
        if !ascending || !in_range {
            return Err(IndexError::Field("order of runs"));
        }
        if latest(&runs) != entry.max_timestamp_ms {
            return Err(IndexError::Field("latest timestamp"));
        }
        Ok(runs)
    }
}

impl DirectoryEntry {
    /// Length of its runs in the file.
    pub fn runs_len_bytes(&self) -> usize {
        self.run_count as usize * size_of::<RawRun>()
    }
}

impl RawEntry {
    fn decode(&self) -> Result<DirectoryEntry, IndexError> {
        let in_range = self.first <= self.end
            && u64::from(self.runs.get()) <= FRAMES_MAX
            && self.zero == U32::ZERO;
        if !in_range {
            return Err(IndexError::Field("entry"));
        }
        Ok(DirectoryEntry {
            stream: StreamId(self.stream.get()),
            first: Offset(self.first.get()),
            end: Offset(self.end.get()),
            runs_at: self.runs_at.get(),
            run_count: self.runs.get(),
            checksum: self.checksum.get(),
            max_timestamp_ms: self.max_timestamp.get(),
        })
    }
}

impl From<&RunEntry> for RawRun {
    fn from(run: &RunEntry) -> Self {
        Self {
            first_offset: run.first_offset.0.into(),
            position: run.position.0.into(),
            max_timestamp: run.max_timestamp_ms.into(),
        }
    }
}

impl From<&RawRun> for RunEntry {
    fn from(run: &RawRun) -> Self {
        Self {
            first_offset: Offset(run.first_offset.get()),
            position: Position(run.position.get()),
            max_timestamp_ms: run.max_timestamp.get(),
        }
    }
}

#[cfg(test)]
mod tests;
