//! What was appended, how far each batch was promised, and whether a recovery kept the promises.
//!
//! Per partition the oracle has every batch that was ever claimed, in order. What a recovery finds
//! must be a prefix of it, byte for byte, that contains everything whose acknowledged level the
//! fault spares. Batches beyond what was found are forgotten; they may never come back. Records
//! that were appended one by one may have joined one batch: then each is compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ringlog::{Batch, Compression, Engine, Error, Flush, Offset, Partition, Start, TimestampType};

/// What a check says: nothing, or what is wrong.
pub type Check<T = ()> = Result<T, String>;

/// Why a read did not go to its end.
#[derive(Debug)]
pub enum Unread {
    /// The engine says so, at this offset.
    Refused(u64, Error),
    /// What it gave is not what was appended, or less than was promised.
    Wrong(String),
}

impl From<String> for Unread {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

/// What an engine holds: per partition its log start, its end, and the bytes of its batches.
pub type Found = BTreeMap<(String, u32), (u64, u64, Vec<Vec<u8>>)>;

/// How far a batch was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Claimed; nobody was told anything.
    Claimed,
    /// Survives the process.
    Written,
    /// Survives power loss.
    Durable,
}

/// A batch as it was appended.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Offset of its first record.
    pub first: u64,
    /// How many records it has.
    pub count: u64,
    /// The record batch; base offset and epoch are the engine's.
    pub bytes: Vec<u8>,
    /// How far it was promised.
    pub level: Level,
}

impl Expected {
    fn end(&self) -> u64 {
        self.first + self.count
    }
}

/// A partition as it should be.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Every batch claimed, in order.
    pub batches: Vec<Expected>,
    /// Next offset.
    pub end: u64,
    /// Acknowledged log start.
    pub log_start: u64,
    /// Trims whose outcome is unknown.
    pub trims: Vec<u64>,
}

/// Whether a topic is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Yes.
    Present,
    /// Its creation has an unknown outcome.
    MaybeCreated,
    /// Its deletion has an unknown outcome.
    MaybeDeleted,
}

/// A topic as it should be.
#[derive(Clone, Debug)]
pub struct TopicModel {
    /// Its flush class.
    pub flush: Flush,
    /// How its batches are compressed.
    pub compression: Compression,
    /// Whose time its records have.
    pub timestamps: TimestampType,
    /// Whether it is there.
    pub presence: Presence,
    /// Its partitions.
    pub streams: Vec<Stream>,
    /// Its identity, once known.
    pub uuid: Option<String>,
    /// The log of each partition, once known: for ever.
    pub logs: Option<Vec<u32>>,
}

/// Names content for ever: topic's uuid, partition, base offset, epoch.
type Name = (String, u32, u64, i32);

/// See the module.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Every topic that may be there.
    pub topics: BTreeMap<String, TopicModel>,
    /// What was seen under a name, to find one that means two contents.
    seen: HashMap<Name, Vec<u8>>,
    /// The highest epoch each log was opened with.
    epochs: BTreeMap<String, u32>,
}

/// The part of a batch that the engine must not change: all but base offset and epoch.
fn own_part(bytes: &[u8]) -> (&[u8], &[u8]) {
    (&bytes[8..12], &bytes[16..])
}

/// A batch's header says the same of each of its records: attributes, and no producer.
fn common_part(bytes: &[u8]) -> (&[u8], &[u8]) {
    (&bytes[21..23], &bytes[43..57])
}

