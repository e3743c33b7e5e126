//! A log that is another process's: read beside its writer, or without one, and never written to.
//! Owns the reader's side of the ring and the place up to which the log has been walked; must never
//! repair, create or lock anything, and never show what did not prove itself.
//!
//! [`Log::catch_up`] walks what the writer has made visible since the last time: groups from
//! segments, frames from the ring. What it has walked is in the log's streams as if it had been
//! appended here, and the same waiters fire, so that readers need not know the difference. The
//! writer's watermarks say how far to look; each frame proves itself all the same.
//!
//! A new writer is known by its epoch in the ring's control page. What had been walked stays true
//! unless the old writer's end was cut below it ([`history`]): then the streams are read anew, and
//! who had read beyond the cut is told.

mod groups;
mod history;
pub(crate) mod source;
pub(super) mod start;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::{Mutex, RwLock};

use super::recovery::Placed;
use super::scan::{Streams, index_of_streams};
use super::segment::Segment;
use super::waiters::wake_all;
use super::{Log, MaintenanceSignal, Stop, checkpoints};
use crate::config::Flush;
use crate::driver::disk::full_path;
use crate::error::{Error, Result};
use crate::format::index::SegmentIndex;
use crate::ids::{LeaderEpoch, LogId, StreamId};

pub(crate) use groups::{Parsed, What};
pub(crate) use source::Source;
pub(crate) use start::{open, unreadable};

/// How often a step is tried again that met a writer amid opening or rolling.
const TRIES: usize = 50;
/// Cuts that are remembered one by one; older ones are remembered as one.
const CUTS_KEPT: usize = 16;

/// What a following log has beside a log's own state.
pub(crate) struct Follow {
    source: RwLock<Arc<Source>>,
    walk: Mutex<Walk>,
    /// The watermark up to which the last walk looked.
    seen: AtomicU64,
    /// Files have changed since the source was opened.
    dirty: AtomicBool,
    /// Somebody has asked to be woken; until then the writer need not be bothered.
    wanted: AtomicBool,
    /// Ends the sleep of the thread that watches.
    poke: MaintenanceSignal,
    /// How often history was cut.
    generation: AtomicU64,
    cuts: Mutex<Vec<Cut>>,
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow").field("source", &self.source).finish_non_exhaustive()
    }
}

/// What a new writer did not find any more.
#[derive(Debug)]
struct Cut {
    generation: u64,
    /// Where streams ended then; one that is not here ended at its beginning.
    ends: BTreeMap<StreamId, u64>,
}

/// How far the log has been walked.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) segment: Arc<Segment>,
    /// Base of the group that is being walked, or is next.
    pub(crate) base: u64,
    /// Where the next frame is looked for; `base` before the group's header was seen.
    pub(crate) at: u64,
    /// Of the newest group.
    pub(crate) epoch: LeaderEpoch,
    /// The lowest that the next one may have.
    pub(crate) next_epoch: LeaderEpoch,
    /// Below this all is durable, as groups and the ring say.
    pub(crate) durable: u64,
    /// Walked and not yet shown: it waits to be known durable.
    pub(crate) pending: VecDeque<Parsed>,
    /// Indexes of segments that were left while their end was still in the ring.
    pub(crate) kept: Vec<(Arc<Segment>, Arc<SegmentIndex>)>,
    /// A metadata log's state at the checkpoint it was read from; and changes of topics since, that
    /// were shown and not yet taken.
    pub(crate) snapshot: Option<Placed>,
    /// It began anew: whoever waits for a position waits for another now.
    pub(crate) restarted: bool,
    /// Streams of deleted topics, which are never given out again.
    pub(crate) gone: BTreeSet<StreamId>,
    pub(crate) metadata: Vec<Placed>,
}

/// What a walker met.
pub(crate) enum Piece {
    /// It has got further.
    Took,
    /// There is nothing more, so far.
    End,
    /// The ring, or the files, are not what they were when they were opened.
    Stale,
    /// A file is gone that nobody had read yet: it was trimmed away.
    Gone,
    /// What was walked is not the log any more, from here on.
    Cut(u64),
}

