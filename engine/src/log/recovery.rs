//! Opening a log: from a directory to the state that appends, reads and the shard start from.
//!
//! The order is what makes a second crash harmless: the lock is held; segments are read; the ring
//! is replayed into them under the old epoch, byte for byte; that is flushed; then one durable,
//! empty group with the new epoch, which is the bump; only then is the ring reset. Killed anywhere,
//! the next open does the same again.

mod files;
mod offsets;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use offsets::Offsets;

use super::checkpoints;
use super::probe::Probe;
use super::replay::{Replay, replay};
use super::scan::{Damaged, Source, Streams, WholeGroup, index_of_streams};
use super::segment::{self, OpenSegment, Recipe, Segment, header_for};
use super::upkeep::Upkeep;
use super::writer::{Rolled, StreamState};
use crate::config::LogOptions;
use crate::driver::disk::{DiskRef, GoneFile, full_path, io_error};
use crate::error::{Error, Result};
use crate::format::Seed;
use crate::format::checkpoint::{Checkpoint, SegmentEntry};
use crate::format::frame::FrameKind;
use crate::format::group::GroupHeader;
use crate::format::ring_control::{self, Identity};
use crate::ids::{LeaderEpoch, LogId, Offset, Position, StreamId};
use crate::limits::{
    DAMAGED_PLACES_MAX, GROUP_ALIGN, GROUP_HEADER_BYTES, RING_CONTROL_BYTES, SEGMENT_BYTES_FIRST,
    SEGMENT_HEADER_BYTES,
};
use crate::metrics::Recovery;
use crate::moment::{self, Moment};

/// A payload, and the place of what holds it.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) payload: Vec<u8>,
    pub(crate) path: PathBuf,
    /// Where in the file.
    pub(crate) at: u64,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

/// A recovered log, before its writer starts.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) uuid: Uuid,
    /// The new epoch, durable.
    pub(crate) epoch: LeaderEpoch,
    /// Where the next group starts.
    pub(crate) position: u64,
    pub(crate) segment: OpenSegment,
    pub(crate) next: Option<OpenSegment>,
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    pub(crate) streams: Vec<Option<Box<StreamState>>>,
    pub(crate) rolled: VecDeque<Rolled>,
    pub(crate) upkeep: Upkeep,
    /// The places proven damaged.
    pub(crate) damage: Damage,
    pub(crate) snapshot: Vec<u8>,
    pub(crate) report: Recovery,
}

/// What of a log is damaged. Nothing on disk was changed then.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// The places, in order; the first of them, where there are very many.
    pub(crate) places: Vec<Error>,
    /// Files that the checkpoint lists, or that must be there, are missing or cut.
    pub(crate) of_files: bool,
    /// What lies beyond the end of the log cannot be known.
    pub(crate) beyond: Option<Error>,
}

