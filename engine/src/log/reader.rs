//! Reading one partition of a log, batch by batch: located by the index, copied from the ring while
//! it is still there, else read from its segment. Nothing a reader does can stall an append.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use bytes::Bytes;

use super::lookup::Found;
use super::segment::Segment;
use super::waiters::Ticket;
use super::walk::{Step, step};
use super::writer::StreamState;
use super::{Log, Stop};
use crate::driver::disk::{FileRef, full_path, io_error};
use crate::error::{Error, Result};
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::index::SegmentIndex;
use crate::format::record_batch::{self, BatchHeader};
use crate::ids::{LeaderEpoch, Offset, StreamId};
use crate::limits::{FRAME_HEADER_BYTES, GROUP_ALIGN, GROUP_HEADER_BYTES, READ_WINDOW_BYTES};

/// Names cursors among a stream's followers; never reused in one process.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

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
    window: Bytes,
    window_start: u64,
    /// The visible end at the last look for a batch, and the registration that waits for more.
    looked: u64,
    ticket: Option<Ticket>,
    /// Keeps the segment it reads from being recycled.
    open: Option<(Arc<Segment>, FileRef)>,
    index: Option<Arc<SegmentIndex>>,
    pub(crate) verify: bool,
    /// Bytes to fetch at once, unless one batch is larger.
    pub(crate) window_bytes: usize,
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
        let durable = self.durable();
        let mut writer = self.writer.lock();
        writer.stream(stream).map(|state| state.bounds(durable))
    }
}

