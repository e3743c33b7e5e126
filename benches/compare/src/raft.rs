//! raft-engine, the log store of `TiKV`: a Raft group for each partition, an entry for each record.
//!
//! Its defaults, recovery mode included, but for two: batches are not compressed, because ours are
//! not, and old files are given up from half a gigabyte on instead of ten, because runs that trim
//! behind the tail would never come to recycle any.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};
use raft_proto::eraftpb::Entry;
use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::target::{Level, Setup, Target};

use crate::peers::grouped::Store;

const PURGE_MIB: u64 = 512;

#[derive(Clone)]
struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// A group: its indexes have no gaps, so one appends at a time.
#[derive(Default)]
struct Group {
    next: u64,
    batch: LogBatch,
    entries: Vec<Entry>,
}

/// The engine, its groups, and whether an append waits for the device.
pub struct RaftEngine {
    engine: Engine,
    groups: Vec<Mutex<Group>>,
    sync: bool,
}

impl RaftEngine {
    fn append(&self, group: u32, values: &[&[u8]]) -> Result<()> {
        let place = &self.groups[group as usize];
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        let Group { next, batch, entries } = &mut *place;
        // One piece of memory for all values of a batch, as an application would have them.
        let all = Bytes::from(values.concat());
        let mut at = 0;
        entries.resize_with(values.len(), Entry::default);
        for (entry, value) in entries.iter_mut().zip(values) {
            entry.index = *next;
            entry.data = all.slice(at..at + value.len());
            at += value.len();
            *next += 1;
        }
        let region = u64::from(group) + 1;
        batch.add_entries::<Entries>(region, entries).context("adding entries")?;
        self.engine.write(batch, self.sync).map(drop).context("writing")
    }
}

/// Never pending: it has no way to append without waiting.
type Pending = Pin<Box<dyn Future<Output = Result<()>>>>;

fn open(dir: &Path) -> Result<Engine> {
    let config = Config {
        dir: dir.to_string_lossy().into_owned(),
        batch_compression_threshold: ReadableSize(0),
        purge_threshold: ReadableSize::mb(PURGE_MIB),
        ..Config::default()
    };
    Engine::open(config).context("opening raft-engine")
}

impl Target for RaftEngine {
    type Pending = Pending;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let engine = open(dir)?;
        let groups =
            (0..setup.partitions).map(|_| Mutex::new(Group { next: 1, ..Group::default() }));
        Ok(Self { engine, groups: groups.collect(), sync: setup.level == Level::Durable })
    }

    fn append(&self, partition: u32, values: &[&[u8]]) -> Result<()> {
        RaftEngine::append(self, partition, values)
    }

    fn submit(&self, _: u32, _: &[&[u8]]) -> Pending {
        Box::pin(std::future::ready(Err(Error::new("raft-engine appends from threads"))))
    }

    fn end(&self) -> u64 {
        self.engine.last_index(1).unwrap_or(0)
    }

    fn trim(&self, start: u64) -> Result<()> {
        self.engine.compact_to(1, start + 1);
        self.engine.purge_expired_files().map(drop).context("purging")
    }

    fn log_bytes(&self) -> Option<u64> {
        None
    }

    fn close(self) -> Result<()> {
        self.engine.sync().context("closing raft-engine")
    }
}

/// The same behind one committing thread: a batch for all groups.
pub struct OneCommitter {
    engine: Engine,
    next: Vec<u64>,
    batch: LogBatch,
    sync: bool,
}

impl Store for OneCommitter {
    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let next = vec![1; setup.partitions as usize];
        let sync = setup.level == Level::Durable;
        Ok(Self { engine: open(dir)?, next, batch: LogBatch::default(), sync })
    }

    fn commit(&mut self, records: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut of_group = None;
        for (group, value) in records {
            if let Some(before) = of_group.replace(group)
                && before != group
            {
                add(&mut self.batch, before, &mut entries)?;
            }
            let next = &mut self.next[group as usize];
            let data = Bytes::copy_from_slice(value);
            entries.push(Entry { index: *next, data, ..Entry::default() });
            *next += 1;
        }
        if let Some(group) = of_group {
            add(&mut self.batch, group, &mut entries)?;
        }
        self.engine.write(&mut self.batch, self.sync).map(drop).context("writing")
    }

    fn close(self) -> Result<()> {
        self.engine.sync().context("closing raft-engine")
    }
}

fn add(batch: &mut LogBatch, group: u32, entries: &mut Vec<Entry>) -> Result<()> {
    batch.add_entries::<Entries>(u64::from(group) + 1, entries).context("adding entries")?;
    entries.clear();
    Ok(())
}
