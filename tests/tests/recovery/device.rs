//! Devices and filesystems that fail while an engine runs.

use std::time::Duration;

use ringlog::sim::{Condition, Crash, FaultError, FaultOp};
use ringlog::{Ack, AppendOptions, Engine, Error, Flush, Record};
use ringlog_tests::world::{World, append, expected, log, topic, value, values};

const LEN: usize = 1000;

/// Lets upkeep finish, so that a fault meets the data path.
fn settle(engine: &Engine) {
    (0..20).for_each(|_| engine.turn());
}

#[test]
fn a_failed_write_latches_with_an_unknown_outcome_and_reads_go_on() {
    for (seed, error) in [(1, FaultError::Io), (2, FaultError::NoSpace)] {
        let mut world = World::new(seed, |_| ());
        let engine = world.open();
        let safe = topic(&engine, "safe", Flush::Sync);
        append(&safe, 0, 10, LEN);
        let waiting: Vec<_> =
            (10..13).map(|n| safe.append_async(Record::new(&value(n, LEN)))).collect();
        world.disk.fail_nth(FaultOp::Write, 1, error);
        for future in waiting {
            let failed = future.wait().unwrap_err();
            assert!(matches!(failed, Error::Latched { .. }), "{failed}");
            assert!(failed.outcome_is_unknown());
        }
        let refused = safe.append(Record::new(b"more")).unwrap_err();
        assert!(matches!(refused, Error::Latched { .. }) && !refused.outcome_is_unknown());
        assert_eq!(values(&safe).unwrap(), expected(10, LEN));
        // Other logs are unharmed.
        append(&topic(&engine, "fast", Flush::Async), 0, 5, LEN);
        world.crash(Crash::Process);
        let engine = world.open();
        let found = values(&topic(&engine, "safe", Flush::Sync)).unwrap();
        assert!((10..=13).contains(&found.len()));
        assert_eq!(found, expected(found.len() as u64, LEN));
    }
}

#[test]
fn a_failed_flush_latches_every_waiter_and_is_not_retried() {
    let mut world = World::new(3, |_| ());
    let engine = world.open();
    let fast = topic(&engine, "fast", Flush::Async);
    append(&fast, 0, 10, LEN);
    let durable = AppendOptions::default().ack(Ack::Durable);
    settle(&engine);
    let waiting: Vec<_> =
        (10..13).map(|n| fast.append_async_with(&[Record::new(&value(n, LEN))], durable)).collect();
    world.disk.fail_nth(FaultOp::Flush, 1, FaultError::Io);
    let mut waiting = waiting.into_iter();
    let failed = waiting.next().unwrap().wait().unwrap_err();
    assert!(matches!(failed, Error::Latched { .. }) && failed.outcome_is_unknown(), "{failed}");
    let (flushes, writes) = (world.disk.stats().flushes, world.disk.stats().writes);
    for future in waiting {
        assert!(future.wait().unwrap_err().outcome_is_unknown());
    }
    for _ in 0..50 {
        world.clock.advance(Duration::from_millis(50));
        engine.turn();
    }
    assert_eq!(world.disk.stats().flushes, flushes, "a failed flush is never repeated");
    assert_eq!(world.disk.stats().writes, writes);
    assert!(fast.append(Record::new(b"more")).is_err());
    assert!(engine.close(Duration::from_secs(1)).is_err(), "a close must not pretend");
    drop((engine, fast));
    world.crash(Crash::Power);
    let engine = world.open();
    let found = values(&topic(&engine, "fast", Flush::Async)).unwrap();
    assert_eq!(found, expected(found.len() as u64, LEN));
}

