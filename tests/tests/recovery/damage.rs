//! Rot and other hands: what is proven durable is never cut, and what is damaged is named.

use ringlog::sim::{Crash, FaultError, FaultOp};
use ringlog::{Engine, Error, Flush, Offset, Partition, Record, Start};
use ringlog_tests::world::{World, append, expected, log, topic, value, values};

const SEGMENT: &str = "log-001/0000000000000000.log";
const LEN: usize = 700;
/// Values that fit into the first segment, one group each, so that no checkpoint comes after them.
const N: u64 = 12;

/// A killed engine with `n` values in one sync topic, and some in an async one.
fn killed(seed: u64, n: u64) -> World {
    let mut world = World::new(seed, |_| ());
    let engine = world.open();
    append(&topic(&engine, "safe", Flush::Sync), 0, n, LEN);
    append(&topic(&engine, "fast", Flush::Async), 0, 10, LEN);
    world.crash(Crash::Power);
    world
}

fn from(partition: &Partition, offset: u64) -> Result<Vec<Vec<u8>>, Error> {
    let records = partition.reader(Start::Offset(Offset(offset)))?.records();
    records.map(|record| Ok(record?.value.unwrap_or_default().to_vec())).collect()
}

fn check_damaged(engine: &Engine, n: u64, damaged: u64) {
    let safe = topic(engine, "safe", Flush::Sync);
    let refused = safe.append(Record::new(b"more")).unwrap_err();
    let Error::Corrupt { path, at, .. } = &refused else { panic!("{refused}") };
    assert!(path.ends_with(SEGMENT) && *at > 4096, "{refused}");
    assert!(!refused.outcome_is_unknown());
    assert!(log(engine, "log-001").stopped.is_some());
    // Before, within and after.
    let mut reader = safe.reader(Start::Earliest).unwrap().records();
    for n in 0..damaged {
        assert_eq!(reader.next().unwrap().unwrap().value.unwrap(), value(n, LEN));
    }
    let error = reader.next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    let rest: Vec<_> = (damaged + 1..n).map(|n| value(n, LEN)).collect();
    assert_eq!(from(&safe, damaged + 1).unwrap(), rest);
    // The other logs go on.
    let fast = topic(engine, "fast", Flush::Async);
    fast.append(Record::new(b"more")).unwrap();
    values(&fast).unwrap();
}

#[test]
fn damage_below_the_proven_position_is_named_and_never_cut() {
    for damaged in [0, 3, 8] {
        let world = killed(1, N);
        let at = world.find(SEGMENT, &value(damaged, LEN));
        world.disk.corrupt(SEGMENT, at + 100, 0x10).unwrap();
        let before = world.disk.read_file(SEGMENT).unwrap();
        // However often it is opened, and whether it is closed in between.
        for close in [false, true, false] {
            let engine = world.open();
            check_damaged(&engine, N, damaged);
            if close {
                engine.close(std::time::Duration::from_secs(1)).unwrap();
            }
            drop(engine);
            assert!(world.disk.read_file(SEGMENT).unwrap() == before, "the file is evidence");
        }
    }
}

#[test]
fn damage_before_segments_left_since_the_checkpoint_is_not_forgotten() {
    let world = killed(12, 60);
    let checkpoints = world.named("log-001/checkpoint-", "");
    world.disk.corrupt(checkpoints.last().unwrap(), 30, 1).unwrap();
    let mut segments = world.named("log-001/", ".log");
    let has = |segment: &str, n: u64| {
        let bytes = world.disk.read_file(segment).unwrap();
        bytes.windows(10).any(|window| window == &value(n, LEN)[..10])
    };
    segments.retain(|segment| (0..60).any(|n| has(segment, n)));
    // The older checkpoint begins in the last but one that is used.
    let segment = &segments[segments.len() - 2];
    let first = (0..60).find(|n| has(segment, *n));
    let at = world.find(segment, &value(first.unwrap() + 2, LEN));
    world.disk.corrupt(segment, at + 100, 0x10).unwrap();
    for _ in 0..3 {
        let engine = world.open();
        (0..20).for_each(|_| engine.turn());
        let refused = topic(&engine, "safe", Flush::Sync).append(Record::new(b"more")).unwrap_err();
        assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
        engine.close(std::time::Duration::from_secs(1)).unwrap();
    }
}

