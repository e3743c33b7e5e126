//! A topic as one: keys choose the partition, and one reader reads them all.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use ringlog::sim::{SimConfig, SimDisk};
use ringlog::{
    Ack, AppendOptions, Engine, Error, Flush, Offset, PartitionId, Record, RecordId, Start, Topic,
    TopicSpec,
};

use super::{CLASSES, DEADLINE, Executor, KIB, number, on_each, small, value};

fn on_each_topic(partitions: u32, test: impl Fn(&Engine, &Topic, Flush)) {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for class in CLASSES {
            let spec = TopicSpec::new(format!("t-{class}")).partitions(partitions).flush(class);
            test(&engine, &engine.create_topic(spec).unwrap(), class);
        }
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn a_key_stays_in_its_partition_and_without_one_they_take_turns() {
    on_each_topic(7, |_, topic, _| {
        // As Kafka: murmur2("foobar") & 0x7fffffff = 1357151166 = 7 * 193878738.
        assert_eq!(topic.partition_for(Some(b"foobar")), PartitionId(0));
        let mut next = BTreeMap::<PartitionId, u64>::new();
        for at in 0..50 {
            let key = format!("key {}", at % 11);
            let record = Record::new(b"v").key(key.as_bytes());
            let id = match at % 4 {
                0 => topic.append(record).unwrap(),
                1 => topic.append_with(record, AppendOptions::default().ack(Ack::Durable)).unwrap(),
                2 => topic.append_async(record).wait().unwrap(),
                _ => Executor::new().run(topic.append_async(record)).unwrap(),
            };
            assert_eq!(id.partition, topic.partition_for(Some(key.as_bytes())));
            let next = next.entry(id.partition).or_default();
            assert_eq!(id.offset, Offset(*next));
            *next += 1;
        }
        let clone = topic.clone();
        let turns = (0..14).map(|at| if at % 2 == 0 { topic } else { &clone });
        let turns: Vec<_> = turns.map(|topic| topic.partition_for(None).0).collect();
        assert_eq!(turns, [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6]);
        let empty = topic.append(Record::new(b"an empty key is a key").key(b"")).unwrap();
        assert_eq!(empty.partition, topic.partition_for(Some(b"")));
    });
}

#[test]
fn many_records_are_one_batch_in_each_partition_and_every_one_is_found() {
    on_each_topic(5, |_, topic, _| {
        let keys: Vec<Vec<u8>> = (0..40u8).map(|at| vec![at % 13; 3]).collect();
        let values: Vec<Vec<u8>> = (0..40).map(|at| value(at, 20)).collect();
        let records: Vec<Record<'_>> = keys
            .iter()
            .zip(&values)
            .enumerate()
            .map(|(at, (key, value))| {
                let record = Record::new(value).header("n", Some(b"h"));
                if at % 8 == 7 { record } else { record.key(key) }
            })
            .collect();
        let appended = topic.append_many(&records).unwrap();
        assert_eq!(appended.ids().len(), records.len());
        let ranges: BTreeMap<_, _> = appended.ranges().iter().copied().collect();
        let mut found = BTreeMap::new();
        for (partition, batch) in topic.reader(Start::Earliest).unwrap().map(Result::unwrap) {
            assert_eq!(batch.partition(), partition);
            let range = ranges[&partition];
            assert_eq!((batch.base_offset(), batch.last_offset()), (range.first, range.last));
        }
        for record in topic.reader(Start::Earliest).unwrap().records() {
            let record = record.unwrap();
            let id = RecordId { partition: record.partition, offset: record.offset };
            assert_eq!(record.headers, [("n".into(), Some("h".into()))]);
            assert!(found.insert(id, number(&record.value.unwrap())).is_none());
        }
        assert_eq!(found.len(), records.len());
        for (at, id) in appended.ids().iter().enumerate() {
            assert_eq!(found[id], at as u64);
        }
        // In the order given within each partition.
        let mut sorted: Vec<_> = appended.ids().iter().zip(0..).collect();
        sorted.sort();
        assert!(sorted.is_sorted_by(|a, b| a.0.partition != b.0.partition || a.1 < b.1));
    });
}

#[test]
fn what_is_refused_of_many_records_is_refused_whole() {
    on_each_topic(3, |_, topic, _| {
        let large = vec![0; 64 * KIB];
        let records = [Record::new(b"a"), Record::new(&large), Record::new(b"c")];
        let refused = topic.append_many(&records).unwrap_err();
        assert!(matches!(refused, Error::TooLarge { .. }), "{refused:?}");
        assert!(topic.append_many(&[]).is_err());
        let ends = topic.describe().unwrap().partitions;
        assert!(ends.iter().all(|partition| partition.end == Offset(0)));
    });
}

#[test]
fn partitions_that_took_their_part_are_told_from_those_that_did_not() {
    // On the simulator, where nothing makes room unless a call turns the shard.
    let config = SimConfig::seeded(3);
    let clock = config.clock.clone();
    let disk = SimDisk::new(config);
    let engine = Engine::open_simulated(&disk, small(), clock).unwrap();
    let topic = engine.create_topic(TopicSpec::new("t").partitions(16)).unwrap();
    let values: Vec<Vec<u8>> = (0..16).map(|at| value(at, 12 * KIB)).collect();
    let records: Vec<Record<'_>> = values.iter().map(|value| Record::new(value)).collect();
    let options = AppendOptions::default().wait_for_room(false);
    let error = topic.append_many_with(&records, options).unwrap_err();
    assert!(error.outcome_is_unknown() && !error.is_retriable());
    let Error::PartlyAppended { parts, cause } = error else { panic!("{error:?}") };
    assert!(matches!(*cause, Error::Busy { .. }), "{cause:?}");
    assert_eq!(parts.len(), 16);
    let taken = parts.iter().filter(|part| part.result.is_ok()).count();
    assert!((1..16).contains(&taken), "{taken}");
    for part in parts.iter() {
        let partition = topic.partition(part.partition.0).unwrap();
        assert_eq!(partition.info().unwrap().end, Offset(part.result.is_ok().into()));
        // Those left can be appended again, by what the error says.
        if part.result.is_err() {
            let again: Vec<_> = part.records.iter().map(|at| records[*at].clone()).collect();
            partition.append_many(&again).unwrap();
        }
    }
    let mut found: Vec<u64> = topic
        .reader(Start::Earliest)
        .unwrap()
        .records()
        .map(|record| number(&record.unwrap().value.unwrap()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, (0..16).collect::<Vec<_>>());
    // Larger than the ring, with waiting allowed: all of it.
    assert_eq!(topic.append_many(&records).unwrap().ids().len(), 16);
    engine.close(DEADLINE).unwrap();
}

#[test]
fn partitions_with_something_take_turns() {
    on_each_topic(3, |_, topic, _| {
        let [first, second] = [0, 1].map(|id| topic.partition(id).unwrap());
        let pair = |at: usize| [value(2 * at, 10), value(2 * at + 1, 10)];
        for at in 0..30 {
            first.append_many(&pair(at).each_ref().map(|value| Record::new(value))).unwrap();
        }
        for at in 0..10 {
            second.append_many(&pair(at).each_ref().map(|value| Record::new(value))).unwrap();
        }
        let batches = topic.reader(Start::Earliest).unwrap().map(Result::unwrap);
        let order: Vec<(u32, u64)> =
            batches.map(|(partition, batch)| (partition.0, batch.base_offset().0)).collect();
        let turns = (0..10).flat_map(|at| [(0, 2 * at), (1, 2 * at)]);
        assert_eq!(order, turns.chain((10..30).map(|at| (0, 2 * at))).collect::<Vec<_>>());
    });
}

#[test]
fn one_waker_hears_of_every_partition() {
    on_each_topic(50, |_, topic, _| {
        let executor = Executor::new();
        let waker = Waker::from(executor.clone());
        let mut reader = topic.reader(Start::Latest).unwrap();
        for at in (0..50).chain((0..50).rev()) {
            assert!(reader.poll_next(&mut Context::from_waker(&waker)).is_pending());
            let before = executor.wakes();
            let partition = topic.partition(at).unwrap();
            partition.append(Record::new(&value(at as usize, 10))).unwrap();
            while executor.wakes() == before {
                thread::park_timeout(DEADLINE);
            }
            let Poll::Ready(found) = reader.poll_next(&mut Context::from_waker(&waker)) else {
                panic!("woken, and nothing there")
            };
            assert_eq!(found.unwrap().0, PartitionId(at));
        }
    });
}

#[test]
fn a_follower_of_a_topic_gets_everything_in_order_and_ends_with_the_close() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let (say, heard) = mpsc::channel();
        thread::scope(|scope| {
            for class in CLASSES {
                let spec = TopicSpec::new(format!("t-{class}")).partitions(4).flush(class);
                let topic = engine.create_topic(spec).unwrap();
                let follow = topic.reader(Start::Latest).unwrap().follow();
                let say = say.clone();
                scope.spawn(move || {
                    let mut next = [0; 4];
                    for found in follow {
                        match found {
                            Ok((partition, batch)) => {
                                let next = &mut next[partition.0 as usize];
                                assert_eq!(batch.base_offset(), Offset(*next));
                                *next += batch.len() as u64;
                                say.send(batch.len()).unwrap();
                            }
                            Err(error) => {
                                assert!(matches!(error, Error::Closed { .. }), "{error:?}");
                                return;
                            }
                        }
                    }
                    unreachable!("ends with an error only")
                });
                for thread in 0..3 {
                    let topic = topic.clone();
                    scope.spawn(move || {
                        for at in 0..100 {
                            let key = [thread, at];
                            topic.append(Record::new(&[0; 600]).key(&key)).unwrap();
                        }
                    });
                }
            }
            let mut left = 600;
            while left > 0 {
                left -= heard.recv_timeout(DEADLINE).unwrap();
            }
            engine.close(DEADLINE).unwrap();
        });
    });
}

