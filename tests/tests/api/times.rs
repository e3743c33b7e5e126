//! Timestamps: whose they are, and finding records by them, held against a plain list.

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringlog::sim::{SimConfig, SimDisk};
use ringlog::{
    AppendOptions, Clock, Compression, Engine, Error, Offset, Partition, PartitionId, Record,
    Start, TimedOffset, TimestampType, TopicSpec, raw,
};

use super::{CLASSES, DEADLINE, on_each, on_each_class, partition, small, value};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// The timestamps of a partition by offset.
#[derive(Default)]
struct Oracle {
    start: usize,
    times: Vec<i64>,
}

impl Oracle {
    fn timed(&self, at: usize) -> TimedOffset {
        TimedOffset { offset: Offset(at as u64), timestamp_ms: self.times[at] }
    }

    fn since(&self, ms: i64) -> Option<TimedOffset> {
        let mut live = self.start..self.times.len();
        live.find(|at| self.times[*at] >= ms).map(|at| self.timed(at))
    }

    fn latest(&self) -> Option<TimedOffset> {
        let live = self.start..self.times.len();
        let best = live.min_by_key(|at| (std::cmp::Reverse(self.times[*at]), *at));
        best.map(|at| self.timed(at))
    }

    /// Asks for every time there is, those beside it, and the ends of the range.
    fn check(&self, partition: &Partition) {
        let mut asked: Vec<i64> = self.times.iter().flat_map(|ms| [ms - 1, *ms, ms + 1]).collect();
        asked.sort_unstable();
        asked.dedup();
        asked.extend([i64::MIN, i64::MAX]);
        for ms in asked {
            assert_eq!(partition.offset_for_time(ms).unwrap(), self.since(ms), "{ms}");
        }
        assert_eq!(partition.max_timestamp().unwrap(), self.latest());
    }

    /// One batch: some records of times that mostly ascend, some of long ago or of the future.
    fn append(&mut self, rng: &mut StdRng, partition: &Partition) {
        let now = self.times.len() as i64 * 10;
        let times: Vec<i64> = (0..rng.random_range(1..6))
            .map(|_| match rng.random_range(0..30) {
                0 => now + rng.random_range(0..2000),
                1 => now - rng.random_range(0..2000),
                _ => now + rng.random_range(-20..20),
            })
            .collect();
        let value = value(self.times.len(), rng.random_range(10..900));
        let records: Vec<_> =
            times.iter().map(|ms| Record::new(&value).timestamp_ms(*ms)).collect();
        let compression = CODECS[rng.random_range(0..CODECS.len())];
        if rng.random_ratio(1, 4) {
            let mut batch = Vec::new();
            let form = raw::Form { compression, ..raw::Form::default() };
            raw::encode_as(&records, form, 0, &mut batch).unwrap();
            partition.append_batch(&batch, AppendOptions::default()).unwrap();
        } else {
            let options = AppendOptions::default().compression(compression);
            partition.append_with(&records, options).unwrap();
        }
        self.times.extend(times);
    }
}

