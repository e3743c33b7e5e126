//! The catalog: which topics there are and which streams of which log are theirs. Its changes are
//! JSON frames of the metadata log; applying one twice changes nothing, so that a snapshot may
//! overlap the changes that follow it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::{Compression, Flush, TimestampType};
use crate::limits::{LOGS_MAX, STREAMS_MAX, TOPIC_PARTITIONS_MAX};

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
    /// Number of the log.
    pub(crate) log: u32,
    /// Partition 0's stream; the others follow.
    pub(crate) first_stream: u32,
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

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    pub(crate) logs: BTreeMap<u32, LogMeta>,
    topics: BTreeMap<String, Arc<TopicMeta>>,
}

impl Catalog {
    /// From a snapshot and the changes since; an error names what could not be read.
    pub(crate) fn load(snapshot: &[u8], changes: &[Vec<u8>]) -> Result<Self, serde_json::Error> {
        let mut catalog: Self =
            if snapshot.is_empty() { Self::default() } else { serde_json::from_slice(snapshot)? };
        for change in changes {
            catalog.apply(serde_json::from_slice(change)?);
        }
        if let Some(reason) = catalog.out_of_range() {
            return Err(serde::de::Error::custom(reason));
        }
        Ok(catalog)
    }

    /// What of the bytes that made this cannot be ours: numbers are used to allocate by.
    fn out_of_range(&self) -> Option<String> {
        let bad_log = |(id, log): (&u32, &LogMeta)| {
            let bad = !(1..=LOGS_MAX).contains(id) || log.next_stream > STREAMS_MAX;
            bad.then(|| format!("log {id}"))
        };
        let bad_topic = |topic: &Arc<TopicMeta>| {
            let end = topic.first_stream.checked_add(topic.partitions);
            let fits = end.is_some_and(|end| end <= STREAMS_MAX)
                && (1..=TOPIC_PARTITIONS_MAX).contains(&topic.partitions);
            (!fits).then(|| format!("topic \"{}\"", topic.name))
        };
        let bad = self.logs.iter().find_map(bad_log);
        bad.or_else(|| self.topics.values().find_map(bad_topic))
            .map(|what| format!("{what} is out of range"))
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
                if let Some(log) = self.logs.get_mut(&topic.log) {
                    let end = topic.first_stream.saturating_add(topic.partitions);
                    log.next_stream = log.next_stream.max(end);
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

    /// The log of a flush class, if one was made.
    pub(crate) fn log_of(&self, flush: Flush) -> Option<(u32, LogMeta)> {
        self.logs.iter().find(|(_, log)| log.flush == flush).map(|(id, log)| (*id, *log))
    }

    /// The streams of a log that belong to topics.
    pub(crate) fn live_streams(&self, log: u32) -> BTreeSet<u32> {
        let here = self.topics.values().filter(|topic| topic.log == log);
        here.flat_map(|topic| topic.first_stream..topic.first_stream + topic.partitions).collect()
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
            let topic = TopicMeta {
                name,
                uuid,
                flush,
                compression,
                timestamps,
                partitions,
                log,
                first_stream,
            };
            to_json(&Change::TopicCreated(topic))
        };
        let log = |id| to_json(&Change::LogCreated { id, flush: Flush::Sync });
        assert!(Catalog::load(b"", &[log(1), topic(1, 0, 1)]).is_ok());
        for hostile in [
            vec![log(0)],
            vec![log(u32::MAX)],
            vec![log(1), topic(1, 0, 0)],
            vec![log(1), topic(1, u32::MAX, 1)],
            vec![log(1), topic(1, 1, u32::MAX)],
            vec![log(1), topic(1, STREAMS_MAX, 1)],
        ] {
            assert!(Catalog::load(b"", &hostile).is_err());
        }
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
            log: 1,
            first_stream: 0,
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
