//! The walk that everything here shares: a log's groups in the order of positions, past what is
//! damaged, up to where recovery would say that the log ends.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::info::End;
use super::is_live;
use super::layout::Layout;
use crate::driver::disk::{Disk, DiskRef, full_path};
use crate::error::Result;
use crate::format::Seed;
use crate::format::checkpoint::Checkpoint;
use crate::ids::{LeaderEpoch, Position};
use crate::limits::GROUP_ALIGN;
use crate::log::checkpoints;
use crate::log::probe::Probe;
use crate::log::scan::{Damaged, Source, WholeGroup, frames_of};
use crate::log::segment::Segment;

/// What a walk comes across.
pub(super) enum Event<'a> {
    /// A segment begins.
    Segment(&'a Arc<Segment>),
    /// A group with its proven frames.
    Group {
        segment: &'a Arc<Segment>,
        group: &'a WholeGroup,
        /// Not only the frames up to a damaged one.
        whole: bool,
    },
    /// A damaged place; sense begins again where the next event is.
    Damage { path: &'a Path, at: u64, what: &'a str },
    /// The log ends.
    End(End),
}

type Visit<'a> = dyn FnMut(Event<'_>) -> Result<ControlFlow<()>> + 'a;

struct Walk<'a> {
    disk: &'a dyn Disk,
    layout: &'a Layout,
    checkpoint: &'a Checkpoint,
    seed: Seed,
    epoch: LeaderEpoch,
    torn_bytes: u64,
    visit: &'a mut Visit<'a>,
}

/// What to do at a place without a group.
enum After {
    Resume(u64),
    NextSegment,
    End,
}

/// Walks from the group at `from`, or the first segment beyond it. Without a checkpoint nothing is
/// known, and nothing is visited.
pub(super) fn walk<'a>(
    disk: &'a DiskRef,
    layout: &'a Layout,
    from: u64,
    visit: &'a mut Visit<'a>,
) -> Result<()> {
    let Some(checkpoint) = &layout.checkpoint else { return Ok(()) };
    let mut walk = Walk {
        disk: &**disk,
        layout,
        checkpoint,
        seed: Seed::of(checkpoint.log),
        epoch: LeaderEpoch(0),
        torn_bytes: 0,
        visit,
    };
    walk.run(from).map(|_| ())
}

