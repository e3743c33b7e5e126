//! One log: its files, then every group in order, with the streams, indexes and checkpoints they
//! must agree with, then the ring.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Run;
use super::streams::Streams;
use crate::driver::disk::{DiskRef, full_path};
use crate::engine::META;
use crate::error::{Error, Result};
use crate::format::checkpoint::Checkpoint;
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::index::SegmentIndex;
use crate::format::record_batch;
use crate::format::ring_control::{
    COMMITTED, DURABLE, EPOCH, GROWING, Identity, LO, PROOFS, identify,
};
use crate::ids::{LeaderEpoch, StreamId};
use crate::inspect::info::{End, SegmentState};
use crate::inspect::is_live;
use crate::inspect::layout::Layout;
use crate::inspect::ring;
use crate::inspect::walk::{Event, walk};
use crate::limits::{FRAME_HEADER_BYTES, RING_CONTROL_BYTES};
use crate::log::checkpoints;
use crate::log::scan::{Streams as Runs, WholeGroup, frames_of, index_of_streams};
use crate::log::segment::Segment;
use crate::topic::catalog::Change;

/// Words of a ring's control page with a meaning, but for the proofs.
const RING_WORDS: [usize; 12] = [0, 1, 2, 3, 4, 5, 6, EPOCH, COMMITTED, DURABLE, LO, GROWING];
/// Words of the proofs.
const PROOF_WORDS: std::ops::Range<usize> = PROOFS[0]..PROOFS[1] + (PROOFS[1] - PROOFS[0]);

struct Check<'r, 'a> {
    run: &'r mut Run<'a>,
    layout: &'r Layout,
    streams: Streams,
    /// Checkpoints whose position has not been reached, newest first.
    pending: Vec<&'r Checkpoint>,
    /// The segment being read, and where the one before ended.
    segment: Option<Arc<Segment>>,
    previous_end: u64,
    damaged_here: bool,
    /// What the segment's index should have; and what it has, until compared.
    runs: Runs,
    index: Option<SegmentIndex>,
    /// Where the last group ended.
    reached: u64,
    epoch: LeaderEpoch,
    end: Option<End>,
}

pub(super) fn verify(run: &mut Run<'_>, mut layout: Layout) -> Result<()> {
    run.report.totals.logs += 1;
    for finding in std::mem::take(&mut layout.findings) {
        run.found(finding);
    }
    let disk = Arc::clone(run.disk);
    let start = layout.segments.keys().next().copied().unwrap_or(0);
    let mut check = Check {
        run,
        layout: &layout,
        streams: Streams::default(),
        pending: layout.checkpoints.iter().collect(),
        segment: None,
        previous_end: 0,
        damaged_here: false,
        runs: Runs::default(),
        index: None,
        reached: start,
        epoch: LeaderEpoch(0),
        end: None,
    };
    walk(&disk, &layout, start, &mut |event| {
        check.event(&event);
        Ok(ControlFlow::Continue(()))
    })?;
    check.finish(&disk);
    Ok(())
}

impl Check<'_, '_> {
    fn event(&mut self, event: &Event<'_>) {
        match *event {
            Event::Segment(segment) => self.enter(segment),
            Event::Group { segment, group, whole: true } => self.group(segment, group),
            Event::Group { whole: false, .. } => {}
            Event::Damage { path, at, what } => {
                self.run.damage(path.to_path_buf(), at, what);
                self.streams.damaged();
                self.damaged_here = true;
            }
            Event::End(end) => self.end = Some(end),
        }
    }

    fn enter(&mut self, segment: &Arc<Segment>) {
        self.leave();
        let base = segment.base();
        let between = self.previous_end..base;
        let missing = self
            .layout
            .files
            .iter()
            .any(|file| file.state == SegmentState::Missing && between.contains(&file.base.0));
        if missing {
            self.streams.damaged();
        } else if !between.is_empty() {
            self.streams.retired();
        }
        self.previous_end = segment.end();
        self.reached = segment.first();
        self.damaged_here = false;
        self.run.report.totals.segments += 1;
        self.index = self.read_index(segment);
        self.segment = Some(Arc::clone(segment));
    }

    fn read_index(&mut self, segment: &Arc<Segment>) -> Option<SegmentIndex> {
        let name = segment.index_path();
        let path = full_path(&**self.run.disk, &name);
        let checkpoint = self.layout.checkpoint.as_ref()?;
        let Some(len) = self.layout.indexes.get(&segment.base()) else {
            if segment.end() <= checkpoint.position.0 {
                let what = "the index of a sealed segment is missing; it will be built again";
                self.run.note(path, 0, what);
            }
            return None;
        };
        self.run.advance(*len);
        if *len == 0 {
            // What a filesystem may make of a file that was flushed and then renamed.
            self.run.note(path, 0, "the index is empty; it will be built again");
            return None;
        }
        let bytes = match checkpoints::read_all(&**self.run.disk, &name) {
            Ok(bytes) => bytes,
            // Retired meanwhile, with its segment.
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && is_live(&**self.run.disk) =>
            {
                return None;
            }
            Err(error) => {
                self.run.damage(path, 0, format!("cannot be read: {error}"));
                return None;
            }
        };
        match SegmentIndex::decode(&bytes) {
            Ok(index) if index.log != checkpoint.log => {
                self.run.damage(path, 16, "index of another log");
                None
            }
            Ok(index) if index.base.0 != segment.base() => {
                self.run.damage(path, 32, "index of another segment");
                None
            }
            Ok(index) => Some(index),
            Err(error) => {
                self.run.damage(path, 0, error.to_string());
                None
            }
        }
    }

