//! The engine as a target: one topic with one partition, of the flush class that acknowledges at
//! the asked level.

use std::path::Path;
use std::pin::Pin;
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

/// The engine with one partition.
pub struct Ringlog {
    engine: Engine,
    partition: Partition,
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
        if let Some(groups) = setup.groups_in_flight {
            options = options.groups_in_flight(groups);
        }
        let engine = options.open(dir).context("opening the engine")?;
        let flush = match setup.level {
            Level::Written => Flush::Async,
            Level::Durable => Flush::Sync,
        };
        let spec = TopicSpec::new("bench").flush(flush);
        let topic = engine.create_topic(spec).context("creating a topic")?;
        let partition = topic.partition(0).context("its first partition")?;
        Ok(Self { engine, partition })
    }

    fn append(&self, values: &[&[u8]]) -> Result<()> {
        match values {
            [value] => self.partition.append(Record::new(value)).map(drop),
            _ => self.partition.append_many(&records(values)).map(drop),
        }
        .context("appending")
    }

    fn submit(&self, values: &[&[u8]]) -> Pending {
        Pending(match values {
            [value] => self.partition.append_async(Record::new(value)),
            _ => self.partition.append_async_with(&records(values), AppendOptions::default()),
        })
    }

    fn end(&self) -> u64 {
        self.partition.info().map_or(0, |info| info.end.0)
    }

    fn trim(&self, start: u64) -> Result<()> {
        self.partition.trim(Offset(start)).context("trimming")
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
