//! The bytes that a cursor walks over: copied from the ring while they are still there, else leased
//! from a mapped segment, or copied from its file. Owns one window at a time, and the segment it
//! came from, which is not recycled meanwhile. Grows as long as the cursor goes straight on.
//!
//! Only sealed segments are mapped. Direct writes behind the released end of the open one make the
//! kernel drop cached pages around them, also those that a lease already points to; each would be
//! fetched again in the middle of somebody's use of it, where an error is a signal.

use std::sync::Arc;

use bytes::Bytes;

use super::Log;
use super::lease::{Mapped, copied};
use super::segment::Segment;
use crate::driver::disk::{FileRef, io_error};
use crate::error::{Error, Result};
use crate::limits::{FIRST_WINDOW_BYTES, MAP_WINDOW_BYTES, READ_WINDOW_BYTES};

/// A window that goes straight on is this many times as long as the one before.
const GROWTH: usize = 4;
/// What is read at once to see the headers of a group, a frame and its batch, and little else.
const HEAD_WINDOW_BYTES: usize = 160;

impl Log {
    /// For the next reader; not in another process's log, which would keep blocks that its writer
    /// has given back.
    fn keep(&self, segment: &Segment, map: &Arc<Mapped>) {
        let is_ours = || self.segment_at(segment.base()).is_some();
        if self.follow.is_none() {
            self.kept.keep(segment.base(), map, is_ours);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Window {
    bytes: Bytes,
    start: u64,
    /// Where the newest window ended.
    end: u64,
    /// How much the newest fetch wanted.
    size: usize,
    /// Most bytes at once, unless one batch is larger.
    pub(crate) most: usize,
    open: Option<Open>,
    /// Of what lies in files only headers are wanted: little is read, and nothing leased.
    pub(crate) wants_heads: bool,
    /// The window is such a little read, `head`.
    heads: bool,
    head: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    segment: Arc<Segment>,
    file: FileRef,
    map: Option<Arc<Mapped>>,
    /// Whether mapping it has been tried: what was open then may be sealed since.
    tried: bool,
}

/// What became of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// There are bytes.
    Some,
    /// They are not visible yet.
    NotYet,
    /// The log has moved: the place must be found again.
    Gone,
    /// The file ends there.
    Short,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            bytes: Bytes::new(),
            start: 0,
            end: 0,
            size: 0,
            most: MAP_WINDOW_BYTES,
            open: None,
            wants_heads: false,
            heads: false,
            head: Vec::new(),
        }
    }
}

impl Window {
    /// Its first position, and its bytes.
    pub(crate) fn view(&self) -> (u64, &[u8]) {
        (self.start, if self.heads { &self.head } else { &self.bytes })
    }

    /// Makes it one that reaches to `at`, though it may be empty there.
    pub(crate) fn reach(&mut self, at: u64) {
        let len = self.view().1.len() as u64;
        if at < self.start || at > self.start + len {
            self.clear();
            self.start = at;
        }
    }

    /// Whether the frames in it are whole; else only their headers are there.
    pub(crate) fn is_whole(&self) -> bool {
        !self.heads
    }

    /// A part, sharing the memory.
    pub(crate) fn slice(&self, at: u64, len: usize) -> Bytes {
        let from = (at - self.start) as usize;
        self.bytes.slice(from..from + len)
    }

    /// Whether everything before `at` has been walked over.
    pub(crate) fn is_used_up(&self, at: u64) -> bool {
        at >= self.start + self.view().1.len() as u64
    }

    /// Gives the bytes back.
    pub(crate) fn clear(&mut self) {
        self.bytes = Bytes::new();
        self.head.clear();
    }

    /// Gives the segment back, too.
    pub(crate) fn forget(&mut self) {
        self.clear();
        self.open = None;
    }

    /// Fetches at least `len` bytes from `at` on.
    pub(crate) fn fetch(
        &mut self,
        log: &Log,
        segment: &Arc<Segment>,
        at: u64,
        len: usize,
        visible: u64,
    ) -> Result<Fetched> {
        // Before the next is claimed, or the two would be pinned at once.
        self.clear();
        self.heads = false;
        let least = len as u64;
        if visible - at < least {
            return Ok(Fetched::NotYet);
        }
        // No frame and no group reaches beyond its segment.
        if segment.end() - at < least {
            return Ok(Fetched::Short);
        }
        let bound = visible.min(segment.end());
        // The last window may have ended within what is wanted next.
        let straight_on = at > self.start && at <= self.end;
        self.size = if straight_on { self.size * GROWTH } else { FIRST_WINDOW_BYTES };
        self.size = self.size.max(FIRST_WINDOW_BYTES).min(self.most);
        if at >= log.tail_lo() && self.copy_from_ring(log, at, least, bound)? {
            return Ok(Fetched::Some);
        }
        let bound = bound.min(log.in_segments(at, len));
        if bound < at + least {
            return Ok(Fetched::NotYet);
        }
        if !self.open(log, segment)? {
            return Ok(Fetched::Gone);
        }
        if self.wants_heads {
            return self.read_head(log, at, least, bound);
        }
        if !self.lease(log, at, least, bound)? && !self.copy_from_file(log, at, least, bound)? {
            return Ok(Fetched::Short);
        }
        if straight_on && self.end < bound {
            self.prefetch(bound);
        }
        Ok(Fetched::Some)
    }

