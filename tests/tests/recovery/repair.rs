//! A repair that is killed, or loses power, after any of its operations: what could be read can be
//! read, nothing is given another's offset, and repairing again ends as if nothing had been.

use std::time::Duration;

use ringlog::inspect::{Plan, Repair};
use ringlog::sim::{Crash, FaultError, FaultOp};
use ringlog::{Engine, Error, Flush, Offset, Partition, Record, Start};
use ringlog_tests::world::{World, append, log, topic, value};

const N: u64 = 100;
const LEN: usize = 2000;
const MORE: &[u8] = b"more";
/// So short that all that is appended fits into the first segment.
const SHORT: usize = 700;
const SECOND: Duration = Duration::from_secs(1);

/// `N` values over several segments, closed or lost power.
fn made(seed: u64, close: bool) -> World {
    let mut world = World::new(seed, |_| ());
    let engine = world.open();
    append(&topic(&engine, "safe", Flush::Sync), 0, N, LEN);
    append(&topic(&engine, "fast", Flush::Async), 0, 10, LEN);
    (0..20).for_each(|_| engine.turn());
    if close {
        engine.close(SECOND).unwrap();
    }
    // Before it is dropped, which would close it.
    world.crash(Crash::Power);
    world
}

/// The segments of the `safe` topic's log that have values of it.
fn segments(world: &World) -> Vec<String> {
    let has = |name: &String| {
        let bytes = world.disk.read_file(name).unwrap();
        bytes.windows(6).any(|window| window == b"value ")
    };
    world.named("log-001/", ".log").into_iter().filter(has).collect()
}

fn in_segment(world: &World, segment: &str) -> Vec<u64> {
    let bytes = world.disk.read_file(segment).unwrap();
    let has = |n: &u64| bytes.windows(12).any(|window| window == &value(*n, LEN)[..12]);
    (0..N).filter(has).collect()
}

fn repair(world: &World) -> Result<Repair, Error> {
    Repair::open_simulated(&world.disk, world.options.clone(), world.clock.clone())
}

fn plan(world: &World) -> (Repair, Plan) {
    let repair = repair(world).unwrap();
    let plan = repair.plan(&mut |_, _| ()).unwrap();
    (repair, plan)
}

/// What is read under this offset, if there is anything.
fn one(partition: &Partition, n: u64) -> Result<Option<Vec<u8>>, Error> {
    let mut records = partition.reader(Start::Offset(Offset(n)))?.records();
    records.next().transpose().map(|record| record.map(|record| record.value.unwrap().to_vec()))
}

/// The values that can be read, each under its offset.
fn readable(engine: &Engine) -> Vec<u64> {
    let safe = topic(engine, "safe", Flush::Sync);
    let is = |n: &u64| match one(&safe, *n) {
        Ok(Some(got)) if got == value(*n, LEN) => true,
        // Where nobody knows how many are lost, their offsets are given out again.
        Ok(Some(got)) if got == MORE => false,
        Ok(Some(_)) => panic!("another value at offset {n}"),
        Ok(None) | Err(Error::Corrupt { .. } | Error::OffsetOutOfRange { .. }) => false,
        Err(other) => panic!("{other}"),
    };
    (0..N).filter(is).collect()
}

/// Appends, and says the offset that it got.
fn appended(engine: &Engine) -> Result<u64, Error> {
    Ok(topic(engine, "safe", Flush::Sync).append(Record::new(MORE))?.0)
}

/// Where the log is met with damage: what can be read, and what is appended next, once repaired.
struct Damaged {
    name: &'static str,
    world: World,
    /// Values that nobody can have back.
    lost: Vec<u64>,
}

fn all() -> Vec<Damaged> {
    let mut all = Vec::new();
    let mut add = |name, world, lost| all.push(Damaged { name, world, lost });

    let world = made(1, false);
    let last = segments(&world).pop().unwrap();
    let n = in_segment(&world, &last)[1];
    world.disk.corrupt(&last, world.find(&last, &value(n, LEN)) + 100, 4).unwrap();
    add("a value of the last segment", world, vec![n]);

    // Nothing after the cut tells that there was more.
    let world = made(2, false);
    let last = segments(&world).pop().unwrap();
    let held = in_segment(&world, &last);
    let first = held[held.len() / 2];
    world.disk.truncate(&last, world.find(&last, &value(first, LEN)) & !4095).unwrap();
    world.remove("log-001/ring");
    add("the last segment cut", world, (first..N).collect());

    let world = made(3, true);
    let middle = segments(&world).remove(1);
    let held = in_segment(&world, &middle);
    world.remove(&middle);
    add("a segment missing", world, held);

    let world = made(4, true);
    for checkpoint in world.named("log-001/checkpoint-", "") {
        world.disk.corrupt(&checkpoint, 30, 1).unwrap();
    }
    add("both checkpoints", world, Vec::new());

    // The older one is a clean close's, and its end is none any more.
    let mut world = made(5, true);
    let engine = world.open();
    assert_eq!(appended(&engine).unwrap(), N);
    world.crash(Crash::Process);
    let newest = world.named("log-001/checkpoint-", "").pop().unwrap();
    world.disk.corrupt(&newest, 30, 1).unwrap();
    add("the newest checkpoint", world, Vec::new());

    let world = made(6, true);
    for name in ["engine.meta", &*segments(&world)[0].replace(".log", ".idx")] {
        world.disk.corrupt(name, 30, 1).unwrap();
    }
    add("a copy of engine.meta and an index", world, Vec::new());
    all
}

