//! Newtypes for the numbers that cross boundaries, so that an offset is never taken for a position.

use std::fmt;
use std::ops::{Add, Sub};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// A record's place in its partition: dense from 0, at most `i64::MAX` as in Kafka.
    Offset(u64)
}
number! {
    /// A byte position in a log; position minus segment base is the offset in the file.
    Position(u64)
}
number! {
    /// Names a tenure of a log's writer; with a position it names content for ever.
    LeaderEpoch(u32)
}
number! {
    /// A partition's number within its topic, from 0.
    PartitionId(u32)
}
number! {
    /// A partition's number within its log; never reused. Frames carry it.
    StreamId(u32)
}
number! {
    /// The number of a log directory, `log-<id>`.
    LogId(u32)
}

/// Where a record is in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct RecordId {
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset there.
    pub offset: Offset,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}

/// A record's offset with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TimedOffset {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, in milliseconds since the epoch.
    pub timestamp_ms: i64,
}

/// The offsets that an append was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of its first record.
    pub first: Offset,
    /// Of its last record.
    pub last: Offset,
}

impl Add<u64> for Offset {
    type Output = Self;
    fn add(self, rhs: u64) -> Self {
        Self(self.0 + rhs)
    }
}

impl Add<u64> for Position {
    type Output = Self;
    fn add(self, rhs: u64) -> Self {
        Self(self.0 + rhs)
    }
}

impl Sub for Position {
    type Output = u64;
    fn sub(self, rhs: Self) -> u64 {
        self.0 - rhs.0
    }
}

impl LogId {
    /// The directory of this log below the data directory.
    pub fn dir(self) -> String {
        format!("log-{:03}", self.0)
    }
}
