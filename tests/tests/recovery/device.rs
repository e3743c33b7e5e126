//! Devices and filesystems that fail while an engine runs.

use std::io::{Read, Write};
use std::time::Duration;

use ringlog::sim::{Condition, Crash, FaultError, FaultOp};
use ringlog::{Ack, AppendOptions, Engine, Error, Extent, Flush, Offset, Outcome, Record};
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
fn what_fails_is_unknown_in_a_completion_queue_too() {
    let world = World::new(12, |_| ());
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    append(&safe, 0, 10, LEN);
    settle(&engine);
    let queue = engine.completion_queue(10).unwrap();
    world.disk.fail_nth(FaultOp::Write, 1, FaultError::Io);
    for tag in 0..3 {
        let value = value(10 + tag, LEN);
        let records = [Record::new(&value)];
        safe.submit_append(&queue, &records, AppendOptions::default(), tag).unwrap();
    }
    let mut done = Vec::new();
    while done.len() < 3 {
        assert!(queue.poll(&mut done, 10, Duration::from_secs(1)).unwrap() > 0);
    }
    for completion in done {
        let Outcome::Append { result: Err(failed), .. } = completion.outcome else {
            panic!("{completion:?}")
        };
        assert!(matches!(failed, Error::Latched { .. }) && failed.outcome_is_unknown(), "{failed}");
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
        // Upkeep goes on piece by piece, and logs take turns.
        let resumed = (0..20).any(|_| {
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

#[test]
fn what_a_frozen_device_has_not_made_durable_is_neither_named_nor_sent() {
    let world = World::new(11, |_| ());
    let engine = world.open();
    let (safe, fast) = (topic(&engine, "safe", Flush::Sync), topic(&engine, "fast", Flush::Async));
    append(&safe, 0, 60, LEN);
    append(&fast, 0, 60, LEN);
    world.disk.freeze();
    let written = AppendOptions::default().ack(Ack::Written);
    for (partition, visible) in [(&safe, 60), (&fast, 63)] {
        for n in 60..63 {
            partition.append_with(&[Record::new(&value(n, LEN))], written).unwrap();
        }
        let mut at = Offset(0);
        let mut named = Vec::new();
        loop {
            let extents = partition.extents(at, 10_000).unwrap();
            if extents.is_empty() {
                break;
            }
            assert_eq!(extents.first_offset(), at);
            at = extents.next_offset();
            for extent in extents.iter() {
                let Extent::Memory(bytes) = extent else { panic!("a simulated file has no fd") };
                named.extend_from_slice(&bytes);
            }
        }
        assert_eq!(at, Offset(visible));
        let (mut to, mut from) = std::io::pipe().map(|(from, to)| (to, from)).unwrap();
        let sending = partition.clone();
        let sends = std::thread::spawn(move || {
            let sent = sending.send_to(&to, Offset(0), u64::MAX, Duration::from_secs(60)).unwrap();
            to.flush().unwrap();
            sent
        });
        let mut got = Vec::new();
        from.read_to_end(&mut got).unwrap();
        let sent = sends.join().unwrap();
        assert!(sent.complete && sent.next_offset == at && got == named);
    }
    world.disk.thaw();
}
