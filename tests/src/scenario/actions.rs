//! What an engine is made to do, and what each answer means to the oracle.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringlog::sim::{Condition, FaultError, FaultOp};
use ringlog::{Ack, AppendOptions, Appended, Error, Flush, Offset, Partition, Record, Start};
use ringlog::{TopicSpec, raw};

use super::{Flight, Scenario};
use crate::oracle::{Check, Level, Presence, Stream, TopicModel};

/// Topics at once.
const TOPICS_MAX: usize = 5;
/// Appends in flight at once.
const FLIGHTS_MAX: usize = 24;
/// Timestamps of the records, so that a batch can be made twice.
const STAMP_MS: i64 = 1_700_000_000_000;
/// A frame longer than this is too large for the smallest ring.
const LARGE_BYTES: usize = 16 << 10;

/// What to append: values and the batch they make.
struct Content {
    values: Vec<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Content {
    fn records(&self) -> Vec<Record<'_>> {
        self.values.iter().map(|value| Record::new(value).timestamp_ms(STAMP_MS)).collect()
    }

    fn count(&self) -> u64 {
        self.values.len() as u64
    }
}

fn level(ack: Ack) -> Level {
    match ack {
        Ack::Written => Level::Written,
        Ack::Durable => Level::Durable,
    }
}

