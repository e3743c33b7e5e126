//! Damage in one log, however bad, is that log's alone: the directory opens, every call on its
//! topics says what is damaged, what can be proven is read, nothing of it is changed, and all other
//! logs work as ever, new topics included.

use std::time::Duration;

use ringlog::sim::Crash;
use ringlog::{Engine, Error, Flush, Offset, Partition, Record, Start, TopicSpec};
use ringlog_tests::world::{World, append, expected, log, topic, value, values};

use super::segments::{inside, readable};

const LEN: usize = 900;
const N: u64 = 150;
const SECOND: Duration = Duration::from_secs(1);

/// Several segments of `safe` in log-001, and `fast` in log-002; killed, or closed.
fn made(seed: u64, close: bool) -> World {
    made_of(seed, N, close)
}

fn made_of(seed: u64, n: u64, close: bool) -> World {
    let mut world = World::new(seed, |_| ());
    let engine = world.open();
    append(&topic(&engine, "safe", Flush::Sync), 0, n, LEN);
    append(&topic(&engine, "fast", Flush::Async), 0, 20, LEN);
    if close {
        engine.close(SECOND).unwrap();
    }
    world.crash(if close { Crash::Process } else { Crash::Power });
    world
}

fn damaged_file(error: &Error) -> String {
    let Error::Corrupt { path, .. } = error else { panic!("{error}") };
    path.display().to_string()
}

/// Every call that can say nothing says why, and names `file`.
fn assert_all_refused(partition: &Partition, file: &str) {
    let record = || Record::new(b"more");
    let refusals = [
        partition.append(record()).map(drop),
        partition.try_append(record()).map(drop),
        partition.append_many(&[record()]).map(drop),
        partition.append_async(record()).wait().map(drop),
        partition.info().map(drop),
        partition.reader(Start::Earliest).map(drop),
        partition.reader(Start::Latest).map(drop),
        partition.reader(Start::Offset(Offset(3))).map(drop),
        partition.offset_for_time(0).map(drop),
        partition.max_timestamp().map(drop),
        partition.extents(Offset(0), 1000).map(drop),
        partition.sender(Offset(0)).map(drop),
        partition.trim(Offset(1)),
    ];
    for (call, refusal) in refusals.into_iter().enumerate() {
        let refused = refusal.expect_err(&format!("call {call}"));
        assert!(damaged_file(&refused).contains(file), "call {call}: {refused}");
        assert!(!refused.outcome_is_unknown(), "call {call}");
    }
}

/// The other logs work, and topics are made and deleted.
fn assert_others_work(engine: &Engine, round: u64) {
    let fast = topic(engine, "fast", Flush::Async);
    let before = values(&fast).unwrap().len() as u64;
    append(&fast, before, before + 5, LEN);
    assert!(values(&fast).unwrap().len() as u64 == before + 5);
    // Not placed where nobody can append.
    for flush in [Flush::Sync, Flush::Async] {
        let name = format!("new-{flush}-{round}");
        let new = engine.create_topic(TopicSpec::new(&name).flush(flush).partitions(3)).unwrap();
        for id in 0..3 {
            let partition = new.partition(id).unwrap();
            assert_eq!(partition.append(Record::new(b"here")).unwrap(), Offset(0));
            assert_ne!(partition.info().unwrap().log, 1);
        }
        engine.delete_topic(&name).unwrap();
    }
}

fn assert_told(engine: &Engine, file: &str) {
    let counted = log(engine, "log-001");
    assert!(counted.stopped.unwrap().contains(file));
    assert!(counted.recovery.damaged_places > 0);
    let stat = engine.stat();
    assert!(stat.metrics.logs.len() >= 3);
    let safe = stat.topics.iter().find(|topic| topic.name == "safe").unwrap();
    assert!(safe.damaged.as_ref().unwrap().contains(file));
    let fast = stat.topics.iter().find(|topic| topic.name == "fast").unwrap();
    assert_eq!((fast.partition_count, fast.partitions.len()), (1, 1));
    assert_eq!(fast.damaged, None);
}

#[test]
fn without_a_checkpoint_a_log_says_so_and_the_others_work() {
    for (seed, close) in [(1, false), (2, true)] {
        for missing in [false, true] {
            let world = made(seed, close);
            for checkpoint in world.named("log-001/checkpoint-", "") {
                if missing {
                    world.remove(&checkpoint);
                } else {
                    world.disk.corrupt(&checkpoint, 30, 1).unwrap();
                }
            }
            let file = if missing { "log-001" } else { "log-001/checkpoint-" };
            let before = world.files();
            for round in 0..3 {
                let engine = world.open();
                let safe = topic(&engine, "safe", Flush::Sync);
                assert_all_refused(&safe, file);
                assert_told(&engine, file);
                assert_others_work(&engine, round);
                (0..50).for_each(|_| engine.turn());
                engine.close(SECOND).unwrap();
                assert_eq!(inside("log-001", &world.files()), inside("log-001", &before));
            }
            // The topic can be given up.
            let engine = world.open();
            engine.delete_topic("safe").unwrap();
            assert!(matches!(engine.topic("safe").unwrap_err(), Error::UnknownTopic { .. }));
        }
    }
}

