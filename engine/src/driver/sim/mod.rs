//! The simulated disk: a data directory in memory that forgets, tears, reorders and fails as real
//! ones do, driven by one seed. Recovery is proven on it.
//!
//! What it models, each rule as weak as a real device may be:
//!
//! - A completed write is visible. It is stable only after a flush that was *submitted after* the
//!   write had *completed*; a durable write makes its own sectors (and the length that reads them
//!   back) stable and nothing else, unless [`SimConfig::fua`] is off.
//! - A power loss keeps any subset of the sectors of every other write, completed or in flight; any
//!   of the lengths that a file had since its last flush; any subset of the directory changes that
//!   no `sync_dir` covers, in order; and of each page of a ring the current bytes, some older ones,
//!   or zeros.
//! - A killed process keeps everything completed and its rings; each op in flight lands whole, in
//!   part or not at all before the successor starts, and never later.
//! - A failed flush drops what it should have made stable, and the next one succeeds. A failed
//!   write leaves any of its sectors; a failed change of names may have taken effect.
//! - A kill comes at any operation, or at a [`Moment`] between two; whatever the dead code still
//!   stores into a ring then, its successor does not find.
//! - Any operation fails once with what one asks for, or all of them from one on; an op never
//!   completes; nothing completes; there is no space; nothing may be changed.
//!
//! It owns its bytes, its time and its randomness, and must never ask the real system for any of
//! them: the same seed and the same calls give the same bytes. (Memory of rings is real, because
//! mappings are; the real clock is used only to sleep in [`SimDriver::with_waker`].)
//!
//! A crash hands out a *new* disk; handles, drivers, rings and locks of the old one stay behind
//! with the dead, where every call fails. So a test need not wait until its engine has unwound.
//!
//! What it leaves out: reads that see a write in flight, a rename that leaves both names or none
//! (journals make it atomic), and slow-path calls that a freeze blocks.

mod crash;
mod dir;
mod disk;
mod driver;
mod file;
mod ring;
mod rng;
mod state;
mod stats;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use crate::buf::{AlignedBuf, RingMap, Slice, Waker};
pub use crate::clock::Clock;
pub use crate::driver::disk::{DirEntry, Disk, DiskFacts, DiskFile, FileRef, LockGuard, OpenMode};
pub use crate::driver::op::{Completion, Driver, Op, Token};
pub use crate::moment::Moment;
pub use disk::SimDisk;
pub use driver::SimDriver;
pub use stats::SimStats;

/// In which order ops complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By their seeded delays, so that later ones overtake earlier ones.
    Any,
    /// As they were submitted, across all drivers of the disk.
    Submitted,
}

/// What kind of disk to simulate.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// All randomness comes from it.
    pub seed: u64,
    /// Unit of tearing in bytes: 512 or 4096.
    pub sector: usize,
    /// True: a durable write makes itself stable, a flush its file. False: a plain write-back
    /// cache, where either empties it, so everything that had completed becomes stable with it.
    pub fua: bool,
    /// In which order ops complete.
    pub order: Order,
    /// Ops take up to this long, in simulated time; zero: they complete at the next `wait`.
    pub latency_max: Duration,
    /// Moved on (if it is a manual one) as simulated time passes in `wait`.
    pub clock: Clock,
    /// As in [`DiskFacts`].
    pub direct_io: bool,
    /// As in [`DiskFacts`].
    pub volatile: Option<String>,
    /// As in [`DiskFacts`]; rings are then refused.
    pub no_file_ring: Option<String>,
    /// Rings are remembered every so many operations, for power losses to bring back; zero: only
    /// when [`SimDisk::note_ring_snapshot`] is called.
    pub ring_snapshot_every: u64,
    /// Whether a power loss may leave a ring too short (it is never synced, so its length is not
    /// safe); `open_ring` then fails with `InvalidData`.
    pub ring_may_shrink: bool,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            sector: 512,
            fua: true,
            order: Order::Any,
            latency_max: Duration::from_micros(200),
            clock: Clock::manual(),
            direct_io: true,
            volatile: None,
            no_file_ring: None,
            ring_snapshot_every: 256,
            ring_may_shrink: true,
        }
    }
}

impl SimConfig {
    /// The default disk with this seed: 512-byte sectors, FUA, out of order.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }
}

/// How the world ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed: page cache and rings stay.
    Process,
    /// The power fails: only what is stable stays for sure.
    Power,
}

/// Which operations a fault hits, counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOp {
    /// Whatever comes, as far as it can say so: only what needs space says ENOSPC, only what opens
    /// a file EMFILE.
    Any,
    /// Writes through a driver or a file.
    Write,
    /// Flushes through a driver, and `sync` of a file.
    Flush,
    /// Allocation of space.
    Allocate,
    /// `sync_dir`.
    SyncDir,
    /// Reads of files.
    Read,
    /// New files and directories, renames and removals.
    Name,
    /// Opening files and listing directories; lengths and link counts.
    Look,
    /// Making and mapping rings.
    Ring,
}

/// What a fault says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// EIO.
    Io,
    /// ENOSPC.
    NoSpace,
    /// EMFILE.
    Descriptors,
}

/// A lasting state of the filesystem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Everything works.
    #[default]
    Normal,
    /// What needs space (allocation, new files and directories, growth) fails with ENOSPC.
    Full,
    /// What changes anything fails with EROFS.
    ReadOnly,
    /// Everything fails with EIO: the device is gone.
    Broken,
}
