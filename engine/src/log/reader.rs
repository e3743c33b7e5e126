//! Reading one partition of a log, batch by batch: located by the index, walked over in windows
//! of ring or segment, group after group. Nothing a reader does can stall an append.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use bytes::Bytes;

use super::follow::truncated;
use super::lookup::Found;
use super::waiters::Ticket;
use super::walk::{Reach, Step, step};
use super::window::{Fetched, Window};
use super::writer::StreamState;
use super::{Log, Stop};
use crate::driver::disk::full_path;
use crate::error::{Error, Result};
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::group::GroupHeader;
use crate::format::index::SegmentIndex;
use crate::format::record_batch::{self, BatchHeader};
use crate::ids::{LeaderEpoch, Offset, StreamId};
use crate::limits::{FRAME_HEADER_BYTES, FRAME_MIN_BYTES, GROUP_ALIGN, GROUP_HEADER_BYTES};

/// Names cursors among a stream's followers; never reused in one process.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// After so many frames of others the index is asked where the next one is.
const FOREIGN_FRAMES_MAX: u32 = 8;

/// A place in one partition.
#[derive(Debug)]
pub(crate) struct Cursor {
    id: u64,
    log: Arc<Log>,
    stream: StreamId,
    /// For messages: topic and partition.
    label: Arc<str>,
    next: u64,
    /// The partition's end when it was last asked for; spares the writer's lock.
    known_end: u64,
    /// Where to go on in the log; `None`: to be found by the index.
    at: Option<u64>,
    /// Of the last group or frame walked over; it never decreases along a log.
    epoch: LeaderEpoch,
    /// Where the blocks of its segment's last group end, while that is walked over.
    last_end: Option<u64>,
    /// Frames of others since the last one of this partition.
    foreign: u32,
    pub(super) window: Window,
    /// The visible end at the last look for a batch, and the registration that waits for more.
    looked: u64,
    ticket: Option<Ticket>,
    index: Option<Arc<SegmentIndex>>,
    pub(crate) verify: bool,
    /// Of the history it reads, where the log is another process's.
    generation: u64,
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) log_start: u64,
    pub(crate) end: u64,
    pub(crate) durable_end: u64,
}

impl StreamState {
    /// Takes a follower's registration out.
    fn unfollow(&mut self, id: u64) -> Option<Waker> {
        let at = self.followers.iter().position(|(found, _)| *found == id)?;
        Some(self.followers.swap_remove(at).1)
    }

    /// The durable offset is a lower bound while appends are in flight: the start of the newest
    /// run that a flush may not have covered whole.
    fn bounds(&self, durable: u64) -> Bounds {
        let durable_end = self.durable_end(durable);
        Bounds { log_start: self.log_start, end: self.end, durable_end }
    }
}

impl Log {
    /// First, next, and a lower bound of the durable offset of a stream; `None` if it is gone.
    pub(crate) fn bounds(&self, stream: StreamId) -> Option<Bounds> {
        // What fails here is told to whoever reads.
        let _ = self.catch_up();
        let durable = self.durable();
        let mut writer = self.writer.lock();
        writer.stream(stream).map(|state| state.bounds(durable))
    }
}

impl Cursor {
    pub(crate) fn new(log: Arc<Log>, stream: StreamId, label: Arc<str>, next: u64) -> Self {
        let generation = log.follow.as_ref().map_or(0, |follow| follow.generation());
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            log,
            stream,
            label,
            next,
            known_end: 0,
            at: None,
            epoch: LeaderEpoch(0),
            last_end: None,
            foreign: 0,
            window: Window::default(),
            looked: 0,
            ticket: None,
            index: None,
            verify: true,
            generation,
        }
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Topic and partition, for messages.
    pub(crate) fn label(&self) -> Arc<str> {
        Arc::clone(&self.label)
    }

    /// The next offset it will give.
    pub(crate) fn next_offset(&self) -> u64 {
        self.next
    }

    /// Goes back to where it was before what was last gathered, which nobody takes.
    pub(crate) fn seek_back(&mut self, offset: u64) {
        if offset != self.next {
            self.seek(offset);
        }
    }

    pub(crate) fn seek(&mut self, offset: u64) {
        self.next = offset;
        self.at = None;
        self.epoch = LeaderEpoch(0);
        self.last_end = None;
        let generation = self.log.follow.as_ref().map_or(0, |follow| follow.generation());
        if generation != self.generation {
            // What is in the window may be what was cut.
            self.generation = generation;
            self.relocate();
        }
    }

