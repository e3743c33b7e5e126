//! Ringlog: a durable commit log that lives in your process.
//!
//! To come.

#![allow(dead_code, reason = "under construction")]

mod buf;
mod clock;
mod config;
mod driver;
mod engine;
mod error;
mod format;
mod ids;
pub mod inspect;
mod limits;
mod log;
mod metrics;
mod park;
mod shard;
mod topic;

pub use clock::Clock;
pub use config::{Ack, Backend, Flush, Options};
#[cfg(feature = "sim")]
pub use driver::sim;
pub use engine::{Capabilities, Engine, LogCapabilities, Stat};
pub use error::{Error, ErrorKind, PartOutcome, Result};
pub use format::record_batch::{Headers, Record, RecordView};
pub use ids::{Appended, LeaderEpoch, Offset, PartitionId, Position, RecordId};
pub use metrics::{Latency, LogMetrics, Metrics, Recovery};
pub use topic::append::{AppendFuture, AppendOptions};
pub use topic::keyed::{TopicAppend, TopicAppended};
pub use topic::partition::Partition;
pub use topic::read::{Batch, BatchIter, Follow, OwnedRecord, Reader, Records, Start};
pub use topic::read_all::{TopicFollow, TopicReader, TopicRecords};
pub use topic::{PartitionInfo, Topic, TopicInfo, TopicSpec};

/// Internals for this repository's own tests and benchmarks; no part of the API, never stable.
#[doc(hidden)]
pub mod raw {
    pub use crate::buf::{AlignedBuf, RingMap, Slice, Waker};
    pub use crate::driver::blocking::Blocking;
    pub use crate::driver::disk::{
        Descriptors, Disk, DiskFacts, DiskFile, DiskRef, FileRef, LockGuard, OpenMode,
    };
    pub use crate::driver::op::{Completion, Driver, Op, Token};
    pub use crate::driver::os::OsDisk;
    pub use crate::driver::uring::{Uring, UringUnavailable, leaked_ops};
    pub use crate::driver::{Chosen, DriverChoice, choose};
    pub use crate::format::record_batch::{
        BatchError, BatchHeader, Records, check, encode, encoded_len, place, records, verify_crc,
    };
}
