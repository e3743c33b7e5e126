//! Ringlog: a durable commit log that lives in your process.
//!
//! To come.

#![allow(dead_code, reason = "under construction")]

mod buf;
mod clock;
mod driver;
mod error;
mod format;
mod ids;
mod limits;

pub use clock::Clock;
#[cfg(feature = "sim")]
pub use driver::sim;
pub use error::{Error, ErrorKind, Result};
pub use format::record_batch::{Headers, Record, RecordView};
pub use ids::{LeaderEpoch, Offset, PartitionId, Position};

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
