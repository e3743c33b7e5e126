//! The catalog: which topics there are and which streams of which log are theirs. Its changes are
//! JSON frames of the metadata log; applying one twice changes nothing, so that a snapshot may
//! overlap the changes that follow it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::{Compression, Flush, TimestampType};
use crate::ids::StreamId;
use crate::limits::{LOGS_MAX, SHARDS_MAX, STREAMS_MAX, TOPIC_PARTITIONS_MAX};

/// Where a run of a topic's partitions is: decided when the topic is made, and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placement {
    /// Number of the log.
    pub(crate) log: u32,
    /// Stream of the run's first partition; the others follow.
    pub(crate) first_stream: u32,
    /// How many partitions the run has.
    pub(crate) partitions: u32,
}

impl Placement {
    pub(crate) fn streams(&self) -> std::ops::Range<u32> {
        self.first_stream..self.first_stream.saturating_add(self.partitions)
    }
}

/// A topic as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopicMeta {
    pub(crate) name: String,
    pub(crate) uuid: Uuid,
    pub(crate) flush: Flush,
    #[serde(default)]
    pub(crate) compression: Compression,
    #[serde(default)]
    pub(crate) timestamps: TimestampType,
    pub(crate) partitions: u32,
    /// Partition 0 begins the first run; each run goes on where the one before ends.
    pub(crate) placement: Vec<Placement>,
}

impl TopicMeta {
    /// In which run a partition is, and its stream there.
    pub(crate) fn find(&self, partition: u32) -> Option<(usize, StreamId)> {
        let mut left = partition;
        for (run, placement) in self.placement.iter().enumerate() {
            if left < placement.partitions {
                return Some((run, StreamId(placement.first_stream + left)));
            }
            left -= placement.partitions;
        }
        None
    }

    /// What of it cannot be ours.
    fn out_of_range(&self) -> Option<String> {
        let bad = |run: &Placement| {
            let end = run.first_stream.checked_add(run.partitions);
            run.partitions == 0
                || end.is_none_or(|end| end > STREAMS_MAX)
                || !(1..=LOGS_MAX).contains(&run.log)
        };
        let total: u64 = self.placement.iter().map(|run| u64::from(run.partitions)).sum();
        let bad = !(1..=TOPIC_PARTITIONS_MAX).contains(&self.partitions)
            || self.placement.len() > SHARDS_MAX
            || total != u64::from(self.partitions)
            || self.placement.iter().any(bad);
        bad.then(|| format!("topic \"{}\" is out of range", self.name))
    }
}

/// A log as the catalog has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogMeta {
    pub(crate) flush: Flush,
    /// Streams below this have been given out, and are never again.
    pub(crate) next_stream: u32,
}

/// A change of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    /// A log's directory is there, durable.
    LogCreated { id: u32, flush: Flush },
    /// A topic exists.
    TopicCreated(TopicMeta),
    /// A topic is gone, its frames dead.
    TopicDeleted { uuid: Uuid },
}

impl Change {
    /// What of it cannot be ours.
    fn out_of_range(&self) -> Option<String> {
        match self {
            Self::LogCreated { id, .. } => {
                let bad = !(1..=LOGS_MAX).contains(id);
                bad.then(|| format!("log {id} is out of range"))
            }
            Self::TopicCreated(topic) => topic.out_of_range(),
            Self::TopicDeleted { .. } => None,
        }
    }
}

/// Bytes whose checksum was right, and that say nothing this build knows: a writer's fault, or a
/// kind of change that came without a new version of the format.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Which of the changes; `None`: the snapshot before them.
    pub(crate) change: Option<usize>,
    pub(crate) reason: String,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    pub(crate) logs: BTreeMap<u32, LogMeta>,
    topics: BTreeMap<String, Arc<TopicMeta>>,
}

impl Catalog {
    /// From a snapshot and the changes since.
    pub(crate) fn load(snapshot: &[u8], changes: &[impl AsRef<[u8]>]) -> Result<Self, Unreadable> {
        let catalog = if snapshot.is_empty() {
            Ok(Self::default())
        } else {
            serde_json::from_slice(snapshot).map_err(|error| error.to_string())
        };
        let in_range = |catalog: Self| catalog.out_of_range().map_or(Ok(catalog), Err);
        let catalog = catalog.and_then(in_range);
        let mut catalog = catalog.map_err(|reason| Unreadable { change: None, reason })?;
        for (at, change) in changes.iter().enumerate() {
            let change: Result<Change, _> = serde_json::from_slice(change.as_ref());
            let change = change.map_err(|error| error.to_string());
            let in_range = |change: Change| change.out_of_range().map_or(Ok(change), Err);
            let fail = |reason| Unreadable { change: Some(at), reason };
            catalog.apply(change.and_then(in_range).map_err(fail)?);
        }
        Ok(catalog)
    }

    /// What of the bytes that made this cannot be ours: numbers are used to allocate by.
    fn out_of_range(&self) -> Option<String> {
        let bad_log = |(id, log): (&u32, &LogMeta)| {
            let bad = !(1..=LOGS_MAX).contains(id) || log.next_stream > STREAMS_MAX;
            bad.then(|| format!("log {id} is out of range"))
        };
        let bad = self.logs.iter().find_map(bad_log);
        bad.or_else(|| self.topics.values().find_map(|topic| topic.out_of_range()))
    }