    fn group(&mut self, segment: &Arc<Segment>, group: &WholeGroup) {
        let position = group.header.position.0;
        self.pass(position);
        if self.index.as_ref().is_some_and(|index| index.end.0 == position) {
            self.compare_index();
        }
        let path = full_path(&**self.run.disk, segment.path());
        if group.header.durable_upto.0 > position {
            let at = position - segment.base();
            self.run.damage(path.clone(), at, "a group that claims to have been durable before");
        }
        for frame in &group.frames {
            let payload = group.payload(frame);
            self.runs.apply(frame, payload);
            let at = frame.position.0 - segment.base();
            self.frame((path.clone(), at), frame, payload);
        }
        self.epoch = group.header.next_epoch();
        let next = group.next(segment);
        self.run.report.totals.groups += 1;
        self.run.advance(next - self.reached);
        self.reached = next;
    }

    fn frame(&mut self, place: (PathBuf, u64), frame: &FrameHeader, payload: &[u8]) {
        self.run.report.totals.frames += 1;
        let wrong = match frame.kind {
            FrameKind::Batch => self.batch(&place, frame, payload),
            FrameKind::Metadata if self.layout.id != META => {
                Some("a change of topics outside of the metadata log".to_owned())
            }
            FrameKind::Metadata => serde_json::from_slice::<Change>(payload)
                .err()
                .map(|error| format!("no change of topics: {error}")),
            FrameKind::Trim => match payload.try_into().map(u64::from_le_bytes) {
                Ok(offset) => {
                    self.streams.trim(frame.stream, offset);
                    None
                }
                Err(_) => Some("a trim is an offset of 8 bytes".to_owned()),
            },
        };
        if let Some(what) = wrong {
            self.run.damage(place.0, place.1, what);
        }
    }

    fn batch(
        &mut self,
        place: &(PathBuf, u64),
        frame: &FrameHeader,
        payload: &[u8],
    ) -> Option<String> {
        let header = match record_batch::check(payload) {
            Ok(header) => header,
            Err(error) => return Some(error.to_string()),
        };
        self.run.report.totals.batches += 1;
        self.run.report.totals.records += u64::from(header.record_count);
        let offsets = (header.base_offset.0, header.last_offset().0 + 1);
        let wrong = self.streams.batch(frame.stream, offsets, place);
        if header.epoch.0 != frame.epoch.0 & i32::MAX as u32 {
            return Some(format!("batch of epoch {} in a frame of {}", header.epoch, frame.epoch));
        }
        wrong
    }

    /// Compares with the checkpoints that end at or below `position`.
    fn pass(&mut self, position: u64) {
        while let Some(checkpoint) = self.pending.last().copied()
            && checkpoint.position.0 <= position
        {
            self.pending.pop();
            let name = checkpoints::path(&self.layout.dir, checkpoint.sequence);
            let path = full_path(&**self.run.disk, &name);
            if self.layout.id == META {
                continue;
            }
            let (names, id) = (&self.run.names, self.layout.id);
            let is_live = |stream: StreamId| names.is_live(id, stream);
            let (damage, notes) = self.streams.compare(checkpoint, &path, &is_live);
            self.run.all_damage(damage);
            for (path, at, what) in notes {
                self.run.note(path, at, what);
            }
        }
    }

    /// Compares the segment's index with what was read so far, which is what it should have.
    fn compare_index(&mut self) {
        let (Some(found), Some(segment)) = (self.index.take(), &self.segment) else { return };
        if self.damaged_here {
            return;
        }
        let path = full_path(&**self.run.disk, &segment.index_path());
        let expected =
            index_of_streams(&self.runs.0, found.log, segment.base(), found.end.0).streams;
        for stream in &expected {
            let id = stream.stream;
            let same = match found.streams.iter().find(|other| other.stream == id) {
                Some(other) => other == stream,
                // Streams of deleted topics are left out.
                None => !self.run.names.is_live(self.layout.id, id) && self.layout.id != META,
            };
            if !same {
                let what = format!("what it says of stream {id} is not what the segment has");
                self.run.damage(path.clone(), 64, what);
            }
        }
        let known = |id: StreamId| expected.iter().any(|stream| stream.stream == id);
        if let Some(other) = found.streams.iter().find(|stream| !known(stream.stream)) {
            let what = format!("stream {} is not in the segment", other.stream);
            self.run.damage(path, 64, what);
        }
    }