    fn set(&mut self, at: u64, bytes: Bytes) {
        self.start = at;
        self.end = at + bytes.len() as u64;
        self.bytes = bytes;
    }

    fn wanted(&self, most: usize, least: u64, at: u64, bound: u64) -> u64 {
        (self.size.min(most) as u64).max(least).min(bound - at)
    }

    fn copy_from_ring(&mut self, log: &Log, at: u64, least: u64, bound: u64) -> Result<bool> {
        let want = self.wanted(READ_WINDOW_BYTES, least, at, bound).min(log.tail_len());
        let pin = log.pins.claim(want, least.min(want))?;
        let whole =
            |bytes: &mut [u8]| Ok::<_, Error>(log.copy_tail(at, bytes).then_some(bytes.len()));
        let Some(bytes) = copied(pin, whole)? else { return Ok(false) };
        self.set(at, bytes);
        Ok(true)
    }

    /// False: it must be copied.
    fn lease(&mut self, log: &Log, at: u64, least: u64, bound: u64) -> Result<bool> {
        let want = self.wanted(MAP_WINDOW_BYTES, least, at, bound);
        let Some(open) = &mut self.open else { return Ok(false) };
        let Some(map) = &open.map else { return Ok(false) };
        let pin = log.pins.claim(want, least)?;
        let Ok(bytes) = map.lease(at - open.segment.base(), pin) else {
            // Reading by copy says what is wrong, or goes on where only the mapping fails.
            open.map = None;
            return Ok(false);
        };
        self.set(at, bytes);
        Ok(true)
    }

    /// False: the file ends there.
    fn copy_from_file(&mut self, log: &Log, at: u64, least: u64, bound: u64) -> Result<bool> {
        let want = self.wanted(READ_WINDOW_BYTES, least, at, bound);
        let Some(open) = &self.open else { return Ok(false) };
        let pin = log.pins.claim(want, least)?;
        let path = open.segment.path();
        let read = |bytes: &mut [u8]| open.file.read_at(bytes, at - open.segment.base()).map(Some);
        let bytes = copied(pin, read).map_err(io_error(&*log.disk, "read", path))?;
        let bytes = bytes.unwrap_or_default();
        if (bytes.len() as u64) < least {
            return Ok(false);
        }
        self.set(at, bytes);
        Ok(true)
    }

    /// Headers are copied: mapped they would cost a fault each, and be no less copied.
    fn read_head(&mut self, log: &Log, at: u64, least: u64, bound: u64) -> Result<Fetched> {
        let Some(open) = &self.open else { return Ok(Fetched::Gone) };
        let want = (HEAD_WINDOW_BYTES as u64).max(least).min(bound - at);
        self.head.resize(want as usize, 0);
        let read = open.file.read_at(&mut self.head, at - open.segment.base());
        let read = read.map_err(io_error(&*log.disk, "read", open.segment.path()))?;
        self.head.truncate(read);
        self.heads = true;
        self.start = at;
        self.end = at + read as u64;
        if (read as u64) < least {
            return Ok(Fetched::Short);
        }
        Ok(Fetched::Some)
    }

    fn prefetch(&self, bound: u64) {
        if let Some(open) = &self.open {
            let len = (self.size as u64).min(bound - self.end);
            open.file.prefetch(self.end - open.segment.base(), len);
        }
    }

    /// Opens the segment; false if it was retired meanwhile.
    fn open(&mut self, log: &Log, segment: &Arc<Segment>) -> Result<bool> {
        let whole = segment.is_sealed() && log.is_in_file(segment);
        let maps = log.options.mmap && !self.wants_heads && whole;
        match &mut self.open {
            Some(open) if Arc::ptr_eq(&open.segment, segment) && (open.tried || !maps) => {
                return Ok(true);
            }
            _ => {}
        }
        let opened = segment.open(&*log.disk).and_then(|file| {
            let map = if maps { segment.map(&*log.disk, &log.pins)? } else { None };
            Ok(Open { segment: Arc::clone(segment), file, map, tried: maps })
        });
        match opened {
            Ok(open) => {
                if let Some(map) = &open.map {
                    log.keep(segment, map);
                }
                self.open = Some(open);
                Ok(true)
            }
            Err(_) if log.segment_at(segment.base()).is_none() => Ok(false),
            Err(_) if log.has_retired(segment)? => Ok(false),
            Err(error) => Err(error),
        }
    }
}
