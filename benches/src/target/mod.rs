//! What a workload is run against. The engine is one target; a peer would be another.

pub mod null;

pub mod ringlog;

use std::path::Path;

use crate::cli::Backend;
use crate::error::Result;

/// When an append is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It survives the process.
    Written,
    /// It is on stable storage.
    Durable,
}

/// How to set a target up; `None` is the target's own default.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Acknowledgement level of every append.
    pub level: Level,
    /// Size of a segment.
    pub segment_bytes: Option<u64>,
    /// Size of the ring.
    pub ring_bytes: Option<usize>,
    /// Size at which a group is closed.
    pub group_bytes: Option<usize>,
    /// Most groups in flight.
    pub groups_in_flight: Option<usize>,
    /// How the engine does its I/O.
    pub backend: Backend,
}

/// A log that records are appended to. Every call is one batch of one or more values.
pub trait Target: Sync + Sized {
    /// Resolves when the batch is acknowledged.
    type Pending: Future<Output = Result<()>>;

    /// A new log in `dir`, which exists and is empty.
    fn open(dir: &Path, setup: &Setup) -> Result<Self>;

    /// Appends and waits for the acknowledgement.
    fn append(&self, values: &[&[u8]]) -> Result<()>;

    /// Appends; the values are taken before the return.
    fn submit(&self, values: &[&[u8]]) -> Self::Pending;

    /// Number of records appended so far.
    fn end(&self) -> u64;

    /// Forgets all records below number `start`.
    fn trim(&self, start: u64) -> Result<()>;

    /// Bytes of log written so far, headers and padding included, where the target counts them.
    fn log_bytes(&self) -> Option<u64>;

    /// Closes cleanly.
    fn close(self) -> Result<()>;
}
