//! The files of one log and what each of them is: the same rules as recovery's, without its hands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::info::{
    CheckpointInfo, Finding, IndexInfo, LogInfo, SegmentInfo, SegmentState, Severity,
};
use super::names::Names;
use super::{is_live, ring};
use crate::driver::disk::{Disk, DiskRef, full_path, io_error};
use crate::error::{Error, Result};
use crate::format::checkpoint::Checkpoint;
use crate::format::index::SegmentIndex;
use crate::ids::{LogId, Position};
use crate::log::checkpoints;
use crate::log::segment::{self, Segment, file_name};

const INDEX_SUFFIX: &str = ".idx";
/// How often files are looked at again, and after how long, that do not fit together beside a
/// writer.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(2);
const KNOWN: [&str; 3] = ["ring", "WAITERS", "reserve"];

/// See the module.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) id: LogId,
    pub(super) dir: String,
    /// The newest that verifies.
    pub(super) checkpoint: Option<Checkpoint>,
    /// Every one that verifies, newest first.
    pub(super) checkpoints: Vec<Checkpoint>,
    /// Live and prepared segments whose files are there.
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
    pub(super) files: Vec<SegmentInfo>,
    /// Bases of index files, and their lengths.
    pub(super) indexes: BTreeMap<u64, u64>,
    pub(super) ring_bytes: Option<u64>,
    /// What was found wrong so far.
    pub(super) findings: Vec<Finding>,
    /// Bytes of all files that are read.
    pub(super) total_bytes: u64,
}

/// The logs that have a directory.
pub(super) fn log_dirs(disk: &dyn Disk) -> Result<Vec<LogId>> {
    let entries = disk.list("").map_err(io_error(disk, "list", ""))?;
    let dirs = entries.iter().filter(|entry| entry.is_dir);
    let mut logs: Vec<LogId> = dirs.filter_map(|entry| parse_log(&entry.name)).collect();
    logs.sort_unstable();
    Ok(logs)
}

/// The number in a log directory's name.
pub(super) fn parse_log(name: &str) -> Option<LogId> {
    let id = LogId(name.strip_prefix("log-")?.parse().ok()?);
    (id.dir() == name).then_some(id)
}

fn parse_index(name: &str) -> Option<u64> {
    segment::parse_name(&format!("{}.log", name.strip_suffix(INDEX_SUFFIX)?))
}

