//! redb, a B-tree with copy on write: a transaction a commit, `Durability::Immediate`. Its weaker
//! level, `None`, leaves a commit in the process's memory, which is less than *written*.

use std::path::Path;

use ::redb::{Database, Durability, TableDefinition};
use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::target::{Level, Setup};

use super::grouped::Store;
use super::numbers::Numbers;

const TABLE: TableDefinition<'_, (u32, u64), &[u8]> = TableDefinition::new("log");

/// The database and what comes next.
pub struct Redb {
    database: Database,
    numbers: Numbers,
}

impl Store for Redb {
    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        if setup.level == Level::Written {
            return Err(Error::new(
                "redb has no level at which a commit survives the process only",
            ));
        }
        let database = Database::create(dir.join("redb")).context("opening redb")?;
        Ok(Self { database, numbers: Numbers::new(setup.partitions) })
    }

    fn commit(&mut self, records: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()> {
        let mut txn = self.database.begin_write().context("a transaction")?;
        txn.set_durability(Durability::Immediate).context("its durability")?;
        {
            let mut table = txn.open_table(TABLE).context("its table")?;
            for (partition, value) in records {
                let key = (partition, self.numbers.next(partition));
                table.insert(key, value).context("inserting")?;
            }
        }
        txn.commit().context("committing")
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}
