//! Readers: from anywhere, waiting, staying, and holding on to what they were given.

use std::time::Duration;

use ringlog::{Error, Flush, Offset, Start};

use super::{Follower, Scenario};
use crate::oracle::{Check, Unread};

/// Readers that stay, at once.
const FOLLOWERS_MAX: usize = 4;
/// Batches that are held, at once.
const LEASES_MAX: usize = 12;

impl Scenario {
    pub(super) fn read(&mut self, topic: &str) -> Check {
        let partition = self.any_partition(topic)?;
        let info = partition.info().map_err(|error| error.to_string())?;
        let from = self.dice.within(info.log_start.0, info.end.0);
        let id = partition.id().0;
        self.note(format!("  read {topic}/{id} from {from}"));
        self.tally.reads += 1;
        match self.oracle.read(topic, &partition, Start::Offset(Offset(from))) {
            Err(Unread::Wrong(what)) if !self.is_dead() => Err(what),
            Err(Unread::Refused(at, error)) => self.refused(topic, id, at, &error),
            Ok(_) | Err(Unread::Wrong(_)) => Ok(()),
        }
    }

    /// Whether a read may fail so: the device did not give it, or a failed flush gave up what an
    /// async reader was shown. What is durable is read whatever else has failed.
    fn refused(&mut self, topic: &str, id: u32, at: u64, error: &Error) -> Check {
        let wrong = || Err(format!("{topic}/{id}: read at {at}: {error}"));
        match error {
            _ if self.is_dead() => Ok(()),
            Error::Io { .. } if self.explained(error) => {
                self.tally.reads_refused += 1;
                Ok(())
            }
            Error::Corrupt { .. } => {
                self.note_doubtful();
                let log = self.oracle.log_of(topic, id).unwrap_or_default();
                let partition = self.topic(topic)?.partition(id).map_err(|e| e.to_string())?;
                let durable = partition.info().map_err(|error| error.to_string())?.durable_end.0;
                let class = self.oracle.topics[topic].flush;
                if class == Flush::Sync || at < durable || !self.doubtful.contains(&log) {
                    return wrong();
                }
                self.tally.reads_given_up += 1;
                Ok(())
            }
            _ => wrong(),
        }
    }

    /// A reader that waits is given what has been claimed.
    pub(super) fn wait_for_more(&mut self, topic: &str) -> Check {
        let partition = self.any_partition(topic)?;
        let id = partition.id().0;
        let mut reader = match partition.reader(Start::Earliest) {
            Ok(reader) => reader,
            Err(error) => return self.refused(topic, id, 0, &error),
        };
        loop {
            let at = reader.next_offset().0;
            match reader.next_batch() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return self.refused(topic, id, at, &error),
            }
        }
        let at = reader.next_offset().0;
        let more = at < self.oracle.stream(topic, id).end;
        self.note(format!("  wait for more of {topic}/{id} from {at}"));
        let waited = reader.next_timeout(Duration::from_millis(300));
        self.note_doubtful();
        let log = self.oracle.log_of(topic, id).unwrap_or_default();
        let hindered = self.frozen || self.stuck || self.doubtful.contains(&log) || self.is_dead();
        match waited {
            Ok(None) if more && !hindered => {
                Err(format!("{topic}/{id}: a follower is not given what was claimed"))
            }
            Ok(_) => Ok(()),
            Err(Error::Latched { log, .. }) if self.doubtful.contains(&log) => Ok(()),
            Err(error) => self.refused(topic, id, at, &error),
        }
    }

    /// A reader that stays goes on where it was, or a new one begins somewhere.
    pub(super) fn follow(&mut self, topic: &str) -> Check {
        let new = self.followers.len() < FOLLOWERS_MAX && self.dice.chance(40);
        if new || self.followers.is_empty() {
            let partition = self.any_partition(topic)?;
            let id = partition.id().0;
            let info = partition.info().map_err(|error| error.to_string())?;
            let from = self.dice.within(info.log_start.0, info.end.0);
            let reader = match partition.reader(Start::Offset(Offset(from))) {
                Ok(reader) => reader,
                Err(error) => return self.refused(topic, id, from, &error),
            };
            let topic = topic.to_owned();
            self.followers.push(Follower { topic, partition: id, reader, next: from });
        }
        let at = self.dice.below(self.followers.len() as u64) as usize;
        let mut follower = self.followers.swap_remove(at);
        if self.go_on(&mut follower)? {
            self.followers.push(follower);
        }
        Ok(())
    }

    /// Reads on; false: it cannot.
    fn go_on(&mut self, follower: &mut Follower) -> Check<bool> {
        let (topic, id) = (follower.topic.clone(), follower.partition);
        let from = follower.next;
        for _ in 0..self.dice.within(1, 20) {
            match follower.reader.next_batch() {
                Ok(Some(batch)) => {
                    let inside = follower.next == from;
                    follower.next =
                        self.oracle.seen(&topic, id, from.max(follower.next), inside, &batch)?;
                }
                Ok(None) => {
                    let owed = self.oracle.visible(&topic, id);
                    if follower.next < owed && !self.is_dead() {
                        let next = follower.next;
                        return Err(format!(
                            "{topic}/{id}: it stays at {next}, visible up to {owed}"
                        ));
                    }
                    break;
                }
                Err(Error::OffsetOutOfRange { .. }) => {
                    let stream = self.oracle.stream(&topic, id);
                    let trims = stream.trims.iter().copied().chain([stream.log_start]);
                    if trims.max().is_some_and(|start| start > follower.next) {
                        self.tally.followers_trimmed += 1;
                        return Ok(false);
                    }
                    return Err(format!("{topic}/{id}: {} is out of range", follower.next));
                }
                Err(error) => {
                    self.refused(&topic, id, follower.next, &error)?;
                    return Ok(false);
                }
            }
        }
        self.note(format!("  {topic}/{id} followed from {from} to {}", follower.next));
        self.tally.followed += 1;
        Ok(true)
    }

    /// Holds on to a batch, whatever becomes of the engine.
    pub(super) fn lease(&mut self, topic: &str) -> Check {
        let partition = self.any_partition(topic)?;
        let info = partition.info().map_err(|error| error.to_string())?;
        let from = self.dice.within(info.log_start.0, info.end.0);
        let id = partition.id().0;
        let read = partition.reader(Start::Offset(Offset(from)));
        match read.and_then(|mut reader| reader.next_batch()) {
            Ok(Some(batch)) if self.leases.len() < LEASES_MAX => {
                self.note(format!("  hold {topic}/{id} from {from}"));
                let bytes = batch.bytes().to_vec();
                self.leases.push((batch, bytes));
                self.tally.leases += 1;
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => self.refused(topic, id, from, &error),
        }
    }
}
