//! Appends in every form, and what their answers say must be true.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use ringlog::{Ack, AppendOptions, Compression, Error, Flush, Offset, Partition, Record, raw};

use super::actions::answer;
use super::{Flight, Scenario};
use crate::oracle::{Check, Level};

/// Appends in flight at once.
const FLIGHTS_MAX: usize = 24;
/// Timestamps of the records, so that a batch can be made twice.
const STAMP_MS: i64 = 1_700_000_000_000;
/// A frame longer than this is too large for the smallest ring.
const LARGE_BYTES: usize = 16 << 10;

/// A key, perhaps, and a value.
type Row = (Option<Vec<u8>>, Vec<u8>);

/// What to append, and the batch it makes.
struct Content {
    rows: Vec<Row>,
    bytes: Vec<u8>,
}

impl Content {
    fn records(&self) -> Vec<Record<'_>> {
        self.rows.iter().map(record).collect()
    }

    fn count(&self) -> u64 {
        self.rows.len() as u64
    }
}

fn record((key, value): &Row) -> Record<'_> {
    let record = Record::new(value).timestamp_ms(STAMP_MS);
    key.iter().fold(record, |record, key| record.key(key))
}

fn level(ack: Ack) -> Level {
    match ack {
        Ack::Written => Level::Written,
        Ack::Durable => Level::Durable,
    }
}

impl Scenario {
    fn rows(&mut self, topic: &str, count: u64) -> Vec<Row> {
        let len = self.dice.pick(&[0, 10, 100, 1000, 4000, 9000, 17_000, 23_000]);
        let len = self.dice.below(len + 1) / if count > 5 { 20 } else { count };
        let mut rows = Vec::new();
        for _ in 0..count {
            self.serial += 1;
            let mut value = format!("{topic} {} ", self.serial).into_bytes();
            let fill = self.dice.word().to_le_bytes();
            value.extend(fill.iter().cycle().take(len as usize));
            let key = self.dice.chance(30).then(|| format!("k{}", self.dice.below(9)).into_bytes());
            rows.push((key, value));
        }
        rows
    }

