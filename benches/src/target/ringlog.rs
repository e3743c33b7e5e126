//! The engine as a target: one topic, of the flush class that acknowledges at the asked level.

use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use ringlog::{
    AppendFuture, AppendOptions, Backend, Engine, Flush, Offset, Partition, Record, TopicSpec,
};

use crate::cli;
use crate::error::{Context, Result};
use crate::target::{Level, Setup, Target};

/// Longest time that a clean close may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Above the largest batch of any workload, and below half of any segment's size.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// The engine with the partitions of one topic.
pub struct Ringlog {
    engine: Engine,
    partitions: Vec<Partition>,
    /// Nothing from this record on is forgotten; a reader is there.
    kept_from: AtomicU64,
}

impl Ringlog {
    /// The first partition.
    pub fn partition(&self) -> &Partition {
        &self.partitions[0]
    }

    /// From now on nothing from this record on is forgotten, whatever [`Target::trim`] is asked.
    pub fn keep_from(&self, record: u64) {
        self.kept_from.store(record, Ordering::Relaxed);
    }
}

/// The engine's future.
pub struct Pending(AppendFuture);

impl Future for Pending {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Result<()>> {
        let result = Pin::new(&mut self.0).poll(cx);
        result.map(|appended| appended.map(drop).context("appending"))
    }
}

impl Target for Ringlog {
    type Pending = Pending;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let mut options = Engine::options().backend(match setup.backend {
            cli::Backend::Auto => Backend::Auto,
            cli::Backend::Uring => Backend::Uring,
            cli::Backend::Plain => Backend::Plain,
        });
        if let Some(bytes) = setup.segment_bytes {
            // The largest payload must fit twice; no workload's comes near.
            options = options.segment_bytes(bytes).max_payload_bytes(PAYLOAD_BYTES_MAX);
        }
        if let Some(bytes) = setup.ring_bytes {
            options = options.ring_bytes(bytes);
        }
        if let Some(bytes) = setup.group_bytes {
            options = options.group_bytes(bytes);
        }
        if let Some(bytes) = setup.batch_bytes {
            options = options.batch_bytes(bytes);
        }
        if let Some(groups) = setup.groups_in_flight {
            options = options.groups_in_flight(groups);
        }
        if let Some(shards) = setup.shards {
            options = options.shards(shards);
        }
        let engine = options.open(dir).context("opening the engine")?;
        let flush = match setup.level {
            Level::Written => Flush::Async,
            Level::Durable => Flush::Sync,
        };
        let spec = TopicSpec::new("bench").flush(flush).partitions(setup.partitions);
        let topic = engine.create_topic(spec).context("creating a topic")?;
        let partitions = (0..setup.partitions).map(|id| topic.partition(id));
        let partitions = partitions.collect::<ringlog::Result<_>>().context("its partitions")?;
        Ok(Self { engine, partitions, kept_from: AtomicU64::new(u64::MAX) })
    }

    fn append(&self, partition: u32, values: &[&[u8]]) -> Result<()> {
        let partition = &self.partitions[partition as usize];
        match values {
            [value] => partition.append(Record::new(value)).map(drop),
            _ => partition.append_many(&records(values)).map(drop),
        }
        .context("appending")
    }

    fn submit(&self, partition: u32, values: &[&[u8]]) -> Pending {
        let partition = &self.partitions[partition as usize];
        Pending(match values {
            [value] => partition.append_async(Record::new(value)),
            _ => partition.append_async_with(&records(values), AppendOptions::default()),
        })
    }

    fn end(&self) -> u64 {
        self.partition().info().map_or(0, |info| info.end.0)
    }

    fn trim(&self, start: u64) -> Result<()> {
        let start = start.min(self.kept_from.load(Ordering::Relaxed));
        self.partition().trim(Offset(start)).context("trimming")
    }

    fn log_bytes(&self) -> Option<u64> {
        Some(self.engine.metrics().logs.iter().map(|log| log.group_bytes).sum())
    }

    fn close(self) -> Result<()> {
        self.engine.close(CLOSE_TIMEOUT).context("closing the engine")
    }
}

fn records<'a>(values: &[&'a [u8]]) -> Vec<Record<'a>> {
    values.iter().map(|value| Record::new(value)).collect()
}
