//! `SQLite` with a write-ahead log, through rusqlite. Durable is `synchronous=FULL`: every commit
//! syncs the log. Written is `synchronous=OFF`: it is in the page cache.
//!
//! One partition is a table by row number, which only appends; several share one whose key is
//! partition and number, without which a partition could not be read.

use std::path::Path;

use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::target::{Level, Setup};
use rusqlite::Connection;

use super::grouped::Store;
use super::numbers::Numbers;

/// The connection and what comes next.
pub struct Sqlite {
    connection: Connection,
    numbers: Numbers,
    insert: &'static str,
    one: bool,
}

impl Store for Sqlite {
    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let connection = Connection::open(dir.join("sqlite")).context("opening SQLite")?;
        let mode: String = connection
            .query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))
            .context("asking for a write-ahead log")?;
        if mode != "wal" {
            return Err(Error::new(format!("SQLite has no write-ahead log here: {mode}")));
        }
        let level = if setup.level == Level::Durable { "FULL" } else { "OFF" };
        connection.pragma_update(None, "synchronous", level).context("its durability")?;
        let one = setup.partitions == 1;
        let (create, insert) = if one {
            (
                "CREATE TABLE log (number INTEGER PRIMARY KEY, value BLOB NOT NULL)",
                "INSERT INTO log (number, value) VALUES (?1, ?2)",
            )
        } else {
            (
                "CREATE TABLE log (partition INTEGER, number INTEGER, value BLOB NOT NULL,
                 PRIMARY KEY (partition, number)) WITHOUT ROWID",
                "INSERT INTO log (number, value, partition) VALUES (?1, ?2, ?3)",
            )
        };
        connection.execute_batch(create).context("its table")?;
        Ok(Self { connection, numbers: Numbers::new(setup.partitions), insert, one })
    }

    fn commit(&mut self, records: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()> {
        let txn = self.connection.transaction().context("a transaction")?;
        {
            let mut insert = txn.prepare_cached(self.insert).context("preparing")?;
            for (partition, value) in records {
                let number = self.numbers.next(partition).cast_signed();
                if self.one {
                    insert.execute((number, value)).context("inserting")?;
                } else {
                    insert.execute((number, value, partition)).context("inserting")?;
                }
            }
        }
        txn.commit().context("committing")
    }

    fn close(self) -> Result<()> {
        self.connection.close().map_err(|(_, error)| error).context("closing SQLite")
    }
}