impl Follow {
    pub(crate) fn new(source: Source, walk: Walk, poke: MaintenanceSignal) -> Self {
        Self {
            source: RwLock::new(Arc::new(source)),
            walk: Mutex::new(walk),
            seen: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            poke,
            generation: AtomicU64::new(0),
            cuts: Mutex::default(),
        }
    }

    pub(crate) fn source(&self) -> Arc<Source> {
        Arc::clone(&self.source.read())
    }

    /// Something in the log's directory has changed.
    pub(crate) fn note_change(&self) {
        self.dirty.store(true, Ordering::SeqCst);
    }

    /// Somebody will sleep until there is more.
    pub(crate) fn want(&self) {
        if !self.wanted.swap(true, Ordering::SeqCst) {
            (self.poke)();
        }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Where a stream was cut since `generation`, at the lowest; `None`: it was not.
    pub(crate) fn cut_since(&self, generation: u64, stream: StreamId) -> Option<u64> {
        let cuts = self.cuts.lock();
        let since = cuts.iter().filter(|cut| cut.generation > generation);
        since.map(|cut| cut.ends.get(&stream).copied().unwrap_or(0)).min()
    }

    fn note_cut(&self, ends: BTreeMap<StreamId, u64>) {
        let mut cuts = self.cuts.lock();
        let generation = self.generation() + 1;
        cuts.push(Cut { generation, ends });
        if cuts.len() > CUTS_KEPT {
            let oldest = cuts.remove(0);
            for (stream, end) in &mut cuts[0].ends {
                *end = (*end).min(oldest.ends.get(stream).copied().unwrap_or(0));
            }
        }
        self.generation.store(generation, Ordering::SeqCst);
    }

    /// Whether there is nothing to do since the last walk.
    fn is_idle(&self, source: &Source, class: Flush) -> bool {
        !self.dirty.load(Ordering::SeqCst)
            && source.is_current()
            && source.reach(class) == Some(self.seen.load(Ordering::SeqCst))
    }
}

/// What the watching thread shall do for a log.
pub(crate) enum Armed {
    /// Look again at once.
    Again,
    /// Sleep until this changes.
    On(Arc<Source>, u32),
    /// The writer cannot be told: look again soon.
    Poll,
    /// Only a change of files can bring anything, or nobody wants to know.
    Quiet,
}

impl Log {
    /// Takes in what another process's writer has made visible since; nothing in a log of our own.
    pub(crate) fn catch_up(&self) -> Result<()> {
        let Some(follow) = &self.follow else { return Ok(()) };
        if matches!(self.stop_reason(), Some(Stop::Closed)) {
            return Ok(());
        }
        if follow.is_idle(&follow.source(), self.class) {
            return Ok(());
        }
        let mut wakers = Vec::new();
        let (done, restarted) = {
            let mut walk = follow.walk.lock();
            let done = self.walk_on(follow, &mut walk, &mut wakers);
            (done, std::mem::take(&mut walk.restarted))
        };
        // Without the lock: a waker may come back here.
        let upto = |watermark| if restarted { u64::MAX } else { watermark };
        self.written_waiters.fire(upto(self.written()));
        self.durable_waiters.fire(upto(self.durable()));
        wake_all(wakers.into_iter());
        done
    }

    /// Changes of topics that have come since, in a following metadata log.
    /// After a snapshot, if the log was read anew.
    pub(crate) fn take_changes(&self) -> (Option<Placed>, Vec<Placed>) {
        let Some(follow) = &self.follow else { return (None, Vec::new()) };
        let mut walk = follow.walk.lock();
        (walk.snapshot.take(), std::mem::take(&mut walk.metadata))
    }