impl Damage {
    fn note(&mut self, error: Error) {
        if self.places.len() < DAMAGED_PLACES_MAX {
            self.places.push(error);
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.places.is_empty()
    }
}

/// Makes the directory of a new log: one small segment and the first checkpoint, durable.
pub(crate) fn create(disk: &DiskRef, id: LogId, options: &LogOptions) -> Result<()> {
    let dir = id.dir();
    disk.create_dir(&dir).map_err(io_error(&**disk, "create", &dir))?;
    for entry in disk.list(&dir).map_err(io_error(&**disk, "list", &dir))? {
        // Left over from a creation that was cut short; no topic ever referred to it.
        let path = format!("{dir}/{}", entry.name);
        disk.remove(&path).map_err(io_error(&**disk, "remove", &path))?;
    }
    let uuid = disk.fresh_uuid();
    let len = SEGMENT_BYTES_FIRST.min(options.segment_bytes);
    let header = header_for(uuid, 0, len, in_flight_limit(options));
    Recipe { disk, log: id, header, spare: None }.make(&|| true)?;
    let checkpoint = Checkpoint {
        log: uuid,
        sequence: 1,
        position: Position(segment::Segment::new(id, 0, len).first()),
        epoch: LeaderEpoch(0),
        clean: true,
        segments: vec![SegmentEntry { base: Position(0), len_bytes: len }],
        streams: Vec::new(),
        snapshot: Vec::new(),
    };
    checkpoints::store(&**disk, &dir, &checkpoint)?;
    disk.sync_dir("").map_err(io_error(&**disk, "flush", ""))
}

fn in_flight_limit(options: &LogOptions) -> u64 {
    options.ring_bytes as u64
        + options.max_payload_bytes as u64
        + 2 * GROUP_ALIGN as u64
        + 4 * options.window_bytes
}

/// Refuses a log of a newer format: its checkpoints, and the segments that recovery would scan or
/// write to. Whatever else is wrong is recovery's to tell; a header that is damaged proves nothing
/// of the groups, which prove themselves.
pub(crate) fn refuse_newer(disk: &DiskRef, id: LogId) -> Result<()> {
    let dir = id.dir();
    let start = match checkpoints::load(&**disk, &dir) {
        Ok(Some(checkpoint)) => checkpoint.position.0,
        Err(newer @ Error::UnsupportedFormat { .. }) => return Err(newer),
        Ok(None) | Err(_) => return Ok(()),
    };
    for entry in disk.list(&dir).map_err(io_error(&**disk, "list", &dir))? {
        let base = segment::parse_name(&entry.name);
        if base.is_none_or(|base| base.saturating_add(entry.len_bytes) <= start) {
            continue;
        }
        let read = segment::read_header(&**disk, &format!("{dir}/{}", entry.name), None);
        if let Err(newer @ Error::UnsupportedFormat { .. }) = read {
            return Err(newer);
        }
    }
    Ok(())
}

/// Recovers the log `id`, which must be there; `live` are the streams of topics that are there. A
/// damaged one is taken as far as it proves itself, and nothing of it is changed.
///
/// # Errors
/// [`Error::Corrupt`]: nothing is known of the log, see [`unreadable`].
pub(crate) fn recover(
    disk: &DiskRef,
    id: LogId,
    options: &LogOptions,
    live: BTreeSet<u32>,
) -> Result<Recovered> {
    look(disk, id, options, live)?.settle()
}

/// The first half of [`recover`]: reads all there is, and writes nothing.
///
/// # Errors
/// As [`recover`].
pub(crate) fn look<'a>(
    disk: &'a DiskRef,
    id: LogId,
    options: &'a LogOptions,
    live: BTreeSet<u32>,
) -> Result<Found<'a>> {
    let started = Instant::now();
    let dir = id.dir();
    let checkpoint = checkpoints::load(&**disk, &dir)?.ok_or_else(|| {
        Error::corrupt(full_path(&**disk, &dir), 0, "no checkpoint file is there")
    })?;
    let mut run = Run::new(disk, id, options, checkpoint, live)?;
    run.scan()?;
    run.note_hidden();
    let replayed = if run.damage.is_none() { run.read_ring()? } else { Replay::default() };
    run.check_replayed(&replayed);
    Ok(Found { run, replayed, started })
}

/// A log that was read, and not written to.
pub(crate) struct Found<'a> {
    run: Run<'a>,
    replayed: Replay,
    started: Instant,
}

impl Found<'_> {
    /// The damage of which nobody knows what it hides.
    pub(crate) fn damage_of_files(&self) -> Option<&Error> {
        self.run.damage.places.first().filter(|_| self.run.damage.of_files)
    }

    /// The metadata log's state at the checkpoint.
    pub(crate) fn snapshot(&self) -> Placed {
        checkpoints::snapshot(&**self.run.disk, &self.run.dir, &self.run.checkpoint)
    }

    /// Metadata frames since then, in order.
    pub(crate) fn changes(&self) -> &[Placed] {
        &self.run.metadata
    }

    /// The second half: what is found true is made durable, and the log goes on behind it.
    pub(crate) fn settle(mut self) -> Result<Recovered> {
        if self.run.damage.is_none() {
            self.run.clear_away()?;
            self.run.write_back(&self.replayed)?;
        }
        let mut recovered = self.run.finish()?;
        recovered.report.took = self.started.elapsed();
        Ok(recovered)
    }
}