impl Cursor {
    pub(crate) fn new(log: Arc<Log>, stream: StreamId, label: Arc<str>, next: u64) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            log,
            stream,
            label,
            next,
            known_end: 0,
            at: None,
            epoch: LeaderEpoch(0),
            window: Bytes::new(),
            window_start: 0,
            looked: 0,
            ticket: None,
            open: None,
            index: None,
            verify: true,
            window_bytes: READ_WINDOW_BYTES,
        }
    }

    /// Topic and partition, for messages.
    pub(crate) fn label(&self) -> Arc<str> {
        Arc::clone(&self.label)
    }

    /// The next offset it will give.
    pub(crate) fn next_offset(&self) -> u64 {
        self.next
    }

    pub(crate) fn seek(&mut self, offset: u64) {
        self.next = offset;
        self.at = None;
        self.epoch = LeaderEpoch(0);
    }

    /// The next visible batch that ends at or beyond the cursor's offset; `None`: nothing more yet.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Bytes>> {
        self.log.check_fork()?;
        let mut relocated = false;
        loop {
            // Ring and segments may be another writer's by now.
            if matches!(self.log.stop_reason(), Some(Stop::Closed)) {
                return Err(self.log.stop_error(false));
            }
            let visible = self.log.visible();
            self.looked = visible;
            let Some(at) = self.locate()? else { return Ok(None) };
            if at >= visible {
                return self.nothing_before(at, visible);
            }
            let seed = self.log.seed;
            let (start, window) = self.window_from(at);
            match step(seed, start, window, at) {
                Ok(Step::Frame(header)) => {
                    self.epoch = header.epoch;
                    let end = at + header.frame_len() as u64;
                    if end > visible {
                        return Ok(None);
                    }
                    if let Some(batch) = self.take(&header)? {
                        self.at = Some(end);
                        return Ok(Some(batch));
                    }
                    self.at = Some(end);
                }
                // What recovery cut may stand whole where a segment was left early: stale.
                Ok(Step::Group(group)) if group.epoch < self.epoch => {
                    if relocated {
                        return Err(self.damaged(at, "a group of an earlier epoch"));
                    }
                    relocated = true;
                    self.relocate();
                }
                Ok(Step::Group(group)) => {
                    // An empty one may be all that its epoch has before the segment was left.
                    self.epoch = group.epoch;
                    self.at = Some(at + GROUP_HEADER_BYTES as u64);
                }
                Ok(Step::Padding(next)) => self.at = Some(next),
                Ok(Step::Need(len)) => {
                    let at = self.skip(at)?;
                    self.at = Some(at);
                    if at < visible && !self.fill(at, len, visible)? {
                        return Ok(None);
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

    /// The walk has come to what is not visible yet; an error if the batch it looks for lies
    /// before, in bytes that read as padding.
    fn nothing_before(&self, at: u64, visible: u64) -> Result<Option<Bytes>> {
        let mut writer = self.log.writer.lock();
        let state = writer.stream(self.stream).ok_or_else(|| self.deleted())?;
        if self.next >= state.durable_end(visible) {
            return Ok(None);
        }
        drop(writer);
        Err(self.damaged(at, &format!("offset {} is not where it was written", self.next)))
    }

    fn relocate(&mut self) {
        self.at = None;
        self.epoch = LeaderEpoch(0);
        self.known_end = 0;
        self.window = Bytes::new();
        self.open = None;
    }

    /// There is nothing more for now: gives back the memory and the segment it holds.
    pub(crate) fn rest(&mut self) {
        self.window = Bytes::new();
        self.open = None;
        self.index = None;
    }

    /// The window and its first position; an empty one there if it does not reach to `at`.
    fn window_from(&mut self, at: u64) -> (u64, &[u8]) {
        let reach = self.window_start + self.window.len() as u64;
        if at < self.window_start || at > reach {
            self.window = Bytes::new();
            self.window_start = at;
        }
        (self.window_start, &self.window)
    }

    /// Where to go on; `None` when the cursor stands at the end of its partition.
    fn locate(&mut self) -> Result<Option<u64>> {
        if self.at.is_some() && self.next < self.known_end {
            return Ok(self.at);
        }
        let bounds = self.log.bounds(self.stream).ok_or_else(|| self.deleted())?;
        if self.next < bounds.log_start || self.next > bounds.end {
            return Err(Error::OffsetOutOfRange {
                partition: self.label.to_string(),
                requested: Offset(self.next),
                start: Offset(bounds.log_start),
                end: Offset(bounds.end),
            });
        }
        self.known_end = bounds.end;
        if self.next == bounds.end {
            return Ok(None);
        }
        if self.at.is_none() {
            let found = self.log.find(self.stream, self.next)?.ok_or_else(|| {
                let path = self.log.disk.root().join(&self.log.name);
                let reason = format!("offset {} of {} is in no segment", self.next, self.label);
                Error::corrupt(path, 0, reason)
            })?;
            self.at = Some(self.note(found));
        }
        Ok(self.at)
    }

    fn deleted(&self) -> Error {
        Error::UnknownTopic { topic: self.label.to_string() }
    }

    /// Takes a frame if it is this partition's and not before the cursor.
    fn take(&mut self, frame: &FrameHeader) -> Result<Option<Bytes>> {
        if frame.stream != self.stream || frame.kind != FrameKind::Batch {
            return Ok(None);
        }
        let from = (frame.position.0 - self.window_start) as usize + FRAME_HEADER_BYTES;
        let batch = self.window.slice(from..from + frame.payload_len as usize);
        let header = BatchHeader::decode(&batch)
            .map_err(|error| self.damaged(frame.position.0, &error.to_string()))?;
        if header.last_offset().0 < self.next {
            return Ok(None);
        }
        if header.base_offset.0 > self.next {
            let reason = format!("offset {} is missing before this batch", self.next);
            return Err(self.damaged(frame.position.0, &reason));
        }
        if self.verify && !record_batch::verify_crc(&batch) {
            return Err(self.damaged(frame.position.0, "record batch checksum differs"));
        }
        self.next = header.last_offset().0 + 1;
        Ok(Some(batch))
    }

    /// At the end of a window: jumps over what is not this partition's, to the run that holds the
    /// next offset.
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
        let bound = visible.min(segment.end());
        let want = (len.max(self.window_bytes) as u64).min(bound - at);
        if want < len.min(GROUP_HEADER_BYTES) as u64 {
            return Ok(false);
        }
        if at >= self.log.ring.lo() {
            let mut bytes = vec![0; want.min(self.log.ring.len()) as usize];
            if self.log.ring.copy(at, &mut bytes) {
                self.set_window(at, bytes);
                return Ok(bytes_suffice(self.window.len(), len));
            }
        }
        let Some(file) = self.open_segment(&segment)? else {
            self.relocate();
            return Ok(true);
        };
        let mut bytes = vec![0; want.min(self.log.released().saturating_sub(at)) as usize];
        let read = file.read_at(&mut bytes, at - segment.base()).map_err(io_error(
            &*self.log.disk,
            "read",
            segment.path(),
        ))?;
        bytes.truncate(read);
        if read < len.min(GROUP_HEADER_BYTES) {
            return Err(self.damaged(at, "the file ends here"));
        }
        self.set_window(at, bytes);
        Ok(true)
    }

    fn set_window(&mut self, at: u64, bytes: Vec<u8>) {
        self.window_start = at;
        self.window = Bytes::from(bytes);
    }

    /// The segment's file; `None` if it was retired meanwhile.
    fn open_segment(&mut self, segment: &Arc<Segment>) -> Result<Option<FileRef>> {
        if let Some((open, file)) = &self.open
            && Arc::ptr_eq(open, segment)
        {
            return Ok(Some(Arc::clone(file)));
        }
        match segment.open(&*self.log.disk) {
            Ok(file) => {
                self.open = Some((Arc::clone(segment), Arc::clone(&file)));
                Ok(Some(file))
            }
            Err(_) if self.log.segment_at(segment.base()).is_none() => Ok(None),
            Err(error) => Err(error),
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
        {
            let mut writer = self.log.writer.lock();
            if writer.stopped && !matches!(self.log.stop_reason(), Some(Stop::Damaged(_))) {
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

fn bytes_suffice(have: usize, need: usize) -> bool {
    have >= need.min(GROUP_HEADER_BYTES)
}