/// Whether a batch is what is `known` of it; it is known as far as it was ever seen. Records join a
/// batch one by one, and a power loss may take the later ones of what was only written: each record
/// is still what it was.
pub(crate) fn is_one(known: &mut Vec<u8>, batch: &[u8]) -> bool {
    if known.is_empty() {
        known.extend_from_slice(batch);
    }
    if known[..] == *batch {
        return true;
    }
    if known.len().min(batch.len()) < 61 {
        return false;
    }
    let (short, long) =
        if known.len() < batch.len() { (&known[..], batch) } else { (batch, &known[..]) };
    let is_part = common_part(short) == common_part(long)
        && short[..8] == long[..8]
        && short[12..16] == long[12..16]
        && short[27..35] == long[27..35]
        && long[61..].starts_with(&short[61..]);
    if is_part && known.len() < batch.len() {
        *known = batch.to_vec();
    }
    is_part
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Takes a zigzag varint off `bytes`.
fn take_varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Takes a record off `bytes`: timestamp and offset as deltas, and the rest.
fn take_record<'a>(bytes: &mut &'a [u8]) -> Option<(i64, i64, &'a [u8])> {
    let len = take_varint(bytes)?;
    let (mut record, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    record = record.strip_prefix(&[0])?;
    let timestamp = take_varint(&mut record)?;
    Some((timestamp, take_varint(&mut record)?, record))
}

/// Whether `batch` is what these appends of single records joined.
fn compare_joined(expected: &[Expected], batch: &[u8]) -> Check {
    let mut records = &batch[61..];
    let mut latest = i64::MIN;
    for (at, one) in expected.iter().enumerate() {
        if one.count != 1 || common_part(&one.bytes) != common_part(batch) {
            return Err(format!("{} belongs to no other's batch", one.first));
        }
        let timestamp = i64_at(&one.bytes, 27);
        latest = latest.max(timestamp);
        let Some((_, _, wanted)) = take_record(&mut &one.bytes[61..]) else {
            return Err(format!("what was appended at {} is no record", one.first));
        };
        let found = take_record(&mut records);
        if found != Some((timestamp - i64_at(batch, 27), at as i64, wanted)) {
            return Err(format!("the record at {} is not what was appended", one.first));
        }
    }
    let count = (expected.len() as u32).to_be_bytes();
    if !records.is_empty() || batch[57..61] != count || i64_at(batch, 35) != latest {
        return Err("it is not what its records make".to_owned());
    }
    Ok(())
}

fn level_of(flush: Flush) -> Level {
    match flush {
        Flush::Sync => Level::Durable,
        Flush::Async => Level::Written,
    }
}

impl Oracle {
    /// The partition of this model, which must be there.
    ///
    /// # Panics
    /// If it is not.
    pub fn stream(&mut self, topic: &str, partition: u32) -> &mut Stream {
        let model = self.topics.get_mut(topic).expect("a topic of the model");
        &mut model.streams[partition as usize]
    }

    /// Takes in a batch that was claimed at `first`; returns its place in the model.
    pub fn claimed(&mut self, topic: &str, partition: u32, count: u64, bytes: Vec<u8>) -> usize {
        let stream = self.stream(topic, partition);
        let first = stream.end;
        stream.end += count;
        stream.batches.push(Expected { first, count, bytes, level: Level::Claimed });
        stream.batches.len() - 1
    }

    /// A batch was acknowledged, and with it, as they leave in order, all before it.
    pub fn acknowledged(&mut self, topic: &str, partition: u32, first: u64, level: Level) {
        for batch in &mut self.stream(topic, partition).batches {
            if batch.first <= first {
                batch.level = batch.level.max(level);
            }
        }
    }

    /// The directory of the log that has this partition, once that is known.
    pub fn log_of(&self, topic: &str, partition: u32) -> Option<String> {
        let log = *self.topics.get(topic)?.logs.as_ref()?.get(partition as usize)?;
        Some(format!("log-{log:03}"))
    }

    /// A clean close, or a flush, made everything claimed durable.
    pub fn all_durable(&mut self) {
        for topic in self.topics.values_mut() {
            for stream in &mut topic.streams {
                stream.batches.iter_mut().for_each(|batch| batch.level = Level::Durable);
            }
        }
    }

    /// Compares what a reader gives from `from` on with the model, and marks it as seen: what a
    /// reader of a topic has seen has that topic's level. Returns the offset after the last batch.
    ///
    /// # Errors
    /// Why it did not.
    pub fn read(&mut self, topic: &str, partition: &Partition, from: Start) -> Result<u64, Unread> {
        let id = partition.id().0;
        let refused = |error| Unread::Refused(0, error);
        let mut reader = partition.reader(from).map_err(refused)?;
        let mut next = reader.next_offset().0;
        let mut inside = true;
        loop {
            let batch = reader.next_batch().map_err(|error| Unread::Refused(next, error))?;
            let Some(batch) = batch else { break };
            next = self.seen(topic, id, next, inside, &batch)?;
            inside = false;
        }
        let owed = self.visible(topic, id);
        if next < owed {
            let what = format!("{topic}/{id}: a reader ends at {next}, visible up to {owed}");
            return Err(what.into());
        }
        Ok(next)
    }

    /// Up to where a reader must see: what has the level of the topic.
    pub fn visible(&mut self, topic: &str, partition: u32) -> u64 {
        let Some(level) = self.topics.get(topic).map(|model| level_of(model.flush)) else {
            return 0;
        };
        let stream = self.stream(topic, partition);
        let owed = stream.batches.iter().filter(|batch| batch.level >= level);
        owed.map(Expected::end).max().unwrap_or(0)
    }

    /// Takes in a batch that a reader, at `next`, was given; `inside`: it may begin before that.
    /// Returns where the reader stands after it.
    ///
    /// # Errors
    /// It is not what was appended there.
    pub fn seen(
        &mut self,
        topic: &str,
        id: u32,
        next: u64,
        inside: bool,
        batch: &Batch,
    ) -> Check<u64> {
        let label = format!("{topic}/{id}");
        let base = batch.base_offset().0;
        if !(base == next || inside && base < next) {
            return Err(format!("{label}: batch {base} follows {next}"));
        }
        let model = self.topics.get(topic).ok_or("no such topic")?;
        let (level, uuid) = (level_of(model.flush), model.uuid.clone().unwrap_or_default());
        self.compare(topic, id, &label, batch)?;
        self.name(&uuid, id, &label, batch)?;
        let last = batch.last_offset().0;
        self.acknowledged(topic, id, last, level);
        Ok(last + 1)
    }

    fn compare(&mut self, topic: &str, id: u32, label: &str, batch: &Batch) -> Check {
        let base = batch.base_offset().0;
        let stream = self.stream(topic, id);
        let at = stream.batches.partition_point(|expected| expected.first < base);
        let expected =
            stream.batches.get(at).filter(|expected| expected.first == base).ok_or_else(|| {
                format!("{label}: a batch at {base} that was never appended there")
            })?;
        if expected.count == 1 && batch.len() > 1 {
            let joined = &stream.batches[at..(at + batch.len()).min(stream.batches.len())];
            return compare_joined(joined, batch.bytes())
                .map_err(|what| format!("{label}: the batch at {base}: {what}"));
        }
        if own_part(&expected.bytes) != own_part(batch.bytes()) {
            return Err(format!("{label}: the batch at {base} is not what was appended"));
        }
        if batch.len() as u64 != expected.count {
            return Err(format!("{label}: {} records at {base}", batch.len()));
        }
        Ok(())
    }

    /// (epoch, offset) names content for ever.
    fn name(&mut self, uuid: &str, id: u32, label: &str, batch: &Batch) -> Check {
        let bytes = batch.bytes();
        let epoch = bytes[12..16].try_into().map_or(-1, i32::from_be_bytes);
        let name = (uuid.to_owned(), id, batch.base_offset().0, epoch);
        if is_one(self.seen.entry(name).or_default(), bytes) {
            return Ok(());
        }
        Err(format!("{label}: epoch {epoch}, offset {}: two contents", batch.base_offset()))
    }

    /// Holds an engine that has just been opened against the promises that the fault spares: those
    /// of `spared` and above, and in the logs `doubtful`, whose device failed, the durable ones.
    /// What was found is the model from then on, durable.
    ///
    /// # Errors
    /// The promise that was not kept.
    pub fn recovered(
        &mut self,
        engine: &Engine,
        spared: Level,
        doubtful: &BTreeSet<String>,
    ) -> Check {
        self.check_logs(engine)?;
        self.check_topics(engine)?;
        let names: Vec<String> = self.topics.keys().cloned().collect();
        for name in names {
            let topic = engine.topic(&name).map_err(|error| format!("{name}: {error}"))?;
            for id in 0..topic.partitions() {
                let partition = topic.partition(id).map_err(|error| error.to_string())?;
                let doubted = self.log_of(&name, id).is_some_and(|log| doubtful.contains(&log));
                let spared = if doubted { Level::Durable } else { spared };
                self.recovered_partition(&name, &partition, spared)?;
            }
        }
        Ok(())
    }

    /// All that an engine holds.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn found(engine: &Engine) -> Check<Found> {
        let mut found = Found::new();
        for info in engine.topics() {
            let topic = engine.topic(&info.name).map_err(|error| error.to_string())?;
            for id in 0..topic.partitions() {
                let partition = topic.partition(id).map_err(|error| error.to_string())?;
                let info = partition.info().map_err(|error| error.to_string())?;
                let reader = partition.reader(Start::Earliest).map_err(|e| e.to_string())?;
                let batches = reader.map(|batch| batch.map(|batch| batch.bytes().to_vec()));
                let batches = batches.collect::<Result<_, _>>();
                let batches = batches.map_err(|error: Error| error.to_string())?;
                let name = (topic.name().to_owned(), id);
                found.insert(name, (info.log_start.0, info.end.0, batches));
            }
        }
        Ok(found)
    }

    fn check_logs(&mut self, engine: &Engine) -> Check {
        for log in engine.metrics().logs {
            if let Some(stopped) = log.stopped {
                return Err(format!("{} opens stopped: {stopped}", log.log));
            }
            let highest = self.epochs.entry(log.log.clone()).or_default();
            if log.epoch <= *highest {
                return Err(format!("{}: epoch {} after {highest}", log.log, log.epoch));
            }
            *highest = log.epoch;
        }
        Ok(())
    }

    fn check_topics(&mut self, engine: &Engine) -> Check {
        let found = engine.topics();
        for info in &found {
            let Some(model) = self.topics.get_mut(&info.name) else {
                return Err(format!("topic {} was never made, or was deleted", info.name));
            };
            let uuid = model.uuid.get_or_insert_with(|| info.uuid.to_string());
            if *uuid != info.uuid.to_string() || info.partitions.len() != model.streams.len() {
                return Err(format!("topic {} is another one", info.name));
            }
            let logs: Vec<u32> = info.partitions.iter().map(|partition| partition.log).collect();
            let known = model.logs.get_or_insert_with(|| logs.clone());
            if *known != logs {
                return Err(format!("topic {} was on logs {known:?}, now {logs:?}", info.name));
            }
        }
        let is_there = |name: &String| found.iter().any(|info| info.name == *name);
        for (name, model) in &self.topics {
            if model.presence == Presence::Present && !is_there(name) {
                return Err(format!("topic {name} is gone"));
            }
        }
        self.topics.retain(|name, _| is_there(name));
        self.topics.values_mut().for_each(|model| model.presence = Presence::Present);
        Ok(())
    }

    /// How many topics have partitions on several logs.
    pub fn spread(&self) -> u64 {
        let logs = self.topics.values().filter_map(|model| model.logs.as_ref());
        logs.filter(|logs| logs.iter().any(|log| *log != logs[0])).count() as u64
    }

    fn recovered_partition(&mut self, topic: &str, partition: &Partition, spared: Level) -> Check {
        let id = partition.id().0;
        let label = format!("{topic}/{id}");
        let info = partition.info().map_err(|error| format!("{label}: {error}"))?;
        let (log_start, end) = (info.log_start.0, info.end.0);
        let stream = self.stream(topic, id);
        if log_start != stream.log_start && !stream.trims.contains(&log_start) {
            let wanted = (stream.log_start, &stream.trims);
            return Err(format!("{label}: log start {log_start}, not {wanted:?}"));
        }
        let owed = stream.batches.iter().filter(|batch| batch.level >= spared);
        let owed = owed.map(Expected::end).max().unwrap_or(0).max(log_start);
        if end < owed {
            return Err(format!("{label}: ends at {end}, promised up to {owed} ({spared:?})"));
        }
        let whole = end == 0 || stream.batches.iter().any(|batch| batch.end() == end);
        if !whole {
            return Err(format!("{label}: ends at {end}, which is within or beyond any batch"));
        }
        stream.batches.retain(|batch| batch.end() <= end);
        stream.end = end;
        stream.log_start = log_start;
        stream.trims.clear();
        let read = self.read(topic, partition, Start::Offset(Offset(log_start)));
        let visible = read.map_err(|unread| match unread {
            Unread::Refused(at, error) => format!("{label}: read at {at}: {error}"),
            Unread::Wrong(what) => what,
        })?;
        if visible != end {
            return Err(format!("{label}: recovered up to {end}, readable up to {visible}"));
        }
        let stream = self.stream(topic, id);
        stream.batches.iter_mut().for_each(|batch| batch.level = Level::Durable);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of one base, with as many records as `records` has bytes.
    fn batch(records: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 61];
        bytes[8..12].copy_from_slice(&(49 + records.len() as u32).to_be_bytes());
        bytes[57..61].copy_from_slice(&(records.len() as u32).to_be_bytes());
        bytes.extend_from_slice(records);
        bytes
    }

    #[test]
    fn a_batch_may_lose_its_later_records_and_none_may_be_another() {
        let mut known = Vec::new();
        assert!(is_one(&mut known, &batch(b"ab")));
        assert!(is_one(&mut known, &batch(b"abcd")));
        assert!(is_one(&mut known, &batch(b"a")));
        assert!(!is_one(&mut known, &batch(b"aX")));
        assert!(!is_one(&mut known, &batch(b"abX")), "known as far as it was ever seen");
        assert!(!is_one(&mut known, &batch(b"abcX")));
        let mut later = batch(b"abcd");
        later[34] = 1;
        assert!(!is_one(&mut known, &later), "another time");
        assert!(is_one(&mut known, &batch(b"abcde")));
    }
}
