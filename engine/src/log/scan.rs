//! Reading segments from end to end: what recovery, index rebuilding and `verify` share. A group is
//! taken only whole: header, every frame with its payload, zero padding.

use std::sync::Arc;

use uuid::Uuid;

use super::segment::Segment;
use super::walk::{Bad, Reach, Step, step};
use super::writer::StreamState;
use crate::buf::AlignedBuf;
use crate::driver::disk::{Disk, FileRef, full_path, io_error};
use crate::error::{Error, Result};
use crate::format::Seed;
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::group::GroupHeader;
use crate::format::index::SegmentIndex;
use crate::format::record_batch::{self, BatchHeader};
use crate::ids::{Position, StreamId};
use crate::limits::{FRAME_HEADER_BYTES, GROUP_ALIGN, GROUP_HEADER_BYTES};

const WINDOW_BYTES: usize = 1 << 20;

/// A segment being read forwards through a window.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) segment: Arc<Segment>,
    file: FileRef,
    path: std::path::PathBuf,
    window: AlignedBuf,
    /// Where the window is, and how much of it was read.
    start: u64,
    filled: usize,
    /// Only what is asked for is read.
    narrow: bool,
}

/// A whole, proven group.
#[derive(Debug)]
pub(crate) struct WholeGroup {
    pub(crate) header: GroupHeader,
    /// Header, frames and padding.
    pub(crate) bytes: Vec<u8>,
    pub(crate) frames: Vec<FrameHeader>,
}

impl WholeGroup {
    pub(crate) fn payload(&self, frame: &FrameHeader) -> &[u8] {
        let from = (frame.position.0 - self.header.position.0) as usize + FRAME_HEADER_BYTES;
        &self.bytes[from..from + frame.payload_len as usize]
    }

    /// Where the next group starts, given the segment this one is in.
    pub(crate) fn next(&self, segment: &Segment) -> u64 {
        if self.header.last {
            segment.end()
        } else {
            self.header.position.0 + self.header.group_len()
        }
    }
}

impl Source {
    pub(crate) fn open(disk: &dyn Disk, segment: &Arc<Segment>) -> Result<Self> {
        Ok(Self::of(disk, segment, segment.open(disk)?))
    }

    /// Opens it beside whoever else has it open, to read around the page cache.
    pub(crate) fn open_uncached(disk: &dyn Disk, segment: &Arc<Segment>) -> Result<Self> {
        let path = segment.path();
        let file = disk.open_uncached(path).map_err(io_error(disk, "open", path))?;
        Ok(Self::of(disk, segment, file))
    }

    fn of(disk: &dyn Disk, segment: &Arc<Segment>, file: FileRef) -> Self {
        Self {
            segment: Arc::clone(segment),
            file,
            path: full_path(disk, segment.path()),
            window: AlignedBuf::zeroed(0),
            start: 0,
            filled: 0,
            narrow: false,
        }
    }

    /// From now on reads nothing ahead.
    pub(crate) fn read_narrowly(&mut self) {
        self.narrow = true;
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// `len` bytes at `position`, fewer where the file ends.
    pub(crate) fn bytes(&mut self, position: u64, len: usize) -> Result<&[u8]> {
        let reach = self.start + self.filled as u64;
        if position < self.start || position + len as u64 > reach {
            let room = self.segment.end().saturating_sub(position) as usize;
            let ahead = if self.narrow { 0 } else { WINDOW_BYTES };
            // Whole pages, as reads around the page cache have to be.
            let want = len.max(ahead).next_multiple_of(GROUP_ALIGN).min(room);
            self.filled = 0;
            if self.window.len() < want {
                self.window = AlignedBuf::zeroed(want);
            }
            let at = position - self.segment.base();
            let read = self.file.read_at(&mut self.window.as_mut_slice()[..want], at);
            self.filled = read.map_err(|error| Error::io("read", &self.path, error))?;
            self.start = position;
        }
        let from = (position - self.start) as usize;
        let to = (from + len).min(self.filled);
        Ok(self.window.as_slice().get(from..to).unwrap_or_default())
    }

    /// Just the header at a boundary, for probing.
    pub(crate) fn header(&mut self, seed: Seed, position: u64) -> Result<Option<GroupHeader>> {
        let bytes = self.bytes(position, GROUP_HEADER_BYTES)?;
        let header = GroupHeader::decode(seed, Position(position), bytes);
        Ok(header.filter(|header| header.used_len > 0))
    }

    /// The group at `position`, or why there is none. An `Err` outside is the system's.
    pub(crate) fn group(
        &mut self,
        seed: Seed,
        position: u64,
    ) -> Result<Result<WholeGroup, Damaged>> {
        let Some(header) = self.header(seed, position)? else {
            let bytes = self.bytes(position, GROUP_HEADER_BYTES)?.to_vec();
            let bad = step(seed, position, &bytes, position, Reach::Whole)
                .err()
                .unwrap_or(Bad::GroupHeader);
            return Ok(Err(Damaged { position, bad: bad.to_string() }));
        };
        if header.group_len() > self.segment.end() - position {
            let bad = "group reaches beyond its segment".to_owned();
            return Ok(Err(Damaged { position, bad }));
        }
        let bytes = self.bytes(position, header.group_len() as usize)?.to_vec();
        if (bytes.len() as u64) < header.group_len() {
            let bad = "file ends within a group".to_owned();
            return Ok(Err(Damaged { position: position + bytes.len() as u64, bad }));
        }
        let (frames, end, bad) = frames_of(seed, &header, &bytes);
        if let Some(bad) = bad {
            return Ok(Err(Damaged { position: end, bad }));
        }
        if bytes[header.used_len as usize..].iter().any(|byte| *byte != 0) {
            let position = position + u64::from(header.used_len);
            return Ok(Err(Damaged { position, bad: Bad::Padding.to_string() }));
        }
        Ok(Ok(WholeGroup { header, bytes, frames }))
    }
}

/// Where bytes stop making sense, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) position: u64,
    pub(crate) bad: String,
}

