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
    /// Partitions of the topic, or what the target has in their place.
    pub partitions: u32,
    /// Size of a segment.
    pub segment_bytes: Option<u64>,
    /// Size of the ring.
    pub ring_bytes: Option<usize>,
    /// Size at which a group is closed.
    pub group_bytes: Option<usize>,
    /// Size up to which single records join one batch.
    pub batch_bytes: Option<usize>,
    /// Most groups in flight.
    pub groups_in_flight: Option<usize>,
    /// How many shards flush.
    pub shards: Option<usize>,
    /// How the engine does its I/O.
    pub backend: Backend,
}

/// A log that records are appended to. Every call is one batch of one or more values.
pub trait Target: Sync + Sized {
    /// Resolves when the batch is acknowledged.
    type Pending: Future<Output = Result<()>>;

    /// A new log in `dir`, which exists and is empty.
    fn open(dir: &Path, setup: &Setup) -> Result<Self>;

    /// Appends to a partition and waits for the acknowledgement.
    fn append(&self, partition: u32, values: &[&[u8]]) -> Result<()>;

    /// Appends to a partition; the values are taken before the return.
    fn submit(&self, partition: u32, values: &[&[u8]]) -> Self::Pending;

    /// Number of records appended to the first partition so far.
    fn end(&self) -> u64;

    /// Forgets all records of the first partition below number `start`. Workloads with more than
    /// one partition are not trimmed.
    fn trim(&self, start: u64) -> Result<()>;

    /// Bytes of log written so far, headers and padding included, where the target counts them.
    fn log_bytes(&self) -> Option<u64>;

    /// Processes besides this one that do its work, whose costs are its own: a server.
    fn helpers(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Closes cleanly.
    fn close(self) -> Result<()>;
}
