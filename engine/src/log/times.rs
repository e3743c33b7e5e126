//! Finding a time in one partition of a log: by what the index says of each segment, then of each
//! run, and at last by the batches of one run. Timestamps need not ascend, so what is looked for is
//! the first that is late enough, or the latest; a run's latest timestamp says only that it may be
//! there. What is not visible yet, or lies before the log start, does not count.

use std::sync::Arc;

use super::Log;
use super::reader::Cursor;
use super::segment::{Extent, Segment};
use crate::error::Result;
use crate::format::index::{RunEntry, StreamIndex};
use crate::ids::{Offset, StreamId, TimedOffset};

/// The writer's lock is held for no more runs than this at once.
const RUNS_AT_ONCE: usize = 1024;

/// What a search for a time found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// The first record that is late enough.
    At(TimedOffset),
    /// No visible one; none below this offset.
    NotBefore(u64),
}

/// Some of a stream's batches in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    end: u64,
    /// Of its first frame.
    position: u64,
    latest_ms: i64,
}

/// The runs among `entries` that reach beyond `from`; the last of them ends at `end`.
fn runs_beyond(entries: &[RunEntry], end: u64, from: u64) -> impl Iterator<Item = Run> {
    let after = entries.partition_point(|run| run.first_offset.0 <= from);
    let entries = &entries[after.saturating_sub(1)..];
    let runs = entries.iter().enumerate().map(move |(at, run)| Run {
        first: run.first_offset.0,
        end: entries.get(at + 1).map_or(end, |next| next.first_offset.0),
        position: run.position.0,
        latest_ms: run.max_timestamp_ms,
    });
    runs.filter(move |run| run.end > from)
}

impl Log {
    /// The first visible record of `stream` at `ms` or later.
    pub(crate) fn search_time(
        self: &Arc<Self>,
        stream: StreamId,
        label: &Arc<str>,
        ms: i64,
    ) -> Result<Time> {
        let mut from = self.log_start(stream, label)?;
        let mut cursor = Cursor::new(Arc::clone(self), stream, Arc::clone(label), from);
        loop {
            let run = match self.run_late_enough(stream, label, from, ms)? {
                Ok(run) => run,
                Err(end) => return Ok(Time::NotBefore(end)),
            };
            let mut found = None;
            let visible = read_run(&mut cursor, run, from, &mut |record| {
                if found.is_none() && record.timestamp_ms >= ms {
                    found = Some(record);
                }
                found.is_none()
            });
            match (visible, found) {
                (_, Some(found)) => return Ok(Time::At(found)),
                (Ok(true), None) => from = run.end,
                (Ok(false), None) => return Ok(Time::NotBefore(cursor.next_offset())),
                // Trimmed meanwhile.
                (Err(error), None) => match self.log_start(stream, label)? {
                    start if start > from => from = start,
                    _ => return Err(error),
                },
            }
        }
    }

    /// The visible record of `stream` with the latest timestamp, the first of several.
    pub(crate) fn latest_time(
        self: &Arc<Self>,
        stream: StreamId,
        label: &Arc<str>,
    ) -> Result<Option<TimedOffset>> {
        loop {
            let start = self.log_start(stream, label)?;
            match self.latest_time_since(stream, label, start) {
                Err(_) if self.log_start(stream, label)? > start => {}
                found => return found,
            }
        }
    }

    fn latest_time_since(
        self: &Arc<Self>,
        stream: StreamId,
        label: &Arc<str>,
        start: u64,
    ) -> Result<Option<TimedOffset>> {
        let mut cursor = Cursor::new(Arc::clone(self), stream, Arc::clone(label), start);
        let open = self.open_runs(stream, start);
        let mut parts: Vec<(i64, u64, Option<Arc<Segment>>)> = Vec::new();
        if let Some(first) = open.first() {
            let latest = open.iter().map(|run| run.latest_ms).max().unwrap_or(i64::MIN);
            parts.push((latest, first.first, None));
        }
        for segment in self.sealed_segments() {
            if let Some(extent) = self.extent_of(&segment, stream)?
                && extent.end.0 > start
            {
                parts.push((extent.max_timestamp_ms, extent.first.0, Some(segment)));
            }
        }
        // The most promising first: what is trimmed or not visible in it makes it less.
        parts.sort_by_key(|(latest, first, _)| (std::cmp::Reverse(*latest), *first));
        let mut best: Option<TimedOffset> = None;
        for (latest, first, segment) in parts {
            if !may_beat(best, latest, first) {
                continue;
            }
            let runs = match segment {
                Some(segment) => self.sealed_runs(&segment, stream, start)?,
                None => open.clone(),
            };
            best = self.latest_of(&mut cursor, runs, start, best)?;
        }
        Ok(best)
    }

