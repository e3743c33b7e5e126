//! Reading one log from end to end for a repair: what it still has of each stream, where something
//! is missing, and what its indexes should say.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::super::info::{End, SegmentState};
use super::super::layout::Layout;
use super::super::names::Names;
use super::super::ring;
use super::super::walk::{Event, walk};
use super::{Loss, Salvaged};
use crate::buf::RingMap;
use crate::driver::disk::DiskRef;
use crate::engine::META;
use crate::error::Result;
use crate::format::Seed;
use crate::format::checkpoint::{Checkpoint, SegmentEntry, StreamEntry};
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::index::SegmentIndex;
use crate::format::record_batch::{self, BatchHeader};
use crate::format::ring_control::{EPOCH, Identity, identify};
use crate::ids::{LeaderEpoch, LogId, Offset, Position, StreamId};
use crate::limits::GROUP_ALIGN;
use crate::log::checkpoints;
use crate::log::scan::{Source, Streams as Runs, index_of_streams};
use crate::log::segment::{Segment, file_name, read_header};

/// How far the epoch is moved where nobody knows how many writers there were.
const HIDDEN_EPOCHS: u32 = 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) layout: Layout,
    /// No checkpoint verifies: the one in the layout was made up from the segments that are there.
    pub(super) made_up: bool,
    pub(super) end: Option<End>,
    epoch: LeaderEpoch,
    streams: BTreeMap<u32, Stream>,
    /// Of every segment that was read, by base: what its index should say.
    pub(super) indexes: BTreeMap<u64, SegmentIndex>,
    /// Segments in which something is damaged, by base.
    pub(super) damaged: BTreeSet<u64>,
    /// Segments that the checkpoint lists and whose files are missing or cut, by base: their end.
    pub(super) hidden: BTreeMap<u64, u64>,
    /// Something is damaged that the next open would meet.
    pub(super) is_met: bool,
    /// How many damaged places there are of which no checkpoint knows what was in them.
    damaged_places: u64,
    /// Groups that no flush is proven to cover: base and length.
    unproven: Vec<(u64, u64)>,
    /// The ring is of this version, and not of a clean close.
    pub(super) newer_ring: Option<u32>,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    log_start: u64,
    /// Behind the last batch that was read; `None`: there was none.
    next: Option<u64>,
    holes: Vec<(u64, u64)>,
    /// Where the segments' last batch ends for what the ring has: its first offset there.
    in_ring: Option<u64>,
    /// How many damaged places came before its last batch.
    damaged: u64,
}

impl Survey {
    /// What files there are.
    pub(super) fn begin(disk: &DiskRef, id: LogId) -> Result<Self> {
        let mut layout = Layout::read(&**disk, id)?;
        let made_up = layout.checkpoint.is_none();
        if made_up {
            make_up(disk, &mut layout);
        }
        let mut survey = Self {
            layout,
            made_up,
            end: None,
            epoch: LeaderEpoch(0),
            streams: BTreeMap::new(),
            indexes: BTreeMap::new(),
            damaged: BTreeSet::new(),
            hidden: BTreeMap::new(),
            is_met: made_up,
            damaged_places: 0,
            unproven: Vec::new(),
            newer_ring: None,
        };
        let Some(checkpoint) = &survey.layout.checkpoint else { return Ok(survey) };
        for file in &survey.layout.files {
            let (base, segment) = (file.base.0, survey.layout.segments.get(&file.base.0));
            let end = match file.state {
                SegmentState::Missing => Some(base + file.len_bytes),
                SegmentState::Live | SegmentState::Prepared => {
                    segment.filter(|s| s.len() != file.len_bytes).map(|segment| segment.end())
                }
                _ => None,
            };
            survey.hidden.extend(end.map(|end| (base, end)));
            // One that must be the next, and cannot tell that it is.
            let limit = file.in_flight_limit_bytes;
            survey.is_met |= file.state == SegmentState::Prepared && limit.is_none();
        }
        survey.is_met |= !survey.hidden.is_empty();
        for entry in &checkpoint.streams {
            let stream = Stream { log_start: entry.log_start.0, ..Stream::default() };
            survey.streams.insert(entry.stream.0, stream);
        }
        Ok(survey)
    }