/// What stands for a log of which nothing is known: no segment, no stream, no end.
pub(crate) fn unreadable(id: LogId, error: Error) -> Recovered {
    let segment = Arc::new(Segment::new(id, 0, 0));
    let places = vec![error.clone()];
    Recovered {
        uuid: Uuid::nil(),
        epoch: LeaderEpoch(0),
        position: 0,
        segment: OpenSegment { segment, file: Arc::new(GoneFile) },
        next: None,
        segments: BTreeMap::new(),
        streams: Vec::new(),
        rolled: VecDeque::new(),
        upkeep: Upkeep::default(),
        damage: Damage { places, of_files: true, beyond: Some(error) },
        snapshot: Vec::new(),
        report: Recovery { damaged_places: 1, ..Recovery::default() },
    }
}

struct Run<'a> {
    disk: &'a DiskRef,
    id: LogId,
    dir: String,
    options: &'a LogOptions,
    checkpoint: Checkpoint,
    seed: Seed,
    segments: BTreeMap<u64, Arc<Segment>>,
    spares: VecDeque<String>,
    streams: Streams,
    offsets: Offsets,
    rolled: VecDeque<Rolled>,
    metadata: Vec<Placed>,
    damage: Damage,
    /// Segments whose files are missing or cut, and how.
    hidden: BTreeMap<u64, Error>,
    /// What interrupted steps left, and what holds nothing live: removed if nothing is damaged.
    leftovers: Vec<String>,
    /// A name may not be durable yet that a checkpoint will rely on.
    new_names: bool,
    epoch: LeaderEpoch,
    /// Everything below is proven durable by what was read.
    proven: u64,
    /// Accepted groups at or above `proven`: base and length.
    unproven: Vec<(u64, u64)>,
    end: u64,
    report: Recovery,
}

impl<'a> Run<'a> {
    fn new(
        disk: &'a DiskRef,
        id: LogId,
        options: &'a LogOptions,
        checkpoint: Checkpoint,
        live: BTreeSet<u32>,
    ) -> Result<Self> {
        let dir = id.dir();
        let mut run = Self {
            disk,
            id,
            options,
            seed: Seed::of(checkpoint.log),
            segments: BTreeMap::new(),
            spares: VecDeque::new(),
            streams: Streams::default(),
            offsets: Offsets::new(live),
            rolled: VecDeque::new(),
            metadata: Vec::new(),
            damage: Damage::default(),
            hidden: BTreeMap::new(),
            leftovers: Vec::new(),
            new_names: false,
            epoch: checkpoint.epoch,
            proven: checkpoint.position.0,
            unproven: Vec::new(),
            end: checkpoint.position.0,
            report: Recovery { clean: checkpoint.clean, ..Recovery::default() },
            dir,
            checkpoint,
        };
        run.find_files()?;
        run.restore_streams();
        Ok(run)
    }

    fn restore_streams(&mut self) {
        for entry in &self.checkpoint.streams {
            *self.streams.get(entry.stream) = StreamState::new(entry.log_start.0, entry.end.0);
        }
    }

    fn segment_of(&self, position: u64) -> Option<Arc<Segment>> {
        let (_, segment) = self.segments.range(..=position).next_back()?;
        segment.contains(position).then(|| Arc::clone(segment))
    }