#[test]
fn a_rotten_header_is_damage_too() {
    let world = killed(2, N);
    let at = world.find(SEGMENT, &value(5, LEN)) & !4095;
    for byte in [0, 4, 9, 17, 21, 25, 33] {
        let world = world.fork(byte);
        world.disk.corrupt(SEGMENT, at + byte, 0x01).unwrap();
        check_damaged(&world.open(), N, 5);
    }
}

#[test]
fn a_rotten_frame_is_damage_too() {
    // Of the frame's header, and of the part of the batch that its own checksum leaves out.
    let world = killed(11, N);
    let at = (world.find(SEGMENT, &value(5, LEN)) & !4095) + 64;
    for byte in [0, 4, 8, 16, 20, 24, 28, 29, 30, 32, 39, 40, 44, 48] {
        let world = world.fork(byte);
        world.disk.corrupt(SEGMENT, at + byte, 0x01).unwrap();
        check_damaged(&world.open(), N, 5);
    }
}

#[test]
fn padding_that_is_not_zero_is_damage() {
    let world = killed(3, N);
    let at = world.find(SEGMENT, &value(5, LEN)) | 4095;
    world.disk.corrupt(SEGMENT, at, 0x01).unwrap();
    let engine = world.open();
    let refused = topic(&engine, "safe", Flush::Sync).append(Record::new(b"more")).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
}

#[test]
fn a_lost_group_is_damage_even_where_an_older_epoch_shines_through() {
    // The same life, but longer: it has groups of the first epoch where the other has later ones.
    let older = killed(4, N).disk.read_file(SEGMENT).unwrap();
    let mut world = killed(4, 6);
    assert_eq!(world.disk.read_file(SEGMENT).unwrap()[..4096], older[..4096], "the same log");
    let at = world.find(SEGMENT, &value(5, LEN)) & !4095;
    // The last group is cut, and the next epoch begins in its place.
    world.disk.corrupt(SEGMENT, at + 300, 1).unwrap();
    world.remove("log-001/ring");
    let engine = world.open();
    append(&topic(&engine, "safe", Flush::Sync), 5, 10, LEN);
    world.crash(Crash::Power);
    let lost = at + 3 * 4096;
    world.overwrite(SEGMENT, lost, &older[lost as usize..lost as usize + 4096]);
    let engine = world.open();
    let refused = topic(&engine, "safe", Flush::Sync).append(Record::new(b"more")).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
}

#[test]
fn the_last_groups_are_a_torn_tail_and_cut() {
    let world = killed(5, N);
    let at = world.find(SEGMENT, &value(N - 1, LEN));
    world.disk.corrupt(SEGMENT, at + 100, 0x10).unwrap();
    world.remove("log-001/ring");
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    assert_eq!(values(&safe).unwrap(), expected(N - 1, LEN));
    append(&safe, N - 1, 25, LEN);
    drop((engine, safe));
    let engine = world.open();
    assert_eq!(values(&topic(&engine, "safe", Flush::Sync)).unwrap(), expected(25, LEN));
}

#[test]
fn after_a_quiet_second_the_last_group_is_proven() {
    let mut world = World::new(6, |_| ());
    let engine = world.open();
    append(&topic(&engine, "safe", Flush::Sync), 0, N, LEN);
    world.clock.advance(std::time::Duration::from_secs(2));
    for _ in 0..50 {
        engine.turn();
    }
    world.crash(Crash::Power);
    let at = world.find(SEGMENT, &value(N - 1, LEN));
    world.disk.corrupt(SEGMENT, at + 100, 0x10).unwrap();
    let engine = world.open();
    let refused = topic(&engine, "safe", Flush::Sync).append(Record::new(b"more")).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
}

#[test]
fn one_bad_checkpoint_is_replaced_by_the_older_and_two_cost_their_log_untouched() {
    let world = killed(7, 200);
    for dir in ["log-000", "log-001"] {
        let checkpoints: Vec<_> = world.named(&format!("{dir}/checkpoint-"), "");
        assert_eq!(checkpoints.len(), if dir == "log-000" { 1 } else { 2 }.max(checkpoints.len()));
        if checkpoints.len() == 2 {
            let world = world.fork(1);
            world.disk.corrupt(&checkpoints[1], 30, 1).unwrap();
            let engine = world.open();
            let safe = topic(&engine, "safe", Flush::Sync);
            assert_eq!(values(&safe).unwrap(), expected(200, LEN));
        }
        if let [_, newest] = &checkpoints[..] {
            // Longer than any checkpoint: not even read.
            let world = world.fork(3);
            world.disk.truncate(newest, 1 << 40).unwrap();
            let safe = topic(&world.open(), "safe", Flush::Sync);
            assert_eq!(values(&safe).unwrap(), expected(200, LEN));
        }
        let world = world.fork(2);
        for checkpoint in &checkpoints {
            world.disk.corrupt(checkpoint, 30, 1).unwrap();
        }
        let inside = |world: &World| -> Vec<_> {
            world.files().into_iter().filter(|(name, _)| name.starts_with(dir)).collect()
        };
        let before = inside(&world);
        let refused = match world.try_open() {
            // Nobody knows which topics there are.
            Err(refused) if dir == "log-000" => refused,
            opened => {
                let engine = opened.unwrap();
                let fast = topic(&engine, "fast", Flush::Async);
                fast.append(Record::new(b"more")).unwrap();
                let refused = topic(&engine, "safe", Flush::Sync).info().unwrap_err();
                engine.close(std::time::Duration::from_secs(1)).unwrap();
                refused
            }
        };
        assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
        assert!(refused.to_string().contains("checkpoint-"), "{refused}");
        assert!(inside(&world) == before, "{dir} was touched");
    }
}

