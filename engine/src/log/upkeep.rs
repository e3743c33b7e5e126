//! Slow work of one log, off the append path: the next segment ahead of need, the index and the
//! checkpoint of a segment that was left, and retiring segments without live data. Each step is
//! idempotent and looks at the state, so a lost or doubled wake-up costs nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use super::segment::{self, Making, OpenSegment, Recipe, Segment, header_for};
use super::{Log, Stop};
use super::{checkpoints, reserve};
use crate::driver::disk::{OpenMode, ReadersGuard, io_error};
use crate::error::{Error, Result};
use crate::event::{Level, Value};
use crate::format::checkpoint::{Checkpoint, SegmentEntry, StreamEntry};
use crate::ids::{LeaderEpoch, Position};
use crate::limits::{GROUP_ALIGN, SEGMENT_HEADER_BYTES};
use crate::moment::{self, Moment};
use crate::sync::atomic::Ordering;

/// How many segments are sealed before what may free space has its turn: where there is always
/// another one to seal, trimmed ones would stay for ever.
const SEALED_IN_A_ROW_MAX: usize = 8;

/// What upkeep remembers between its turns.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    /// Of the newest checkpoint.
    pub(crate) sequence: u64,
    pub(crate) position: u64,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) streams: Vec<StreamEntry>,
    /// Names of retired files, to be recycled.
    pub(crate) spares: VecDeque<String>,
    /// Anything was ever trimmed or deleted.
    pub(crate) trimmed: bool,
    /// It was since segments were last looked through.
    pub(crate) look_for_dead: bool,
    /// Segments without live data whose files are still there, and how many checkpoints are due
    /// that do not list them.
    pub(crate) dead: VecDeque<Arc<Segment>>,
    pub(crate) unlisting: usize,
    /// Segments sealed since there was last a look for dead ones.
    pub(crate) sealed_in_a_row: usize,
    /// The next segment, half made; and what keeps readers out while a spare is made one.
    pub(crate) making: Option<(Making, Option<ReadersGuard>)>,
}

impl Upkeep {
    /// Something that may free space is not done.
    fn is_trimming(&self) -> bool {
        self.look_for_dead || !self.dead.is_empty()
    }
}

/// What came of preparing the next segment.
enum Prepared {
    /// It is not time.
    Nothing,
    /// It is not finished.
    Part,
    /// It is there, or cannot be made: those who wait for room shall know.
    News,
}

impl Log {
    /// Does a piece of what is due; called after each signal, again while it says that there is
    /// more. A piece is one of: a part of the next segment, index and checkpoint of one segment
    /// that was left, a look for dead ones.
    pub(crate) fn maintain(&self) -> bool {
        // A damaged log is evidence: a checkpoint beyond the damage would hide it from the next
        // open, and nothing in it is known to be dead.
        let is_over = || matches!(self.stop_reason(), Some(Stop::Closed | Stop::Damaged(_)));
        let prepared = {
            let mut upkeep = self.upkeep.lock();
            if is_over() { Prepared::Nothing } else { self.prepare_next(&mut upkeep) }
        };
        match prepared {
            Prepared::Nothing => {}
            Prepared::Part => return true,
            // Without the lock: a waker may drop the last handle, and closing takes it.
            Prepared::News => self.admit(),
        }
        let mut upkeep = self.upkeep.lock();
        if is_over() {
            return false;
        }
        if self.trim_noted.swap(false, Ordering::SeqCst) {
            upkeep.trimmed = true;
            upkeep.look_for_dead = true;
        }
        let sealed = self.seal_rolled(&mut upkeep);
        let more = matches!(sealed, Ok(true));
        if more {
            upkeep.sealed_in_a_row += 1;
            if !upkeep.is_trimming() || upkeep.sealed_in_a_row < SEALED_IN_A_ROW_MAX {
                return true;
            }
        }
        upkeep.sealed_in_a_row = 0;
        let mut done = sealed.map(drop);
        if matches!(done, Ok(()) | Err(Error::NoSpace { .. })) && upkeep.is_trimming() {
            // On a full disk this is what makes space for the rest.
            done = done.and(self.retire_dead(&mut upkeep));
        }
        let failed = done.err().map(|error| error.to_string());
        if let Some(error) = &failed
            && !self.metrics.has_upkeep_error()
        {
            let message = "background work failed and is tried again";
            self.tell(Level::Warn, "upkeep_failed", message, &[("error", Value::Text(error))]);
        }
        self.metrics.set_upkeep_error(failed);
        more
    }

