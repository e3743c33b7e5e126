//! Opening a log that is another process's: from its checkpoint to its end, without a hand on
//! anything. The order of evidence is recovery's: segments first, whole groups only; then the ring,
//! if it is of the same writer, frame by frame.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::groups::Missing as NoGroup;
use super::source::Source;
use super::{Follow, Piece, TRIES, Walk};
use crate::buf::{RingMap, Waker as ShardWaker};
use crate::config::{Flush, LogOptions};
use crate::driver::disk::{DiskRef, full_path, io_error};
use crate::error::{Error, Result};
use crate::format::Seed;
use crate::format::checkpoint::Checkpoint;
use crate::ids::{LeaderEpoch, LogId, StreamId};
use crate::limits::{GROUP_ALIGN, RING_BYTES_MIN, SEGMENT_HEADER_BYTES};
use crate::log::lease::Pins;
use crate::log::probe::Probe;
use crate::log::ring::Ring;
use crate::log::scan::Streams;
use crate::log::segment::{self, OpenSegment, Segment};
use crate::log::upkeep::Upkeep;
use crate::log::writer::{Start, StreamState, Writer};
use crate::log::{Log, MaintenanceSignal, Parts, Stop, checkpoints, recovery};
use crate::metrics::{Counters, Recovery};

/// How long opening waits for a batch to be closed: a writer closes its group within 200 ms, and
/// the kernel held the lock of a killed one for two seconds while it finished its writes.
const WHOLE_AFTER_MAX: Duration = Duration::from_secs(3);

/// What a log's files say before a group is read.
pub(super) struct Loaded {
    pub(super) checkpoint: Checkpoint,
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
    pub(super) streams: Streams,
    pub(super) walk: Walk,
    /// A file that is missing or cut.
    pub(super) damage: Option<Error>,
}

/// Which files may be missing or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// None.
    Refused,
    /// Those of segments that nobody scans: what is in the others can be read.
    BelowCheckpoint,
}

/// What stands for a damaged log of which nothing is known: whoever asks gets `error`.
pub(crate) fn unreadable(
    disk: &DiskRef,
    id: LogId,
    class: Flush,
    options: &LogOptions,
    (error, pins): (Error, Arc<Pins>),
) -> Result<Arc<Log>> {
    let dir = full_path(&**disk, &id.dir());
    let private = RingMap::private(RING_BYTES_MIN);
    let private = private.map_err(|error| Error::io("map memory for", &dir, error))?;
    let waker = ShardWaker::new().map_err(|error| Error::io("make an eventfd for", &dir, error))?;
    let nothing = recovery::unreadable(id, error.clone());
    let writer = Writer::new(Start {
        seed: Seed::of(nothing.uuid),
        log_uuid: nothing.uuid,
        epoch: nothing.epoch,
        group_bytes: GROUP_ALIGN,
        batch_bytes: 0,
        position: nothing.position,
        segment: nothing.segment,
        next: None,
        streams: nothing.streams,
        rolled: nothing.rolled,
    });
    Ok(Log::new(Parts {
        id,
        uuid: nothing.uuid,
        class,
        shard: 0,
        options: options.clone(),
        disk: Arc::clone(disk),
        ring: Ring::new(private, false, nothing.position, nothing.epoch),
        ring_in_file: false,
        writer,
        segments: nothing.segments,
        upkeep: nothing.upkeep,
        waker,
        maintenance: Arc::new(|| ()),
        stop: Some(Stop::Damaged(error)),
        snapshot: Vec::new(),
        metrics: Counters::new(nothing.report),
        sleepers: None,
        pins,
        beyond: nothing.damage.beyond,
        follow: None,
    }))
}

