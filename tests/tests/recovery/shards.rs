//! Several shards on one simulated disk.

use std::time::Duration;

use ringlog::sim::{Crash, FaultError, FaultOp};
use ringlog::{Engine, Error, Flush, Partition, Record, TopicSpec};
use ringlog_tests::world::{World, append, expected, log, value, values};

const LEN: usize = 1000;

fn world(seed: u64, shards: usize) -> World {
    let mut world = World::new(seed, |_| ());
    world.options = world.options.shards(shards);
    world
}

/// Two partitions, each on a shard of its own.
fn two(engine: &Engine, name: &str, flush: Flush) -> [Partition; 2] {
    let spec = TopicSpec::new(name).partitions(2).flush(flush);
    let topic = engine.open_or_create_topic(spec).unwrap();
    [0, 1].map(|id| topic.partition(id).unwrap())
}

#[test]
fn a_log_that_latches_leaves_other_shards_alone() {
    for flush in [Flush::Sync, Flush::Async] {
        let mut world = world(1, 2);
        let engine = world.open();
        let [bad, good] = two(&engine, "t", flush);
        let place = |partition: &Partition| partition.info().unwrap();
        assert_ne!(place(&bad).shard, place(&good).shard);
        append(&bad, 0, 5, LEN);
        append(&good, 0, 5, LEN);
        (0..20).for_each(|_| engine.turn());
        world.disk.fail_nth(FaultOp::Write, 1, FaultError::Io);
        let durable = ringlog::AppendOptions::default().ack(ringlog::Ack::Durable);
        let failed = bad.append_with(&[Record::new(&value(5, LEN))], durable).unwrap_err();
        assert!(matches!(failed, Error::Latched { .. }), "{failed}");
        assert!(bad.append(Record::new(b"x")).is_err());
        append(&good, 5, 200, LEN);
        let [_, more] = two(&engine, "later", Flush::Sync);
        append(&more, 0, 10, LEN);
        let closed = engine.close(Duration::from_secs(5)).unwrap_err();
        assert!(matches!(closed, Error::Latched { .. }), "{closed}");
        let healthy = format!("log-{:03}", place(&good).log);
        drop((engine, bad, good, more));
        world.crash(Crash::Power);
        let engine = world.open();
        assert!(log(&engine, &healthy).recovery.clean, "a close ends well where it can");
        let [bad, good] = two(&engine, "t", flush);
        assert_eq!(values(&good).unwrap(), expected(200, LEN));
        let found = values(&bad).unwrap();
        assert_eq!(found, expected(found.len() as u64, LEN));
    }
}

#[test]
fn a_freeze_of_the_disk_ends_a_close_of_all_shards_at_its_deadline() {
    let mut world = world(2, 3);
    let engine = world.open();
    let spec = TopicSpec::new("t").partitions(3).flush(Flush::Async);
    let topic = engine.create_topic(spec).unwrap();
    for id in 0..3 {
        append(&topic.partition(id).unwrap(), 0, 50, LEN);
    }
    world.disk.freeze();
    let closed = engine.close(Duration::from_millis(300)).unwrap_err();
    assert!(matches!(closed, Error::Timeout { .. }), "{closed}");
    drop((engine, topic));
    world.crash(Crash::Process);
    world.options = world.options.shards(1);
    let engine = world.open();
    for id in 0..3 {
        let partition = engine.topic("t").unwrap().partition(id).unwrap();
        assert_eq!(values(&partition).unwrap(), expected(50, LEN));
    }
}

#[test]
fn written_records_of_every_shard_survive_a_kill_and_another_number_of_shards() {
    for (before, after) in [(1, 3), (3, 1), (3, 2)] {
        let mut world = world(3, before);
        let engine = world.open();
        let spec = TopicSpec::new("t").partitions(6).flush(Flush::Async);
        let topic = engine.create_topic(spec).unwrap();
        for id in 0..6 {
            append(&topic.partition(id).unwrap(), 0, 20, LEN);
        }
        let places = |topic: &ringlog::Topic| {
            let info = topic.describe().unwrap();
            info.partitions.iter().map(|partition| partition.log).collect::<Vec<_>>()
        };
        let before_it = places(&topic);
        drop(topic);
        world.crash(Crash::Process);
        world.options = world.options.shards(after);
        let engine = world.open();
        let topic = engine.topic("t").unwrap();
        assert_eq!(places(&topic), before_it);
        for id in 0..6 {
            let partition = topic.partition(id).unwrap();
            assert_eq!(values(&partition).unwrap(), expected(20, LEN));
            append(&partition, 20, 40, LEN);
            assert_eq!(values(&partition).unwrap(), expected(40, LEN));
        }
    }
}