    /// Says that segments may have become dead.
    pub(crate) fn trimmed(&self) {
        // Not under the lock of `upkeep`, which is held while files are made and flushed: whoever
        // trims would wait for a device that hangs.
        self.trim_noted.store(true, Ordering::SeqCst);
        self.call_maintenance();
    }

    /// Makes a part of the next segment if it is time for it.
    fn prepare_next(&self, upkeep: &mut Upkeep) -> Prepared {
        let (base, previous, wanted) = {
            let writer = self.writer.lock();
            // Asked for under the lock, by what did not fit: `starving` only hurries it.
            let asked = writer.next.is_none() && writer.wanted_segment_bytes > 0;
            let needed = writer.wants_next() || asked;
            if !needed || writer.stopped {
                return Prepared::Nothing;
            }
            let segment = &writer.segment.segment;
            (segment.end(), segment.len(), writer.wanted_segment_bytes)
        };
        // One beyond a tail that recovery cut is used as it is: checkpoints have its length.
        let there = self.segments.read().get(&base).cloned();
        let made = match there {
            Some(segment) => segment.open_for_write(&*self.disk),
            None => match self.make_next(upkeep, base, self.next_len(previous, wanted)) {
                Ok(None) => return Prepared::Part,
                Ok(Some(made)) => Ok(made),
                Err(error) => Err(error),
            },
        };
        upkeep.making = None;
        self.set_starving(false);
        let failed = made.as_ref().err().cloned();
        let mut writer = self.writer.lock();
        let was_failing = writer.segment_error.is_some();
        match made {
            Ok(next) => {
                self.segments.write().insert(base, Arc::clone(&next.segment));
                writer.next = Some(next);
                writer.segment_error = None;
                writer.wanted_segment_bytes = 0;
            }
            Err(error) => writer.segment_error = Some(error),
        }
        drop(writer);
        if let (Some(error), false) = (failed, was_failing) {
            let message = "no next segment: appends wait, or fail, until there is one";
            self.tell(Level::Warn, "segment_failed", message, &[("error", Value::Text(&error))]);
        }
        Prepared::News
    }

    /// One more part of it; the segment, if that was the last.
    fn make_next(&self, upkeep: &mut Upkeep, base: u64, len: u64) -> Result<Option<OpenSegment>> {
        if let Some((making, _)) = &mut upkeep.making {
            return self.step(making);
        }
        let header = header_for(self.uuid, base, len, self.in_flight_limit());
        let fits = len == self.options.segment_bytes && !upkeep.spares.is_empty();
        // Set aside when nobody read it from outside; who came since may know it all the same.
        let alone = if fits { segment::readers_excluded(&*self.disk) } else { None };
        let spare = alone.is_some().then(|| upkeep.spares.pop_front()).flatten();
        // First of all what leads out of a full disk; a recycled segment takes no space.
        let kept = self.keep_reserve(upkeep);
        if spare.is_none() {
            kept?;
        }
        let recipe = Recipe { disk: &self.disk, log: self.id, header, spare };
        let (making, _) = upkeep.making.insert((recipe.begin()?, alone));
        self.step(making)
    }

    fn step(&self, making: &mut Making) -> Result<Option<OpenSegment>> {
        let made = making.step(&*self.disk, self.is_starving())?;
        if let Some(made) = &made {
            let fields = [
                ("base", Value::U64(made.segment.base())),
                ("bytes", Value::U64(made.segment.len())),
                ("recycled", Value::Bool(making.is_recycled())),
            ];
            self.tell(Level::Debug, "segment_made", "made the next segment", &fields);
        }
        Ok(made)
    }

    fn keep_reserve(&self, upkeep: &Upkeep) -> Result<()> {
        let segments = self.segments.read().len() as u64;
        let snapshot = self.snapshot.lock().len() as u64;
        let bytes = Checkpoint::len_bytes(segments, upkeep.streams.len() as u64, snapshot);
        reserve::keep(&*self.disk, &self.name, bytes)
    }

    /// Segments grow from the first, small one by doubling, so that little data takes little space.
    fn next_len(&self, previous: u64, wanted: u64) -> u64 {
        let full = self.options.segment_bytes;
        let kept = reserve::tail_bytes(2 * previous);
        let least = wanted + SEGMENT_HEADER_BYTES as u64 + 2 * GROUP_ALIGN as u64 + kept;
        if wanted > 0 && 2 * previous < least { full } else { (2 * previous).min(full) }
    }

