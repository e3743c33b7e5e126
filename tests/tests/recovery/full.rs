//! A disk without space is left by trimming, and by deleting topics: what frees space finds room
//! where appends find none, and appends go on when it has.

use ringlog::sim::{Crash, FaultError, FaultOp};
use ringlog::{Engine, Error, Flush, Offset, Partition, Record};
use ringlog_tests::world::{World, append, expected, log, topic, value, values};

const LEN: usize = 1000;
const FLUSHES: [Flush; 2] = [Flush::Sync, Flush::Async];

/// Lets upkeep do what it can.
fn settle(engine: &Engine) {
    (0..60).for_each(|_| engine.turn());
}

/// Appends until there is no space; the next value's number.
fn fill(partition: &Partition, mut n: u64) -> u64 {
    loop {
        match partition.append(Record::new(&value(n, LEN))) {
            Ok(_) => n += 1,
            Err(Error::NoSpace { .. }) => return n,
            Err(other) => panic!("{other}"),
        }
        assert!(n < 10_000, "space never runs out");
    }
}

/// A log of several segments on a disk with no block left, and the next value's number.
fn full(seed: u64, flush: Flush) -> (World, Engine, Partition, u64) {
    let world = World::new(seed, |_| ());
    let engine = world.open();
    let partition = topic(&engine, "t", flush);
    append(&partition, 0, 300, LEN);
    settle(&engine);
    world.disk.set_capacity(Some(world.disk.used()));
    let n = fill(&partition, 300);
    settle(&engine);
    // Not even what upkeep left.
    world.disk.set_capacity(Some(world.disk.used()));
    let n = fill(&partition, n);
    (world, engine, partition, n)
}

fn resumes(engine: &Engine, partition: &Partition, n: u64) -> bool {
    (0..60).any(|_| {
        engine.turn();
        partition.append(Record::new(&value(n, LEN))).is_ok()
    })
}

#[test]
fn a_trim_leads_out_of_a_full_disk() {
    for flush in FLUSHES {
        let (mut world, engine, partition, n) = full(1, flush);
        partition.trim(Offset(n / 2)).unwrap();
        assert!(resumes(&engine, &partition, n), "{flush:?}: nothing was freed");
        append(&partition, n + 1, n + 20, LEN);
        assert_eq!(log(&engine, "log-001").stopped, None);
        let from = (n / 2) as usize;
        for crash in [Crash::Process, Crash::Power] {
            world.crash(crash);
            world.disk.mend();
            let engine = world.open();
            let found = values(&topic(&engine, "t", flush)).unwrap();
            let all = expected(n + 20, LEN);
            if flush == Flush::Sync || crash == Crash::Process {
                assert_eq!(found, all[from..]);
            } else {
                assert!(all[from..].starts_with(&found));
            }
        }
    }
}

#[test]
fn after_a_crash_on_a_full_disk_a_trim_leads_out_of_it_too() {
    for flush in FLUSHES {
        for crash in [Crash::Process, Crash::Power] {
            let (mut world, engine, partition, n) = full(2, flush);
            drop((engine, partition));
            world.crash(crash);
            world.disk.set_capacity(Some(world.disk.used()));
            let engine = world.open();
            let partition = topic(&engine, "t", flush);
            let end = partition.info().unwrap().end.0;
            assert!(flush == Flush::Async || end == n);
            fill(&partition, end);
            settle(&engine);
            world.disk.set_capacity(Some(world.disk.used()));
            partition.trim(Offset(n / 2)).unwrap();
            assert!(resumes(&engine, &partition, n), "{flush:?} {crash:?}: nothing was freed");
        }
    }
}

#[test]
fn what_a_failed_checkpoint_did_not_free_is_freed_by_a_later_one() {
    for nth in 1..4 {
        let (world, engine, partition, n) = full(6, Flush::Sync);
        world.disk.fail_nth(FaultOp::SyncDir, nth, FaultError::Io);
        partition.trim(Offset(n / 2)).unwrap();
        settle(&engine);
        assert!(world.disk.stats().failed_dir_syncs > 0, "{nth}: it was never met");
        assert!(resumes(&engine, &partition, n), "flush {nth} of the directory: nothing was freed");
    }
}

#[test]
fn deleting_a_topic_leads_out_of_a_full_disk() {
    for flush in FLUSHES {
        let world = World::new(3, |_| ());
        let engine = world.open();
        let (gone, kept) = (topic(&engine, "gone", flush), topic(&engine, "kept", flush));
        append(&gone, 0, 300, LEN);
        settle(&engine);
        world.disk.set_capacity(Some(world.disk.used()));
        fill(&gone, 300);
        settle(&engine);
        world.disk.set_capacity(Some(world.disk.used()));
        engine.delete_topic("gone").unwrap();
        assert!(resumes(&engine, &kept, 0), "{flush:?}: nothing was freed");
    }
}

#[test]
fn many_trims_find_room_and_when_there_is_none_they_say_so() {
    for flush in FLUSHES {
        let (world, engine, partition, n) = full(4, flush);
        // Other hands take at once what the trims free.
        let mut done = 0;
        let refused = (1..n).find_map(|to| {
            let trimmed = partition.trim(Offset(to));
            world.disk.set_capacity(Some(world.disk.used()));
            done += u64::from(trimmed.is_ok());
            trimmed.err()
        });
        // Four groups, one or two of which may go to watermarks.
        assert!(done >= 2, "{flush:?}: {done} trims");
        assert!(refused.is_none_or(|error| matches!(error, Error::NoSpace { .. })));
        assert_eq!(log(&engine, "log-001").stopped, None);
        let from = partition.info().unwrap().log_start.0 as usize;
        assert!(values(&partition).unwrap() == expected(n, LEN)[from..]);
    }
}

#[test]
fn whichever_operation_finds_no_space_a_trim_is_whole_or_not_at_all() {
    for flush in FLUSHES {
        let (before, engine, partition, n) = full(5, flush);
        drop((engine, partition));
        let crashed = before.disk.crash(Crash::Process);
        let mut freed = 0;
        for nth in 1..80 {
            let mut world = before.fork(nth);
            world.disk = crashed.fork(nth);
            let engine = world.open();
            let partition = topic(&engine, "t", flush);
            world.disk.fail_nth(FaultOp::Any, nth, FaultError::NoSpace);
            let trimmed = partition.trim(Offset(n / 2));
            settle(&engine);
            let latched = log(&engine, "log-001").stopped.is_some();
            match &trimmed {
                Ok(()) => freed += u64::from(resumes(&engine, &partition, n)),
                // A write of data that finds no space latches, as any that fails.
                Err(Error::Latched { .. }) => assert!(latched),
                Err(error) => assert!(matches!(error, Error::NoSpace { .. }), "{nth}: {error}"),
            }
            let start = partition.info().unwrap().log_start.0;
            assert_eq!(start, if trimmed.is_ok() { n / 2 } else { 0 }, "operation {nth}");
            world.crash(Crash::Power);
            world.disk.mend();
            let engine = world.open();
            let partition = topic(&engine, "t", flush);
            let info = partition.info().unwrap();
            assert!(trimmed.is_err() || info.log_start.0 == n / 2, "operation {nth}");
            let found = values(&partition).unwrap();
            let all = expected(n + 1, LEN);
            assert!(all[info.log_start.0 as usize..].starts_with(&found), "operation {nth}");
            assert!(flush == Flush::Async || info.end.0 >= n);
        }
        assert!(freed > 40, "{flush:?}: {freed} of 79 led out of it");
    }
}
