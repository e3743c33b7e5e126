//! Kills, power losses and closes, and recoveries that are themselves killed.

use ringlog::sim::Crash;
use ringlog::{Ack, AppendOptions, Flush, Record};
use ringlog_tests::scenario;
use ringlog_tests::world::{World, append, expected, log, topic, value, values};

#[test]
fn a_killed_process_loses_nothing_written() {
    let mut world = World::new(1, |_| ());
    let engine = world.open();
    let (fast, safe) = (topic(&engine, "fast", Flush::Async), topic(&engine, "safe", Flush::Sync));
    append(&fast, 0, 30, 1000);
    let options = AppendOptions::default().ack(Ack::Written);
    for n in 0..5 {
        safe.append_with(&[Record::new(&value(n, 100))], options).unwrap();
    }
    world.crash(Crash::Process);
    let engine = world.open();
    assert_eq!(values(&topic(&engine, "fast", Flush::Async)).unwrap(), expected(30, 1000));
    assert_eq!(values(&topic(&engine, "safe", Flush::Sync)).unwrap(), expected(5, 100));
    let recovery = log(&engine, "log-001").recovery;
    assert!(recovery.replayed_bytes >= 30_000, "{recovery:?}");
    assert_eq!(recovery.lost_bytes, 0);
}

#[test]
fn a_power_loss_takes_a_suffix_of_async_topics_and_nothing_acknowledged_of_sync_ones() {
    let world = World::new(2, |_| ());
    let engine = world.open();
    let (fast, safe) = (topic(&engine, "fast", Flush::Async), topic(&engine, "safe", Flush::Sync));
    append(&fast, 0, 90, 1000);
    append(&safe, 0, 40, 500);
    let mut shortest = usize::MAX;
    for seed in 0..60 {
        let mut world = world.fork(seed);
        world.crash(Crash::Power);
        let engine = world.open();
        let found = values(&topic(&engine, "fast", Flush::Async)).unwrap();
        assert_eq!(found, expected(found.len() as u64, 1000), "seed {seed}");
        assert_eq!(values(&topic(&engine, "safe", Flush::Sync)).unwrap(), expected(40, 500));
        shortest = shortest.min(found.len());
    }
    assert!(shortest < 90, "a power loss that never loses proves nothing");
}

#[test]
fn a_clean_close_leaves_nothing_to_scan() {
    let mut world = World::new(3, |_| ());
    for round in 0..4 {
        let engine = world.open();
        for (id, name, flush) in [(1, "safe", Flush::Sync), (2, "fast", Flush::Async)] {
            let partition = topic(&engine, name, flush);
            if round > 0 {
                let recovery = log(&engine, &format!("log-00{id}")).recovery;
                assert!(recovery.clean, "{recovery:?}");
                // The index is written without a flush: after a power loss its segment is read.
                assert!(round == 3 || recovery.scanned_bytes == 0, "{recovery:?}");
                assert_eq!(recovery.replayed_bytes, 0);
                assert_eq!((recovery.cut_bytes, recovery.lost_bytes), (0, 0));
            }
            assert_eq!(values(&partition).unwrap(), expected(round * 70, 1000));
            append(&partition, round * 70, (round + 1) * 70, 1000);
        }
        engine.close(std::time::Duration::from_secs(1)).unwrap();
        drop(engine);
        if round == 2 {
            // What a close leaves is durable.
            world.crash(Crash::Power);
        }
    }
}

#[test]
fn a_drop_without_close_loses_nothing_either() {
    let world = World::new(4, |_| ());
    let fast = topic(&world.open(), "fast", Flush::Async);
    append(&fast, 0, 10, 100);
    // The partition is the last handle.
    drop(fast);
    let engine = world.open();
    assert_eq!(values(&topic(&engine, "fast", Flush::Async)).unwrap(), expected(10, 100));
}

/// Kills the recovery of `world` after each of its operations, then opens in earnest.
fn killed_everywhere(world: &World, crash: Crash, check: &dyn Fn(&World, u64)) {
    let whole = world.fork(0);
    let engine = whole.open();
    let ops = whole.disk.op_count();
    drop(engine);
    assert!(ops > 20, "{ops}");
    for at in 0..ops {
        let mut world = world.fork(at);
        world.disk.kill_after(at);
        assert!(world.try_open().is_err() || at + 1 >= ops, "killed after {at} of {ops}");
        world.crash(crash);
        if at % 3 == 0 {
            // And again, somewhere else.
            world.disk.kill_after(at / 2);
            let _ = world.try_open();
            world.crash(crash);
        }
        check(&world, at);
    }
}

fn crashed_world(seed: u64) -> World {
    let mut world = World::new(seed, |_| ());
    let engine = world.open();
    let (fast, safe) = (topic(&engine, "fast", Flush::Async), topic(&engine, "safe", Flush::Sync));
    append(&safe, 0, 20, 700);
    append(&fast, 0, 50, 1500);
    let options = AppendOptions::default().ack(Ack::Written);
    safe.append_with(&[Record::new(&value(20, 700))], options).unwrap();
    world.crash(Crash::Process);
    world
}

#[test]
fn a_recovery_killed_anywhere_repeats_to_the_same_result() {
    for seed in 5..8 {
        killed_everywhere(&crashed_world(seed), Crash::Process, &|world, at| {
            let engine = world.open();
            let fast = values(&topic(&engine, "fast", Flush::Async)).unwrap();
            assert_eq!(fast, expected(50, 1500), "killed after {at}");
            let safe = values(&topic(&engine, "safe", Flush::Sync)).unwrap();
            assert_eq!(safe, expected(21, 700), "killed after {at}");
        });
    }
}

#[test]
fn a_recovery_that_loses_power_anywhere_keeps_what_is_durable() {
    for seed in 5..8 {
        killed_everywhere(&crashed_world(seed), Crash::Power, &|world, at| {
            let engine = world.open();
            let safe = values(&topic(&engine, "safe", Flush::Sync)).unwrap();
            assert!((20..=21).contains(&safe.len()), "killed after {at}");
            assert_eq!(safe, expected(safe.len() as u64, 700), "killed after {at}");
            let fast = values(&topic(&engine, "fast", Flush::Async)).unwrap();
            assert_eq!(fast, expected(fast.len() as u64, 1500), "killed after {at}");
            // What a recovery has shown stays, whatever comes.
            let mut world = world.fork(at);
            world.crash(Crash::Power);
            let engine = world.open();
            assert_eq!(values(&topic(&engine, "safe", Flush::Sync)).unwrap(), safe);
            assert_eq!(values(&topic(&engine, "fast", Flush::Async)).unwrap(), fast);
        });
    }
}

#[test]
fn every_open_has_a_higher_epoch() {
    let mut world = World::new(9, |_| ());
    let mut last = 0;
    for round in 0..6 {
        let engine = world.open();
        topic(&engine, "safe", Flush::Sync);
        let epoch = log(&engine, "log-001").epoch;
        assert!(epoch > last, "{epoch} after {last}");
        last = epoch;
        world.crash(if round % 2 == 0 { Crash::Power } else { Crash::Process });
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed| scenario::run(seed).unwrap_or_else(|failure| panic!("{failure}"));
    let mut sharded = 0;
    for seed in 0..60 {
        let first = run(seed);
        // On another thread, with other memory and other hashes.
        let again = std::thread::spawn(move || run(seed)).join().expect("it ends as the first did");
        assert_eq!(first.script, again.script, "seed {seed}");
        assert_eq!(first.digest, again.digest, "seed {seed}");
        sharded += first.tally.spread;
    }
    assert!(sharded > 0, "no topic was on several shards' logs");
}