    /// Reads groups from the start of the checkpoint's segment (for the index) to the end.
    fn scan(&mut self) -> Result<()> {
        let start = self.checkpoint.position.0;
        if start < SEGMENT_HEADER_BYTES as u64 || !start.is_multiple_of(GROUP_ALIGN as u64) {
            let path = full_path(&**self.disk, &self.dir);
            return Err(Error::corrupt(path, 0, "the checkpoint's position is no group's"));
        }
        let Some(mut segment) = self.segment_of(start).or_else(|| self.segment_of(start - 1))
        else {
            let path = full_path(&**self.disk, &self.dir);
            return Err(Error::corrupt(path, 0, "no segment has the checkpoint's position"));
        };
        let mut at = if self.restore_runs(&segment) { start } else { segment.first() };
        let scan_from = at;
        let mut source = self.source(&segment)?;
        loop {
            if source.is_none() {
                self.offsets.pass_damage();
                self.report.damaged_bytes += segment.end().saturating_sub(at);
                at = segment.end();
            }
            if at == segment.end() {
                let Some(next) = self.segments.get(&at).cloned() else { break };
                self.leave(&segment, &next);
                at = next.first();
                segment = next;
                source = self.source(&segment)?;
            }
            let Some(open) = &mut source else { continue };
            match open.group(self.seed, at)?.and_then(|group| self.not_stale(group, start)) {
                Ok(group) => {
                    let path = open.path().to_path_buf();
                    self.take(&group, at >= start, (&path, segment.base()));
                    at = group.next(&segment);
                }
                // The exact end of a clean close that nothing came after.
                Err(_) if self.report.clean && at >= start => break,
                Err(bad) => match self.probe(at)? {
                    Some(sense) => {
                        let from = bad.position - segment.base();
                        self.note_damage(Error::corrupt(open.path(), from, bad.bad));
                        self.offsets.pass_damage();
                        self.report.damaged_bytes += sense - at;
                        at = sense;
                        if !segment.contains(at) && at != segment.end() {
                            let Some(next) = self.segment_of(at) else { break };
                            self.leave(&segment, &next);
                            segment = next;
                            source = self.source(&segment)?;
                        }
                    }
                    None => break,
                },
            }
        }
        self.report.scanned_bytes = at.saturating_sub(scan_from);
        self.end = at;
        Ok(())
    }