    /// The most that is ever written past the durable end: the ring, or one large group.
    fn in_flight_limit(&self) -> u64 {
        let largest = self.options.max_payload_bytes as u64 + 2 * GROUP_ALIGN as u64;
        self.ring.len() + largest + 4 * self.options.window_bytes
    }

    /// Index and checkpoint of the first segment that was left and is durable, if there is one.
    fn seal_rolled(&self, upkeep: &mut Upkeep) -> Result<bool> {
        // Taken out only when both files are there: what fails is tried again.
        let (segment, index, epoch) = {
            let writer = self.writer.lock();
            match writer.rolled.front() {
                Some(rolled) if rolled.segment.segment.end() <= self.durable() => {
                    (rolled.segment.clone(), Arc::clone(&rolled.index), rolled.epoch)
                }
                _ => return Ok(false),
            }
        };
        match checkpoints::store_index(&*self.disk, &segment.segment, &index, false) {
            // It can be rebuilt, and what is to be freed shall not wait for it.
            Err(Error::NoSpace { .. }) if upkeep.is_trimming() => {}
            stored => stored?,
        }
        {
            let writer = self.writer.lock();
            let Some(rolled) = writer.rolled.front() else { return Ok(false) };
            upkeep.position = rolled.position;
            upkeep.streams.clone_from(&rolled.streams);
        }
        upkeep.epoch = epoch;
        self.store_checkpoint(upkeep, false)?;
        self.writer.lock().rolled.pop_front();
        let fields = [
            ("base", Value::U64(segment.segment.base())),
            ("bytes", Value::U64(segment.segment.len())),
        ];
        let message = "a segment is full, durable and indexed";
        self.tell(Level::Debug, "segment_rolled", message, &fields);
        // What was trimmed before the segment was left may have emptied it.
        upkeep.look_for_dead |= upkeep.trimmed;
        Ok(true)
    }

    fn store_checkpoint(&self, upkeep: &mut Upkeep, clean: bool) -> Result<()> {
        // One that fails leaves no gap: what is kept besides the newest is the one just before it.
        let sequence = upkeep.sequence + 1;
        let entry = |segment: &Arc<Segment>| SegmentEntry {
            base: Position(segment.base()),
            len_bytes: segment.len(),
        };
        let checkpoint = Checkpoint {
            log: self.uuid,
            sequence,
            position: Position(upkeep.position),
            epoch: upkeep.epoch,
            clean,
            segments: self.segments.read().values().map(entry).collect(),
            streams: upkeep.streams.clone(),
            snapshot: self.snapshot.lock().clone(),
        };
        match checkpoints::store(&*self.disk, &self.name, &checkpoint) {
            Err(full @ Error::NoSpace { .. }) => {
                // Of what trims have emptied nothing goes without it.
                if !upkeep.is_trimming() || !reserve::give(&*self.disk, &self.name) {
                    return Err(full);
                }
                checkpoints::store(&*self.disk, &self.name, &checkpoint)?;
            }
            stored => stored?,
        }
        upkeep.sequence = sequence;
        let fields = [
            ("sequence", Value::U64(sequence)),
            ("position", Value::U64(upkeep.position)),
            ("clean", Value::Bool(clean)),
        ];
        self.tell(Level::Debug, "checkpoint_stored", "stored a checkpoint", &fields);
        Ok(())
    }

    /// Retires sealed segments in which nothing is live: first two checkpoints without them, so
    /// that no kept checkpoint misses a file, then the files. What fails goes on where it failed.
    fn retire_dead(&self, upkeep: &mut Upkeep) -> Result<()> {
        if upkeep.look_for_dead {
            self.find_dead(upkeep)?;
            upkeep.look_for_dead = false;
        }
        if upkeep.dead.is_empty() {
            return Ok(());
        }
        while upkeep.unlisting > 0 {
            self.store_checkpoint(upkeep, false)?;
            upkeep.unlisting -= 1;
        }
        moment::pass(Moment::SegmentDead);
        // One that fails is found, and removed, by the next open.
        while let Some(segment) = upkeep.dead.pop_front() {
            self.retire(&segment, upkeep)?;
        }
        self.disk.sync_dir(&self.name).map_err(io_error(&*self.disk, "flush", &self.name))
    }