    /// The segment that was being read is over.
    fn leave(&mut self) {
        let Some(segment) = self.segment.clone() else { return };
        self.run.advance(segment.end().saturating_sub(self.reached));
        if let Some(index) = &self.index {
            let end = index.end.0;
            if end == self.reached {
                self.compare_index();
            } else if !self.damaged_here {
                let path = full_path(&**self.run.disk, &segment.index_path());
                self.run.damage(path, 40, format!("no group ends at its end, {end}"));
            }
        }
        for state in self.runs.0.iter_mut().flatten() {
            state.forget_runs();
        }
        self.index = None;
        self.segment = None;
    }

    fn finish(&mut self, disk: &DiskRef) {
        self.leave();
        let dir = full_path(&**disk, &self.layout.dir);
        if let (Some(end), Some(checkpoint)) = (self.end, &self.layout.checkpoint) {
            let known = checkpoint.position.0;
            if end.position.0 < known && !self.run.report.damaged {
                let what = format!("ends at {}, its checkpoint at {known}", end.position);
                self.run.damage(dir.clone(), 0, what);
            }
            self.pass(u64::MAX);
            if end.torn_bytes > 0 {
                self.torn(end);
            }
            self.ring(disk, end);
        }
        let (names, id) = (&self.run.names, self.layout.id);
        let damage = self.streams.finish(&|stream| names.is_live(id, stream));
        self.run.all_damage(damage);
        for base in self.layout.indexes.keys() {
            if !self.layout.segments.contains_key(base) {
                let path = dir.join(format!("{base:016x}.idx"));
                self.run.note(path, 0, "the index of a segment that is not there");
            }
        }
    }

    fn torn(&mut self, end: End) {
        let at = end.position.0;
        let holds = |segment: &&Arc<Segment>| segment.contains(at);
        let Some(segment) = self.layout.segments.values().find(holds) else { return };
        let path = full_path(&**self.run.disk, segment.path());
        let what = format!("a torn tail: {} bytes that the next open cuts", end.torn_bytes);
        self.run.note(path, at - segment.base(), what);
    }

    fn ring(&mut self, disk: &DiskRef, end: End) {
        let path = full_path(&**disk, &format!("{}/ring", self.layout.dir));
        // Never flushed: a power loss soon after it was made takes all of it.
        let empty =
            "the ring is empty, as a power loss may leave it; the next open makes a new one";
        let map = match ring::load(disk, self.layout) {
            Ok(Some(map)) => map,
            _ if self.layout.ring_bytes == Some(0) => return self.run.note(path, 0, empty),
            Ok(None) => return,
            Err(Error::Corrupt { at, reason, .. }) => return self.run.damage(path, at, reason),
            Err(error) => return self.run.damage(path, 0, error.to_string()),
        };
        self.run.advance((RING_CONTROL_BYTES + map.len()) as u64);
        let Some(checkpoint) = &self.layout.checkpoint else { return };
        if (0..RING_CONTROL_BYTES / 8).all(|word| map.control(word).load(Ordering::Relaxed) == 0) {
            return self.run.note(path, 0, empty);
        }
        match identify(&map, checkpoint.log) {
            Identity::Ours => {}
            Identity::Version(found) => {
                self.run.damage(path.clone(), 8, format!("a ring of format version {found}"));
            }
            Identity::Foreign => {
                self.run.damage(path.clone(), 0, "does not say whole that it is this log's ring");
            }
        }
        let has_meaning = |word: &usize| RING_WORDS.contains(word) || PROOF_WORDS.contains(word);
        for word in (0..RING_CONTROL_BYTES / 8).filter(|word| !has_meaning(word)) {
            if map.control(word).load(Ordering::Relaxed) != 0 {
                self.run.damage(path.clone(), 8 * word as u64, "not zero");
            }
        }
        if is_live(&**disk) {
            // It was copied while it was being written.
            return;
        }
        let epoch = self.epoch.max(checkpoint.epoch);
        let replay = ring::replayed(&map, self.layout, end, epoch);
        for group in &replay.groups {
            let seed = crate::format::Seed::of(checkpoint.log);
            for frame in frames_of(seed, &group.header, &group.bytes).0 {
                let from = (frame.position.0 - group.header.position.0) as usize;
                let payload = &group.bytes[from + FRAME_HEADER_BYTES..];
                let at = RING_CONTROL_BYTES + map.index(frame.position.0);
                let payload = &payload[..frame.payload_len as usize];
                self.frame((path.clone(), at as u64), &frame, payload);
            }
        }
        if replay.lost_bytes > 0 {
            let what = format!("{} bytes that were written are gone", replay.lost_bytes);
            self.run.note(path, 8 * COMMITTED as u64, what);
        }
    }
}