#[test]
fn a_checkpoint_that_the_medium_does_not_give_back_is_replaced_by_the_older() {
    let reads = |nth: u64| {
        let world = killed(12, 200);
        world.disk.fail_nth(FaultOp::Read, nth, FaultError::Io);
        world.try_open().map(|engine| {
            let safe = topic(&engine, "safe", Flush::Sync);
            match values(&safe) {
                Ok(found) => assert_eq!(found, expected(200, LEN), "read {nth} failed"),
                Err(error) => assert!(matches!(error, Error::Io { .. }), "{error}"),
            }
        })
    };
    // Whichever read it is: an error that names a file, or all of it; and a checkpoint is among
    // those that can be done without.
    let outcomes: Vec<_> = (1..12).map(reads).collect();
    assert!(outcomes.iter().any(Result::is_ok));
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(!error.to_string().contains("log-001/checkpoint-"), "{error}");
    }
}

#[test]
fn one_bad_copy_of_engine_meta_is_fine_and_two_are_refused_untouched() {
    for copy in [0, 4096] {
        let world = killed(8, 5);
        world.disk.corrupt("engine.meta", copy + 20, 1).unwrap();
        let engine = world.open();
        assert_eq!(values(&topic(&engine, "safe", Flush::Sync)).unwrap(), expected(5, LEN));
    }
    let world = killed(8, 5);
    world.disk.corrupt("engine.meta", 20, 1).unwrap();
    world.disk.corrupt("engine.meta", 4096 + 20, 1).unwrap();
    let before = world.files();
    let refused = world.try_open().unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    assert!(world.files() == before);
}

#[test]
fn a_damaged_index_is_rebuilt() {
    for part in [8, 60, 100] {
        let world = killed(9, 300);
        let indexes = world.named("log-001/", ".idx");
        assert!(indexes.len() > 2);
        for index in &indexes {
            let len = world.disk.read_file(index).unwrap().len() as u64;
            // A power loss may have emptied it: an index is written without a flush.
            if len > 0 {
                world.disk.corrupt(index, part.min(len - 1), 0xff).unwrap();
            }
        }
        world.remove(&indexes[1]);
        let engine = world.open();
        let safe = topic(&engine, "safe", Flush::Sync);
        assert_eq!(values(&safe).unwrap(), expected(300, LEN));
        assert_eq!(from(&safe, 70).unwrap()[0], value(70, LEN));
    }
}

#[test]
fn damage_of_the_topics_deletes_nothing() {
    let mut world = World::new(10, |_| ());
    let engine = world.open();
    for n in 0..6 {
        append(&topic(&engine, &format!("t{n}"), Flush::Sync), 0, 100, LEN);
    }
    world.crash(Crash::Power);
    let meta = "log-000/0000000000000000.log";
    let at = world.find(meta, b"\"t2\"");
    world.disk.corrupt(meta, at + 1, 0x01).unwrap();
    let before = world.named("log-001/", ".log");
    let engine = world.open();
    for n in [0, 1, 3, 4, 5] {
        let partition = engine.topic(&format!("t{n}")).unwrap().partition(0).unwrap();
        assert_eq!(values(&partition).unwrap(), expected(100, LEN));
        if n == 5 {
            // Looks through all segments for dead ones.
            partition.trim(Offset(50)).unwrap();
        }
    }
    for _ in 0..100 {
        engine.turn();
    }
    let kept = &before[..before.len() / 2];
    assert!(kept.iter().all(|name| world.named("log-001/", ".log").contains(name)));
}