impl Scenario {
    pub(super) fn action(&mut self) -> Check {
        let topics: Vec<String> = self.usable();
        if topics.is_empty() || self.dice.chance(3) {
            let flush = self.dice.pick(&[Flush::Sync, Flush::Async]);
            return self.create_topic(flush);
        }
        let topic = topics[self.dice.below(topics.len() as u64) as usize].clone();
        match self.dice.below(100) {
            0..30 => self.append_one(&topic),
            30..60 => self.append_many_async(&topic),
            60..70 => self.poll_some(),
            70..80 => self.read(&topic),
            80..83 => self.follow(&topic),
            83..87 => self.trim(&topic),
            87..88 => self.delete_topic(&topic),
            88..95 => {
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

    fn any_partition(&mut self, topic: &str) -> Check<Partition> {
        let topic = self.engine().topic(topic).map_err(|error| format!("{topic}: {error}"))?;
        let id = self.dice.below(u64::from(topic.partitions())) as u32;
        topic.partition(id).map_err(|error| error.to_string())
    }

    fn content(&mut self, topic: &str) -> Check<Content> {
        let count = self.dice.pick(&[1, 1, 1, 2, 5, 20]);
        let len = self.dice.pick(&[0, 10, 100, 1000, 4000, 9000, 17_000, 23_000]);
        let len = self.dice.below(len + 1) / if count > 5 { 20 } else { count };
        let mut values = Vec::new();
        for _ in 0..count {
            self.serial += 1;
            let mut value = format!("{topic} {} ", self.serial).into_bytes();
            let fill = self.dice.word().to_le_bytes();
            value.extend(fill.iter().cycle().take(len as usize));
            values.push(value);
        }
        let mut content = Content { values, bytes: Vec::new() };
        let mut bytes = Vec::new();
        raw::encode(&content.records(), 0, &mut bytes).map_err(|error| error.to_string())?;
        self.tally.large += u64::from(bytes.len() > LARGE_BYTES);
        content.bytes = bytes;
        Ok(content)
    }

    fn options(&mut self, topic: &str) -> (AppendOptions, Level) {
        let own = match self.oracle.topics[topic].flush {
            Flush::Sync => Ack::Durable,
            Flush::Async => Ack::Written,
        };
        let other = self.dice.pick(&[Ack::Durable, Ack::Written]);
        let ack = if self.dice.chance(25) { other } else { own };
        let wait = self.dice.chance(80);
        (AppendOptions::default().ack(ack).wait_for_room(wait), level(ack))
    }

    /// Blocks for one append.
    pub(super) fn append_one(&mut self, topic: &str) -> Check {
        let partition = self.any_partition(topic)?;
        let content = self.content(topic)?;
        let (options, level) = self.options(topic);
        let id = partition.id().0;
        let before = self.end_of(topic, &partition)?;
        let line = format!("{} records, {} bytes", content.count(), content.bytes.len());
        let done = if self.dice.chance(25) {
            partition.append_batch(&content.bytes, options)
        } else {
            partition.append_with(&content.records(), options)
        };
        self.note(format!("  append {topic}/{id}@{before} {line} {level:?}: {}", answer(&done)));
        self.tally.appends += 1;
        let end = partition.info().map_err(|error| error.to_string())?.end.0;
        let claimed = end == before + content.count();
        if !claimed && end != before {
            return Err(format!("{topic}/{id}: end {end} after {before}"));
        }
        if claimed {
            self.oracle.claimed(topic, id, content.count(), content.bytes);
        }
        self.outcome(topic, id, before, claimed, level, done)
    }

    /// The end of a partition, which must be the model's.
    fn end_of(&mut self, topic: &str, partition: &Partition) -> Check<u64> {
        let end = partition.info().map_err(|error| error.to_string())?.end.0;
        let expected = self.oracle.stream(topic, partition.id().0).end;
        if end == expected { Ok(end) } else { Err(format!("{topic}: end {end}, not {expected}")) }
    }

    /// What the answer of an append says must be true.
    fn outcome(
        &mut self,
        topic: &str,
        id: u32,
        first: u64,
        claimed: bool,
        level: Level,
        done: Result<Appended, Error>,
    ) -> Check {
        match done {
            Ok(appended) => {
                if !claimed || appended.first.0 != first {
                    return Err(format!("{topic}/{id}: acknowledged {appended:?}, not {first}"));
                }
                self.oracle.acknowledged(topic, id, first, level);
                match level {
                    Level::Durable => self.tally.acked_durable += 1,
                    _ => self.tally.acked_written += 1,
                }
                Ok(())
            }
            Err(error) if !self.explained(&error) => {
                let logs = self.engine.as_ref().map(|engine| engine.metrics().logs);
                Err(format!("{topic}/{id}: {error}\n{logs:#?}"))
            }
            Err(error) if claimed != error.outcome_is_unknown() => {
                Err(format!("{topic}/{id}: claimed {claimed}, but: {error}"))
            }
            Err(_) if claimed => {
                self.tally.unknown += 1;
                Ok(())
            }
            Err(_) => {
                self.tally.refused += 1;
                Ok(())
            }
        }
    }

    fn append_many_async(&mut self, topic: &str) -> Check {
        for _ in 0..self.dice.within(1, 8) {
            if self.flights.len() == FLIGHTS_MAX {
                return self.poll_some();
            }
            let partition = self.any_partition(topic)?;
            let content = self.content(topic)?;
            let (options, level) = self.options(topic);
            let before = self.end_of(topic, &partition)?;
            let future = partition.append_async_with(&content.records(), options);
            let mut flight = Flight {
                topic: topic.to_owned(),
                partition: partition.id().0,
                future,
                level,
                count: content.count(),
                bytes: content.bytes,
                first: None,
            };
            let end = partition.info().map_err(|error| error.to_string())?.end.0;
            self.note_claim(&mut flight, before, end)?;
            let (id, bytes) = (flight.partition, flight.bytes.len());
            let first = flight.first;
            self.note(format!("  append async {topic}/{id}@{first:?} {bytes} bytes {level:?}"));
            self.tally.appends += 1;
            self.flights.push(flight);
        }
        Ok(())
    }

    fn note_claim(&mut self, flight: &mut Flight, before: u64, end: u64) -> Check {
        if end == before {
            return Ok(());
        }
        let (topic, id) = (&flight.topic, flight.partition);
        if flight.first.is_some() || end != before + flight.count {
            return Err(format!("{topic}/{id}: end {end} after {before}"));
        }
        flight.first = Some(before);
        self.oracle.claimed(topic, id, flight.count, flight.bytes.clone());
        Ok(())
    }

    fn poll_some(&mut self) -> Check {
        for at in (0..self.flights.len()).rev() {
            if self.dice.chance(70) {
                self.poll(at)?;
            }
        }
        Ok(())
    }

    /// Polls one append in flight; takes it out when it is answered.
    pub(super) fn poll(&mut self, at: usize) -> Check {
        let mut flight = self.flights.swap_remove(at);
        let before = self.oracle.stream(&flight.topic, flight.partition).end;
        let mut context = Context::from_waker(Waker::noop());
        let polled = Pin::new(&mut flight.future).poll(&mut context);
        if let Some(engine) = &self.engine {
            let partition = engine
                .topic(&flight.topic)
                .and_then(|topic| topic.partition(flight.partition))
                .map_err(|error| error.to_string())?;
            let end = partition.info().map_err(|error| error.to_string())?.end.0;
            self.note_claim(&mut flight, before, end)?;
        }
        match polled {
            Poll::Pending => self.flights.push(flight),
            Poll::Ready(done) => {
                let (topic, id) = (flight.topic.clone(), flight.partition);
                self.note(format!("  {topic}/{id}@{:?}: {}", flight.first, answer(&done)));
                let first = flight.first.unwrap_or(before);
                if let (None, Err(Error::Closed { outcome_unknown: false }), None) =
                    (flight.first, &done, &self.engine)
                {
                    return Ok(());
                }
                self.outcome(&topic, id, first, flight.first.is_some(), flight.level, done)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, topic: &str) -> Check {
        let partition = self.any_partition(topic)?;
        let info = partition.info().map_err(|error| error.to_string())?;
        let from = self.dice.within(info.log_start.0, info.end.0);
        self.note(format!("  read {topic}/{} from {from}", partition.id()));
        self.tally.reads += 1;
        match self.oracle.read(topic, &partition, Start::Offset(Offset(from))) {
            // What a failed flush gave up, an async reader may have seen and see no more.
            Err(what) if self.faulty && what.contains("read at") => Ok(()),
            Err(what) if !self.disk.is_killed() => Err(what),
            _ => Ok(()),
        }
    }

    /// A reader that waits is given what has been claimed.
    fn follow(&mut self, topic: &str) -> Check {
        let partition = self.any_partition(topic)?;
        let id = partition.id().0;
        let Ok(mut reader) = partition.reader(Start::Earliest) else { return Ok(()) };
        let killed = |error: Error| format!("{topic}/{id}: follow: {error}");
        loop {
            match reader.next_batch() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) if self.faulty || self.disk.is_killed() => return Ok(()),
                Err(error) => return Err(killed(error)),
            }
        }
        let more = reader.next_offset().0 < self.oracle.stream(topic, id).end;
        self.note(format!("  follow {topic}/{id} from {}", reader.next_offset()));
        match reader.next_timeout(Duration::from_millis(300)) {
            Ok(None) if more && !self.frozen && !self.faulty && !self.disk.is_killed() => {
                Err(format!("{topic}/{id}: a follower is not given what was claimed"))
            }
            Err(error) if !self.faulty && !self.disk.is_killed() => Err(killed(error)),
            _ => Ok(()),
        }
    }

    fn trim(&mut self, topic: &str) -> Check {
        let partition = self.any_partition(topic)?;
        let id = partition.id().0;
        let info = partition.info().map_err(|error| error.to_string())?;
        let to = self.dice.within(info.log_start.0, info.end.0);
        let done = partition.trim(Offset(to));
        self.note(format!("  trim {topic}/{id} to {to}: {}", answer(&done)));
        self.tally.trims += 1;
        let stream = self.oracle.stream(topic, id);
        match done {
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
        let spec = TopicSpec::new(&name).partitions(partitions).flush(flush);
        let made = self.engine().create_topic(spec);
        self.note(format!("  create {name} {flush:?} x {partitions}: {}", answer(&made)));
        self.tally.created += 1;
        let streams = (0..partitions).map(|_| Stream::default()).collect();
        let mut logs = None;
        let (uuid, presence) = match made {
            Ok(topic) => {
                let info = topic.describe().map_err(|error| format!("{name}: {error}"))?;
                logs = Some(info.partitions.iter().map(|partition| partition.log).collect());
                (Some(topic.uuid().to_string()), Presence::Present)
            }
            Err(error) if error.outcome_is_unknown() => (None, Presence::MaybeCreated),
            Err(error) if !self.explained(&error) => return Err(format!("create {name}: {error}")),
            Err(_) => return Ok(()),
        };
        self.oracle.topics.insert(name, TopicModel { flush, presence, streams, uuid, logs });
        Ok(())
    }

    fn delete_topic(&mut self, name: &str) -> Check {
        self.flights.retain(|flight| flight.topic != *name);
        let done = self.engine().delete_topic(name);
        self.note(format!("  delete {name}: {}", answer(&done)));
        self.tally.deleted += 1;
        match done {
            Ok(()) => drop(self.oracle.topics.remove(name)),
            Err(error) if error.outcome_is_unknown() => {
                let model = self.oracle.topics.get_mut(name).expect("it is in the model");
                model.presence = Presence::MaybeDeleted;
            }
            Err(error) if !self.explained(&error) => return Err(format!("delete {name}: {error}")),
            Err(_) => {}
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

    /// Faults: an error of the device, a full or read-only filesystem, a freeze, or their end.
    fn trouble(&mut self) {
        match self.dice.below(10) {
            0..2 => {
                let op = self.dice.pick(&[FaultOp::Write, FaultOp::Flush]);
                let error = self.dice.pick(&[FaultError::Io, FaultError::Io, FaultError::NoSpace]);
                let nth = self.dice.within(1, 4);
                self.note(format!("  fault: {op:?} number {nth}: {error:?}"));
                self.disk.fail_nth(op, nth, error);
                self.faulty = true;
                self.armed = true;
                self.setup.troubled = true;
                self.tally.faults += 1;
            }
            2..3 => {
                let op = self.dice.pick(&[FaultOp::Allocate, FaultOp::SyncDir]);
                self.note(format!("  fault: {op:?}"));
                self.disk.fail_nth(op, 1, FaultError::NoSpace);
                self.armed = true;
                self.setup.troubled = true;
                self.tally.conditions += 1;
            }
            3..5 => {
                self.note("  the disk is full");
                self.disk.set_condition(Condition::Full);
                self.setup.troubled = true;
                self.tally.conditions += 1;
            }
            5..6 => {
                self.note("  freeze");
                self.disk.freeze();
                self.frozen = true;
                self.tally.freezes += 1;
            }
            _ => {
                self.note("  the disk is well again");
                self.disk.set_condition(Condition::Normal);
                self.thaw();
            }
        }
    }
}

fn answer<T>(done: &Result<T, Error>) -> String {
    done.as_ref().map_or_else(ToString::to_string, |_| "ok".to_owned())
}
