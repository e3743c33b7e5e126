//! Topics: named sets of partitions. A partition is a stream of one log; these handles add names,
//! record batches and waiting to what the log does.

pub(crate) mod append;
#[cfg(feature = "arrow")]
pub(crate) mod arrow;
pub(crate) mod catalog;
pub(crate) mod completion;
pub(crate) mod extents;
pub(crate) mod keyed;
pub(crate) mod keys;
pub(crate) mod partition;
pub(crate) mod read;
pub(crate) mod read_all;
pub(crate) mod send;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::config::{Compression, Flush, TimestampType};
use crate::error::{Error, Result};
use crate::ids::{Offset, PartitionId};
use crate::limits::{TOPIC_NAME_BYTES_MAX, TOPIC_PARTITIONS_MAX};
use crate::log::Log;

use catalog::TopicMeta;
use partition::Partition;

/// What handles need of their engine, which they keep alive.
pub(crate) trait Host: Send + Sync {
    /// Polls until ready or until the deadline; turns the shard meanwhile where nobody else does.
    fn block_on(
        &self,
        timeout: Duration,
        poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> bool;
    /// Whether no thread turns the shards but that of a blocking call.
    fn is_caller_driven(&self) -> bool;
    /// Ends the sleep of whoever turns a shard. May be called from a signal handler.
    fn wake_shards(&self);
    /// The deadline of calls that name none.
    fn append_timeout(&self) -> Duration;
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> i64;
}

/// What a new topic shall be.
///
/// ```
/// use ringlog::{Flush, TopicSpec};
/// let spec = TopicSpec::new("orders").partitions(4).flush(Flush::Async);
/// # let _ = spec;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct TopicSpec {
    pub(crate) name: String,
    pub(crate) partitions: u32,
    pub(crate) flush: Flush,
    pub(crate) compression: Compression,
    pub(crate) timestamps: TimestampType,
}

impl TopicSpec {
    /// One partition, `sync`, uncompressed, with the appenders' timestamps.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: 1,
            flush: Flush::Sync,
            compression: Compression::None,
            timestamps: TimestampType::CreateTime,
        }
    }

    /// How many partitions (default 1).
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Its flush class (default `sync`).
    pub fn flush(mut self, flush: Flush) -> Self {
        self.flush = flush;
        self
    }

    /// How its batches are compressed, where the append does not say (default: not at all).
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Whose time its records have (default: the appenders').
    pub fn timestamps(mut self, timestamps: TimestampType) -> Self {
        self.timestamps = timestamps;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let name = &self.name;
        if name.is_empty() || name.len() > TOPIC_NAME_BYTES_MAX || name == "." || name == ".." {
            let reason = format!("\"{name}\" is not 1 to {TOPIC_NAME_BYTES_MAX} bytes long");
            return Err(Error::invalid("topic name", reason));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(illegal) = name.chars().find(|c| !legal(*c)) {
            let reason = format!("\"{name}\" has {illegal:?}; letters, digits, . _ - are allowed");
            return Err(Error::invalid("topic name", reason));
        }
        if !(1..=TOPIC_PARTITIONS_MAX).contains(&self.partitions) {
            let reason = format!("{} is not within 1..={TOPIC_PARTITIONS_MAX}", self.partitions);
            return Err(Error::invalid("partitions", reason));
        }
        Ok(())
    }
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PartitionInfo {
    /// Its number in the topic.
    pub id: PartitionId,
    /// First retained offset.
    pub log_start: Offset,
    /// Next offset to assign (LEO).
    pub end: Offset,
    /// Everything below is on stable storage; a lower bound while appends are in flight.
    pub durable_end: Offset,
    /// Number of the log that holds it, `log-<number>`: decided when its topic was made.
    pub log: u32,
    /// The shard that flushes this log, as long as the engine is open.
    pub shard: usize,
}

/// What a topic is and holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its identity: a topic that was deleted and created again has another.
    pub uuid: Uuid,
    /// Its flush class.
    pub flush: Flush,
    /// How its batches are compressed, where the append did not say.
    pub compression: Compression,
    /// Whose time its records have.
    pub timestamps: TimestampType,
    /// How many partitions it has.
    pub partition_count: u32,
    /// Its partitions, by number; without those of which nothing can be told, because their log is
    /// damaged.
    pub partitions: Vec<PartitionInfo>,
    /// The damage of a log that holds partitions of it, which takes no appends until it is
    /// repaired. Partitions in other logs are unharmed.
    pub damaged: Option<String>,
}

/// A topic; cheap to clone, usable from any thread, keeps its engine open.
#[derive(Clone)]
pub struct Topic {
    meta: Arc<TopicMeta>,
    /// The logs of its placement, run by run.
    logs: Arc<[Arc<Log>]>,
    host: Arc<dyn Host>,
    /// Whose turn it is to get a record without a key; shared by clones.
    turn: Arc<AtomicU32>,
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topic").field("name", &self.meta.name).finish_non_exhaustive()
    }
}

impl Topic {
    pub(crate) fn new(meta: Arc<TopicMeta>, logs: Arc<[Arc<Log>]>, host: Arc<dyn Host>) -> Self {
        Self { meta, logs, host, turn: Arc::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.meta.name
    }

    /// Its identity.
    pub fn uuid(&self) -> Uuid {
        self.meta.uuid
    }

    /// Its flush class.
    pub fn flush(&self) -> Flush {
        self.meta.flush
    }

    /// How its batches are compressed, where the append does not say.
    pub fn compression(&self) -> Compression {
        self.meta.compression
    }

    /// Whose time its records have.
    pub fn timestamps(&self) -> TimestampType {
        self.meta.timestamps
    }

    /// How many partitions it has.
    pub fn partitions(&self) -> u32 {
        self.meta.partitions
    }

    /// One of its partitions, numbered from 0.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`].
    pub fn partition(&self, partition: u32) -> Result<Partition> {
        let (run, stream) = self.meta.find(partition).ok_or_else(|| Error::UnknownPartition {
            topic: self.meta.name.clone(),
            partition,
            partitions: self.meta.partitions,
        })?;
        let (meta, log) = (Arc::clone(&self.meta), Arc::clone(&self.logs[run]));
        let (id, host) = (PartitionId(partition), Arc::clone(&self.host));
        Ok(Partition::new(meta, id, stream, log, host))
    }

    /// What it is and holds, now.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`] if it was deleted.
    pub fn describe(&self) -> Result<TopicInfo> {
        let mut damage = self.logs.iter().filter_map(|log| log.damage());
        let damaged = damage.next().map(Error::to_string);
        let partitions = (0..self.meta.partitions).map(|id| self.partition(id)?.info());
        let known =
            |info: &Result<_>| damaged.is_none() || !matches!(info, Err(Error::Corrupt { .. }));
        let partitions = partitions.filter(known);
        Ok(TopicInfo {
            name: self.meta.name.clone(),
            uuid: self.meta.uuid,
            flush: self.meta.flush,
            compression: self.meta.compression,
            timestamps: self.meta.timestamps,
            partition_count: self.meta.partitions,
            partitions: partitions.collect::<Result<_>>()?,
            damaged,
        })
    }
}