    /// For a checkpoint.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        to_json(self)
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::LogCreated { id, flush } => {
                self.logs.entry(id).or_insert(LogMeta { flush, next_stream: 0 });
            }
            Change::TopicCreated(topic) => {
                for run in &topic.placement {
                    if let Some(log) = self.logs.get_mut(&run.log) {
                        log.next_stream = log.next_stream.max(run.streams().end);
                    }
                }
                self.topics.insert(topic.name.clone(), Arc::new(topic));
            }
            Change::TopicDeleted { uuid } => self.topics.retain(|_, topic| topic.uuid != uuid),
        }
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&Arc<TopicMeta>> {
        self.topics.get(name)
    }

    pub(crate) fn topic_of(&self, uuid: Uuid) -> Option<&Arc<TopicMeta>> {
        self.topics.values().find(|topic| topic.uuid == uuid)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &Arc<TopicMeta>> {
        self.topics.values()
    }

    /// The logs of a flush class.
    pub(crate) fn logs_of(&self, flush: Flush) -> impl Iterator<Item = u32> {
        self.logs.iter().filter(move |(_, log)| log.flush == flush).map(|(id, _)| *id)
    }

    /// How many partitions each log has that has any.
    pub(crate) fn loads(&self) -> BTreeMap<u32, u64> {
        let mut loads = BTreeMap::new();
        for run in self.runs() {
            *loads.entry(run.log).or_default() += u64::from(run.partitions);
        }
        loads
    }

    /// The streams of a log that belong to topics.
    pub(crate) fn live_streams(&self, log: u32) -> BTreeSet<u32> {
        self.runs().filter(|run| run.log == log).flat_map(Placement::streams).collect()
    }

    fn runs(&self) -> impl Iterator<Item = &Placement> {
        self.topics.values().flat_map(|topic| &topic.placement)
    }
}

/// JSON of a change, as its frame holds it.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structs with string keys always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused() {
        let topic = |log, first_stream, partitions| {
            let (name, uuid) = ("t".into(), Uuid::from_u128(7));
            let flush = Flush::Sync;
            let (compression, timestamps) = Default::default();
            let placement = vec![Placement { log, first_stream, partitions }];
            to_json(&Change::TopicCreated(TopicMeta {
                name,
                uuid,
                flush,
                compression,
                timestamps,
                partitions,
                placement,
            }))
        };
        let runs = |partitions, runs: &[(u32, u32, u32)]| {
            let run =
                |&(log, first_stream, partitions)| Placement { log, first_stream, partitions };
            let placement = runs.iter().map(run).collect();
            let (name, uuid) = ("t".into(), Uuid::from_u128(7));
            let flush = Flush::Sync;
            let (compression, timestamps) = Default::default();
            to_json(&Change::TopicCreated(TopicMeta {
                name,
                uuid,
                flush,
                compression,
                timestamps,
                partitions,
                placement,
            }))
        };
        let log = |id| to_json(&Change::LogCreated { id, flush: Flush::Sync });
        assert!(Catalog::load(b"", &[log(1), topic(1, 0, 1)]).is_ok());
        assert!(Catalog::load(b"", &[log(1), runs(5, &[(1, 0, 2), (2, 0, 3)])]).is_ok());
        for hostile in [
            vec![log(0)],
            vec![log(u32::MAX)],
            vec![log(1), topic(1, 0, 0)],
            vec![log(1), topic(1, u32::MAX, 1)],
            vec![log(1), topic(1, 1, u32::MAX)],
            vec![log(1), topic(1, STREAMS_MAX, 1)],
            vec![log(1), topic(0, 0, 1)],
            vec![log(1), runs(1, &[])],
            vec![log(1), runs(5, &[(1, 0, 2), (2, 0, 2)])],
            vec![log(1), runs(2, &[(1, 0, 2), (2, 0, 0)])],
            vec![log(1), runs(1, &[(1, 0, u32::MAX), (2, 0, 2)])],
            vec![log(1), runs(SHARDS_MAX as u32 + 1, &vec![(1, 0, 1); SHARDS_MAX + 1])],
        ] {
            assert!(Catalog::load(b"", &hostile).is_err());
        }
    }

    #[test]
    fn a_partition_is_found_in_its_run() {
        let run = |log, first_stream, partitions| Placement { log, first_stream, partitions };
        let topic = TopicMeta {
            name: "t".into(),
            uuid: Uuid::from_u128(7),
            flush: Flush::Sync,
            compression: Compression::Zstd,
            timestamps: TimestampType::AppendTime,
            partitions: 5,
            placement: vec![run(1, 40, 2), run(3, 7, 3)],
        };
        let found: Vec<_> = (0..6).map(|partition| topic.find(partition)).collect();
        let at = |run, stream| Some((run, StreamId(stream)));
        assert_eq!(found, [at(0, 40), at(0, 41), at(1, 7), at(1, 8), at(1, 9), None]);
    }

    #[test]
    fn changes_applied_twice_change_nothing() {
        let topic = TopicMeta {
            name: "t".into(),
            uuid: Uuid::from_u128(7),
            flush: Flush::Sync,
            compression: Compression::Zstd,
            timestamps: TimestampType::AppendTime,
            partitions: 3,
            placement: vec![Placement { log: 1, first_stream: 0, partitions: 3 }],
        };
        let changes = [
            Change::LogCreated { id: 1, flush: Flush::Sync },
            Change::TopicCreated(topic.clone()),
            Change::TopicDeleted { uuid: topic.uuid },
        ];
        let bytes: Vec<Vec<u8>> = changes.iter().map(to_json).collect();
        let once = Catalog::load(b"", &bytes).unwrap();
        let again = Catalog::load(&once.snapshot(), &bytes).unwrap();
        assert_eq!(once, again);
        assert_eq!(again.logs[&1].next_stream, 3);
        assert!(again.topic("t").is_none());
    }
}
