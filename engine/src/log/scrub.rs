//! Reading sealed segments again, a piece at a time, to find what has rotted before a reader does.
//! Owns its own open file and where in a log it is, and shares nothing with readers: it reads
//! around the page cache and holds no lease. Must never write: damage is told, and stays.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Log;
use super::scan::{Source, WholeGroup};
use super::segment::{Segment, check_header};
use crate::driver::disk::full_path;
use crate::error::{Error, Result};
use crate::event::{Level, Value};
use crate::ids::LeaderEpoch;
use crate::limits::{GROUP_ALIGN, SCRUB_PIECE_BYTES, SEGMENT_HEADER_BYTES};

/// Where a pass through one log is.
#[derive(Debug, Default)]
pub(crate) struct Scrubbing {
    open: Option<Open>,
    /// Segments below are done, or being read.
    done: u64,
    /// Of the last group.
    epoch: LeaderEpoch,
    /// The damaged places of this pass.
    found: BTreeSet<u64>,
}

/// A segment that is being read.
#[derive(Debug)]
struct Open {
    source: Source,
    at: u64,
    /// Something before was damaged, and no group has been found since.
    seeking: bool,
}

impl Log {
    /// Whether there is a segment to read.
    pub(crate) fn has_sealed(&self) -> bool {
        self.next_sealed(0).is_some()
    }

    /// The first segment at or above `from`, if it is sealed and durable.
    fn next_sealed(&self, from: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let (_, segment) = segments.range(from..).next()?;
        let is_done = segment.is_sealed() && segment.end() <= self.durable();
        is_done.then(|| Arc::clone(segment))
    }

    /// Reads one piece more and says how many bytes that were; `None` once all that is sealed has
    /// been read. Called by whoever retires segments, so that none is recycled meanwhile.
    pub(crate) fn scrub(&self, scrubbing: &mut Scrubbing) -> Option<u64> {
        if scrubbing.open.as_ref().is_some_and(|open| !self.is_live(&open.source.segment)) {
            scrubbing.open = None;
        }
        let mut bytes = 0;
        while bytes < SCRUB_PIECE_BYTES {
            if let Some(open) = scrubbing.open.take() {
                bytes += self.scrub_group(scrubbing, open);
            } else if let Some(segment) = self.next_sealed(scrubbing.done) {
                bytes += self.scrub_begin(scrubbing, &segment);
            } else {
                break;
            }
        }
        self.metrics.scrubbed(bytes);
        (bytes > 0).then_some(bytes)
    }

    /// A pass through this log has ended.
    pub(crate) fn scrub_done(&self, scrubbing: &Scrubbing, now_ms: i64) {
        self.metrics.scrubbed_all(&scrubbing.found, now_ms);
    }

    fn is_live(&self, segment: &Arc<Segment>) -> bool {
        self.segments.read().get(&segment.base()).is_some_and(|live| Arc::ptr_eq(live, segment))
    }

    /// Opens a segment and proves its header.
    fn scrub_begin(&self, scrubbing: &mut Scrubbing, segment: &Arc<Segment>) -> u64 {
        scrubbing.done = segment.end();
        let header_bytes = SEGMENT_HEADER_BYTES as u64;
        let mut source = match Source::open_uncached(&*self.disk, segment) {
            Ok(source) => source,
            Err(error) => {
                self.scrub_damage(scrubbing, (segment.base(), 0), &error);
                return header_bytes;
            }
        };
        let mut proven = self.proven_header(&mut source, segment);
        if matches!(proven, Err(Error::Io { .. })) {
            source.read_narrowly();
            proven = self.proven_header(&mut source, segment);
        }
        if let Err(error) = proven {
            self.scrub_damage(scrubbing, (segment.base(), 0), &error);
        }
        scrubbing.open = Some(Open { source, at: segment.first(), seeking: false });
        header_bytes
    }

    fn proven_header(&self, source: &mut Source, segment: &Segment) -> Result<()> {
        let bytes = source.bytes(segment.base(), SEGMENT_HEADER_BYTES)?;
        let header = check_header(&*self.disk, segment.path(), bytes, Some(self.uuid))?;
        if header.base.0 == segment.base() && header.len_bytes == segment.len() {
            return Ok(());
        }
        let path = full_path(&*self.disk, segment.path());
        Err(Error::corrupt(path, 0, "header of another segment"))
    }

    /// Proves the next group, or looks for where sense begins again; how many bytes that took.
    fn scrub_group(&self, scrubbing: &mut Scrubbing, mut open: Open) -> u64 {
        let (at, segment) = (open.at, Arc::clone(&open.source.segment));
        if at >= segment.end() {
            return 0;
        }
        let step = GROUP_ALIGN as u64;
        if open.seeking {
            open.seeking = !matches!(open.source.header(self.seed, at), Ok(Some(_)));
            open.at += if open.seeking { step } else { 0 };
            scrubbing.open = Some(open);
            return step;
        }
        let read = match self.proven_group(&mut open.source, at, scrubbing.epoch) {
            Ok(group) => {
                scrubbing.epoch = group.header.next_epoch();
                open.at = group.next(&segment);
                group.header.group_len()
            }
            Err(error) => {
                let in_file = match &error {
                    Error::Corrupt { at, .. } => *at,
                    _ => at - segment.base(),
                };
                self.scrub_damage(scrubbing, (segment.base(), in_file), &error);
                open.seeking = true;
                open.at += step;
                step
            }
        };
        scrubbing.open = Some(open);
        read
    }

    fn proven_group(&self, source: &mut Source, at: u64, epoch: LeaderEpoch) -> Result<WholeGroup> {
        let mut found = source.group(self.seed, at);
        if found.is_err() {
            // A sector that cannot be read says nothing of those around it.
            source.read_narrowly();
            found = source.group(self.seed, at);
        }
        let base = source.segment.base();
        match found? {
            Ok(group) if group.header.epoch >= epoch => Ok(group),
            Ok(group) => {
                let was = group.header.epoch;
                let what = format!("group of epoch {was} after one of epoch {epoch}");
                Err(Error::corrupt(source.path(), at - base, what))
            }
            Err(bad) => Err(Error::corrupt(source.path(), bad.position - base, bad.bad)),
        }
    }

    /// Tells of a damaged place, once as long as it stays so.
    fn scrub_damage(&self, scrubbing: &mut Scrubbing, (base, at): (u64, u64), error: &Error) {
        let position = base + at;
        scrubbing.found.insert(position);
        if !self.metrics.scrub_found(position, error) {
            return;
        }
        let name = super::segment::file_name(base);
        let path = full_path(&*self.disk, &format!("{}/{name}", self.name));
        let path = path.display();
        let fields = [
            ("path", Value::Text(&path)),
            ("position", Value::U64(position)),
            ("at", Value::U64(at)),
            ("error", Value::Text(error)),
        ];
        let message = "damage in a sealed segment, found before a reader met it";
        self.tell(Level::Error, "damaged", message, &fields);
    }
}