/// Opens the log `id` for reading. `poke` ends the sleep of whoever watches for it.
pub(crate) fn open(
    disk: &DiskRef,
    id: LogId,
    class: Flush,
    options: &LogOptions,
    (poke, pins): (MaintenanceSignal, Arc<Pins>),
) -> Result<Arc<Log>> {
    let started = Instant::now();
    let alive = || disk.has_writer().unwrap_or(true);
    // A writer may retire segments and replace checkpoints between two looks of ours.
    let loaded = match again_while(alive, || load(disk, id, Missing::Refused)) {
        Err(Error::Corrupt { .. }) if id != LogId(0) => load(disk, id, Missing::BelowCheckpoint)?,
        loaded => loaded?,
    };
    let dir = full_path(&**disk, &id.dir());
    let private = RingMap::private(RING_BYTES_MIN);
    let private = private.map_err(|error| Error::io("map memory for", &dir, error))?;
    let waker = ShardWaker::new().map_err(|error| Error::io("make an eventfd for", &dir, error))?;
    let segment = Arc::clone(&loaded.walk.segment);
    let file = segment.open(&**disk)?;
    let writer = Writer::new(Start {
        seed: Seed::of(loaded.checkpoint.log),
        log_uuid: loaded.checkpoint.log,
        epoch: loaded.checkpoint.epoch,
        group_bytes: GROUP_ALIGN,
        batch_bytes: 0,
        position: loaded.walk.base,
        segment: OpenSegment { segment, file },
        next: None,
        streams: loaded.streams.0,
        rolled: VecDeque::new(),
    });
    let report =
        Recovery { clean: loaded.checkpoint.clean, took: started.elapsed(), ..Recovery::default() };
    let log = Log::new(Parts {
        id,
        uuid: loaded.checkpoint.log,
        class,
        shard: 0,
        options: options.clone(),
        disk: Arc::clone(disk),
        ring: Ring::new(private, false, loaded.walk.base, loaded.checkpoint.epoch),
        ring_in_file: false,
        writer,
        segments: loaded.segments,
        upkeep: Upkeep::default(),
        waker,
        maintenance: Arc::new(|| ()),
        stop: loaded.damage.map(Stop::Damaged),
        snapshot: Vec::new(),
        metrics: Counters::new(report),
        sleepers: None,
        pins,
        beyond: None,
        follow: Some(Box::new(Follow::new(Source::none(), loaded.walk, poke))),
    });
    let follow = log.follow.as_deref().expect("just made so");
    log.read_on(follow, &mut follow.walk.lock(), &loaded.checkpoint, None, &mut Vec::new())?;
    Ok(log)
}

