//! fjall, a log-structured tree with a journal. Durable is `PersistMode::SyncData` on each batch;
//! written is `PersistMode::Buffer`: the journal is in the page cache.

use std::path::Path;

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use ringlog_benches::error::{Context, Result};
use ringlog_benches::target::{Level, Setup};

use super::grouped::Store;
use super::numbers::Numbers;

/// The database and what comes next.
pub struct Fjall {
    database: Database,
    keyspace: Keyspace,
    numbers: Numbers,
    mode: PersistMode,
}

impl Store for Fjall {
    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let database = Database::builder(dir.join("fjall")).open().context("opening fjall")?;
        let keyspace =
            database.keyspace("log", KeyspaceCreateOptions::default).context("its keyspace")?;
        let mode = match setup.level {
            Level::Durable => PersistMode::SyncData,
            Level::Written => PersistMode::Buffer,
        };
        Ok(Self { database, keyspace, numbers: Numbers::new(setup.partitions), mode })
    }

    fn commit(&mut self, records: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(self.mode));
        for (partition, value) in records {
            batch.insert(&self.keyspace, self.numbers.next_key(partition), value);
        }
        batch.commit().context("committing")
    }

    fn close(self) -> Result<()> {
        self.database.persist(PersistMode::SyncAll).context("closing fjall")
    }
}
