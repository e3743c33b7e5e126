//! Ringlog beside what a user would pick today: who the peers are, what each promises in which
//! mode, why one cannot take part here, and how this program becomes one of them.

pub mod figures;
mod fjall;
pub mod grouped;
pub mod known;
mod numbers;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocks;
pub mod rounds;
pub mod run;
pub mod server;
mod sqlite;
mod walrus;
pub mod work;

use std::path::Path;

use ringlog_benches::cli::Options;
use ringlog_benches::contest::enter::{self, EnterArgs};
use ringlog_benches::error::Result;
use ringlog_benches::target::Target;
use ringlog_benches::target::ringlog::Ringlog;
use ringlog_benches::workload::spec::Spec;

use crate::lmdb::Lmdb;
use crate::peers::grouped::Grouped;
use crate::raft::{OneCommitter, RaftEngine};
use crate::syncs::{self, SyncsArgs};

/// Where a peer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This is us.
    Ours,
    /// In the process.
    Embedded,
    /// In a process of its own, spoken to over loopback.
    Server,
}

/// One peer.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// What this program is told to become.
    pub id: &'static str,
    /// Its name in tables and charts.
    pub name: &'static str,
    /// Where it runs.
    pub kind: Kind,
    /// Its mode in which an acknowledged record is durable.
    pub durable: &'static str,
    /// Its mode in which it survives the process, if there is one.
    pub written: Option<&'static str>,
    /// What it is told to become where 64 blocking threads append, if that is another way for it.
    pub threads: Option<&'static str>,
    /// Whether threads that append to one stream share flushes; without, only to many.
    pub threads_share: bool,
}

const fn embedded(id: &'static str, name: &'static str, durable: &'static str) -> Peer {
    Peer {
        id,
        name,
        kind: Kind::Embedded,
        durable,
        written: None,
        threads: None,
        threads_share: false,
    }
}

const fn server(id: &'static str, name: &'static str, durable: &'static str) -> Peer {
    Peer { kind: Kind::Server, ..embedded(id, name, durable) }
}

/// All of them, us first.
pub const PEERS: &[Peer] = &[
    Peer {
        kind: Kind::Ours,
        written: Some("async topic"),
        threads: Some("ringlog"),
        threads_share: true,
        ..embedded("ringlog", "Ringlog", "sync topic")
    },
    Peer {
        written: Some("sync = false"),
        threads: Some("raft-engine"),
        ..embedded("raft-engine-one", "raft-engine", "sync = true")
    },
    Peer { written: Some("NOSYNC"), ..embedded("lmdb-one", "LMDB", "its default") },
    embedded("redb", "redb", "Durability::Immediate"),
    Peer {
        written: Some("WAL, synchronous=OFF"),
        ..embedded("sqlite", "SQLite", "WAL, synchronous=FULL")
    },
    Peer {
        written: Some("sync = false"),
        threads: Some("rocksdb-threads"),
        threads_share: true,
        ..embedded("rocksdb", "RocksDB", "sync = true")
    },
    Peer {
        written: Some("NoFsync"),
        threads: Some("walrus-threads"),
        ..embedded("walrus", "walrus", "SyncEach")
    },
    Peer { written: Some("Buffer"), ..embedded("fjall", "fjall", "PersistMode::SyncData") },
    Peer {
        written: Some("appendfsync everysec"),
        ..server("redis", "Redis Streams", "appendfsync always")
    },
    Peer {
        written: Some("sync_interval: 2m"),
        ..server("nats", "NATS JetStream", "sync_interval: always")
    },
    server("rabbitmq", "RabbitMQ", "quorum queue, confirms"),
    Peer {
        written: Some("default, acks=all"),
        ..server("kafka", "Kafka", "flush.messages=1, acks=all")
    },
];

/// Peers that nothing here can start, and why.
pub const ABSENT: &[(&str, &str)] = &[
    (
        "RocketMQ",
        "no harness yet: its Java client would have to be driven from a program of its own",
    ),
    ("Apache Iggy", "its server is in no package registry that this installs from"),
];

impl Peer {
    /// Why it cannot take part here.
    pub fn unavailable(&self) -> Option<String> {
        match self.id {
            "rocksdb" if cfg!(not(feature = "rocksdb")) => Some(
                "built without it: librocksdb-dev and libclang are missing (make compare-setup)"
                    .to_owned(),
            ),
            "redis" => server::program("redis-server", &[])
                .is_none()
                .then(|| server::missing("redis-server")),
            "nats" => server::nats::unavailable(),
            "rabbitmq" => server::rabbit::unavailable(),
            "kafka" => kafka_unavailable(),
            _ => None,
        }
    }
}