    /// In a log that is another process's: looks how far that has come, and whether what was read
    /// is still part of it.
    fn keep_up(&mut self) -> Result<()> {
        let Some(follow) = &self.log.follow else { return Ok(()) };
        if self.next >= self.known_end {
            self.log.catch_up()?;
        }
        let generation = follow.generation();
        if generation != self.generation {
            let cut = follow.cut_since(self.generation, self.stream);
            if let Some(end) = cut.filter(|end| *end < self.next) {
                return Err(truncated(&self.label, self.next, end));
            }
            self.generation = generation;
            self.relocate();
        }
        Ok(())
    }

    /// The next visible batch that ends at or beyond the cursor's offset; `None`: nothing more yet.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(BatchHeader, Bytes)>> {
        self.log.check_fork()?;
        let Some((frame, header)) = self.next_frame(Reach::Whole)? else { return Ok(None) };
        let at = frame.position.0;
        let from = at + FRAME_HEADER_BYTES as u64;
        let batch = self.window.slice(from, frame.payload_len as usize);
        if self.verify && !record_batch::verify_crc(&batch) {
            return Err(self.damaged(at, "record batch checksum differs"));
        }
        self.pass(&frame, &header);
        Ok(Some((header, batch)))
    }

    /// Goes on behind a frame that `next_frame` gave.
    pub(super) fn pass(&mut self, frame: &FrameHeader, header: &BatchHeader) {
        self.foreign = 0;
        self.next = header.last_offset().0 + 1;
        self.at = Some(frame.position.0 + frame.frame_len() as u64);
    }

    /// The frame of the next batch, as much of it in the window as `reach` says, or all where it
    /// came from the ring; `None`: nothing more yet. The cursor stays before it.
    pub(super) fn next_frame(
        &mut self,
        reach: Reach,
    ) -> Result<Option<(FrameHeader, BatchHeader)>> {
        let mut relocated = false;
        loop {
            // Ring and segments may be another writer's by now.
            if matches!(self.log.stop_reason(), Some(Stop::Closed)) {
                return Err(self.log.stop_error(false));
            }
            self.keep_up()?;
            let visible = self.log.visible();
            self.looked = visible;
            let Some(at) = self.locate()? else { return Ok(self.pause()) };
            if at >= visible {
                if self.nothing_before(at, visible)? {
                    return Ok(self.pause());
                }
                continue;
            }
            if self.last_end == Some(at)
                && let Some(left) = self.log.segment_at(at - 1)
            {
                // The next group is in the next segment, and no index is needed to know.
                (self.at, self.last_end) = (Some(left.end()), None);
                continue;
            }
            self.window.reach(at);
            let (start, window) = self.window.view();
            let reach = if self.window.is_whole() { Reach::Whole } else { reach };
            match step(self.log.seed, start, window, at, reach) {
                Ok(Step::Frame(frame)) => {
                    self.epoch = frame.epoch;
                    let end = at + frame.frame_len() as u64;
                    if end > visible {
                        if self.nothing_before(at, visible)? {
                            return Ok(self.pause());
                        }
                        continue;
                    }
                    if let Some(header) = self.ours(&frame)? {
                        return Ok(Some((frame, header)));
                    }
                    self.at = Some(self.over(end)?);
                }
                // What recovery cut may stand whole where a segment was left early: stale.
                Ok(Step::Group(group)) if group.epoch < self.epoch => {
                    if relocated {
                        return Err(self.damaged(at, "a group of an earlier epoch"));
                    }
                    relocated = true;
                    self.relocate();
                }
                Ok(Step::Group(group)) => self.enter(at, &group),
                Ok(Step::Padding(next)) => self.at = Some(next),
                Ok(Step::Need(len)) => {
                    if !self.fill(at, len, visible)? && self.nothing_before(at, visible)? {
                        return Ok(self.pause());
                    }
                }
                // The end of a segment's last group: the index knows where the next one is.
                Err(_) if at.is_multiple_of(GROUP_ALIGN as u64) && !relocated => {
                    relocated = true;
                    self.relocate();
                }
                Err(bad) => return Err(self.damaged(at, &bad.to_string())),
            }
        }
    }

    /// Nothing more for now: a window that is used up pins nothing while the cursor waits.
    fn pause<T>(&mut self) -> Option<T> {
        if self.at.is_none_or(|at| self.window.is_used_up(at)) {
            self.window.clear();
        }
        None
    }

    fn enter(&mut self, at: u64, group: &GroupHeader) {
        // An empty one may be all that its epoch has before the segment was left.
        self.epoch = group.epoch;
        self.at = Some(at + GROUP_HEADER_BYTES as u64);
        let end = at + u64::from(group.used_len);
        self.last_end = group.last.then(|| end.next_multiple_of(GROUP_ALIGN as u64));
    }

    /// The walk has come to what is not visible yet, or not whole; false: more is visible than when
    /// it `looked`. An error if the batch it looks for lies before, in bytes that read as padding.
    fn nothing_before(&self, at: u64, looked: u64) -> Result<bool> {
        let mut writer = self.log.writer.lock();
        // Asked again under the lock: what is known of the stream is of this moment, and more may
        // have been appended, flushed and left behind since the walk looked.
        let visible = self.log.reached(self.log.class.ack());
        if visible > looked {
            return Ok(false);
        }
        let state = writer.stream(self.stream).ok_or_else(|| self.deleted())?;
        if self.next >= state.durable_end(visible) {
            return Ok(true);
        }
        drop(writer);
        Err(self.damaged(at, &format!("offset {} is not where it was written", self.next)))
    }

    fn relocate(&mut self) {
        self.at = None;
        self.epoch = LeaderEpoch(0);
        self.known_end = 0;
        self.last_end = None;
        self.window.forget();
    }

    /// Most bytes to fetch at once, unless one batch is larger.
    pub(crate) fn set_window_bytes(&mut self, bytes: usize) {
        self.window.most = bytes;
    }

    /// There is nothing more for now: gives back the memory and the segment it holds.
    pub(crate) fn rest(&mut self) {
        self.window.forget();
        self.index = None;
    }

    /// Where to go on; `None` when the cursor stands at the end of its partition.
    fn locate(&mut self) -> Result<Option<u64>> {
        if self.at.is_some() && self.next < self.known_end {
            return Ok(self.at);
        }
        let bounds = self.log.bounds(self.stream).ok_or_else(|| self.deleted())?;
        if self.next < bounds.log_start || self.next > bounds.end {
            if self.next > bounds.end {
                self.log.check_end()?;
            }
            return Err(Error::OffsetOutOfRange {
                partition: self.label.to_string(),
                requested: Offset(self.next),
                start: Offset(bounds.log_start),
                end: Offset(bounds.end),
            });
        }
        self.known_end = bounds.end;
        if self.next == bounds.end {
            self.log.check_end()?;
            return Ok(None);
        }
        if self.at.is_none() {
            let found = self.log.find(self.stream, self.next)?;
            if found.is_none() && self.log.forgets(self.stream) {
                return Err(self.deleted());
            }
            let found = found.ok_or_else(|| {
                let path = self.log.disk.root().join(&self.log.name);
                let reason = format!("offset {} of {} is in no segment", self.next, self.label);
                Error::corrupt(path, 0, reason)
            })?;
            self.at = Some(self.note(found));
        }
        Ok(self.at)
    }

    fn deleted(&self) -> Error {
        self.log.no_stream(&self.label)
    }

    /// The header of a frame's batch, if it is this partition's and not before the cursor.
    fn ours(&self, frame: &FrameHeader) -> Result<Option<BatchHeader>> {
        if frame.stream != self.stream || frame.kind != FrameKind::Batch {
            return Ok(None);
        }
        let (start, window) = self.window.view();
        let batch = &window[(frame.position.0 - start) as usize + FRAME_HEADER_BYTES..];
        let header = BatchHeader::decode(batch)
            .map_err(|error| self.damaged(frame.position.0, &error.to_string()))?;
        if header.len_bytes != frame.payload_len as usize {
            return Err(self.damaged(frame.position.0, "record batch length differs"));
        }
        if header.last_offset().0 < self.next {
            return Ok(None);
        }
        if header.base_offset.0 > self.next {
            let reason = format!("offset {} is missing before this batch", self.next);
            return Err(self.damaged(frame.position.0, &reason));
        }
        Ok(Some(header))
    }

    /// Past a frame that is not wanted, to `end`, or further: where others' frames lie between,
    /// the index knows the way.
    fn over(&mut self, end: u64) -> Result<u64> {
        self.foreign += 1;
        if self.foreign < FOREIGN_FRAMES_MAX {
            return Ok(end);
        }
        self.foreign = 0;
        let at = self.skip(end)?;
        if at != end {
            self.last_end = None;
        }
        Ok(at)
    }

    /// Jumps over what is not this partition's, to the run that holds the next offset.
    fn skip(&mut self, at: u64) -> Result<u64> {
        let near = self.log.segment_at(at).filter(|segment| segment.is_sealed());
        let near = match near {
            Some(segment) => self.log.find_in(&segment, self.stream, self.next)?,
            None => None,
        };
        let found = match near {
            Some(found) => Some(found),
            None => self.log.find(self.stream, self.next)?,
        };
        Ok(found.map_or(at, |found| self.note(found).max(at)))
    }

    /// Keeps the index that told, so that the next look needs no file.
    fn note(&mut self, found: Found) -> u64 {
        self.index = found.index;
        found.position
    }

    /// Fetches at least `len` bytes from `at` on; false if they are not visible yet.
    fn fill(&mut self, at: u64, len: usize, visible: u64) -> Result<bool> {
        let Some(segment) = self.log.segment_at(at) else {
            self.relocate();
            return Ok(true);
        };
        if at < segment.first() {
            self.at = Some(segment.first());
            return Ok(true);
        }
        if segment.end() - at < FRAME_MIN_BYTES as u64 {
            // Padding: no frame fits.
            self.at = Some(segment.end());
            return Ok(true);
        }
        let fetched = self.window.fetch(&self.log, &segment, at, len, visible)?;
        if !self.log.is_current() {
            // What was read may be another writer's already; whoever follows finds out.
            self.log.catch_up()?;
            self.relocate();
            return Ok(true);
        }
        match fetched {
            Fetched::Some => Ok(true),
            Fetched::NotYet => Ok(false),
            Fetched::Gone => {
                self.relocate();
                Ok(true)
            }
            Fetched::Short => Err(self.damaged(at, "the file ends here")),
        }
    }

    fn damaged(&self, at: u64, reason: &str) -> Error {
        match self.log.segment_at(at) {
            Some(segment) => {
                let path = full_path(&*self.log.disk, segment.path());
                Error::corrupt(
                    path,
                    at - segment.base(),
                    format!("{reason} (reading {})", self.label),
                )
            }
            None => Error::corrupt(self.log.disk.root().join(&self.log.name), at, reason),
        }
    }

    /// Registers `waker` to be woken when there may be more to read than the last look found.
    /// False: look again at once.
    pub(crate) fn follow(&mut self, waker: &Waker) -> Result<bool> {
        self.log.check_fork()?;
        let level = self.log.class.ack();
        if let Some(follow) = &self.log.follow {
            follow.want();
        }
        {
            let mut writer = self.log.writer.lock();
            let over = match self.log.stop_reason() {
                Some(Stop::Damaged(_)) => false,
                Some(_) => true,
                None => writer.stopped && self.log.follow.is_none(),
            };
            if over {
                drop(writer);
                return Err(self.log.stop_error(false));
            }
            let state = writer.stream(self.stream).ok_or_else(|| self.deleted())?;
            if state.end == self.next {
                let before = state.unfollow(self.id);
                state.followers.push((self.id, waker.clone()));
                drop(writer);
                drop(before);
                return Ok(true);
            }
        }
        // Claimed, but not visible when it was looked for: what has become visible since then may
        // be it.
        let waiters = self.log.waiters(level);
        self.ticket = Some(waiters.register(self.looked + 1, waker, self.ticket));
        if self.log.reached(level) > self.looked {
            self.forget_ticket();
            return Ok(false);
        }
        Ok(true)
    }

    fn forget_ticket(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.log.waiters(self.log.class.ack()).forget(ticket);
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if self.log.check_fork().is_err() {
            return;
        }
        self.forget_ticket();
        // Dropped when the lock is free again: a waker may own what appends or reads.
        let _before = {
            let mut writer = self.log.writer.lock();
            writer.stream(self.stream).and_then(|state| state.unfollow(self.id))
        };
    }
}