impl Layout {
    /// Reads it again as long as a writer may have changed it meanwhile.
    pub(super) fn read(disk: &dyn Disk, id: LogId) -> Result<Self> {
        let mut tries = 0;
        loop {
            let layout = Self::read_once(disk, id)?;
            let damaged = layout.findings.iter().any(|found| found.severity == Severity::Damage);
            tries += 1;
            if !damaged || tries > TRIES || !is_live(disk) {
                return Ok(layout);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Of a log without a file.
    pub(super) fn nothing(id: LogId) -> Self {
        Self {
            id,
            checkpoint: None,
            checkpoints: Vec::new(),
            segments: BTreeMap::new(),
            files: Vec::new(),
            indexes: BTreeMap::new(),
            ring_bytes: None,
            findings: Vec::new(),
            total_bytes: 0,
            dir: id.dir(),
        }
    }

    fn read_once(disk: &dyn Disk, id: LogId) -> Result<Self> {
        let mut layout = Self::nothing(id);
        let listed = disk.list(&layout.dir).map_err(io_error(disk, "list", &layout.dir))?;
        let mut found = BTreeMap::new();
        let mut sequences = Vec::new();
        for entry in &listed {
            let path = full_path(disk, &format!("{}/{}", layout.dir, entry.name));
            if let Some(base) = segment::parse_name(&entry.name) {
                found.insert(base, entry.len_bytes);
            } else if let Some(sequence) = checkpoints::parse_name(&entry.name) {
                sequences.push(sequence);
            } else if let Some(base) = parse_index(&entry.name) {
                layout.indexes.insert(base, entry.len_bytes);
                layout.total_bytes += entry.len_bytes;
            } else if segment::is_spare(&entry.name) {
                layout.file(path, 0, entry.len_bytes, SegmentState::Spare, None);
            } else if segment::is_unfinished(&entry.name) || entry.name == "ring.new" {
                layout.note(path, "left over from an interrupted step");
            } else if entry.name == "ring" {
                layout.ring_bytes = Some(entry.len_bytes);
                layout.total_bytes += entry.len_bytes;
            } else if !KNOWN.contains(&entry.name.as_str()) {
                layout.note(path, "not a file of ringlog's");
            }
        }
        sequences.sort_unstable_by(|a, b| b.cmp(a));
        layout.read_checkpoints(disk, &sequences);
        layout.take_listed(disk, &mut found);
        for (base, len) in found {
            layout.take_unlisted(disk, base, len);
        }
        layout.files.sort_by_key(|file| file.base);
        Ok(layout)
    }

    pub(super) fn damage(&mut self, path: PathBuf, at: u64, what: impl Into<String>) {
        let finding = Finding { path, at, what: what.into(), severity: Severity::Damage };
        self.findings.push(finding);
    }

    fn note(&mut self, path: PathBuf, what: &str) {
        let finding = Finding { path, at: 0, what: what.to_owned(), severity: Severity::Note };
        self.findings.push(finding);
    }

    fn file(
        &mut self,
        path: PathBuf,
        base: u64,
        len_bytes: u64,
        state: SegmentState,
        in_flight_limit_bytes: Option<u64>,
    ) {
        let base = Position(base);
        self.files.push(SegmentInfo { path, base, len_bytes, state, in_flight_limit_bytes });
    }

    /// Each must verify, and the newest two must be there.
    fn read_checkpoints(&mut self, disk: &dyn Disk, sequences: &[u64]) {
        for sequence in sequences {
            let name = checkpoints::path(&self.dir, *sequence);
            let path = full_path(disk, &name);
            let bytes = match checkpoints::read_all(disk, &name) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.damage(path, 0, format!("cannot be read: {error}"));
                    continue;
                }
            };
            self.total_bytes += bytes.len() as u64;
            match Checkpoint::decode(&bytes) {
                Ok(found) if found.sequence != *sequence => {
                    let what = format!("has sequence number {:x}, not its name's", found.sequence);
                    self.damage(path, 40, what);
                }
                Ok(found) if self.checkpoints.iter().any(|other| other.log != found.log) => {
                    self.damage(path, 16, "checkpoint of another log");
                }
                Ok(found) => self.checkpoints.push(found),
                Err(error) => self.damage(path, 0, error.to_string()),
            }
        }
        self.checkpoint = self.checkpoints.first().cloned();
        let dir = full_path(disk, &self.dir);
        match sequences {
            [] => self.damage(dir, 0, "no checkpoint file is there"),
            // Two are kept from the second one on.
            [newest, rest @ ..] if *newest > 1 && rest.first() != Some(&(newest - 1)) => {
                let name = checkpoints::path(&self.dir, newest - 1);
                self.damage(
                    full_path(disk, &name),
                    0,
                    "checkpoint file is missing, or a newer one is",
                );
            }
            _ => {}
        }
    }

    /// The segments of the newest checkpoint: there, as long as they should be, with their headers.
    fn take_listed(&mut self, disk: &dyn Disk, found: &mut BTreeMap<u64, u64>) {
        let Some(checkpoint) = self.checkpoint.clone() else { return };
        let mut end = 0;
        for entry in &checkpoint.segments {
            let (base, len) = (entry.base.0, entry.len_bytes);
            let segment = Segment::new(self.id, base, len);
            let path = full_path(disk, segment.path());
            if base < end {
                let listed = full_path(disk, &checkpoints::path(&self.dir, checkpoint.sequence));
                self.damage(listed, 80, format!("segment {base:016x} overlaps the one before"));
                continue;
            }
            end = segment.end();
            let Some(found_len) = found.remove(&base) else {
                self.damage(path.clone(), 0, "segment file is missing");
                self.file(path, base, len, SegmentState::Missing, None);
                continue;
            };
            self.total_bytes += found_len;
            if found_len != len {
                let what = format!("segment is {found_len} bytes long, not {len}");
                self.damage(path.clone(), found_len.min(len), what);
            }
            let limit = self.header(disk, &segment, &checkpoint);
            self.file(path, base, found_len, SegmentState::Live, limit);
            self.segments.insert(base, Arc::new(segment));
        }
        // A third one may be left, whose removal was lost with the power; nobody needs it.
        for older in self.checkpoints.clone().iter().take(checkpoints::KEPT).skip(1) {
            for entry in &older.segments {
                // Until two checkpoints do without it, a segment's file stays.
                let base = entry.base.0;
                if !self.segments.contains_key(&base) && !found.contains_key(&base) {
                    self.missing_for_older(disk, base, &checkpoint);
                }
            }
        }
    }

    fn missing_for_older(&mut self, disk: &dyn Disk, base: u64, newest: &Checkpoint) {
        if newest.segments.iter().all(|entry| entry.base.0 != base) {
            let path = full_path(disk, &format!("{}/{}", self.dir, file_name(base)));
            self.damage(path, 0, "segment file of the older checkpoint is missing");
        }
    }

    /// Proves a header against name and checkpoint; its in-flight limit.
    fn header(
        &mut self,
        disk: &dyn Disk,
        segment: &Segment,
        checkpoint: &Checkpoint,
    ) -> Option<u64> {
        let path = full_path(disk, segment.path());
        match segment::read_header(disk, segment.path(), Some(checkpoint.log)) {
            Ok(header) => {
                if header.base.0 != segment.base() {
                    self.damage(path.clone(), 32, "base position differs from the file's name");
                }
                if header.len_bytes != segment.len() {
                    self.damage(path, 40, "length differs from the checkpoint's");
                }
                Some(header.in_flight_limit_bytes)
            }
            Err(Error::Corrupt { at, reason, .. }) => {
                self.damage(path, at, reason);
                None
            }
            Err(error) => {
                self.damage(path, 0, error.to_string());
                None
            }
        }
    }

    /// A segment that the checkpoint does not list: made after it, retired before it, or a
    /// stranger. One that must be the next has a header that verifies: it was flushed before the
    /// file got its name.
    fn take_unlisted(&mut self, disk: &dyn Disk, base: u64, len: u64) {
        let name = format!("{}/{}", self.dir, file_name(base));
        let path = full_path(disk, &name);
        let Some(checkpoint) = self.checkpoint.clone() else {
            return self.file(path, base, len, SegmentState::Stranger, None);
        };
        let next = checkpoint.segments.iter().map(|entry| entry.base.0 + entry.len_bytes).max();
        let next = self.segments.values().next_back().map(|last| last.end()).max(next);
        let header = segment::read_header(disk, &name, Some(checkpoint.log)).ok();
        let header = header.filter(|header| header.base.0 == base);
        if let Some(next) = next
            && (base == next || (base > next && header.is_some()))
        {
            if base > next {
                let path = full_path(disk, &format!("{}/{}", self.dir, file_name(next)));
                let what = format!("segment file is missing, and {base:016x} is there");
                self.damage(path.clone(), 0, what);
                self.file(path, next, base - next, SegmentState::Missing, None);
            }
            let should = header.map_or(len, |header| header.len_bytes);
            if len != should {
                let what = format!("segment is {len} bytes long, not {should}");
                self.damage(path.clone(), len.min(should), what);
            }
            let segment = Segment::new(self.id, base, should);
            let limit = self.header(disk, &segment, &checkpoint);
            self.total_bytes += len;
            self.file(path, base, len, SegmentState::Prepared, limit);
            self.segments.insert(base, Arc::new(segment));
            return;
        }
        if header.is_some() && base < checkpoint.position.0 {
            self.note(path.clone(), "holds nothing live, and was not removed yet");
            self.file(path, base, len, SegmentState::Retired, None);
        } else {
            self.note(path.clone(), "no segment of this log, or not where it would be");
            self.file(path, base, len, SegmentState::Stranger, None);
        }
    }

    /// What is told of the log.
    pub(super) fn info(mut self, disk: &DiskRef, names: &Names) -> LogInfo {
        let ring = ring::inspect(disk, &self).unwrap_or_else(|error| {
            let path = full_path(&**disk, &format!("{}/ring", self.dir));
            self.damage(path, 0, error.to_string());
            None
        });
        LogInfo {
            id: self.id.0,
            path: full_path(&**disk, &self.dir),
            uuid: self.checkpoint.as_ref().map(|checkpoint| checkpoint.log),
            flush: names.flush(self.id),
            checkpoints: self.checkpoints.iter().map(|c| self.checkpoint_info(disk, c)).collect(),
            indexes: self.indexes.iter().map(|(base, len)| self.index(disk, *base, *len)).collect(),
            segments: self.files,
            ring,
            findings: self.findings,
        }
    }

    fn checkpoint_info(&self, disk: &DiskRef, checkpoint: &Checkpoint) -> CheckpointInfo {
        CheckpointInfo {
            path: full_path(&**disk, &checkpoints::path(&self.dir, checkpoint.sequence)),
            sequence: checkpoint.sequence,
            position: checkpoint.position,
            epoch: checkpoint.epoch,
            clean: checkpoint.clean,
            segments: checkpoint.segments.len(),
            streams: checkpoint.streams.len(),
            snapshot_bytes: checkpoint.snapshot.len(),
        }
    }

    fn index(&self, disk: &DiskRef, base: u64, len_bytes: u64) -> IndexInfo {
        let name = format!("{}/{base:016x}{INDEX_SUFFIX}", self.dir);
        let bytes = checkpoints::read_all(&**disk, &name).ok();
        let index = bytes.and_then(|bytes| SegmentIndex::decode(&bytes).ok());
        IndexInfo {
            path: full_path(&**disk, &name),
            base: Position(base),
            len_bytes,
            end: index.as_ref().map(|index| index.end),
            streams: index.as_ref().map(|index| index.streams.len()),
            runs: index.as_ref().map(|i| i.streams.iter().map(|s| s.runs.len()).sum()),
        }
    }
}