    /// Reads all of it; `progress` hears how many bytes are done. `whole`: nothing is missing among
    /// the topics, so a stream that is no topic's was deleted.
    pub(super) fn read(
        &mut self,
        disk: &DiskRef,
        (names, whole): (&Names, bool),
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let Some(checkpoint) = self.layout.checkpoint.clone() else { return Ok(()) };
        let layout = std::mem::replace(&mut self.layout, Layout::nothing(META));
        let start = layout.segments.keys().next().copied().unwrap_or(0);
        let met_from = met_from(disk, &layout, &checkpoint);
        let (mut runs, mut segment) = (Runs::default(), None::<Arc<Segment>>);
        let (mut done, mut proven) = (0, checkpoint.position.0);
        let unknown = |(base, end): &(&u64, &u64)| {
            let missing = !layout.segments.contains_key(base);
            missing && !checkpoint.clean && **end > checkpoint.position.0
        };
        let mut missing: Vec<u64> = self.hidden.iter().filter(unknown).map(|(b, _)| *b).collect();
        walk(disk, &layout, start, &mut |event| {
            match event {
                Event::Segment(next) => {
                    let before = missing.len();
                    missing.retain(|base| *base > next.base());
                    self.damaged_places += (before - missing.len()) as u64;
                    self.leave(&checkpoint, &mut runs, segment.replace(Arc::clone(next)));
                }
                Event::Group { group, whole, .. } => {
                    self.epoch = self.epoch.max(group.header.next_epoch());
                    let position = group.header.position.0;
                    if whole && position >= checkpoint.position.0 {
                        proven = proven.max(group.header.durable_upto.0);
                        self.unproven.push((position, group.header.group_len()));
                        self.unproven.retain(|(base, _)| *base >= proven);
                    }
                    let frames = group.frames.iter().map(|frame| (frame, group.payload(frame)));
                    if self.take(frames, Some(&mut runs)) && position >= checkpoint.position.0 {
                        self.is_met = true;
                    }
                    done += group.header.group_len();
                    progress(done);
                }
                Event::Damage { at, .. } => {
                    let base = segment.as_ref().map_or(0, |segment| segment.base());
                    self.damaged.insert(base);
                    self.is_met |= base + at >= met_from;
                    self.damaged_places += u64::from(base + at >= checkpoint.position.0);
                }
                Event::End(end) => self.end = Some(end),
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.damaged_places += missing.len() as u64;
        if let (Some(segment), Some(end)) = (segment, self.end) {
            let upto = end.position.0.min(segment.end());
            let index = index_of_streams(&runs.0, checkpoint.log, segment.base(), upto);
            self.indexes.insert(segment.base(), index);
        }
        self.layout = layout;
        self.epoch = self.epoch.max(checkpoint.epoch);
        self.take_ring(disk);
        self.end_streams(&checkpoint, (names, whole));
        Ok(())
    }

    /// What opening will take from the ring.
    fn take_ring(&mut self, disk: &DiskRef) {
        let (Ok(Some(map)), Some(end)) = (ring::load(disk, &self.layout), self.end) else { return };
        let Some(log) = self.layout.checkpoint.as_ref().map(|checkpoint| checkpoint.log) else {
            return;
        };
        if let (Identity::Version(version), false) = (identify(&map, log), end.clean) {
            self.newer_ring = Some(version);
        }
        for group in &ring::replayed(&map, &self.layout, end, self.epoch).groups {
            let frames: Vec<_> = group.frames(Seed::of(log)).collect();
            for (frame, payload) in &frames {
                let Ok(batch) = BatchHeader::decode(payload) else { continue };
                if frame.kind == FrameKind::Batch {
                    let stream = self.streams.entry(frame.stream.0).or_default();
                    stream.in_ring.get_or_insert(batch.base_offset.0);
                }
            }
            // A gap before it is met by the next open.
            self.is_met |= self.take(frames.iter().map(|(f, p)| (f, *p)), None);
        }
    }

    /// Takes in what a group has, in a segment for its index; whether offsets are missing before
    /// one of its batches.
    fn take<'f>(
        &mut self,
        frames: impl Iterator<Item = (&'f FrameHeader, &'f [u8])>,
        mut runs: Option<&mut Runs>,
    ) -> bool {
        let mut jumped = false;
        let (damaged, made_up) = (self.damaged_places, self.made_up);
        for (frame, payload) in frames {
            let stream = self.streams.entry(frame.stream.0).or_default();
            match frame.kind {
                FrameKind::Metadata => continue,
                FrameKind::Trim => {
                    let offset = payload.first_chunk::<8>().copied().map_or(0, u64::from_le_bytes);
                    stream.log_start = stream.log_start.max(offset);
                }
                FrameKind::Batch => {
                    let Ok(batch) = BatchHeader::decode(payload) else { continue };
                    let first = batch.base_offset.0;
                    // Where all before may have been trimmed, it begins where it begins.
                    let begins = if made_up { first } else { stream.log_start.min(first) };
                    let expected = stream.next.unwrap_or(begins);
                    jumped |= first != expected;
                    if first < expected {
                        // Offsets that were there already: the first time counts.
                        continue;
                    }
                    if first > expected {
                        stream.holes.push((expected, first));
                    }
                    stream.next = Some(batch.last_offset().0 + 1);
                    stream.damaged = damaged;
                }
            }
            if let Some(runs) = &mut runs {
                runs.apply(frame, payload);
            }
        }
        jumped
    }

    fn leave(&mut self, checkpoint: &Checkpoint, runs: &mut Runs, left: Option<Arc<Segment>>) {
        let Some(left) = left else { return };
        let index = index_of_streams(&runs.0, checkpoint.log, left.base(), left.end());
        self.indexes.insert(left.base(), index);
        for state in runs.0.iter_mut().flatten() {
            state.forget_runs();
        }
    }

    /// What the checkpoint knows of ends and starts beyond what was read.
    fn end_streams(&mut self, checkpoint: &Checkpoint, (names, whole): (&Names, bool)) {
        for entry in &checkpoint.streams {
            let stream = self.streams.entry(entry.stream.0).or_default();
            let next = stream.next.unwrap_or(stream.log_start);
            if entry.end.0 > next {
                stream.holes.push((next, entry.end.0));
                stream.next = Some(entry.end.0);
            }
        }
        let id = self.layout.id;
        for stream in names.catalog.iter().flat_map(|catalog| catalog.live_streams(id.0)) {
            self.streams.entry(stream).or_default();
        }
        let known = |stream: u32| !whole || names.is_live(id, StreamId(stream));
        self.streams.retain(|stream, _| known(*stream));
        for stream in self.streams.values_mut() {
            if self.made_up {
                // What was trimmed by whole segments is not known for lost.
                let first = stream.holes.first().map_or(stream.next, |hole| Some(hole.0));
                stream.log_start = stream.log_start.min(first.unwrap_or(0));
            }
            let start = stream.log_start;
            stream.holes.retain_mut(|hole| {
                hole.0 = hole.0.max(start);
                hole.0 < hole.1
            });
        }
    }

    /// Whether records may be missing behind the end.
    fn hides_the_end(&self) -> bool {
        let Some(end) = self.end else { return true };
        !end.clean && self.hidden.values().any(|to| *to >= end.position.0)
    }

    /// Whether there is damage that repairing indexes and copies does not mend.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_met
            || !self.damaged.is_empty()
            || self.streams.values().any(|stream| !stream.holes.is_empty())
    }

    /// What is lost.
    pub(super) fn losses(&self, names: &Names, into: &mut Vec<Loss>) {
        for (id, stream) in &self.streams {
            let name = names.partition(self.layout.id, StreamId(*id));
            let loss = |from: u64, to: Option<u64>| Loss {
                log: self.layout.id.0,
                stream: *id,
                topic: name.map(|(topic, _)| topic.to_owned()),
                partition: name.map(|(_, partition)| partition),
                from: Offset(from),
                to: to.map(Offset),
            };
            into.extend(stream.holes.iter().map(|(from, to)| loss(*from, Some(*to))));
            if self.hides_the_end() || stream.damaged != self.damaged_places {
                into.push(loss(stream.next.unwrap_or(stream.log_start), None));
            }
        }
    }

    /// The epoch of the last writer, or a later one: what is hidden may have groups of its epoch,
    /// and no number is used twice.
    fn last_epoch(&self, disk: &DiskRef, log: Uuid) -> LeaderEpoch {
        let ours = |map: &RingMap| identify(map, log) == Identity::Ours;
        match ring::load(disk, &self.layout).ok().flatten().filter(ours) {
            Some(map) => {
                let last = u32::try_from(map.control(EPOCH).load(Ordering::Relaxed)).unwrap_or(0);
                self.epoch.max(LeaderEpoch(last))
            }
            None if self.hides_the_end() => LeaderEpoch(self.epoch.0.saturating_add(HIDDEN_EPOCHS)),
            None => self.epoch,
        }
    }

    /// The torn tail, in parts of one segment each: where it begins, and how long it is, up to the
    /// last group in it.
    pub(super) fn torn(&self, disk: &DiskRef) -> Result<Vec<(Arc<Segment>, u64, u64)>> {
        let mut parts = Vec::new();
        let (Some(end), Some(checkpoint)) = (self.end, &self.layout.checkpoint) else {
            return Ok(parts);
        };
        let behind = |segment: &&Arc<Segment>| segment.end() > end.position.0;
        for segment in self.layout.segments.values().filter(behind).filter(|_| end.torn_bytes > 0) {
            let from = end.position.0.max(segment.first());
            let (mut at, mut upto) = (from, from);
            let Ok(mut source) = Source::open(&**disk, segment) else { continue };
            while at < segment.end() {
                let header = source.header(Seed::of(checkpoint.log), at)?;
                if let Some(group) = header.filter(|header| header.epoch >= self.epoch) {
                    upto = upto.max((at + group.group_len()).min(segment.end()));
                }
                at += GROUP_ALIGN as u64;
            }
            if upto > from {
                parts.push((Arc::clone(segment), from, upto - from));
            }
        }
        Ok(parts)
    }

    /// What no flush is proven to cover, in parts of one segment each: where, and how much.
    pub(super) fn unproven(&self) -> Vec<(Arc<Segment>, u64, u64)> {
        let mut parts: Vec<(Arc<Segment>, u64, u64)> = Vec::new();
        for (at, len) in &self.unproven {
            let (_, segment) = self.layout.segments.range(..=at).next_back().unzip();
            let Some(segment) = segment else { continue };
            match parts.last_mut() {
                Some((_, from, so_far)) if *from + *so_far == *at => *so_far += len,
                _ => parts.push((Arc::clone(segment), *at, *len)),
            }
        }
        parts
    }

    /// The checkpoint from which the log goes on behind all damage.
    pub(super) fn checkpoint(&self, disk: &DiskRef) -> Option<Checkpoint> {
        let (checkpoint, end) = (self.layout.checkpoint.as_ref()?, self.end?);
        let epoch = self.last_epoch(disk, checkpoint.log);
        let entry = |(id, stream): (&u32, &Stream)| StreamEntry {
            stream: StreamId(*id),
            log_start: Offset(stream.log_start),
            end: Offset(stream.in_ring.or(stream.next).unwrap_or(0).max(stream.log_start)),
        };
        let segment = |segment: &Arc<Segment>| SegmentEntry {
            base: Position(segment.base()),
            len_bytes: segment.len(),
        };
        Some(Checkpoint {
            log: checkpoint.log,
            sequence: 0,
            position: end.position,
            epoch,
            clean: false,
            segments: self.layout.segments.values().map(segment).collect(),
            streams: self.streams.iter().map(entry).collect(),
            snapshot: checkpoint.snapshot.clone(),
        })
    }

    /// Every batch that can be read.
    pub(super) fn salvage(
        &self,
        disk: &DiskRef,
        names: &Names,
        visit: &mut dyn FnMut(Salvaged<'_>) -> Result<()>,
    ) -> Result<()> {
        let id = self.layout.id;
        let start = self.layout.segments.keys().next().copied().unwrap_or(0);
        let mut give = |frame: &FrameHeader, batch: &[u8]| {
            let header = record_batch::check(batch).ok();
            let Some(header) = header.filter(|_| frame.kind == FrameKind::Batch) else {
                return Ok(());
            };
            let name = names.partition(id, frame.stream);
            visit(Salvaged {
                log: id.0,
                stream: frame.stream.0,
                topic: name.map(|(topic, _)| topic),
                partition: name.map(|(_, partition)| partition),
                base_offset: header.base_offset,
                batch,
            })
        };
        walk(disk, &self.layout, start, &mut |event| {
            let Event::Group { group, .. } = event else { return Ok(ControlFlow::Continue(())) };
            for frame in &group.frames {
                give(frame, group.payload(frame))?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        // What only the ring has so far.
        let (Ok(Some(map)), Some(end)) = (ring::load(disk, &self.layout), self.end) else {
            return Ok(());
        };
        let Some(checkpoint) = &self.layout.checkpoint else { return Ok(()) };
        for group in &ring::replayed(&map, &self.layout, end, self.epoch).groups {
            for (frame, payload) in group.frames(Seed::of(checkpoint.log)) {
                give(&frame, payload)?;
            }
        }
        Ok(())
    }
}

/// From where on the next open reads: the checkpoint's position, or, where there is no index up to
/// there, the start of its segment.
fn met_from(disk: &DiskRef, layout: &Layout, checkpoint: &Checkpoint) -> u64 {
    let position = checkpoint.position.0;
    let (_, segment) = layout.segments.range(..position).next_back().unzip();
    let Some(segment) = segment.filter(|segment| segment.first() != position) else {
        return position;
    };
    let index = checkpoints::read_index(&**disk, segment, checkpoint.log);
    if index.is_some_and(|index| index.end.0 == position) { position } else { segment.base() }
}

/// A checkpoint of what the segment files say of themselves.
fn make_up(disk: &DiskRef, layout: &mut Layout) {
    let mut found: BTreeMap<Uuid, Vec<SegmentEntry>> = BTreeMap::new();
    for file in layout.files.iter().filter(|file| file.state == SegmentState::Stranger) {
        let path = format!("{}/{}", layout.dir, file_name(file.base.0));
        let Ok(header) = read_header(&**disk, &path, None) else { continue };
        if header.base == file.base {
            // One that was cut is listed as long as it was.
            let entry = SegmentEntry { base: file.base, len_bytes: header.len_bytes };
            found.entry(header.log).or_default().push(entry);
        }
    }
    // A stray copy of another log's file does not decide which log this is.
    let most = found.into_iter().max_by_key(|(_, segments)| segments.len()).unzip();
    let (log, segments) = (most.0, most.1.unwrap_or_default());
    let (Some(log), Some(first)) = (log, segments.first().copied()) else { return };
    for entry in &segments {
        let segment = Segment::new(layout.id, entry.base.0, entry.len_bytes);
        layout.total_bytes += entry.len_bytes;
        if let Some(file) = layout.files.iter_mut().find(|file| file.base == entry.base) {
            file.state = SegmentState::Live;
        }
        layout.segments.insert(entry.base.0, Arc::new(segment));
    }
    let first = Segment::new(layout.id, first.base.0, first.len_bytes).first();
    layout.checkpoint = Some(Checkpoint {
        log,
        sequence: 0,
        position: Position(first),
        epoch: LeaderEpoch(0),
        clean: false,
        segments,
        streams: Vec::new(),
        snapshot: Vec::new(),
    });
}