#[test]
fn a_reader_of_a_topic_goes_to_a_place_in_each_partition() {
    on_each_topic(2, |_, topic, _| {
        for at in 0..20 {
            topic.append(Record::new(&value(at, 10))).unwrap();
        }
        let mut reader = topic.reader(Start::Offset(Offset(10))).unwrap();
        assert!(reader.next_batch().unwrap().is_none());
        reader.seek(PartitionId(1), Start::Offset(Offset(8))).unwrap();
        let (partition, batch) = reader.next_batch().unwrap().unwrap();
        assert_eq!((partition, batch.base_offset()), (PartitionId(1), Offset(8)));
        assert_eq!(reader.next_offset(PartitionId(1)).unwrap(), Offset(9));
        assert!(reader.next_offset(PartitionId(2)).is_err());
        assert!(topic.reader(Start::Offset(Offset(11))).is_err());
        // One partition's trouble is told once in its turn, and the other is read on.
        let mut reader = topic.reader(Start::Earliest).unwrap();
        topic.partition(0).unwrap().trim(Offset(5)).unwrap();
        let mut read = 0;
        let mut errors = 0;
        while read < 10 {
            match reader.next_batch() {
                Ok(Some((partition, _))) => {
                    assert_eq!(partition, PartitionId(1));
                    read += 1;
                }
                Ok(None) => panic!("the end, with {read} read"),
                Err(error) => {
                    assert!(matches!(error, Error::OffsetOutOfRange { .. }), "{error:?}");
                    errors += 1;
                }
            }
        }
        assert_eq!(errors, 10);
        assert!(reader.next_timeout(Duration::ZERO).is_err());
    });
}
