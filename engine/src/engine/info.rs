//! What an engine says of itself: what was chosen for its directory and why, and its counters.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::{Engine, Inner};
use crate::config::Flush;
use crate::format::FORMAT_VERSION;
use crate::log::Log;
use crate::metrics::{LogMetrics, Metrics};
use crate::topic::TopicInfo;

/// What was chosen for a directory, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// How many shards flush the logs.
    pub shards: usize,
    /// The driver: `io_uring` or `pwritev2`.
    pub driver: String,
    /// Why this one.
    pub driver_reason: String,
    /// The filesystem's name.
    pub filesystem: String,
    /// Whether writes bypass the page cache (`O_DIRECT`).
    pub direct_io: bool,
    /// Why *durable* means no more here than this filesystem's flush, if so.
    pub volatile: Option<String>,
    /// Why rings are not in files here, if so: *written* then waits for the group's write.
    pub no_file_ring: Option<String>,
    /// How each log is set up.
    pub logs: Vec<LogCapabilities>,
}

/// How a log is set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogCapabilities {
    /// Its directory.
    pub log: String,
    /// Its flush class.
    pub flush: Flush,
    /// The shard that flushes it.
    pub shard: usize,
    /// Size of its ring in bytes.
    pub ring_bytes: u64,
    /// Whether the ring is a file, which survives the process.
    pub ring_in_file: bool,
    /// What *written* means here.
    pub written: &'static str,
    /// What *durable* means here.
    pub durable: &'static str,
}

/// Everything about an open directory that is worth printing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stat {
    /// The directory.
    pub path: PathBuf,
    /// Identity of the engine's data.
    pub uuid: Uuid,
    /// Version of the disk format.
    pub format_version: u32,
    /// How long opening took, recovery included.
    #[serde(rename = "opened_in_us", serialize_with = "as_micros")]
    pub opened_in: Duration,
    /// What was chosen, and why.
    pub capabilities: Capabilities,
    /// Topics and what their partitions hold.
    pub topics: Vec<TopicInfo>,
    /// The counters.
    pub metrics: Metrics,
}

fn as_micros<S: serde::Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(value.as_micros() as u64)
}

impl Engine {
    /// What was chosen for this directory, and why.
    pub fn capabilities(&self) -> Capabilities {
        let (driver, driver_reason) = self.inner.runner.driver();
        let facts = self.inner.maker.disk.facts();
        let logs = self.inner.each_log(Log::capabilities);
        Capabilities {
            shards: self.shards(),
            driver: driver.to_owned(),
            driver_reason,
            filesystem: facts.filesystem.clone(),
            direct_io: facts.direct_io,
            volatile: facts.volatile.clone(),
            no_file_ring: facts.no_file_ring.clone(),
            logs,
        }
    }

    /// A snapshot of the counters. Takes each log's lock for an instant.
    pub fn metrics(&self) -> Metrics {
        self.inner.metrics()
    }

    /// Everything about it that is worth printing.
    pub fn stat(&self) -> Stat {
        Stat {
            path: self.inner.maker.disk.root().to_path_buf(),
            uuid: self.inner.uuid,
            format_version: FORMAT_VERSION,
            opened_in: self.inner.opened_in,
            capabilities: self.capabilities(),
            topics: self.topics(),
            metrics: self.metrics(),
        }
    }
}

impl Inner {
    /// Of every log; of none in a forked child.
    fn each_log<T>(&self, of: impl Fn(&Log) -> T) -> Vec<T> {
        if self.check_fork().is_err() {
            return Vec::new();
        }
        self.logs.read().values().map(|log| of(log)).collect()
    }

    fn metrics(&self) -> Metrics {
        Metrics {
            logs: self.each_log(Log::snapshot_metrics),
            pinned_bytes: self.maker.pins.pinned(),
            pinned_bytes_max: self.maker.pins.max(),
        }
    }
}

impl Log {
    fn capabilities(&self) -> LogCapabilities {
        LogCapabilities {
            log: self.name.clone(),
            flush: self.class,
            shard: self.shard,
            ring_bytes: self.ring.len(),
            ring_in_file: self.ring_in_file,
            written: if self.ring_in_file {
                "in the ring file: survives the process"
            } else {
                "in its segment: survives the process"
            },
            durable: match self.class {
                Flush::Sync => "its group was written DSYNC, as was everything below",
                Flush::Async => "a flush submitted after its group was written has completed",
            },
        }
    }

    fn snapshot_metrics(&self) -> LogMetrics {
        let (appends, records, bytes, head, epoch) = {
            let writer = self.writer.lock();
            let totals = (writer.appends, writer.records_total, writer.bytes_total);
            (totals.0, totals.1, totals.2, writer.head(), writer.epoch.0)
        };
        let mut out = LogMetrics {
            log: self.name.clone(),
            flush: self.class,
            appends,
            records,
            bytes,
            groups: 0,
            group_bytes: 0,
            group_records: 0,
            flush_latency: crate::metrics::Latency::default(),
            flush_buckets: Vec::new(),
            flush_sum_us: 0,
            queued_bytes: head.saturating_sub(self.released()),
            segments: self.segments.read().len() as u64,
            segments_recycled: 0,
            segments_removed: 0,
            epoch,
            written_end: self.written(),
            durable_end: self.durable(),
            recovery: self.metrics.recovery,
            scrub: crate::metrics::Scrub::default(),
            stopped: self.stop_reason().map(|_| self.stop_error(false).to_string()),
            upkeep_error: None,
        };
        self.metrics.fill(&mut out);
        out
    }
}
