//! Walking another process's log: whole groups from segments, proven frames from the ring. What is
//! walked becomes a list of [`Parsed`], in the order of positions, for the streams to take in.

use std::sync::Arc;

use super::source::Source;
use super::{Piece, Walk};
use crate::driver::disk::OpenMode;
use crate::error::{Error, Result};
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::group::GroupHeader;
use crate::format::record_batch::BatchHeader;
use crate::ids::{LogId, Position, StreamId};
use crate::limits::{FRAME_HEADER_BYTES, GROUP_HEADER_BYTES, READ_WINDOW_BYTES};
use crate::log::Log;
use crate::log::scan::{Source as SegmentSource, prove_payload};
use crate::log::segment::{self, Segment};
use crate::log::walk::{Reach, Step, step};
use crate::log::writer::StreamState;

/// A step of the walk that may be shown once everything below `end` may.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) position: u64,
    pub(crate) end: u64,
    pub(crate) what: What,
}

/// What was walked over.
#[derive(Debug)]
pub(crate) enum What {
    /// A frame of a stream.
    Frame { stream: StreamId, kind: Kind },
    /// A change of topics.
    Metadata(Vec<u8>),
    /// The rest of a group, or of a segment.
    GroupEnd,
    /// A segment was left for the next.
    Left { segment: Arc<Segment>, next: Arc<Segment> },
}

/// What a frame does to its stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Batch { first: u64, records: u64, max_timestamp_ms: i64 },
    Trim { start: u64 },
}

impl Kind {
    pub(crate) fn apply(self, state: &mut StreamState, position: u64, end: u64) {
        match self {
            Self::Batch { first, records, max_timestamp_ms } => {
                state.end = first;
                state.note(position, end, records, max_timestamp_ms);
            }
            Self::Trim { start } => {
                state.log_start = state.log_start.max(start);
                state.end = state.end.max(start);
            }
        }
    }
}

/// What a proven frame tells; nothing, if its payload is not what its kind says.
fn parse(frame: &FrameHeader, payload: &[u8]) -> Option<What> {
    match frame.kind {
        FrameKind::Metadata => Some(What::Metadata(payload.to_vec())),
        FrameKind::Trim => {
            let start = u64::from_le_bytes(*payload.first_chunk::<8>()?);
            Some(What::Frame { stream: frame.stream, kind: Kind::Trim { start } })
        }
        FrameKind::Batch => {
            let batch = BatchHeader::decode(payload).ok()?;
            let first = batch.base_offset.0;
            let records = batch.last_offset().0 + 1 - first;
            let max_timestamp_ms = batch.max_timestamp_ms;
            let kind = Kind::Batch { first, records, max_timestamp_ms };
            Some(What::Frame { stream: frame.stream, kind })
        }
    }
}

impl Walk {
    fn push(&mut self, frame: &FrameHeader, payload: &[u8]) {
        let position = frame.position.0;
        let end = position + frame.frame_len() as u64;
        self.at = end;
        if let Some(what) = parse(frame, payload) {
            self.pending.push_back(Parsed { position, end, what });
        }
    }

    /// Indexes of segments that are whole in their files by now are derived from these.
    fn forget_kept(&mut self, source: &Source) {
        let in_files = source.in_segments();
        self.kept.retain(|(segment, _)| segment.end() > in_files);
    }

    /// Why there is no more in the ring: the place was overwritten, or nothing is there yet.
    fn ring_end(&self, source: &Source) -> Piece {
        if !source.is_current() {
            Piece::Stale
        } else if self.base < source.in_segments() {
            // The next look finds it in its segment.
            Piece::Took
        } else {
            Piece::End
        }
    }

    /// The group is over; the next one starts at `next`.
    fn end_group(&mut self, header: &GroupHeader) {
        let next =
            if header.last { self.segment.end() } else { header.position.0 + header.group_len() };
        (self.epoch, self.next_epoch) = (header.epoch, header.next_epoch());
        self.durable = self.durable.max(header.durable_upto.0);
        let position = self.at;
        self.pending.push_back(Parsed { position, end: next, what: What::GroupEnd });
        self.base = next;
        self.at = next;
    }
}