#[test]
fn after_a_failed_flush_what_the_page_cache_shows_is_written_again() {
    // The second fsync says yes and the data is gone: reading back proves nothing.
    for seed in 0..40 {
        let mut world = World::new(seed, |_| ());
        let engine = world.open();
        let fast = topic(&engine, "fast", Flush::Async);
        append(&fast, 0, 40, LEN);
        settle(&engine);
        world.disk.fail_nth(FaultOp::Flush, 1, FaultError::Io);
        let durable = AppendOptions::default().ack(Ack::Durable);
        assert!(fast.append_with(&[Record::new(&value(40, LEN))], durable).is_err());
        world.crash(Crash::Process);
        let engine = world.open();
        let found = values(&topic(&engine, "fast", Flush::Async)).unwrap();
        assert_eq!(found, expected(found.len() as u64, LEN));
        world.crash(Crash::Power);
        let engine = world.open();
        assert_eq!(values(&topic(&engine, "fast", Flush::Async)).unwrap(), found, "seed {seed}");
    }
}

#[test]
fn a_full_disk_is_back_pressure_and_appends_resume_by_themselves() {
    for flush in [Flush::Sync, Flush::Async] {
        let mut world = World::new(4, |_| ());
        let engine = world.open();
        let partition = topic(&engine, "t", flush);
        append(&partition, 0, 20, LEN);
        world.disk.set_condition(Condition::Full);
        let mut n = 20;
        let refused = loop {
            match partition.append(Record::new(&value(n, LEN))) {
                Ok(_) => n += 1,
                Err(error) => break error,
            }
            assert!(n < 1000, "space never runs out");
        };
        assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
        assert!(!refused.outcome_is_unknown() && refused.is_retriable());
        assert_eq!(values(&partition).unwrap(), expected(n, LEN));
        assert_eq!(log(&engine, "log-001").stopped, None);
        world.disk.set_condition(Condition::Normal);
        let resumed = (0..3).any(|_| {
            engine.turn();
            partition.append(Record::new(&value(n, LEN))).is_ok()
        });
        assert!(resumed);
        append(&partition, n + 1, n + 100, LEN);
        world.crash(Crash::Process);
        let engine = world.open();
        assert_eq!(values(&topic(&engine, "t", flush)).unwrap(), expected(n + 100, LEN));
    }
}

#[test]
fn a_read_only_filesystem_takes_no_appends_and_gives_reads() {
    let mut world = World::new(6, |_| ());
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    append(&safe, 0, 20, LEN);
    world.disk.set_condition(Condition::ReadOnly);
    let refused = safe.append(Record::new(b"more")).unwrap_err();
    assert!(matches!(refused, Error::Latched { .. } | Error::ReadOnly { .. }), "{refused}");
    assert_eq!(values(&safe).unwrap(), expected(20, LEN));
    world.crash(Crash::Process);
    world.disk.set_condition(Condition::ReadOnly);
    let before = world.files();
    let refused = world.try_open().unwrap_err();
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
    assert!(world.files() == before);
    world.disk.set_condition(Condition::Normal);
    let engine = world.open();
    let found = values(&topic(&engine, "safe", Flush::Sync)).unwrap();
    assert_eq!(found[..20], expected(20, LEN));
}

#[test]
fn a_frozen_device_ends_waits_at_their_deadline_with_an_unknown_outcome() {
    let world = World::new(7, |_| ());
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    append(&safe, 0, 5, LEN);
    world.disk.freeze();
    let late = safe.append(Record::new(&value(5, LEN))).unwrap_err();
    assert!(matches!(late, Error::Timeout { outcome_unknown: true, .. }), "{late}");
    assert_eq!(values(&safe).unwrap(), expected(5, LEN));
    // What does not fit any more is refused, not queued without bound.
    let mut n = 6;
    let refused = loop {
        match safe.try_append(Record::new(&value(n, 8000))) {
            Err(Error::Timeout { outcome_unknown: true, .. }) => n += 1,
            other => break other.unwrap_err(),
        }
        assert!(n < 100);
    };
    assert!(matches!(refused, Error::Busy { .. }), "{refused}");
    assert!(engine.close(Duration::from_millis(100)).is_err());
    world.disk.thaw();
}
