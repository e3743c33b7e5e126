//! What an engine is made to do besides appends and reads, and what the answers mean.

use std::time::Duration;

use ringlog::{Compression, Error, Flush, Offset, Partition, TimestampType, Topic, TopicSpec};

use super::Scenario;
use crate::oracle::{Check, Presence, Stream, TopicModel};

/// Topics at once.
const TOPICS_MAX: usize = 5;
/// Most are plain.
const CODECS: [Compression; 8] = [
    Compression::None,
    Compression::None,
    Compression::None,
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

impl Scenario {
    pub(super) fn action(&mut self) -> Check {
        self.let_in()?;
        let topics: Vec<String> = self.usable();
        if topics.is_empty() || self.dice.chance(3) {
            let flush = self.dice.pick(&[Flush::Sync, Flush::Async]);
            return self.create_topic(flush);
        }
        let topic = topics[self.dice.below(topics.len() as u64) as usize].clone();
        match self.dice.below(100) {
            0..24 => self.append_one(&topic),
            24..46 => self.append_many_async(&topic),
            46..52 => self.append_keyed(&topic),
            52..60 => self.poll_some(),
            60..66 => self.read(&topic),
            66..69 => self.wait_for_more(&topic),
            69..74 => self.follow(&topic),
            74..76 => self.lease(&topic),
            76..79 => self.flush(),
            79..83 => self.trim(&topic),
            83..84 => self.delete_topic(&topic),
            84..90 => {
                self.let_pass();
                Ok(())
            }
            _ => {
                self.trouble();
                Ok(())
            }
        }
    }

    pub(super) fn usable(&self) -> Vec<String> {
        let present = self.oracle.topics.iter();
        let present = present.filter(|(_, model)| model.presence == Presence::Present);
        present.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn topic(&self, name: &str) -> Check<Topic> {
        self.engine().topic(name).map_err(|error| format!("{name}: {error}"))
    }

    pub(super) fn any_partition(&mut self, topic: &str) -> Check<Partition> {
        let topic = self.topic(topic)?;
        let id = self.dice.below(u64::from(topic.partitions())) as u32;
        topic.partition(id).map_err(|error| error.to_string())
    }

    /// Everything claimed so far is made durable.
    fn flush(&mut self) -> Check {
        let done = self.engine().flush(Duration::from_millis(300));
        self.note(format!("  flush: {}", answer(&done)));
        match done {
            _ if self.is_dead() => {}
            Ok(()) => {
                // Of what has been let in meanwhile nothing was asked.
                self.oracle.all_durable();
                self.tally.flushed += 1;
            }
            Err(error) if self.explained(&error) => {}
            Err(error) => return Err(format!("flush: {error}")),
        }
        Ok(())
    }

    fn trim(&mut self, topic: &str) -> Check {
        let partition = self.any_partition(topic)?;
        let id = partition.id().0;
        let info = partition.info().map_err(|error| error.to_string())?;
        let to = self.dice.within(info.log_start.0, info.end.0);
        let done = partition.trim(Offset(to));
        self.note(format!("  trim {topic}/{id} to {to}: {}", answer(&done)));
        self.tally.trims += 1;
        let dead = self.is_dead();
        let stream = self.oracle.stream(topic, id);
        match done {
            _ if dead => stream.trims.push(to),
            Ok(()) => stream.log_start = stream.log_start.max(to),
            Err(error) if error.outcome_is_unknown() => stream.trims.push(to),
            Err(error) if !self.explained(&error) => return Err(format!("trim {topic}: {error}")),
            Err(_) => {}
        }
        Ok(())
    }

    pub(super) fn create_topic(&mut self, flush: Flush) -> Check {
        if self.oracle.topics.len() == TOPICS_MAX {
            return Ok(());
        }
        self.names += 1;
        let name = format!("t{}", self.names);
        let partitions = self.dice.within(1, 3) as u32;
        let compression = self.dice.pick(&CODECS);
        let kinds =
            [TimestampType::CreateTime, TimestampType::CreateTime, TimestampType::AppendTime];
        let timestamps = self.dice.pick(&kinds);
        let spec = TopicSpec::new(&name).partitions(partitions).flush(flush);
        let made = self.engine().create_topic(spec.compression(compression).timestamps(timestamps));
        let how = format!("{flush:?} x {partitions} {compression} {timestamps}");
        self.note(format!("  create {name} {how}: {}", answer(&made)));
        self.tally.created += 1;
        let streams = (0..partitions).map(|_| Stream::default()).collect();
        let mut logs = None;
        let (uuid, presence) = match made {
            _ if self.is_dead() => (None, Presence::MaybeCreated),
            Ok(topic) => {
                let info = topic.describe().map_err(|error| format!("{name}: {error}"))?;
                logs = Some(info.partitions.iter().map(|partition| partition.log).collect());
                (Some(topic.uuid().to_string()), Presence::Present)
            }
            Err(error) if error.outcome_is_unknown() => {
                if !self.explained(&error) {
                    return Err(format!("create {name}: {error}"));
                }
                (None, Presence::MaybeCreated)
            }
            Err(error) if !self.explained(&error) => return Err(format!("create {name}: {error}")),
            Err(_) => return Ok(()),
        };
        let model = TopicModel { flush, compression, timestamps, presence, streams, uuid, logs };
        self.oracle.topics.insert(name, model);
        Ok(())
    }

    fn delete_topic(&mut self, name: &str) -> Check {
        self.give_up(|flight| flight.topic == *name);
        self.followers.retain(|follower| follower.topic != *name);
        let done = self.engine().delete_topic(name);
        self.note(format!("  delete {name}: {}", answer(&done)));
        self.tally.deleted += 1;
        let unknown = match &done {
            _ if self.is_dead() => true,
            Ok(()) => {
                self.oracle.topics.remove(name);
                return Ok(());
            }
            Err(error) if !self.explained(error) => return Err(format!("delete {name}: {error}")),
            Err(error) => error.outcome_is_unknown(),
        };
        if unknown {
            let model = self.oracle.topics.get_mut(name).expect("it is in the model");
            model.presence = Presence::MaybeDeleted;
        }
        Ok(())
    }

    fn let_pass(&mut self) {
        let turns = self.dice.below(30);
        self.note(format!("  turn {turns} times"));
        for _ in 0..turns {
            self.engine().turn();
        }
        if self.dice.chance(20) {
            self.clock.advance(Duration::from_millis(1100));
            self.engine().turn();
        }
    }
}

pub(super) fn answer<T>(done: &Result<T, Error>) -> String {
    done.as_ref().map_or_else(ToString::to_string, |_| "ok".to_owned())
}