fn remove_indexes(dir: &Path) {
    for log in fs::read_dir(dir).unwrap() {
        let log = log.unwrap().path();
        if log.is_dir() {
            for file in fs::read_dir(log).unwrap() {
                let file = file.unwrap().path();
                if file.extension().is_some_and(|ext| ext == "idx") {
                    fs::remove_file(file).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_time_is_found_wherever_it_is_and_after_trim_reopen_and_rebuild() {
    on_each(&small(), |options, dir| {
        let mut rng = StdRng::seed_from_u64(11);
        let mut oracles = [Oracle::default(), Oracle::default()];
        for life in 0..3 {
            let engine = options.clone().open(dir).unwrap();
            let partitions = CLASSES.map(|class| partition(&engine, "t", class));
            for (oracle, partition) in oracles.iter_mut().zip(&partitions) {
                oracle.check(partition);
                for _ in 0..150 {
                    oracle.append(&mut rng, partition);
                }
                oracle.check(partition);
                // Into the middle of a batch, as often as not.
                oracle.start += rng.random_range(1..120);
                partition.trim(Offset(oracle.start as u64)).unwrap();
                oracle.check(partition);
            }
            engine.close(DEADLINE).unwrap();
            if life > 0 {
                remove_indexes(dir);
            }
        }
        let engine = options.clone().open(dir).unwrap();
        for (class, oracle) in CLASSES.iter().zip(&mut oracles) {
            let partition = partition(&engine, "t", *class);
            oracle.check(&partition);
            // Nothing is left, and nothing is found.
            oracle.start = oracle.times.len();
            partition.trim(Offset(oracle.start as u64)).unwrap();
            oracle.check(&partition);
            assert_eq!(partition.max_timestamp().unwrap(), None);
        }
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn a_topic_of_append_time_has_the_engines() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let spec = TopicSpec::new("t").timestamps(TimestampType::AppendTime);
        let topic = engine.create_topic(spec.compression(Compression::Lz4)).unwrap();
        assert_eq!(topic.describe().unwrap().timestamps, TimestampType::AppendTime);
        engine.close(DEADLINE).unwrap();
        let engine = options.clone().open(dir).unwrap();
        let topic = engine.topic("t").unwrap();
        let partition = topic.partition(0).unwrap();
        let now = || {
            let since = std::time::UNIX_EPOCH.elapsed().unwrap();
            i64::try_from(since.as_millis()).unwrap()
        };
        let before = now();
        let records = [Record::new(b"v").timestamp_ms(5), Record::new(b"w").timestamp_ms(i64::MAX)];
        partition.append_many(&records).unwrap();
        let mut batch = Vec::new();
        raw::encode(&records[..1], 9, &mut batch).unwrap();
        partition.append_batch(&batch, AppendOptions::default()).unwrap();
        let after = now();
        for batch in partition.reader(Start::Earliest).unwrap() {
            let batch = batch.unwrap();
            raw::check(batch.bytes()).unwrap();
            assert_eq!(batch.timestamps(), TimestampType::AppendTime);
            assert!((before..=after).contains(&batch.max_timestamp_ms()));
            for record in &batch {
                assert_eq!(record.unwrap().timestamp_ms(), batch.max_timestamp_ms());
            }
        }
        assert_eq!(partition.offset_for_time(before).unwrap().unwrap().offset, Offset(0));
        assert_eq!(partition.offset_for_time(after + 1).unwrap(), None);
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn a_wrong_maximum_in_a_ready_made_batch_hides_nothing() {
    on_each_class(&small(), |_, partition, _| {
        for wrong in [i64::MIN, 6, i64::MAX] {
            let mut batch = Vec::new();
            raw::encode(&[Record::new(b"v").timestamp_ms(7)], 0, &mut batch).unwrap();
            batch[35..43].copy_from_slice(&wrong.to_be_bytes());
            let crc = crc32c::crc32c(&batch[21..]);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
            partition.append_batch(&batch, AppendOptions::default()).unwrap();
        }
        for batch in partition.reader(Start::Earliest).unwrap() {
            assert_eq!(batch.unwrap().max_timestamp_ms(), 7);
        }
        let first = Some(TimedOffset { offset: Offset(0), timestamp_ms: 7 });
        assert_eq!(partition.offset_for_time(7).unwrap(), first);
        assert_eq!(partition.max_timestamp().unwrap(), first);
    });
}

#[test]
fn a_reader_starts_at_a_time_and_misses_nothing_that_comes() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for class in CLASSES {
            let spec = TopicSpec::new(format!("t-{class}")).partitions(2).flush(class);
            let topic = engine.create_topic(spec).unwrap();
            let first = topic.partition(0).unwrap();
            let times = |range: std::ops::Range<i64>| {
                for ms in range {
                    first.append(Record::new(b"v").timestamp_ms(ms)).unwrap();
                }
            };
            times(0..100);
            assert_eq!(first.reader(Start::Time(40)).unwrap().next_offset(), Offset(40));
            assert_eq!(first.reader(Start::Time(-1)).unwrap().next_offset(), Offset(0));
            let mut late = first.reader(Start::Time(150)).unwrap();
            assert_eq!(late.next_offset(), Offset(100));
            let mut all = topic.reader(Start::Time(90)).unwrap();
            assert_eq!(all.next_offset(PartitionId(0)).unwrap(), Offset(90));
            assert_eq!(all.next_offset(PartitionId(1)).unwrap(), Offset(0));
            times(200..201);
            let batch = late.next_timeout(DEADLINE).unwrap().unwrap();
            assert_eq!(batch.max_timestamp_ms(), 200);
            late.seek(Start::Time(99)).unwrap();
            assert_eq!(late.next_offset(), Offset(99));
        }
        engine.delete_topic("t-sync").unwrap();
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn what_is_not_visible_has_no_time_yet() {
    // On the simulator, where nothing becomes durable unless a call turns the shard.
    let config = SimConfig { clock: Clock::manual(), ..SimConfig::seeded(5) };
    let clock = config.clock.clone();
    let disk = SimDisk::new(config);
    let engine = Engine::open_simulated(&disk, small(), clock).unwrap();
    let topic = engine.create_topic(TopicSpec::new("t")).unwrap();
    let partition = topic.partition(0).unwrap();
    partition.append(Record::new(b"durable").timestamp_ms(10)).unwrap();
    let first = Some(TimedOffset { offset: Offset(0), timestamp_ms: 10 });
    let pending = partition.append_async(Record::new(b"not yet").timestamp_ms(20));
    assert_eq!(partition.offset_for_time(11).unwrap(), None);
    assert_eq!(partition.offset_for_time(5).unwrap(), first);
    assert_eq!(partition.max_timestamp().unwrap(), first);
    let mut reader = partition.reader(Start::Time(11)).unwrap();
    assert_eq!(reader.next_offset(), Offset(1), "not behind what is on its way");
    pending.wait().unwrap();
    let second = Some(TimedOffset { offset: Offset(1), timestamp_ms: 20 });
    assert_eq!(partition.offset_for_time(11).unwrap(), second);
    assert_eq!(partition.max_timestamp().unwrap(), second);
    assert!(reader.next_batch().unwrap().is_some());
    engine.delete_topic("t").unwrap();
    let gone = partition.offset_for_time(0).unwrap_err();
    assert!(matches!(gone, Error::UnknownTopic { .. }), "{gone:?}");
    assert!(partition.max_timestamp().is_err());
    engine.close(DEADLINE).unwrap();
}