    /// The batch that the engine makes of these records, now.
    fn encode(&self, topic: &str, rows: &[Row], codec: Option<Compression>) -> Check<Vec<u8>> {
        let model = &self.oracle.topics[topic];
        let compression = codec.unwrap_or(model.compression);
        let form = raw::Form { compression, timestamps: model.timestamps };
        let records: Vec<Record<'_>> = rows.iter().map(record).collect();
        let mut bytes = Vec::new();
        raw::encode_as(&records, form, self.clock.wall_ms(), &mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// Something to append, how, and the level that is asked for.
    fn content(&mut self, topic: &str) -> Check<(Content, AppendOptions, Level)> {
        let (options, level, codec) = self.options(topic);
        let count = self.dice.pick(&[1, 1, 1, 2, 5, 20]);
        let rows = self.rows(topic, count);
        let bytes = self.encode(topic, &rows, codec)?;
        self.tally.large += u64::from(bytes.len() > LARGE_BYTES);
        let compressed = codec.unwrap_or(self.oracle.topics[topic].compression);
        self.tally.compressed += u64::from(compressed != Compression::None);
        Ok((Content { rows, bytes }, options, level))
    }

    fn options(&mut self, topic: &str) -> (AppendOptions, Level, Option<Compression>) {
        let own = match self.oracle.topics[topic].flush {
            Flush::Sync => Ack::Durable,
            Flush::Async => Ack::Written,
        };
        let other = self.dice.pick(&[Ack::Durable, Ack::Written]);
        let ack = if self.dice.chance(25) { other } else { own };
        let wait = self.dice.chance(80);
        let codec = self.dice.chance(5).then_some(Compression::Lz4);
        let options = AppendOptions::default().ack(ack).wait_for_room(wait);
        let options = codec.iter().fold(options, |options, codec| options.compression(*codec));
        (options, level(ack), codec)
    }

    /// Blocks for one append.
    pub(super) fn append_one(&mut self, topic: &str) -> Check {
        let partition = self.any_partition(topic)?;
        let (content, options, level) = self.content(topic)?;
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
        let claimed = self.take_claim(topic, &partition, &content)?;
        self.outcome(topic, id, claimed, level, done.map(|appended| appended.first))
    }

    /// Where this content is, if the partition has moved on by it.
    fn take_claim(
        &mut self,
        topic: &str,
        partition: &Partition,
        content: &Content,
    ) -> Check<Option<u64>> {
        let id = partition.id().0;
        self.let_in()?;
        let before = self.oracle.stream(topic, id).end;
        let end = partition.info().map_err(|error| error.to_string())?.end.0;
        if end == before {
            return Ok(None);
        }
        if end != before + content.count() {
            return Err(format!("{topic}/{id}: end {end} after {before}"));
        }
        self.check_not_latched(topic, id)?;
        self.oracle.claimed(topic, id, content.count(), content.bytes.clone());
        Ok(Some(before))
    }

    /// A log that has said that it is latched takes nothing.
    fn check_not_latched(&self, topic: &str, id: u32) -> Check {
        match self.oracle.log_of(topic, id) {
            Some(log) if self.latched.contains(&log) => {
                Err(format!("{topic}/{id}: claimed in {log}, which is latched"))
            }
            _ => Ok(()),
        }
    }

    /// The end of a partition, which must be the model's.
    fn end_of(&mut self, topic: &str, partition: &Partition) -> Check<u64> {
        self.let_in()?;
        let end = partition.info().map_err(|error| error.to_string())?.end.0;
        let expected = self.oracle.stream(topic, partition.id().0).end;
        if end == expected { Ok(end) } else { Err(format!("{topic}: end {end}, not {expected}")) }
    }

    /// What the answer of an append says must be true.
    fn outcome(
        &mut self,
        topic: &str,
        id: u32,
        first: Option<u64>,
        level: Level,
        done: Result<Offset, Error>,
    ) -> Check {
        let claimed = first.is_some();
        match done {
            _ if self.is_dead() => Ok(()),
            Ok(offset) => {
                if Some(offset.0) != first {
                    return Err(format!("{topic}/{id}: acknowledged at {offset}, not {first:?}"));
                }
                self.oracle.acknowledged(topic, id, offset.0, level);
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
            Err(error) => {
                match &error {
                    _ if claimed => self.tally.unknown += 1,
                    Error::Latched { .. } => self.tally.refused_latched += 1,
                    Error::NoSpace { .. } => self.tally.refused_no_space += 1,
                    _ => self.tally.refused += 1,
                }
                Ok(())
            }
        }
    }

    pub(super) fn append_many_async(&mut self, topic: &str) -> Check {
        for _ in 0..self.dice.within(1, 8) {
            if self.flights.len() == FLIGHTS_MAX {
                return self.poll_some();
            }
            if self.is_dead() {
                break;
            }
            let partition = self.any_partition(topic)?;
            let (content, options, level) = self.content(topic)?;
            self.let_in()?;
            let future = partition.append_async_with(&content.records(), options);
            let (id, bytes) = (partition.id().0, content.bytes.len());
            self.flights.push(Flight {
                topic: topic.to_owned(),
                partition: id,
                future,
                level,
                count: content.count(),
                bytes: content.bytes,
                first: None,
            });
            self.let_in()?;
            let first = self.flights.last().and_then(|flight| flight.first);
            if first.is_some() {
                self.check_not_latched(topic, id)?;
            }
            self.note(format!("  append async {topic}/{id}@{first:?} {bytes} bytes {level:?}"));
            self.tally.appends += 1;
        }
        Ok(())
    }

    /// Notes which of those that waited for room have been let in since: in the order of the calls.
    pub(super) fn let_in(&mut self) -> Check {
        let Some(engine) = &self.engine else { return Ok(()) };
        for flight in self.flights.iter_mut().filter(|flight| flight.first.is_none()) {
            let (topic, id) = (&flight.topic.clone(), flight.partition);
            let partition = engine.topic(topic).and_then(|topic| topic.partition(id));
            let Ok(partition) = partition else { continue };
            let end = partition.info().map_err(|error| error.to_string())?.end.0;
            let before = self.oracle.stream(topic, id).end;
            if end == before || flight.is_refused() {
                continue;
            }
            if end < before + flight.count {
                return Err(format!("{topic}/{id}: end {end} after {before}"));
            }
            flight.first = Some(before);
            self.oracle.claimed(topic, id, flight.count, flight.bytes.clone());
        }
        Ok(())
    }

    /// Drops these, the last first: none of them is let in because another has gone.
    pub(super) fn give_up(&mut self, which: impl Fn(&Flight) -> bool) {
        for at in (0..self.flights.len()).rev() {
            if which(&self.flights[at]) {
                self.flights.remove(at);
            }
        }
    }

    pub(super) fn poll_some(&mut self) -> Check {
        for at in (0..self.flights.len()).rev() {
            if self.dice.chance(70) {
                self.poll(at)?;
            }
        }
        Ok(())
    }

    /// Polls one append in flight; takes it out when it is answered.
    pub(super) fn poll(&mut self, at: usize) -> Check {
        let mut context = Context::from_waker(Waker::noop());
        let polled = Pin::new(&mut self.flights[at].future).poll(&mut context);
        self.let_in()?;
        let Poll::Ready(done) = polled else { return Ok(()) };
        let flight = self.flights.remove(at);
        let (topic, id) = (&flight.topic, flight.partition);
        self.note(format!("  {topic}/{id}@{:?}: {}", flight.first, answer(&done)));
        if let (None, Err(Error::Closed { outcome_unknown: false }), None) =
            (flight.first, &done, &self.engine)
        {
            return Ok(());
        }
        let done = done.map(|appended| appended.first);
        self.outcome(topic, id, flight.first, flight.level, done)
    }

    /// Lets the topic choose the partition: of one record, or of many at once.
    pub(super) fn append_keyed(&mut self, name: &str) -> Check {
        let topic = self.topic(name)?;
        let (options, level, codec) = self.options(name);
        let many = self.dice.chance(60);
        let count = if many { self.dice.within(2, 12) } else { 1 };
        let mut rows = self.rows(name, count);
        for (key, _) in &mut rows {
            key.get_or_insert_with(|| b"same".to_vec());
        }
        let mut parts: BTreeMap<u32, Vec<Row>> = BTreeMap::new();
        for row in &rows {
            parts.entry(topic.partition_for(row.0.as_deref()).0).or_default().push(row.clone());
        }
        let mut expected = Vec::new();
        for (id, rows) in parts {
            let bytes = self.encode(name, &rows, codec)?;
            let partition = topic.partition(id).map_err(|error| error.to_string())?;
            self.end_of(name, &partition)?;
            expected.push((partition, Content { rows, bytes }));
        }
        let records: Vec<Record<'_>> = rows.iter().map(record).collect();
        let done = if many {
            let done = topic.append_many_with(&records, options);
            done.map(|done| done.ranges().iter().map(|(id, at)| (id.0, at.first)).collect())
        } else {
            let done = topic.append_with(records[0].clone(), options);
            done.map(|id| BTreeMap::from([(id.partition.0, id.offset)]))
        };
        let line = format!("{count} records, {} partitions", expected.len());
        self.note(format!("  append {name} by key {line} {level:?}: {}", answer(&done)));
        self.tally.keyed += 1;
        let mut claims = Vec::new();
        for (partition, content) in expected {
            claims.push((partition.id().0, self.take_claim(name, &partition, &content)?));
        }
        for (id, claimed) in claims {
            let done = part_of(&done, id)?;
            self.outcome(name, id, claimed, level, done)?;
        }
        Ok(())
    }
}

/// What the answer for all partitions says of one.
fn part_of(done: &Result<BTreeMap<u32, Offset>, Error>, id: u32) -> Check<Result<Offset, Error>> {
    let missing = || format!("partition {id} is not in the answer");
    match done {
        Ok(ranges) => Ok(Ok(*ranges.get(&id).ok_or_else(missing)?)),
        Err(Error::PartlyAppended { parts, .. }) => {
            let part = parts.iter().find(|part| part.partition.0 == id).ok_or_else(missing)?;
            Ok(part.result.clone().map(|appended| appended.first))
        }
        Err(error) => Ok(Err(error.clone())),
    }
}