    fn latest_of(
        &self,
        cursor: &mut Cursor,
        mut runs: Vec<Run>,
        start: u64,
        mut best: Option<TimedOffset>,
    ) -> Result<Option<TimedOffset>> {
        let visible = self.visible();
        runs.retain(|run| run.position < visible);
        runs.sort_by_key(|run| (std::cmp::Reverse(run.latest_ms), run.first));
        for run in runs {
            if may_beat(best, run.latest_ms, run.first) {
                read_run(cursor, run, start, &mut |record| {
                    if may_beat(best, record.timestamp_ms, record.offset.0) {
                        best = Some(record);
                    }
                    true
                })?;
            }
        }
        Ok(best)
    }

    fn log_start(&self, stream: StreamId, label: &Arc<str>) -> Result<u64> {
        let bounds = self.bounds(stream);
        bounds.map(|bounds| bounds.log_start).ok_or_else(|| self.no_stream(label))
    }

    /// The first run beyond `from` that may have a record at `ms` or later; if there is none, the
    /// end below which there is none.
    fn run_late_enough(
        &self,
        stream: StreamId,
        label: &Arc<str>,
        from: u64,
        ms: i64,
    ) -> Result<Result<Run, u64>> {
        // The open segment first: if it is left meanwhile, it is among the sealed ones below.
        let open = self.open_run_late_enough(stream, label, from, ms)?;
        for segment in self.sealed_segments() {
            let extent = self.extent_of(&segment, stream)?;
            if extent.is_some_and(|extent| extent.end.0 > from && extent.max_timestamp_ms >= ms) {
                let runs = self.sealed_runs(&segment, stream, from)?;
                if let Some(run) = runs.into_iter().find(|run| run.latest_ms >= ms) {
                    return Ok(Ok(run));
                }
            }
        }
        Ok(open)
    }

    fn open_run_late_enough(
        &self,
        stream: StreamId,
        label: &Arc<str>,
        from: u64,
        ms: i64,
    ) -> Result<Result<Run, u64>> {
        let mut next = from;
        loop {
            let mut writer = self.writer.lock();
            writer.settle(&self.ring);
            let state = writer.stream(stream).ok_or_else(|| self.no_stream(label))?;
            let mut looked = 0;
            for run in runs_beyond(&state.runs, state.end, next).take(RUNS_AT_ONCE) {
                if run.latest_ms >= ms {
                    return Ok(Ok(run));
                }
                next = run.end;
                looked += 1;
            }
            if looked < RUNS_AT_ONCE {
                return Ok(Err(state.end));
            }
        }
    }

    /// The runs of the open segment that reach beyond `from`.
    fn open_runs(&self, stream: StreamId, from: u64) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        loop {
            let next = runs.last().map_or(from, |run| run.end);
            let before = runs.len();
            let mut writer = self.writer.lock();
            writer.settle(&self.ring);
            if let Some(state) = writer.stream(stream) {
                runs.extend(runs_beyond(&state.runs, state.end, next).take(RUNS_AT_ONCE));
            }
            if runs.len() - before < RUNS_AT_ONCE {
                return runs;
            }
        }
    }

    fn sealed_runs(&self, segment: &Arc<Segment>, stream: StreamId, from: u64) -> Result<Vec<Run>> {
        let index = self.index_of(segment)?;
        let at = index.streams.binary_search_by_key(&stream, |entry| entry.stream);
        let of = |entry: &StreamIndex| runs_beyond(&entry.runs, entry.end.0, from).collect();
        Ok(at.map_or_else(|_| Vec::new(), |at| of(&index.streams[at])))
    }

    fn sealed_segments(&self) -> Vec<Arc<Segment>> {
        let segments = self.segments.read();
        segments.values().filter(|segment| segment.is_sealed()).cloned().collect()
    }

    fn extent_of(&self, segment: &Arc<Segment>, stream: StreamId) -> Result<Option<Extent>> {
        let extents = self.extents_of(segment)?;
        let at = extents.binary_search_by_key(&stream, |extent| extent.stream);
        Ok(at.ok().map(|at| extents[at]))
    }
}

/// Whether a record at `offset` with this time, or one after it, may take the place of `best`.
fn may_beat(best: Option<TimedOffset>, timestamp_ms: i64, offset: u64) -> bool {
    best.is_none_or(|best| {
        timestamp_ms > best.timestamp_ms
            || (timestamp_ms == best.timestamp_ms && offset < best.offset.0)
    })
}

/// Gives the visible records of a run from `from` on, until `each` says that it has enough; whether
/// all of the run was visible.
fn read_run(
    cursor: &mut Cursor,
    run: Run,
    from: u64,
    each: &mut dyn FnMut(TimedOffset) -> bool,
) -> Result<bool> {
    let from = run.first.max(from);
    cursor.seek(from);
    while cursor.next_offset() < run.end {
        let Some((header, batch)) = cursor.next_batch()? else { return Ok(false) };
        for record in header.records(&header.plain(&batch)?) {
            let record = record?;
            let (offset, timestamp_ms) = (record.offset(), record.timestamp_ms());
            if offset >= Offset(from) && !each(TimedOffset { offset, timestamp_ms }) {
                return Ok(true);
            }
        }
    }
    Ok(true)
}