    /// They could not be taken: they come first the next time.
    pub(crate) fn give_back_changes(&self, snapshot: Option<Placed>, mut changes: Vec<Placed>) {
        let Some(follow) = &self.follow else { return };
        let mut walk = follow.walk.lock();
        // Read anew meanwhile, it has them again.
        if walk.snapshot.is_none() {
            walk.snapshot = snapshot;
            changes.append(&mut walk.metadata);
            walk.metadata = changes;
        }
    }

    /// Before the watching thread sleeps: says so to the writer, then looks once more.
    pub(crate) fn arm_follow(&self) -> Armed {
        let Some(follow) = &self.follow else { return Armed::Quiet };
        if !follow.is_wanted() {
            return Armed::Quiet;
        }
        let source = follow.source();
        let Some(told) = source.tell_that_we_sleep() else {
            return if source.has_ring() { Armed::Poll } else { Armed::Quiet };
        };
        if source.hides_some(self.class) {
            if !self.disk.has_writer().unwrap_or(true) {
                // What a dead one let grow is whole for who opens the ring now.
                follow.note_change();
            }
            return Armed::Poll;
        }
        let value = source.reach(self.class);
        if !told || !follow.is_idle(&source, self.class) {
            return Armed::Again;
        }
        value.map_or(Armed::Quiet, |value| Armed::On(source, value as u32))
    }

