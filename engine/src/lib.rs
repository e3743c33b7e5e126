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
pub use error::{Error, ErrorKind, Result};
pub use format::record_batch::{Headers, Record, RecordView};
pub use ids::{LeaderEpoch, Offset, PartitionId, Position};

/// The record batch codec, for this project's own tests and benchmarks; no part of the API.
#[doc(hidden)]
pub mod raw {
    pub use crate::format::record_batch::{
        BatchError, BatchHeader, Records, check, encode, encoded_len, place, records, verify_crc,
    };
}