/// The proven frames of a group's bytes up to its used length; where they end; and why they end
/// before it, if they do. The caller has the header from wherever it trusts it.
pub(crate) fn frames_of(
    seed: Seed,
    header: &GroupHeader,
    bytes: &[u8],
) -> (Vec<FrameHeader>, u64, Option<String>) {
    let start = header.position.0;
    let used = &bytes[..(header.used_len as usize).min(bytes.len())];
    let end = start + used.len() as u64;
    let mut at = start + GROUP_HEADER_BYTES as u64;
    let mut frames = Vec::new();
    while at < end {
        let bad = match step(seed, start, used, at, Reach::Whole) {
            Ok(Step::Frame(frame)) => {
                let from = (at - start) as usize;
                let payload = &used[from + FRAME_HEADER_BYTES..][..frame.payload_len as usize];
                let padding =
                    &used[from + FRAME_HEADER_BYTES + payload.len()..from + frame.frame_len()];
                match prove_payload(&frame, payload) {
                    _ if frame.epoch != header.epoch => Some("frame of another epoch".to_owned()),
                    Ok(()) if padding.iter().all(|byte| *byte == 0) => {
                        at += frame.frame_len() as u64;
                        frames.push(frame);
                        None
                    }
                    Ok(()) => Some(Bad::Padding.to_string()),
                    Err(bad) => Some(bad),
                }
            }
            Ok(_) => Some("no whole frame".to_owned()),
            Err(bad) => Some(bad.to_string()),
        };
        if bad.is_some() {
            return (frames, at, bad);
        }
    }
    (frames, at, None)
}

/// A batch's own checksum and count, which the frame's checksum does not cover.
pub(crate) fn prove_payload(frame: &FrameHeader, payload: &[u8]) -> Result<(), String> {
    if frame.kind != FrameKind::Batch {
        return Ok(());
    }
    let header = BatchHeader::decode(payload).map_err(|error| error.to_string())?;
    if header.len_bytes != payload.len() {
        return Err("record batch length differs from its frame's".to_owned());
    }
    if !record_batch::verify_crc(payload) {
        return Err("record batch checksum differs".to_owned());
    }
    Ok(())
}

/// The streams of a log while it is being scanned, by id.
#[derive(Debug, Default)]
pub(crate) struct Streams(pub(crate) Vec<Option<Box<StreamState>>>);

impl Streams {
    pub(crate) fn get(&mut self, id: StreamId) -> &mut StreamState {
        let at = id.0 as usize;
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at].get_or_insert_with(Box::default)
    }

    /// Takes in a proven frame. A batch says which offsets it has; frames come in order.
    pub(crate) fn apply(&mut self, frame: &FrameHeader, payload: &[u8]) {
        let position = frame.position.0;
        let end = position + frame.frame_len() as u64;
        match frame.kind {
            FrameKind::Batch => {
                let Ok(batch) = BatchHeader::decode(payload) else { return };
                let state = self.get(frame.stream);
                state.end = batch.base_offset.0;
                let records = batch.last_offset().0 + 1 - batch.base_offset.0;
                state.note(position, end, records, batch.max_timestamp_ms);
            }
            FrameKind::Trim => {
                if let Some(bytes) = payload.first_chunk::<8>() {
                    let state = self.get(frame.stream);
                    state.log_start = state.log_start.max(u64::from_le_bytes(*bytes));
                    state.end = state.end.max(state.log_start);
                }
            }
            FrameKind::Metadata => {}
        }
    }
}

/// Builds a sealed segment's index from its groups; damage ends it with an error.
pub(crate) fn rebuild_index(
    disk: &dyn Disk,
    segment: &Arc<Segment>,
    log: Uuid,
) -> Result<SegmentIndex> {
    let mut source = Source::open(disk, segment)?;
    let seed = Seed::of(log);
    let mut streams = Streams::default();
    let mut at = segment.first();
    while at < segment.end() {
        match source.group(seed, at)? {
            Ok(group) => {
                for frame in &group.frames {
                    streams.apply(frame, group.payload(frame));
                }
                at = group.next(segment);
            }
            Err(damage) => {
                let from = damage.position - segment.base();
                return Err(Error::corrupt(source.path(), from, damage.bad));
            }
        }
    }
    Ok(index_of_streams(&streams.0, log, segment.base(), at))
}

/// The index that these streams' runs make.
pub(crate) fn index_of_streams(
    streams: &[Option<Box<StreamState>>],
    log: Uuid,
    base: u64,
    end: u64,
) -> SegmentIndex {
    let live = streams.iter().enumerate();
    let streams = live.filter_map(|(id, state)| state.as_deref()?.index(id)).collect();
    SegmentIndex { log, base: Position(base), end: Position(end), streams }
}

/// A group made of proven frames alone: header, frames, zero padding.
pub(crate) fn synthesise(seed: Seed, header: &GroupHeader, frames: &[u8]) -> Vec<u8> {
    let used = GROUP_HEADER_BYTES + frames.len();
    let mut bytes = vec![0; used.next_multiple_of(GROUP_ALIGN)];
    let header = GroupHeader { used_len: used as u32, ..*header };
    bytes[..GROUP_HEADER_BYTES].copy_from_slice(&header.encode(seed));
    bytes[GROUP_HEADER_BYTES..used].copy_from_slice(frames);
    bytes
}