    fn walk_on(&self, follow: &Follow, walk: &mut Walk, wakers: &mut Vec<Waker>) -> Result<()> {
        let mut tries = 0;
        loop {
            let source = follow.source();
            // A ring that is not there yet is looked for each time: who does not sleep hears of no
            // change of files.
            let missing = !source.has_ring() && self.id != LogId(0);
            if follow.dirty.swap(false, Ordering::SeqCst) || missing || !source.is_current() {
                self.renew(follow, walk, wakers)?;
            }
            let source = follow.source();
            let reach = source.reach(self.class);
            match self.walk_to(&source, walk, reach.unwrap_or(u64::MAX), wakers)? {
                Piece::Took | Piece::End => {
                    follow.seen.store(reach.unwrap_or(0), Ordering::SeqCst);
                    self.show(walk, source.durable(), wakers);
                    if source.is_current() {
                        return Ok(());
                    }
                }
                Piece::Stale => follow.note_change(),
                Piece::Gone => self.start_again(follow, walk, None, wakers)?,
                Piece::Cut(cut) => self.start_again(follow, walk, Some(cut), wakers)?,
            }
            tries += 1;
            if tries > TRIES {
                // A writer that is opening for so long will wake us when it has opened.
                return Ok(());
            }
            if tries > TRIES / 2 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }

    /// Walks up to `reach`, showing what may be shown.
    fn walk_to(
        &self,
        source: &Source,
        walk: &mut Walk,
        reach: u64,
        wakers: &mut Vec<Waker>,
    ) -> Result<Piece> {
        loop {
            match self.piece(source, walk, reach)? {
                Piece::Took => self.show(walk, source.durable(), wakers),
                other => return Ok(other),
            }
        }
    }

    /// Opens ring and mark anew, and finds out whether what was walked is still true.
    fn renew(&self, follow: &Follow, walk: &mut Walk, wakers: &mut Vec<Waker>) -> Result<()> {
        let before = follow.source();
        let mut source = Source::open(&*self.disk, &self.name, self.uuid)?;
        let new_writer = source.epoch() != before.epoch();
        if !new_writer {
            source.starts_at(before.from());
        }
        if new_writer && let Some(cut) = self.find_cut(walk, source.epoch())? {
            return self.start_again(follow, walk, Some(cut), wakers);
        }
        *follow.source.write() = Arc::new(source);
        // What is kept too long costs memory, no more.
        let _ = self.forget_retired();
        Ok(())
    }

    /// Reads the log anew from its checkpoint.
    fn start_again(
        &self,
        follow: &Follow,
        walk: &mut Walk,
        cut: Option<u64>,
        wakers: &mut Vec<Waker>,
    ) -> Result<()> {
        let found = start::load(&self.disk, self.id, start::Missing::Refused)?;
        {
            let mut writer = self.writer.lock();
            let mut streams = found.streams;
            for (id, old) in writer.streams.iter_mut().enumerate() {
                let Some(old) = old else { continue };
                wakers.extend(old.followers.drain(..).map(|(_, waker)| waker));
                // One that nobody has appended to yet is in no checkpoint.
                streams.get(StreamId(id as u32));
            }
            for id in &walk.gone {
                if let Some(gone) = streams.0.get_mut(id.0 as usize) {
                    *gone = None;
                }
            }
            writer.streams = streams.0;
            *self.segments.write() = found.segments;
            self.set_released(found.walk.base);
            self.ring.place_durable(found.walk.base);
        }
        *walk = Walk { gone: std::mem::take(&mut walk.gone), restarted: true, ..found.walk };
        let ends = self.read_on(follow, walk, &found.checkpoint, cut, wakers)?;
        if cut.is_some() {
            follow.note_cut(ends);
        }
        Ok(())
    }

    /// Puts into the streams what was walked and may be shown.
    fn show(&self, walk: &mut Walk, ring_durable: Option<u64>, wakers: &mut Vec<Waker>) {
        let durable = walk.durable.max(ring_durable.unwrap_or(0));
        walk.durable = durable;
        let limit = self.shows_below(durable);
        if walk.pending.front().is_none_or(|first| first.end > limit) {
            self.ring.place_durable(durable.min(self.released()));
            return;
        }
        let mut writer = self.writer.lock();
        let mut streams = Streams(std::mem::take(&mut writer.streams));
        let mut shown = self.released();
        while walk.pending.front().is_some_and(|first| first.end <= limit) {
            let Some(first) = walk.pending.pop_front() else { break };
            shown = first.end;
            self.show_one(first, &mut streams, walk, wakers);
        }
        writer.streams = streams.0;
        writer.epoch = walk.epoch;
        self.set_released(shown);
        self.ring.place_durable(durable.min(shown));
    }

    /// Up to where this log's class lets what was walked be seen.
    fn shows_below(&self, durable: u64) -> u64 {
        // A change of topics is not a record: what proves itself is as good as it gets before the
        // next change says that it was durable, and a reader that acts on it fails typed at worst.
        let at_once = self.class == Flush::Async || self.id == LogId(0);
        if at_once { u64::MAX } else { durable }
    }

    fn show_one(
        &self,
        parsed: Parsed,
        streams: &mut Streams,
        walk: &mut Walk,
        wakers: &mut Vec<Waker>,
    ) {
        match parsed.what {
            What::GroupEnd => {}
            What::Metadata(payload) => {
                let segments = self.segments.read();
                let segment = segments.range(..=parsed.position).next_back().map(|(_, it)| it);
                let (name, base) = segment.map_or((&*self.name, 0), |it| (it.path(), it.base()));
                let path = full_path(&*self.disk, name);
                walk.metadata.push(Placed { payload, path, at: parsed.position - base });
            }
            What::Frame { stream, .. } if walk.gone.contains(&stream) => {}
            What::Frame { stream, kind } => {
                let state = streams.get(stream);
                kind.apply(state, parsed.position, parsed.end);
                wakers.extend(state.followers.drain(..).map(|(_, waker)| waker));
            }
            What::Left { segment, next } => {
                let base = segment.base();
                let index = index_of_streams(&streams.0, self.uuid, base, segment.end());
                for state in streams.0.iter_mut().flatten() {
                    state.forget_runs();
                }
                let index = Arc::new(index);
                segment.seal(Some(&index));
                walk.kept.push((segment, index));
                self.segments.write().insert(next.base(), next);
            }
        }
    }

    /// Copies from the ring, ours or another's; false if it is not there any more.
    pub(crate) fn copy_tail(&self, at: u64, out: &mut [u8]) -> bool {
        match &self.follow {
            None => at >= self.ring.lo() && self.ring.copy(at, out),
            Some(follow) => follow.source().copy(at, out),
        }
    }

    /// The oldest position that the ring may have.
    pub(crate) fn tail_lo(&self) -> u64 {
        match &self.follow {
            None => self.ring.lo(),
            Some(follow) => follow.source().in_segments(),
        }
    }

    /// Most bytes that the ring can give at once.
    pub(crate) fn tail_len(&self) -> u64 {
        match &self.follow {
            None => self.ring.len(),
            Some(follow) => follow.source().len(),
        }
    }

    /// Everything below can be read from segments, by whoever needs `len` bytes from `at` on.
    pub(crate) fn in_segments(&self, at: u64, len: usize) -> u64 {
        match &self.follow {
            None => self.released(),
            // The ring's end may be amid a group, and that one is in its segment whole.
            Some(follow) => {
                let whole = follow.source().in_segments().max(at + len as u64);
                whole.min(self.released())
            }
        }
    }

    /// Whether a sealed segment is whole in its file.
    pub(crate) fn is_in_file(&self, segment: &Segment) -> bool {
        let in_segments = self.follow.as_ref().map(|follow| follow.source().in_segments());
        in_segments.is_none_or(|end| segment.end() <= end)
    }

    /// Whether what was just read of ring or segment is what the streams were told from.
    pub(crate) fn is_current(&self) -> bool {
        self.follow.as_ref().is_none_or(|follow| follow.source().is_current())
    }
}

impl Log {
    /// Takes in streams of topics that are new, and takes out those of topics that are gone.
    pub(crate) fn match_streams(&self, new: BTreeSet<StreamId>, gone: BTreeSet<StreamId>) {
        let Some(follow) = &self.follow else { return };
        // Nothing is walked meanwhile.
        let mut walk = follow.walk.lock();
        {
            let mut writer = self.writer.lock();
            let mut streams = Streams(std::mem::take(&mut writer.streams));
            for stream in new {
                streams.get(stream);
            }
            writer.streams = streams.0;
        }
        walk.gone.extend(gone.iter().copied());
        // A waker may come back to the walk.
        drop(walk);
        for stream in gone {
            self.remove_stream(stream);
        }
    }