    /// Opens a segment to scan it; `None` if its file is missing, which is known already.
    fn source(&self, segment: &Arc<Segment>) -> Result<Option<Source>> {
        match Source::open(&**self.disk, segment) {
            Err(Error::Corrupt { .. }) if self.hidden.contains_key(&segment.base()) => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn note_damage(&mut self, error: Error) {
        self.report.damaged_places += 1;
        self.damage.note(error);
    }

    /// Takes in a whole group of the segment at `place`, its file and base; `new`: it is above the
    /// checkpoint.
    fn take(&mut self, group: &WholeGroup, new: bool, (path, base): (&Path, u64)) {
        self.accept(&group.header, new);
        if new {
            self.offsets.reach(&self.checkpoint);
        }
        for frame in &group.frames {
            let payload = group.payload(frame);
            if let Some(wrong) = self.offsets.check(frame, payload) {
                self.note_damage(Error::corrupt(path, frame.position.0 - base, wrong.what));
                if wrong.overlap {
                    continue;
                }
            }
            self.streams.apply(frame, payload);
            if frame.kind == FrameKind::Metadata && new {
                let (payload, path) = (payload.to_vec(), path.to_path_buf());
                self.metadata.push(Placed { payload, path, at: frame.position.0 - base });
            }
        }
    }

    /// Whether a file that is missing or cut may hold what comes after the end that was found. The
    /// end of a clean close is known for exact.
    fn note_hidden(&mut self) {
        if self.report.clean {
            return;
        }
        // An end at the very start of a segment is that of the one before.
        let reaches = |s: &Arc<Segment>| s.end() + SEGMENT_HEADER_BYTES as u64 >= self.end;
        let of = |base: &u64| self.segments.get(base).is_some_and(reaches);
        let first = self.hidden.iter().find(|(base, _)| of(base));
        self.damage.beyond = first.map(|(_, error)| error.clone());
    }

    /// Loads the index that a clean close left for its open segment; false if the segment must be
    /// read from its start to rebuild it.
    fn restore_runs(&mut self, segment: &Arc<Segment>) -> bool {
        if self.checkpoint.position.0 == segment.first() {
            return true;
        }
        let Some(index) = checkpoints::read_index(&**self.disk, segment, self.checkpoint.log)
        else {
            return false;
        };
        if index.end != self.checkpoint.position {
            return false;
        }
        for entry in &index.streams {
            self.streams.get(entry.stream).restore(entry);
        }
        true
    }

    /// What an earlier epoch left stands where the log goes on only if a write was lost: no more of
    /// a group than garbage.
    fn not_stale(&self, group: WholeGroup, start: u64) -> Result<WholeGroup, Damaged> {
        let position = group.header.position.0;
        if position >= start && group.header.epoch < self.epoch {
            let epoch = group.header.epoch;
            let bad = format!("group of epoch {epoch} after one of epoch {}", self.epoch);
            return Err(Damaged { position, bad });
        }
        Ok(group)
    }

    fn accept(&mut self, header: &GroupHeader, new: bool) {
        if !new {
            return;
        }
        self.report.clean = false;
        self.epoch = header.next_epoch();
        self.proven = self.proven.max(header.durable_upto.0);
        let proven = self.proven;
        self.unproven.retain(|(base, _)| *base >= proven);
        if header.position.0 >= proven {
            self.unproven.push((header.position.0, header.group_len()));
        }
    }

    /// At damage: the position of what proves it corruption, if anything does.
    fn probe(&mut self, at: u64) -> Result<Option<u64>> {
        let probe = Probe {
            disk: &**self.disk,
            log: self.checkpoint.log,
            segments: &self.segments,
            epoch: self.epoch,
            durable: self.checkpoint.position.0,
        };
        let found = probe.from(at)?;
        self.report.cut_bytes += found.cut_bytes;
        Ok(found.sense)
    }

    fn leave(&mut self, segment: &Arc<Segment>, next: &Arc<Segment>) {
        let index =
            index_of_streams(&self.streams.0, self.checkpoint.log, segment.base(), segment.end());
        let hidden = self.hidden.contains_key(&segment.base());
        for state in self.streams.0.iter_mut().flatten() {
            state.forget_runs();
        }
        if hidden {
            // What it had is known to nobody but its index file.
            return segment.seal(None);
        }
        let index = Arc::new(index);
        segment.seal(Some(&index));
        if let Ok(open) = segment.open(&**self.disk) {
            self.rolled.push_back(Rolled {
                segment: OpenSegment { segment: Arc::clone(segment), file: open },
                index,
                position: next.first(),
                epoch: self.epoch,
                streams: super::writer::stream_entries(&self.streams.0),
            });
        }
    }

    /// Before anything of it is written: whether what a ring has goes on where the segments end.
    fn check_replayed(&mut self, replayed: &Replay) {
        self.offsets.reach(&self.checkpoint);
        let path = full_path(&**self.disk, &format!("{}/ring", self.dir));
        for group in &replayed.groups {
            for (frame, payload) in group.frames(self.seed) {
                if let Some(wrong) = self.offsets.check(&frame, payload) {
                    let at = RING_CONTROL_BYTES as u64 + frame.position.0 % replayed.ring_bytes;
                    self.note_damage(Error::corrupt(&path, at, wrong.what));
                }
            }
        }
    }

    /// Writes back what the ring had, rewrites what no flush is proven to cover, flushes, and bumps
    /// the epoch.
    fn write_back(&mut self, replayed: &Replay) -> Result<()> {
        self.report.lost_bytes = replayed.lost_bytes;
        let mut touched = BTreeMap::new();
        for (base, len) in std::mem::take(&mut self.unproven) {
            let segment = self.segment_of(base).expect("accepted groups lie in segments");
            let bytes = Source::open(&**self.disk, &segment)?.bytes(base, len as usize)?.to_vec();
            self.write(&segment, base, &bytes, &mut touched)?;
        }
        for group in &replayed.groups {
            let base = group.header.position.0;
            let segment = self.enter(base)?;
            self.write(&segment, base, &group.bytes, &mut touched)?;
            for (frame, payload) in group.frames(self.seed) {
                self.streams.apply(&frame, payload);
            }
            self.report.replayed_bytes += group.bytes.len() as u64;
            self.end =
                if group.header.last { segment.end() } else { base + group.bytes.len() as u64 };
        }
        moment::pass(Moment::WrittenBack);
        for open in touched.values() {
            self.flush(open)?;
        }
        moment::pass(Moment::BeforeBump);
        if self.checkpoint.clean {
            self.checkpoint.sequence =
                checkpoints::void_clean(&**self.disk, &self.dir, &self.checkpoint)?;
        }
        self.bump()
    }

    fn read_ring(&mut self) -> Result<Replay> {
        let path = format!("{}/ring", self.dir);
        let ring = match self.disk.open_ring(&path) {
            Ok(Some(ring)) => ring,
            Ok(None) => return Ok(Replay::default()),
            // Cut short by a power loss, or a stranger's: as good as missing.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Ok(Replay::default());
            }
            Err(error) => return Err(io_error(&**self.disk, "map", &path)(error)),
        };
        match ring_control::identify(&ring, self.checkpoint.log) {
            Identity::Ours => {}
            Identity::Version(found) if !self.report.clean => {
                let supported = crate::format::FORMAT_VERSION;
                let path = full_path(&**self.disk, &path);
                return Err(Error::UnsupportedFormat { path, found, supported });
            }
            Identity::Version(_) | Identity::Foreign => return Ok(Replay::default()),
        }
        if self.report.clean {
            return Ok(Replay::default());
        }
        // At the end of a segment it is that one which counts, so that replay goes on in the next.
        let bounds = |position: u64| {
            let segment = self.segment_of(position - 1)?;
            Some((segment.end(), segment.end() + crate::limits::SEGMENT_HEADER_BYTES as u64))
        };
        Ok(replay(&ring, self.seed, self.epoch, self.end, &bounds))
    }

    /// The segment that `base` lies in, leaving the one before if it is the first group there.
    fn enter(&mut self, base: u64) -> Result<Arc<Segment>> {
        if self.end < base
            && let (Some(left), Some(next)) = (self.segment_of(self.end - 1), self.segment_of(base))
            && left.base() != next.base()
        {
            self.leave(&left, &next);
        }
        self.segment_of(base).ok_or_else(|| {
            let path = full_path(&**self.disk, &self.dir);
            Error::corrupt(path, 0, format!("no segment has position {base}"))
        })
    }

    fn write(
        &self,
        segment: &Arc<Segment>,
        base: u64,
        bytes: &[u8],
        touched: &mut BTreeMap<u64, OpenSegment>,
    ) -> Result<()> {
        let open = match touched.entry(segment.base()) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(segment.open_for_write(&**self.disk)?)
            }
        };
        let fail = io_error(&**self.disk, "rewrite", segment.path());
        open.file.write_at(bytes, base - segment.base()).map_err(fail)
    }

    fn flush(&self, open: &OpenSegment) -> Result<()> {
        let fail = io_error(&**self.disk, "flush", open.segment.path());
        open.file.sync().map_err(fail)
    }

    /// A durable, empty group with the next epoch, at the end.
    fn bump(&mut self) -> Result<()> {
        let segment = match self.segment_of(self.end) {
            Some(segment) => segment,
            None => self.add_segment()?,
        };
        if self.end < segment.first() {
            if let Some(left) = self.segment_of(self.end.saturating_sub(1)) {
                self.leave(&left, &segment);
            }
            self.end = segment.first();
        }
        let epoch = self.epoch.0.checked_add(1).ok_or_else(|| {
            Error::corrupt(full_path(&**self.disk, segment.path()), 0, "no epoch is left")
        })?;
        self.epoch = LeaderEpoch(epoch);
        let header = GroupHeader {
            position: Position(self.end),
            used_len: GROUP_HEADER_BYTES as u32,
            epoch: self.epoch,
            durable_upto: Position(self.end),
            last: false,
            cut: false,
        };
        let mut bytes = vec![0; GROUP_ALIGN];
        bytes[..GROUP_HEADER_BYTES].copy_from_slice(&header.encode(self.seed));
        let mut touched = BTreeMap::new();
        self.write(&segment, self.end, &bytes, &mut touched)?;
        for open in touched.values() {
            self.flush(open)?;
        }
        moment::pass(Moment::Bumped);
        self.end += GROUP_ALIGN as u64;
        Ok(())
    }

    fn add_segment(&mut self) -> Result<Arc<Segment>> {
        let len = self.options.segment_bytes;
        let base = self.end;
        let header = header_for(self.checkpoint.log, base, len, in_flight_limit(self.options));
        let alone = segment::readers_excluded(&**self.disk);
        let spare = alone.is_some().then(|| self.spares.pop_front()).flatten();
        let made = Recipe { disk: self.disk, log: self.id, header, spare }.make(&|| true)?;
        self.segments.insert(base, Arc::clone(&made.segment));
        Ok(made.segment)
    }

    fn finish(mut self) -> Result<Recovered> {
        // An end that fills its segment is the next one's base; that segment is not entered yet.
        let segment = self.segment_of(self.end - 1).expect("the end lies in a segment");
        for sealed in self.segments.range(..segment.base()).map(|(_, sealed)| sealed) {
            sealed.seal(None);
        }
        let (open, next) = if self.damage.is_none() {
            let next = self.segments.get(&segment.end()).cloned();
            let next = next.map(|next| next.open_for_write(&**self.disk)).transpose()?;
            (segment.open_for_write(&**self.disk)?, next)
        } else {
            // Nobody will write there.
            let file = segment.open(&**self.disk).unwrap_or_else(|_| Arc::new(GoneFile));
            (OpenSegment { segment, file }, None)
        };
        let upkeep = Upkeep {
            sequence: self.checkpoint.sequence,
            position: self.checkpoint.position.0,
            epoch: self.checkpoint.epoch,
            streams: std::mem::take(&mut self.checkpoint.streams),
            spares: self.spares,
            ..Upkeep::default()
        };
        Ok(Recovered {
            uuid: self.checkpoint.log,
            epoch: self.epoch,
            position: self.end,
            segment: open,
            next,
            segments: self.segments,
            streams: self.streams.0,
            rolled: self.rolled,
            upkeep,
            damage: self.damage,
            snapshot: self.checkpoint.snapshot,
            report: self.report,
        })
    }
}

