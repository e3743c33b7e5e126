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
pub use ids::{LeaderEpoch, Offset, PartitionId, Position};