    /// Lets everyone who sleeps look again.
    pub(crate) fn wake_readers(&self) {
        self.written_waiters.fire_all();
        self.durable_waiters.fire_all();
        self.wake_followers();
    }

    /// Whether the writer of a following log has retired a segment that cannot be opened; if so it
    /// is forgotten here too.
    pub(crate) fn has_retired(&self, segment: &Segment) -> Result<bool> {
        if self.follow.is_none() {
            return Ok(false);
        }
        self.forget_retired()?;
        Ok(self.segment_at(segment.base()).is_none())
    }

    /// Takes out the segments that the writer has retired.
    fn forget_retired(&self) -> Result<()> {
        let Some(checkpoint) = checkpoints::load(&*self.disk, &self.name)? else { return Ok(()) };
        let live: BTreeSet<u64> = checkpoint.segments.iter().map(|entry| entry.base.0).collect();
        let position = checkpoint.position.0;
        let mut segments = self.segments.write();
        segments.retain(|base, segment| segment.end() > position || live.contains(base));
        Ok(())
    }

    /// Whether the writer of a following log has no such stream any more: its topic was deleted.
    pub(crate) fn forgets(&self, stream: StreamId) -> bool {
        if self.follow.is_none() {
            return false;
        }
        let checkpoint = checkpoints::load(&*self.disk, &self.name);
        let Ok(Some(checkpoint)) = checkpoint else { return false };
        checkpoint.streams.iter().all(|entry| entry.stream != stream)
    }
}

/// The error of a reader that had read what a new writer did not find.
pub(crate) fn truncated(partition: &str, requested: u64, end: u64) -> Error {
    Error::Truncated {
        partition: partition.to_owned(),
        requested: requested.into(),
        end: end.into(),
    }
}