#[test]
fn a_sealed_segment_that_is_missing_hides_what_it_had_and_no_more() {
    let segments = made(4, true).named("log-001/", ".log");
    let holds = |world: &World, segment: &str, n: u64| {
        let bytes = world.disk.read_file(segment).unwrap();
        bytes.windows(10).any(|window| window == &value(n, LEN)[..10])
    };
    let whole = made(4, true);
    let mut tried = 0;
    for segment in &segments {
        let gone: Vec<u64> = (0..N).filter(|n| holds(&whole, segment, *n)).collect();
        let (Some(first), Some(last)) = (gone.first(), gone.last()) else { continue };
        if *last + 1 == N {
            continue;
        }
        for keep_index in [true, false] {
            let world = made(4, true);
            world.remove(segment);
            if !keep_index {
                world.remove(&segment.replace(".log", ".idx"));
            }
            let before = world.files();
            let engine = world.open();
            let safe = topic(&engine, "safe", Flush::Sync);
            let (got, error) = readable(&safe);
            assert!(got == expected(*first, LEN));
            assert!(damaged_file(&error.unwrap()).ends_with(segment));
            let rest = safe.reader(Start::Offset(Offset(last + 1))).unwrap().records();
            let rest: Vec<_> = rest.map(|r| r.unwrap().value.unwrap().to_vec()).collect();
            assert!(rest == expected(N, LEN)[*last as usize + 1..]);
            let within = safe.reader(Start::Offset(Offset(*first))).unwrap().next_batch();
            assert!(damaged_file(&within.unwrap_err()).ends_with(segment));
            // Its end is known.
            assert_eq!(safe.info().unwrap().end, Offset(N));
            let refused = safe.append(Record::new(b"more")).unwrap_err();
            assert!(damaged_file(&refused).ends_with(segment), "{refused}");
            assert_told(&engine, segment);
            assert_others_work(&engine, 0);
            engine.close(SECOND).unwrap();
            assert_eq!(inside("log-001", &world.files()), inside("log-001", &before));
            tried += 1;
        }
    }
    assert!(tried >= 4, "{tried}");
}

#[test]
fn where_the_last_segment_is_missing_a_reader_is_told_and_not_that_the_end_is_there() {
    let last_of = |world: &World| {
        let has = |segment: &String| {
            let bytes = world.disk.read_file(segment).unwrap();
            bytes.windows(6).any(|window| window == b"value ")
        };
        let mut segments = world.named("log-001/", ".log");
        let count = segments.iter().rposition(has).unwrap() + 1;
        let beyond = segments.split_off(count);
        (segments, beyond)
    };
    // So many that the next segment was made already.
    let mut worlds = (N - 20..N).rev().map(|n| made_of(5, n, false));
    let world = worlds.find(|world| !last_of(world).1.is_empty()).unwrap();
    let (mut segments, beyond) = last_of(&world);
    let last = segments.pop().unwrap();
    assert!(segments.len() > 2);
    world.remove(&last);
    // It is there or not, and has nothing in it.
    let without = world.fork(0);
    for name in &beyond {
        without.remove(name);
    }
    for world in [world, without] {
        check_hidden_end(&world, &last);
    }
}

fn check_hidden_end(world: &World, last: &String) {
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    let (got, error) = readable(&safe);
    assert!(!got.is_empty() && got == expected(N, LEN)[..got.len()]);
    assert!(damaged_file(&error.unwrap()).ends_with(last));
    let end = Offset(got.len() as u64);
    for refused in [
        safe.reader(Start::Offset(end)).unwrap().next_batch().map(drop).unwrap_err(),
        safe.reader(Start::Latest).unwrap().next_batch().map(drop).unwrap_err(),
        safe.reader(Start::Offset(Offset(end.0 + 1))).map(drop).unwrap_err(),
        safe.info().map(drop).unwrap_err(),
        safe.append(Record::new(b"more")).map(drop).unwrap_err(),
    ] {
        assert!(damaged_file(&refused).ends_with(last), "{refused}");
    }
    assert_others_work(&engine, 0);
}

#[test]
fn an_unfinished_step_of_a_damaged_log_is_evidence_too() {
    let world = made(6, true);
    let names = ["log-001/segment.tmp", "log-001/spare-0000000000000000"];
    for name in names {
        world.put(name, &[7; 4096]);
    }
    let checkpoint = world.named("log-001/checkpoint-", "").pop().unwrap();
    world.put(&format!("{checkpoint}.tmp"), b"half");
    let segment = world.named("log-001/", ".log").remove(0);
    world.remove(&segment);
    let before = world.files();
    world.open().close(SECOND).unwrap();
    assert_eq!(inside("log-001", &world.files()), inside("log-001", &before));
}

#[test]
fn the_metadata_log_is_no_log_like_others() {
    for damage in ["checkpoints", "segment", "short"] {
        let world = made(7, true);
        let segments = world.named("log-000/", ".log");
        match damage {
            "checkpoints" => {
                for checkpoint in world.named("log-000/checkpoint-", "") {
                    world.disk.corrupt(&checkpoint, 30, 1).unwrap();
                }
            }
            "segment" => world.remove(&segments[0]),
            _ => world.disk.truncate(&segments[0], 12_288).unwrap(),
        }
        let before = world.files();
        let refused = world.try_open().unwrap_err();
        assert!(damaged_file(&refused).contains("log-000/"), "{refused}");
        assert!(world.files() == before);
    }
}