impl Walk<'_> {
    fn run(&mut self, from: u64) -> Result<ControlFlow<()>> {
        let mut at = from;
        let containing = |segment: &&Arc<Segment>| segment.end() > from;
        let mut next = self.layout.segments.values().find(containing);
        while let Some(segment) = next {
            // Held open, so that it is there to its end even if it is retired meanwhile.
            let held = segment.open(self.disk);
            if held.is_err() && self.is_retired(segment) {
                at = segment.end();
                next = self.layout.segments.range(at..).next().map(|(_, segment)| segment);
                continue;
            }
            if (self.visit)(Event::Segment(segment))?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            match self.segment(segment, at.max(segment.first()))? {
                Some(end) => at = end,
                None => return Ok(ControlFlow::Break(())),
            }
            if at < segment.end() {
                break;
            }
            next = self.layout.segments.range(at..).next().map(|(_, segment)| segment);
        }
        let clean = self.checkpoint.clean && at == self.checkpoint.position.0;
        let end = End { position: Position(at), clean, torn_bytes: self.torn_bytes };
        (self.visit)(Event::End(end))
    }

    /// Walks one segment; where the log, or the segment, ends. `None`: broken off.
    fn segment(&mut self, segment: &Arc<Segment>, from: u64) -> Result<Option<u64>> {
        let mut at = from;
        let mut source = match Source::open(self.disk, segment) {
            Ok(source) => source,
            Err(error) => {
                let path = full_path(self.disk, segment.path());
                let what = error.to_string();
                let flow = self.damaged(segment, &path, from, &what)?;
                return Ok(flow.is_continue().then_some(segment.end()));
            }
        };
        while at < segment.end() {
            if at >= self.checkpoint.position.0 {
                self.epoch = self.epoch.max(self.checkpoint.epoch);
            }
            let damage = match self.group(&mut source, at) {
                Ok(Ok(group)) => {
                    self.epoch = group.header.next_epoch();
                    let next = group.next(segment);
                    let whole = Event::Group { segment, group: &group, whole: true };
                    if (self.visit)(whole)?.is_break() {
                        return Ok(None);
                    }
                    at = next;
                    continue;
                }
                Ok(Err(damage)) => damage,
                Err(error) => Damaged { position: at, bad: error.to_string() },
            };
            let after = self.after(segment, &mut source, at)?;
            // Beside a writer the place may have been written since it was read: what proves it
            // damaged came later.
            if let Ok(mut fresh) = Source::open(self.disk, segment)
                && !matches!(after, After::End)
                && is_live(self.disk)
                && matches!(self.group(&mut fresh, at), Ok(Ok(_)))
            {
                source = fresh;
                continue;
            }
            if matches!(after, After::End) {
                return Ok(Some(at));
            }
            let path = source.path().to_path_buf();
            if self.rest_of(segment, &mut source, at)?.is_break()
                || self.damaged(segment, &path, damage.position, &damage.bad)?.is_break()
            {
                return Ok(None);
            }
            at = match after {
                After::Resume(sense) if segment.contains(sense) => sense,
                _ => segment.end(),
            };
        }
        Ok(Some(at))
    }

    /// Whether the writer has retired a segment since the layout was read.
    fn is_retired(&self, segment: &Segment) -> bool {
        let newest = checkpoints::load(self.disk, &self.layout.dir);
        let Ok(Some(newest)) = newest else { return false };
        newest.sequence > self.checkpoint.sequence
            && newest.segments.iter().all(|entry| entry.base.0 != segment.base())
    }

    fn group(&self, source: &mut Source, at: u64) -> Result<Result<WholeGroup, Damaged>> {
        let found = source.group(self.seed, at)?;
        Ok(found.and_then(|group| {
            let epoch = group.header.epoch;
            if epoch < self.epoch {
                let bad = format!("group of epoch {epoch} after one of epoch {}", self.epoch);
                return Err(Damaged { position: at, bad });
            }
            Ok(group)
        }))
    }

    /// Whether the log goes on beyond a place without a group. Below the checkpoint it does; above,
    /// only what recovery takes for a proof says so.
    fn after(&mut self, segment: &Segment, source: &mut Source, at: u64) -> Result<After> {
        let durable = self.checkpoint.position.0;
        if at < durable {
            return Ok(self.next_below(segment, source, at, durable));
        }
        let probe = Probe {
            disk: self.disk,
            log: self.checkpoint.log,
            segments: &self.layout.segments,
            epoch: self.epoch,
            durable,
        };
        let found = probe.from(at)?;
        if let Some(sense) = found.sense {
            return Ok(After::Resume(sense));
        }
        let own = source.header(self.seed, at)?.filter(|header| header.epoch >= self.epoch);
        // What a writer has in flight is no torn tail.
        if !is_live(self.disk) {
            self.torn_bytes = found.cut_bytes + own.map_or(0, |header| header.group_len());
        }
        Ok(After::End)
    }

    fn next_below(&self, segment: &Segment, source: &mut Source, at: u64, durable: u64) -> After {
        let mut boundary = at + GROUP_ALIGN as u64;
        while boundary < segment.end() {
            let proven = matches!(source.header(self.seed, boundary), Ok(Some(_)));
            if boundary == durable || proven {
                return After::Resume(boundary);
            }
            boundary += GROUP_ALIGN as u64;
        }
        After::NextSegment
    }

    /// The frames of a damaged group up to the damage.
    fn rest_of(
        &mut self,
        segment: &Arc<Segment>,
        source: &mut Source,
        at: u64,
    ) -> Result<ControlFlow<()>> {
        let Ok(Some(header)) = source.header(self.seed, at) else {
            return Ok(ControlFlow::Continue(()));
        };
        let len = header.group_len().min(segment.end() - at) as usize;
        let Ok(bytes) = source.bytes(at, len) else { return Ok(ControlFlow::Continue(())) };
        let bytes = bytes.to_vec();
        let (frames, _, _) = frames_of(self.seed, &header, &bytes);
        let group = WholeGroup { header, bytes, frames };
        (self.visit)(Event::Group { segment, group: &group, whole: false })
    }

    fn damaged(
        &mut self,
        segment: &Arc<Segment>,
        path: &PathBuf,
        position: u64,
        what: &str,
    ) -> Result<ControlFlow<()>> {
        let at = position - segment.base();
        (self.visit)(Event::Damage { path, at, what })
    }
}