    fn find_dead(&self, upkeep: &mut Upkeep) -> Result<()> {
        self.refresh_log_starts(upkeep);
        let mut dead = Vec::new();
        for segment in self.sealed_below(upkeep.position) {
            if self.is_dead(&segment)? {
                dead.push(segment);
            }
        }
        if !dead.is_empty() {
            let mut segments = self.segments.write();
            for segment in &dead {
                segments.remove(&segment.base());
            }
            upkeep.unlisting = checkpoints::KEPT;
            upkeep.dead.extend(dead);
        }
        Ok(())
    }

    /// Trims since the checkpoint's position are durable, so later checkpoints may know of them.
    fn refresh_log_starts(&self, upkeep: &mut Upkeep) {
        let mut writer = self.writer.lock();
        upkeep.streams.retain_mut(|entry| match writer.stream(entry.stream) {
            Some(state) => {
                entry.log_start.0 = entry.log_start.0.max(state.log_start);
                entry.end.0 = entry.end.0.max(state.log_start);
                true
            }
            None => false,
        });
    }

    fn sealed_below(&self, position: u64) -> Vec<Arc<Segment>> {
        let segments = self.segments.read();
        segments
            .range(..position)
            .map(|(_, segment)| segment)
            .filter(|s| s.end() <= position)
            .cloned()
            .collect()
    }

    fn is_dead(&self, segment: &Arc<Segment>) -> Result<bool> {
        let extents = self.extents_of(segment)?;
        let mut writer = self.writer.lock();
        Ok(extents.iter().all(|extent| {
            writer.stream(extent.stream).is_none_or(|state| extent.end.0 <= state.log_start)
        }))
    }

    fn retire(&self, segment: &Arc<Segment>, upkeep: &mut Upkeep) -> Result<()> {
        let path = segment.path();
        let fail = |action| io_error(&*self.disk, action, path);
        self.kept.let_go(segment.base());
        // A hard link, an open reader, a lease would see the file change. A reflink would not, but
        // overwriting what is shared takes space, and where there is none it fails.
        let sole = segment.close_for_readers() && {
            let file = self.disk.open(path, OpenMode::Read).map_err(fail("open"))?;
            file.link_count().map_err(fail("look at"))? == 1
                && !file.shares_blocks().map_err(fail("look at"))?
        };
        let fits = segment.len() == self.options.segment_bytes;
        // Readers of other processes hold it, and what is still leased of engines closed before.
        // Kept until the file has its new name: who comes then does not find it any more.
        let alone = segment::readers_excluded(&*self.disk);
        let room = upkeep.spares.len() < self.options.spare_segments;
        let recycled = sole && alone.is_some() && fits && room;
        if recycled {
            let spare = segment.spare_path(self.id);
            self.disk.rename(path, &spare).map_err(fail("set aside"))?;
            let name = spare.rsplit_once('/').map_or(spare.as_str(), |(_, name)| name);
            upkeep.spares.push_back(name.to_owned());
            self.metrics.recycled();
        } else {
            self.disk.remove(path).map_err(fail("remove"))?;
            self.metrics.removed();
        }
        // The index is derived; one that is missing is no error.
        let _ = self.disk.remove(&segment.index_path());
        let fields = [
            ("base", Value::U64(segment.base())),
            ("bytes", Value::U64(segment.len())),
            ("recycled", Value::Bool(recycled)),
        ];
        self.tell(Level::Debug, "segment_retired", "nothing in a segment was live", &fields);
        Ok(())
    }

    /// After the last flush of a close: index of the open segment, and a checkpoint with the exact
    /// end, so that the next open scans nothing and every damage is known for one.
    pub(crate) fn store_clean_end(&self) -> Result<()> {
        let mut upkeep = self.upkeep.lock();
        if let Some((making, _)) = upkeep.making.take() {
            making.abandon(&*self.disk);
        }
        while self.seal_rolled(&mut upkeep)? {}
        let (index, position, streams, epoch, segment) = {
            let writer = self.writer.lock();
            (
                writer.index_so_far(),
                writer.open_base(),
                writer.stream_entries(),
                writer.epoch,
                Arc::clone(&writer.segment.segment),
            )
        };
        // Durable, as the next open relies on it not to read the segment again: where a repaired
        // log goes on behind damage, it would meet that.
        checkpoints::store_index(&*self.disk, &segment, &index, true)?;
        upkeep.position = position;
        upkeep.epoch = epoch;
        upkeep.streams = streams;
        self.store_checkpoint(&mut upkeep, true)
    }
}