#[cfg(feature = "kafka")]
fn kafka_unavailable() -> Option<String> {
    server::kafka::unavailable()
}

#[cfg(not(feature = "kafka"))]
fn kafka_unavailable() -> Option<String> {
    Some("built without it: Kafka's jars are missing (make compare-setup)".to_owned())
}

/// What is done with a target once its type is known.
trait Visit {
    fn with<T: Target>(self) -> Result<()>;
}

/// Finds the target that is called `id`.
fn visit(id: &str, visit: impl Visit) -> Option<Result<()>> {
    use server::nats::Nats;
    use server::rabbit::Rabbit;
    use server::redis::Redis;
    use server::served::Served;
    Some(match id {
        "ringlog" => visit.with::<Ringlog>(),
        "raft-engine" => visit.with::<RaftEngine>(),
        "raft-engine-one" => visit.with::<Grouped<OneCommitter>>(),
        "lmdb" => visit.with::<Lmdb>(),
        "lmdb-one" => visit.with::<Grouped<Lmdb>>(),
        "redb" => visit.with::<Grouped<redb::Redb>>(),
        "sqlite" => visit.with::<Grouped<sqlite::Sqlite>>(),
        "walrus" => visit.with::<Grouped<walrus::Walrus>>(),
        "walrus-threads" => visit.with::<walrus::WalrusThreads>(),
        "fjall" => visit.with::<Grouped<fjall::Fjall>>(),
        "redis" => visit.with::<Served<Redis>>(),
        "nats" => visit.with::<Served<Nats>>(),
        "rabbitmq" => visit.with::<Served<Rabbit>>(),
        #[cfg(feature = "rocksdb")]
        "rocksdb" => visit.with::<Grouped<rocks::Rocks>>(),
        #[cfg(feature = "rocksdb")]
        "rocksdb-threads" => visit.with::<rocks::RocksThreads>(),
        #[cfg(feature = "kafka")]
        "kafka" => visit.with::<server::kafka::Kafka>(),
        _ => return None,
    })
}

struct Enter<'a>(&'a Options, &'a EnterArgs, &'a Spec);

impl Visit for Enter<'_> {
    fn with<T: Target>(self) -> Result<()> {
        enter::append::<T>(self.0, self.1, self.2)
    }
}

/// Becomes an entrant that appends.
pub fn enter(options: &Options, args: &EnterArgs, spec: &Spec) -> Result<()> {
    let found = visit(&args.entrant, Enter(options, args, spec));
    found.unwrap_or_else(|| Err(enter::unknown(args)))
}

/// What is added to the environment of an entrant: walrus is told there where it is and that it is
/// not to print.
pub fn environment(id: &str, dir: &Path) -> Vec<(String, String)> {
    let dir = dir.to_string_lossy().into_owned();
    let all = [("WALRUS_DATA_DIR", dir), ("WALRUS_QUIET", "1".to_owned())];
    let all = all.map(|(name, value)| (name.to_owned(), value));
    if id.starts_with("walrus") { all.to_vec() } else { Vec::new() }
}

struct CountSyncs<'a>(&'a Options, &'a SyncsArgs);

impl Visit for CountSyncs<'_> {
    fn with<T: Target>(self) -> Result<()> {
        syncs::append::<T>(self.0, self.1)
    }
}

/// Appends for `syncs` to watch, as the peer that is asked for.
pub fn syncs_once(options: &Options, args: &SyncsArgs) -> Option<Result<()>> {
    visit(&args.entrant, CountSyncs(options, args))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_can_be_become() {
        struct Nothing;
        impl Visit for Nothing {
            fn with<T: Target>(self) -> Result<()> {
                Ok(())
            }
        }
        for peer in PEERS {
            let built = match peer.id {
                "rocksdb" => cfg!(feature = "rocksdb"),
                "kafka" => cfg!(feature = "kafka"),
                _ => true,
            };
            assert_eq!(visit(peer.id, Nothing).is_some(), built, "{}", peer.id);
            if let (true, Some(threads)) = (built, peer.threads) {
                assert!(visit(threads, Nothing).is_some(), "{threads}");
            }
        }
    }
}
