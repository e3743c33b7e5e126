//! `RocksDB`: its write-ahead log, and the memory table behind it. Durable is `sync = true`;
//! written is its default. Threads that write at once share a sync, so it also takes part without
//! the committing thread.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::target::{Level, Setup, Target};
use rocksdb::{DB, Options, WriteBatch, WriteOptions};

use super::grouped::Store;
use super::numbers::Numbers;

/// The database and what comes next.
pub struct Rocks {
    database: DB,
    numbers: Numbers,
    write: WriteOptions,
}

fn open(dir: &Path, setup: &Setup) -> Result<(DB, WriteOptions)> {
    let mut options = Options::default();
    options.create_if_missing(true);
    let database = DB::open(&options, dir.join("rocksdb")).context("opening RocksDB")?;
    let mut write = WriteOptions::default();
    write.set_sync(setup.level == Level::Durable);
    Ok((database, write))
}

impl Store for Rocks {
    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let (database, write) = open(dir, setup)?;
        Ok(Self { database, numbers: Numbers::new(setup.partitions), write })
    }

    fn commit(&mut self, records: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (partition, value) in records {
            batch.put(self.numbers.next_key(partition), value);
        }
        self.database.write_opt(batch, &self.write).context("writing")
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

/// The same, written to by many threads at once.
pub struct RocksThreads {
    database: DB,
    numbers: Mutex<Numbers>,
    level: Level,
    end: AtomicU64,
}

type Pending = std::future::Ready<Result<()>>;

impl Target for RocksThreads {
    type Pending = Pending;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let (database, _) = open(dir, setup)?;
        let numbers = Mutex::new(Numbers::new(setup.partitions));
        Ok(Self { database, numbers, level: setup.level, end: AtomicU64::new(0) })
    }

    fn append(&self, partition: u32, values: &[&[u8]]) -> Result<()> {
        let mut batch = WriteBatch::default();
        let mut numbers = self.numbers.lock().map_err(|_| Error::new("a producer panicked"))?;
        for value in values {
            batch.put(numbers.next_key(partition), value);
        }
        drop(numbers);
        self.end.fetch_add(values.len() as u64, Ordering::Relaxed);
        let mut write = WriteOptions::default();
        write.set_sync(self.level == Level::Durable);
        self.database.write_opt(batch, &write).context("writing")
    }

    fn submit(&self, _: u32, _: &[&[u8]]) -> Pending {
        std::future::ready(Err(Error::new("RocksDB appends from threads")))
    }

    fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
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
