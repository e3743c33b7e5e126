//! walrus: a log for each topic, as partitions are. Durable is `FsyncSchedule::SyncEach`; written
//! is `NoFsync`, which hands each entry to the page cache. It takes its directory from the
//! environment and locks by topic, so that appends to one topic go one after another: there is no
//! group commit, and a batch is what shares a sync. Behind the committing thread, records of one
//! topic that wait together are a batch; from threads, topics sync beside each other.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::target::{Level, Setup, Target};
use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus as Wal};

use super::grouped::Store;

/// Most entries that it takes as a batch.
const BATCH_MAX: usize = 2000;

/// The log and the names of its topics.
pub struct Walrus {
    wal: Wal,
    topics: Vec<String>,
}

impl Walrus {
    fn append(&self, partition: usize, values: &[&[u8]]) -> Result<()> {
        let topic = &self.topics[partition];
        match values {
            [] => Ok(()),
            [value] => self.wal.append_for_topic(topic, value),
            _ => self.wal.batch_append_for_topic(topic, values),
        }
        .context("appending")
    }
}

impl Store for Walrus {
    fn open(_: &Path, setup: &Setup) -> Result<Self> {
        let schedule = match setup.level {
            Level::Durable => FsyncSchedule::SyncEach,
            Level::Written => FsyncSchedule::NoFsync,
        };
        let consistency = ReadConsistency::AtLeastOnce { persist_every: 1000 };
        let wal =
            Wal::with_consistency_and_schedule(consistency, schedule).context("opening walrus")?;
        let topics = (0..setup.partitions).map(|id| format!("topic-{id}"));
        Ok(Self { wal, topics: topics.collect() })
    }

    fn commit(&mut self, records: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()> {
        let mut waiting: Vec<(u32, &[u8])> = records.collect();
        waiting.sort_by_key(|&(partition, _)| partition);
        for of_topic in waiting.chunk_by(|a, b| a.0 == b.0) {
            for batch in of_topic.chunks(BATCH_MAX) {
                let values: Vec<&[u8]> = batch.iter().map(|&(_, value)| value).collect();
                self.append(batch[0].0 as usize, &values)?;
            }
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

/// The same, written to by many threads at once.
pub struct WalrusThreads(Walrus, AtomicU64);

type Pending = std::future::Ready<Result<()>>;

impl Target for WalrusThreads {
    type Pending = Pending;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        Ok(Self(<Walrus as Store>::open(dir, setup)?, AtomicU64::new(0)))
    }

    fn append(&self, partition: u32, values: &[&[u8]]) -> Result<()> {
        self.1.fetch_add(values.len() as u64, Ordering::Relaxed);
        self.0.append(partition as usize, values)
    }

    fn submit(&self, _: u32, _: &[&[u8]]) -> Pending {
        std::future::ready(Err(Error::new("walrus appends from threads")))
    }

    fn end(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }

    fn trim(&self, _: u64) -> Result<()> {
        Err(Error::new("it only grows here"))
    }

    fn log_bytes(&self) -> Option<u64> {
        None
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}