#[test]
fn a_repair_killed_anywhere_leaves_nothing_worse_and_repeats_to_the_same_result() {
    for Damaged { name, world, lost } in all() {
        let whole: Vec<u64> = (0..N).filter(|n| !lost.contains(n)).collect();
        let done = world.fork(0);
        let (repair, plan) = plan(&done);
        assert!(!plan.steps.is_empty() && plan.beyond.is_empty(), "{name}: {plan:?}");
        assert_eq!(plan.losses.is_empty(), lost.is_empty(), "{name}: {plan:?}");
        let before = done.disk.op_count();
        repair.run(plan).unwrap();
        let ops = done.disk.op_count() - before;
        // It opened one itself.
        let engine = done.open();
        assert_eq!(readable(&engine), whole, "{name}");
        let next = (appended(&engine).unwrap(), log(&engine, "log-001").epoch - 1);
        assert!(next.0 >= N || name == "the last segment cut", "{name}: {next:?}");
        drop(engine);
        for killed_at in 0..ops {
            for crash in [Crash::Process, Crash::Power] {
                let mut world = world.fork(killed_at);
                let (repair, plan) = self::plan(&world);
                world.disk.kill_after(killed_at);
                repair.run(plan).unwrap_err();
                world.crash(crash);
                let at = format!("{name}, killed after {killed_at} of {ops}: {crash:?}");
                check(&world, &whole, next, &at);
            }
        }
    }
}

fn check(world: &World, whole: &[u64], (next, epoch): (u64, u32), at: &str) {
    // Opened without another repair: it goes on as if repaired, or refuses as before.
    let early = world.fork(1);
    let engine = early.open();
    match appended(&engine) {
        Ok(offset) => {
            assert_eq!(offset, next, "{at}");
            assert!(log(&engine, "log-001").epoch >= epoch, "{at}: an epoch may be used twice");
        }
        Err(Error::Corrupt { .. }) => {}
        Err(other) => panic!("{at}: {other}"),
    }
    let got = readable(&engine);
    assert!(got.iter().all(|n| whole.contains(n)), "{at}: {got:?}");
    drop(engine);
    let again = early.fork(2);
    let late = world.fork(3);
    for (world, opened) in [(&again, true), (&late, false)] {
        let (repair, plan) = plan(world);
        repair.run(plan).unwrap_or_else(|error| panic!("{at}, opened {opened}: {error}"));
        let engine = world.open();
        assert_eq!(readable(&engine), whole, "{at}, opened {opened}");
        let offset = appended(&engine).unwrap();
        assert!(offset == next || (opened && offset == next + 1), "{at}: {offset} after {next}");
    }
}

#[test]
fn what_a_repaired_log_has_survives_a_power_loss_even_where_a_flush_had_failed() {
    let mut kept = 0;
    for seed in 0..20 {
        let mut world = World::new(seed, |config| config.sector = 4096);
        world.options = world.options.clone().async_window(1 << 20, Duration::from_secs(3600));
        let engine = world.open();
        let fast = topic(&engine, "fast", Flush::Async);
        append(&fast, 0, 10, SHORT);
        engine.flush(SECOND).unwrap();
        append(&fast, 10, 20, SHORT);
        engine.flush(SECOND).unwrap();
        append(&fast, 20, 23, SHORT);
        // What it should have made stable is given up, and the page cache shows it all the same.
        world.disk.fail_nth(FaultOp::Flush, 1, FaultError::Io);
        engine.flush(SECOND).unwrap_err();
        world.crash(Crash::Process);
        world.remove("log-001/ring");
        let segment = world.named("log-001/", ".log").remove(0);
        world.disk.corrupt(&segment, world.find(&segment, &value(3, SHORT)) + 100, 4).unwrap();
        let (repair, plan) = plan(&world);
        assert!(!plan.steps.is_empty());
        repair.run(plan).unwrap();
        let readable = |world: &World| -> Vec<u64> {
            let fast = topic(&world.open(), "fast", Flush::Async);
            (0..23).filter(|n| one(&fast, *n).ok().flatten() == Some(value(*n, SHORT))).collect()
        };
        let before = readable(&world.fork(seed));
        assert!((10..20).all(|n| before.contains(&n)));
        kept += before.iter().filter(|n| **n >= 20).count();
        world.crash(Crash::Power);
        assert_eq!(readable(&world), before, "seed {seed}");
    }
    assert!(kept >= 15, "{kept}");
}