impl Log {
    /// One group, or as much of it as there is, below `reach`.
    pub(super) fn piece(&self, source: &Source, walk: &mut Walk, reach: u64) -> Result<Piece> {
        // A header alone shows nothing; that of a frame too large for the ring comes to its segment
        // only with the frame.
        if walk.at >= reach || reach <= walk.base + GROUP_HEADER_BYTES as u64 {
            return Ok(Piece::End);
        }
        if walk.base == walk.segment.end() {
            return self.enter_next(walk, reach);
        }
        let from_ring = source.has_ring() && walk.base >= source.in_segments();
        if from_ring {
            return Ok(self.ring_piece(source, walk, reach));
        }
        walk.forget_kept(source);
        match self.segment_piece(walk)? {
            Ok(GroupSeen::Taken) => Ok(Piece::Took),
            Ok(GroupSeen::NewEpoch(epoch)) if source.has_ring() && source.epoch() < epoch => {
                Ok(Piece::Stale)
            }
            Ok(GroupSeen::NewEpoch(epoch)) => {
                let is_data = self.id != LogId(0);
                let cut = if is_data { self.find_cut(walk, epoch)? } else { None };
                match cut {
                    Some(cut) => Ok(Piece::Cut(cut)),
                    None => Ok(self.take_group(walk)?.map_or(Piece::End, |_| Piece::Took)),
                }
            }
            Err(Missing::Group(_)) if !source.is_current() => Ok(Piece::Stale),
            // Without a ring that says more this is where the log ends, so far. That of a damaged
            // log stays another writer's.
            Err(Missing::Group(_)) if source.reach(self.class).is_none() => Ok(Piece::End),
            Err(Missing::Group(error)) => Err(error),
            Err(Missing::File) => Ok(Piece::Gone),
        }
    }

