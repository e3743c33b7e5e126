//! LMDB through heed: a B-tree in a mapped file, as a log with partition and number as key. An
//! append is a transaction with one put for each record; one transaction writes at a time.
//!
//! Durable is its default: data synced, then the page that points to it written through. Written is
//! `MDB_NOSYNC`: a commit is in the page cache and survives the process; a crash of the system may
//! take more than the last commits, as it may damage the tree (its own manual says so).

use std::ops::Bound;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags};
use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::reading::{Seen, Task};
use ringlog_benches::target::{Level, Setup, Target};
use ringlog_benches::values::Values;

use crate::peers::grouped::Store;

/// Address space, not memory or disk: more than any run comes to.
const MAP_BYTES: usize = 128 << 30;
/// Records that one transaction deletes or, to make ready, puts.
const TXN_RECORDS: u64 = 4096;

type Tree = Database<Bytes, Bytes>;

/// The environment with one tree.
pub struct Lmdb {
    env: Env,
    tree: Tree,
    put: PutFlags,
    /// Number of the next record of each partition.
    next: Mutex<Vec<u64>>,
    /// First record that is there; of the first partition.
    start: Mutex<u64>,
}

/// The same, written through its mapping.
pub struct WriteMapped(Lmdb);

fn key(partition: u32, number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&partition.to_be_bytes());
    key[4..].copy_from_slice(&number.to_be_bytes());
    key
}

fn open(dir: &Path, flags: EnvFlags) -> Result<(Env, Tree)> {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES);
    // SAFETY: the directory is the entrant's own, so nobody changes the file under the mapping, and
    // it is opened once. Flags that drop syncs endanger the file at a crash of the system only.
    #[expect(unsafe_code, reason = "the mapping of a file is as safe as that file")]
    let env = unsafe { options.flags(flags).open(dir) }.context("opening LMDB")?;
    let mut txn = env.write_txn().context("a transaction")?;
    let tree = env.create_database(&mut txn, None).context("its tree")?;
    txn.commit().context("committing")?;
    Ok((env, tree))
}

impl Lmdb {
    fn new(dir: &Path, setup: &Setup, more: EnvFlags) -> Result<Self> {
        let flags = match setup.level {
            Level::Written => EnvFlags::NO_SYNC | more,
            Level::Durable => more,
        };
        let (env, tree) = open(dir, flags)?;
        let next = Mutex::new(vec![0; setup.partitions as usize]);
        let put = how_to_put(setup.partitions as usize);
        Ok(Self { env, tree, put, next, start: Mutex::new(0) })
    }

    fn end_of(&self, partition: u32) -> u64 {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)[partition as usize]
    }
}

/// Where there is one partition, keys come in order, which `MDB_APPEND` makes use of.
fn how_to_put(partitions: usize) -> PutFlags {
    if partitions == 1 { PutFlags::APPEND } else { PutFlags::empty() }
}

/// Never pending: it has no way to append without waiting.
type Pending = Pin<Box<dyn Future<Output = Result<()>>>>;

impl Target for Lmdb {
    type Pending = Pending;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        Self::new(dir, setup, EnvFlags::empty())
    }

    fn append(&self, partition: u32, values: &[&[u8]]) -> Result<()> {
        let mut txn = self.env.write_txn().context("a transaction")?;
        // Taken within the transaction, of which there is one at a time: commits in this order.
        let first = self.end_of(partition);
        for (number, value) in (first..).zip(values) {
            let key = key(partition, number);
            self.tree.put_with_flags(&mut txn, self.put, &key, value).context("putting")?;
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next[partition as usize] = first + values.len() as u64;
        drop(next);
        txn.commit().context("committing")
    }

    fn submit(&self, _: u32, _: &[&[u8]]) -> Pending {
        Box::pin(std::future::ready(Err(Error::new("LMDB appends from threads"))))
    }

    fn end(&self) -> u64 {
        self.end_of(0)
    }

    fn trim(&self, start: u64) -> Result<()> {
        let mut from = self.start.lock().unwrap_or_else(PoisonError::into_inner);
        while *from < start {
            let to = start.min(*from + TXN_RECORDS);
            let mut txn = self.env.write_txn().context("a transaction")?;
            let (first, last) = (key(0, *from), key(0, to));
            let range = (Bound::Included(first.as_slice()), Bound::Excluded(last.as_slice()));
            self.tree.delete_range(&mut txn, &range).context("deleting")?;
            txn.commit().context("committing")?;
            *from = to;
        }
        Ok(())
    }

    fn log_bytes(&self) -> Option<u64> {
        None
    }

    fn close(self) -> Result<()> {
        self.env.force_sync().context("closing LMDB")
    }
}

impl Target for WriteMapped {
    type Pending = Pending;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        Lmdb::new(dir, setup, EnvFlags::WRITE_MAP).map(Self)
    }

    fn append(&self, partition: u32, values: &[&[u8]]) -> Result<()> {
        self.0.append(partition, values)
    }

    fn submit(&self, partition: u32, values: &[&[u8]]) -> Pending {
        self.0.submit(partition, values)
    }

    fn end(&self) -> u64 {
        self.0.end()
    }

    fn trim(&self, start: u64) -> Result<()> {
        self.0.trim(start)
    }

    fn log_bytes(&self) -> Option<u64> {
        None
    }

    fn close(self) -> Result<()> {
        Target::close(self.0)
    }
}

impl Store for Lmdb {
    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        Self::new(dir, setup, EnvFlags::empty())
    }

    fn commit(&mut self, records: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()> {
        let mut txn = self.env.write_txn().context("a transaction")?;
        let next = self.next.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (partition, value) in records {
            let number = &mut next[partition as usize];
            let key = key(partition, *number);
            self.tree.put_with_flags(&mut txn, self.put, &key, value).context("putting")?;
            *number += 1;
        }
        txn.commit().context("committing")
    }

    fn close(self) -> Result<()> {
        self.env.force_sync().context("closing LMDB")
    }
}

/// Writes the records of a reading task, and gives the pass over them: a cursor from the first to
/// the last.
pub fn fill(
    dir: &Path,
    task: &Task,
    values: &Values,
) -> Result<impl FnMut() -> Result<Seen> + use<>> {
    let (env, tree) = open(dir, EnvFlags::NO_SYNC)?;
    for first in (0..task.records).step_by(TXN_RECORDS as usize) {
        let mut txn = env.write_txn().context("a transaction")?;
        for number in first..task.records.min(first + TXN_RECORDS as usize) {
            let key = key(0, number as u64);
            tree.put_with_flags(&mut txn, how_to_put(1), &key, values.get(number))
                .context("putting")?;
        }
        txn.commit().context("committing")?;
    }
    Ok(move || pass(&env, tree).context("reading"))
}

fn pass(env: &Env, tree: Tree) -> heed::Result<Seen> {
    let mut seen = Seen::default();
    let txn = env.read_txn()?;
    for entry in tree.iter(&txn)? {
        seen.add(entry?.1);
    }
    Ok(seen)
}