/// Tries again what a writer may have moved under our hands.
fn again_while<T>(alive: impl Fn() -> bool, step: impl Fn() -> Result<T>) -> Result<T> {
    for _ in 0..TRIES {
        match step() {
            Err(Error::Corrupt { .. } | Error::Io { .. }) if alive() => {}
            done => return done,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    step()
}

/// The newest checkpoint, and the segments from its first one on.
pub(super) fn load(disk: &DiskRef, id: LogId, missing: Missing) -> Result<Loaded> {
    let dir = id.dir();
    let checkpoint = checkpoints::load(&**disk, &dir)?.ok_or_else(|| {
        Error::corrupt(full_path(&**disk, &dir), 0, "no checkpoint file is there")
    })?;
    let mut found = BTreeMap::new();
    for entry in disk.list(&dir).map_err(io_error(&**disk, "list", &dir))? {
        if let Some(base) = segment::parse_name(&entry.name) {
            found.insert(base, entry.len_bytes);
        }
    }
    let mut segments = BTreeMap::new();
    let mut damage = None;
    for live in &checkpoint.segments {
        let segment = Segment::new(id, live.base.0, live.len_bytes);
        let path = || full_path(&**disk, segment.path());
        let wrong = match found.remove(&live.base.0) {
            Some(len) if len == live.len_bytes => None,
            Some(len) => {
                let reason = format!("segment is {len} bytes long, not {}", live.len_bytes);
                Some(Error::corrupt(path(), len.min(live.len_bytes), reason))
            }
            None => Some(Error::corrupt(path(), 0, "segment file is missing")),
        };
        if let Some(error) = wrong {
            let needed = segment.end() >= checkpoint.position.0;
            if missing == Missing::Refused || needed {
                return Err(error);
            }
            damage.get_or_insert(error);
        }
        segments.insert(live.base.0, Arc::new(segment));
    }
    let mut end = segments.values().next_back().map_or(0, |last: &Arc<Segment>| last.end());
    while found.contains_key(&end) {
        let path = format!("{dir}/{}", segment::file_name(end));
        let header = segment::read_header(&**disk, &path, Some(checkpoint.log))?;
        let next = Arc::new(Segment::new(id, end, header.len_bytes));
        segments.insert(end, Arc::clone(&next));
        end = next.end();
    }
    Ok(Loaded { damage, ..start_of(disk, &dir, checkpoint, segments)? })
}

fn start_of(
    disk: &DiskRef,
    dir: &str,
    checkpoint: Checkpoint,
    segments: BTreeMap<u64, Arc<Segment>>,
) -> Result<Loaded> {
    let start = checkpoint.position.0;
    let of = |position: u64| {
        let (_, segment) = segments.range(..=position).next_back()?;
        segment.contains(position).then(|| Arc::clone(segment))
    };
    let bad = |reason| Error::corrupt(full_path(&**disk, dir), 0, reason);
    if start < SEGMENT_HEADER_BYTES as u64 || !start.is_multiple_of(GROUP_ALIGN as u64) {
        return Err(bad("the checkpoint's position is no group's"));
    }
    let segment = of(start).or_else(|| of(start - 1));
    let segment = segment.ok_or_else(|| bad("no segment has the checkpoint's position"))?;
    for sealed in segments.range(..segment.base()).map(|(_, sealed)| sealed) {
        sealed.seal(None);
    }
    let mut streams = Streams::default();
    for entry in &checkpoint.streams {
        *streams.get(entry.stream) = StreamState::new(entry.log_start.0, entry.end.0);
    }
    let restored = start == segment.first() || {
        let index = checkpoints::read_index(&**disk, &segment, checkpoint.log);
        let index = index.filter(|index| index.end == checkpoint.position);
        for entry in index.iter().flat_map(|index| &index.streams) {
            streams.get(entry.stream).restore(entry);
        }
        index.is_some()
    };
    let base = if restored { start } else { segment.first() };
    let walk = Walk {
        segment,
        base,
        at: base,
        epoch: LeaderEpoch(0),
        next_epoch: LeaderEpoch(0),
        durable: start,
        pending: VecDeque::new(),
        kept: Vec::new(),
        snapshot: Some(checkpoints::snapshot(&**disk, dir, &checkpoint)),
        gone: BTreeSet::new(),
        restarted: false,
        metadata: Vec::new(),
    };
    Ok(Loaded { checkpoint, segments, streams, walk, damage: None })
}

impl Log {
    /// Walks from the checkpoint to the end, and opens the ring. `cut`: where a new writer has cut
    /// what was known; the answer is where streams ended there.
    pub(super) fn read_on(
        &self,
        follow: &Follow,
        walk: &mut Walk,
        checkpoint: &Checkpoint,
        cut: Option<u64>,
        wakers: &mut Vec<Waker>,
    ) -> Result<BTreeMap<StreamId, u64>> {
        let mut ends = None;
        let mut tries = 0;
        let source = loop {
            let mut source = self.open_source()?;
            let alive = source.has_writer();
            let reach = source.reach(self.class).filter(|_| alive).unwrap_or(u64::MAX);
            self.scan_segments(walk, checkpoint, (reach, alive), cut, &mut ends, wakers)?;
            let same = u64::from(walk.epoch.0) == source.epoch();
            if same || !source.has_ring() {
                source.starts_at(walk.base);
                while self.more_of_ring(&source, walk, reach)? {
                    self.show(walk, source.durable(), wakers);
                }
            } else if alive && tries < TRIES {
                // The writer is opening, and has not got to its ring yet.
                tries += 1;
                std::thread::sleep(Duration::from_millis(1));
                continue;
            } else {
                source.distrust();
            }
            self.show(walk, source.durable(), wakers);
            if source.is_current() || tries >= TRIES {
                break source;
            }
            tries += 1;
        };
        *follow.source.write() = Arc::new(source);
        follow.note_change();
        Ok(ends.unwrap_or_default())
    }

    /// Opens the ring, once the writer has closed a batch that it let grow before it knew of us, or
    /// is dead. The kernel may hold the lock of a dead one a little longer.
    fn open_source(&self) -> Result<Source> {
        let since = Instant::now();
        loop {
            let source = Source::open(&*self.disk, &self.name, self.uuid)?;
            while source.hides_some(self.class) && self.disk.has_writer().unwrap_or(true) {
                if since.elapsed() > WHOLE_AFTER_MAX {
                    return Ok(source);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            if !source.hides_some(self.class) {
                return Ok(source);
            }
        }
    }

    fn more_of_ring(&self, source: &Source, walk: &mut Walk, reach: u64) -> Result<bool> {
        if !source.has_ring() || walk.at >= reach {
            return Ok(false);
        }
        if walk.base == walk.segment.end() {
            return self.enter_next(walk, u64::MAX).map(|piece| matches!(piece, Piece::Took));
        }
        let before = walk.at;
        let piece = self.ring_piece(source, walk, reach);
        Ok(matches!(piece, Piece::Took) && walk.at > before)
    }

    /// Whole groups of segments, up to the first place without one.
    fn scan_segments(
        &self,
        walk: &mut Walk,
        checkpoint: &Checkpoint,
        (reach, alive): (u64, bool),
        cut: Option<u64>,
        ends: &mut Option<BTreeMap<StreamId, u64>>,
        wakers: &mut Vec<Waker>,
    ) -> Result<()> {
        let position = checkpoint.position.0;
        while walk.base < reach {
            if walk.base >= position {
                walk.epoch = walk.epoch.max(checkpoint.epoch);
                walk.next_epoch = walk.next_epoch.max(walk.epoch);
            }
            if cut.is_some_and(|cut| walk.base >= cut) && ends.is_none() {
                *ends = Some(self.ends_now());
            }
            if walk.base == walk.segment.end() {
                match self.enter_next(walk, u64::MAX)? {
                    Piece::Took => continue,
                    _ => return Ok(()),
                }
            }
            match self.any_group(walk)? {
                Ok(()) => {
                    if walk.base <= position {
                        walk.metadata.clear();
                        walk.pending.retain(|one| !matches!(one.what, super::What::Metadata(_)));
                    }
                    self.show(walk, None, wakers);
                }
                // The exact end of a clean close that nothing came after.
                Err(_) if checkpoint.clean && walk.base == position => return Ok(()),
                Err(NoGroup::File) => return Ok(()),
                Err(NoGroup::Group(error)) => {
                    if walk.base >= position && alive {
                        return Ok(());
                    }
                    if !self.pass_damage(walk, checkpoint, error)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// At a place without a group: goes on where sense begins again, if that proves it damaged.
    fn pass_damage(&self, walk: &mut Walk, checkpoint: &Checkpoint, error: Error) -> Result<bool> {
        let segments = self.segments.read().clone();
        let probe = Probe {
            disk: &*self.disk,
            log: self.uuid,
            segments: &segments,
            epoch: walk.epoch,
            durable: checkpoint.position.0,
        };
        let Some(sense) = probe.from(walk.base)?.sense else { return Ok(false) };
        let _ = self.stop.set(Stop::Damaged(error));
        let beyond = segments.range(..=sense).next_back().map(|(_, segment)| Arc::clone(segment));
        let Some(segment) = beyond.filter(|found| found.contains(sense)) else { return Ok(false) };
        while walk.segment.base() != segment.base() {
            walk.base = walk.segment.end();
            if !matches!(self.enter_next(walk, u64::MAX)?, Piece::Took) {
                return Ok(false);
            }
        }
        walk.base = sense;
        walk.at = sense;
        Ok(true)
    }

    /// Where every stream ends, as shown so far.
    fn ends_now(&self) -> BTreeMap<StreamId, u64> {
        let writer = self.writer.lock();
        writer.stream_entries().iter().map(|entry| (entry.stream, entry.end.0)).collect()
    }
}