    /// Goes over to the next segment, if it is there.
    pub(super) fn enter_next(&self, walk: &mut Walk, reach: u64) -> Result<Piece> {
        let base = walk.base;
        let path = format!("{}/{}", self.name, segment::file_name(base));
        let next = match self.disk.open(&path, OpenMode::Read) {
            Ok(_) => segment::read_header(&*self.disk, &path, Some(self.uuid))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let needed = reach != u64::MAX && reach > base;
                return Ok(if needed { Piece::Gone } else { Piece::End });
            }
            Err(error) => return Err(Error::io("open", self.disk.root().join(path), error)),
        };
        if next.base.0 != base {
            let reason = format!("base {} is not its name's", next.base);
            return Err(Error::corrupt(self.disk.root().join(path), 32, reason));
        }
        let next = Arc::new(Segment::new(self.id, base, next.len_bytes));
        let segment = std::mem::replace(&mut walk.segment, Arc::clone(&next));
        walk.base = next.first();
        walk.at = walk.base;
        let what = What::Left { segment, next };
        walk.pending.push_back(Parsed { position: base, end: base, what });
        Ok(Piece::Took)
    }

    /// The group at `walk.base` from its segment, which must have it whole.
    fn segment_piece(&self, walk: &mut Walk) -> Result<Result<GroupSeen, Missing>> {
        let file = match walk.segment.open(&*self.disk) {
            Ok(file) => file,
            Err(Error::Corrupt { .. }) => return Ok(Err(Missing::File)),
            Err(error) => return Err(error),
        };
        let mut head = [0; GROUP_HEADER_BYTES];
        let at = walk.base - walk.segment.base();
        let read = file.read_at(&mut head, at).map_err(|error| {
            Error::io("read", self.disk.root().join(walk.segment.path()), error)
        })?;
        let header = GroupHeader::decode(self.seed, Position(walk.base), &head[..read]);
        let Some(header) = header.filter(|found| found.used_len > 0) else {
            return Ok(Err(Missing::Group(self.no_group(walk, "no group is where one must be"))));
        };
        if header.epoch > walk.epoch {
            return Ok(Ok(GroupSeen::NewEpoch(u64::from(header.epoch.0))));
        }
        if header.epoch < walk.next_epoch {
            return Ok(Err(Missing::Group(self.no_group(walk, "a group of an earlier epoch"))));
        }
        self.take_group(walk)
    }

    /// As [`segment_piece`](Self::segment_piece), of whatever later epoch.
    pub(super) fn any_group(&self, walk: &mut Walk) -> Result<Result<(), Missing>> {
        let seen = match self.segment_piece(walk)? {
            Ok(GroupSeen::NewEpoch(_)) => self.take_group(walk)?,
            seen => seen,
        };
        Ok(seen.map(|_| ()))
    }

    fn take_group(&self, walk: &mut Walk) -> Result<Result<GroupSeen, Missing>> {
        let mut source = SegmentSource::open(&*self.disk, &walk.segment)?;
        let group = match source.group(self.seed, walk.base)? {
            Ok(group) => group,
            Err(damage) => return Ok(Err(Missing::Group(self.no_group(walk, &damage.bad)))),
        };
        let seen = walk.at;
        for frame in group.frames.iter().filter(|frame| frame.position.0 >= seen) {
            walk.push(frame, group.payload(frame));
        }
        walk.at = walk.at.max(walk.base + u64::from(group.header.used_len));
        walk.end_group(&group.header);
        Ok(Ok(GroupSeen::Taken))
    }

    fn no_group(&self, walk: &Walk, bad: &str) -> Error {
        let path = self.disk.root().join(walk.segment.path());
        Error::corrupt(path, walk.base - walk.segment.base(), bad)
    }

    /// Frames of the group at `walk.base` from the ring, as far as they prove themselves.
    pub(super) fn ring_piece(&self, source: &Source, walk: &mut Walk, reach: u64) -> Piece {
        let Some(header) = self.ring_header(source, walk) else {
            return walk.ring_end(source);
        };
        let first = walk.base + GROUP_HEADER_BYTES as u64;
        if walk.at < first {
            if first > reach {
                return Piece::End;
            }
            walk.at = first;
        }
        let before = walk.at;
        let closed = header.used_len > 0;
        let used_end = walk.base + u64::from(header.used_len);
        let limit = if closed { used_end } else { walk.segment.end() }.min(reach);
        let whole = self.ring_frames(source, walk, limit);
        if !whole {
            return walk.ring_end(source);
        }
        // What an open header does not say yet is said by the next look at it.
        let header = if closed { Some(header) } else { self.ring_header(source, walk) };
        let Some(header) = header else { return walk.ring_end(source) };
        if header.used_len > 0 && walk.at == walk.base + u64::from(header.used_len) {
            walk.end_group(&header);
            return Piece::Took;
        }
        if walk.at > before { Piece::Took } else { Piece::End }
    }

    fn ring_header(&self, source: &Source, walk: &Walk) -> Option<GroupHeader> {
        let mut head = [0; GROUP_HEADER_BYTES];
        if !source.copy(walk.base, &mut head) {
            return None;
        }
        let header = GroupHeader::decode(self.seed, Position(walk.base), &head)?;
        let ours = header.epoch >= walk.next_epoch && u64::from(header.epoch.0) == source.epoch();
        ours.then_some(header)
    }

    /// Takes frames from `walk.at` up to `limit`; false if the ring was overwritten under it.
    fn ring_frames(&self, source: &Source, walk: &mut Walk, limit: u64) -> bool {
        let mut need = READ_WINDOW_BYTES as u64;
        while walk.at < limit {
            let start = walk.at;
            let want = need.min(limit - start).min(source.len());
            let mut window = vec![0; want as usize];
            if !source.copy(start, &mut window) {
                return false;
            }
            need = READ_WINDOW_BYTES as u64;
            loop {
                match step(self.seed, start, &window, walk.at, Reach::Whole) {
                    Ok(Step::Frame(frame)) if u64::from(frame.epoch.0) == source.epoch() => {
                        let from = (walk.at - start) as usize + FRAME_HEADER_BYTES;
                        let payload = &window[from..from + frame.payload_len as usize];
                        if prove_payload(&frame, payload).is_err() {
                            return true;
                        }
                        walk.push(&frame, payload);
                    }
                    Ok(Step::Need(len)) if walk.at + len as u64 <= limit && walk.at > start => {
                        need = need.max(len as u64);
                        break;
                    }
                    Ok(Step::Need(len)) if len as u64 > want && start + len as u64 <= limit => {
                        need = len as u64;
                        break;
                    }
                    _ => return true,
                }
            }
            if need > source.len() {
                return true;
            }
        }
        true
    }
}

/// A group in a segment.
pub(super) enum GroupSeen {
    Taken,
    /// Of a later writer than those before it; not taken.
    NewEpoch(u64),
}

/// What a segment does not have.
pub(super) enum Missing {
    Group(Error),
    File,
}
