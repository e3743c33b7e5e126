//! What an inspection tells: plain values, ready to be printed.

use std::path::PathBuf;

use serde::Serialize;
use uuid::Uuid;

use crate::config::Flush;
use crate::ids::{LeaderEpoch, Position};

/// What a data directory says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DirectoryInfo {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// The engine's identity.
    pub uuid: Uuid,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Version of the disk format.
    pub format_version: u32,
    /// Whether somebody writes there now.
    pub has_writer: bool,
    /// The topics, by name, as far as the metadata log can be read.
    pub topics: Vec<TopicEntry>,
}

/// A topic, as the metadata log has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TopicEntry {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: Uuid,
    /// Its flush class.
    pub flush: Flush,
    /// How many partitions it has.
    pub partitions: u32,
    /// Where its partitions are, run by run, partition 0 first.
    pub placement: Vec<PlacementEntry>,
}

/// Where a run of a topic's partitions is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlacementEntry {
    /// Number of the log.
    pub log: u32,
    /// Stream of the run's first partition in that log; the others follow.
    pub first_stream: u32,
    /// How many partitions the run has.
    pub partitions: u32,
}

/// A log and its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogInfo {
    /// Its number.
    pub id: u32,
    /// Its directory.
    pub path: PathBuf,
    /// Its identity, if a checkpoint can be read.
    pub uuid: Option<Uuid>,
    /// Its flush class, if the metadata log knows it.
    pub flush: Option<Flush>,
    /// Its checkpoints, newest first.
    pub checkpoints: Vec<CheckpointInfo>,
    /// Its segment files, by base.
    pub segments: Vec<SegmentInfo>,
    /// Its index files, by base.
    pub indexes: Vec<IndexInfo>,
    /// Its ring file, if it has one.
    pub ring: Option<RingInfo>,
    /// What is wrong with these files, as far as their headers tell.
    pub findings: Vec<Finding>,
}

/// A checkpoint file that verifies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckpointInfo {
    /// The file.
    pub path: PathBuf,
    /// The higher of two is the newer.
    pub sequence: u64,
    /// Recovery scans from here; all below is durable.
    pub position: Position,
    /// Epoch of its writer.
    pub epoch: LeaderEpoch,
    /// Left by a clean close.
    pub clean: bool,
    /// How many segments it lists.
    pub segments: usize,
    /// How many streams it knows.
    pub streams: usize,
    /// Size of the metadata log's state in it, in bytes.
    pub snapshot_bytes: usize,
}

/// What a segment file is to its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SegmentState {
    /// The newest checkpoint lists it.
    Live,
    /// Made since the checkpoint, ahead of need: the next open takes it.
    Prepared,
    /// Holds nothing live; the next open removes it.
    Retired,
    /// Set aside to be recycled.
    Spare,
    /// The checkpoint lists it, and it is not there.
    Missing,
    /// Not of this log, or not where it would be; never touched.
    Stranger,
}

/// A segment file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// The file.
    pub path: PathBuf,
    /// Position of its first byte, by its name.
    pub base: Position,
    /// Its length in bytes; what it should be, if it is missing.
    pub len_bytes: u64,
    /// What it is.
    pub state: SegmentState,
    /// From its header, if that verifies: the most bytes ever written past the durable end.
    pub in_flight_limit_bytes: Option<u64>,
}

/// An index file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IndexInfo {
    /// The file.
    pub path: PathBuf,
    /// Base position of its segment, by its name.
    pub base: Position,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Up to where it indexes, if it verifies.
    pub end: Option<Position>,
    /// How many streams it has, if it verifies.
    pub streams: Option<usize>,
    /// How many runs it has, if it verifies.
    pub runs: Option<usize>,
}

/// A ring file, and what the next open would take from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RingInfo {
    /// The file.
    pub path: PathBuf,
    /// Length of the tail in bytes.
    pub len_bytes: u64,
    /// Whether it says that it is this log's.
    pub ours: bool,
    /// Epoch of its last writer, as it says.
    pub epoch: u64,
    /// The committed end, as it says.
    pub committed: Position,
    /// The durable end, as it says.
    pub durable: Position,
    /// The oldest position still whole, as it says.
    pub lo: Position,
    /// Bytes of groups that the next open would take from it; none after a clean close.
    pub replay_bytes: u64,
    /// Frames in these.
    pub replay_frames: u64,
    /// Bytes that were committed and are gone.
    pub lost_bytes: u64,
}

/// Where a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct End {
    /// Where the next group would start.
    pub position: Position,
    /// The log was closed cleanly, and nothing was written since.
    pub clean: bool,
    /// Bytes of a torn tail, left by an unclean death, that the next open cuts; at least these.
    pub torn_bytes: u64,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing, and no damage: a torn tail, what an interrupted step left, a stranger's file.
    Note,
    /// Bytes are not as they were written, or are gone.
    Damage,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The file, or the directory where a file is missing.
    pub path: PathBuf,
    /// Where in the file.
    pub at: u64,
    /// What.
    pub what: String,
    /// How bad.
    pub severity: Severity,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = match self.severity {
            Severity::Note => "note",
            Severity::Damage => "damage",
        };
        write!(f, "{}: {word} at byte {}: {}", self.path.display(), self.at, self.what)
    }
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// Logs.
    pub logs: u64,
    /// Segments with groups of the log, or room for them.
    pub segments: u64,
    /// Whole groups.
    pub groups: u64,
    /// Whole frames.
    pub frames: u64,
    /// Whole record batches.
    pub batches: u64,
    /// Records in these.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// What [`verify`](super::Inspector::verify) found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What was found, in the order of reading.
    pub findings: Vec<Finding>,
    /// Findings beyond the most that are kept.
    pub more_findings: u64,
    /// Whether any finding, kept or not, is damage.
    pub damaged: bool,
    /// How much was read.
    pub totals: Totals,
}

impl Report {
    /// Nothing is damaged; there may be notes.
    pub fn is_whole(&self) -> bool {
        !self.damaged
    }

    /// The findings that are damage.
    pub fn damage(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Damage)
    }
}