/// Whether the directory of a log holds anything that was ever appended.
pub(crate) fn has_groups(disk: &DiskRef, id: LogId) -> Result<bool> {
    let Ok(Some(checkpoint)) = checkpoints::load(&**disk, &id.dir()) else { return Ok(false) };
    let Some(first) = checkpoint.segments.first() else { return Ok(false) };
    if checkpoint.sequence > 1 {
        return Ok(true);
    }
    let segment = Arc::new(Segment::new(id, first.base.0, first.len_bytes));
    let position = segment.first();
    let mut source = match Source::open(&**disk, &segment) {
        Ok(source) => source,
        // A power loss amid a second attempt at creation took the file and left the checkpoint.
        Err(Error::Corrupt { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(source.header(Seed::of(checkpoint.log), position)?.is_some())
}

/// The state of a stream nobody has written to.
pub(crate) fn fresh_stream() -> StreamState {
    StreamState::new(Offset(0).0, 0)
}

/// Drops streams that no topic has any more; whether any was dropped or had been trimmed.
pub(crate) fn keep_only(
    streams: &mut [Option<Box<StreamState>>],
    live: &dyn Fn(StreamId) -> bool,
) -> bool {
    let mut trimmed = false;
    for (id, slot) in streams.iter_mut().enumerate() {
        let Some(state) = slot else { continue };
        if live(StreamId(id as u32)) {
            trimmed |= state.log_start > 0;
        } else {
            *slot = None;
            trimmed = true;
        }
    }
    trimmed
}
