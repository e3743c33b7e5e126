//! Proofs of the model itself: what may be lost is lost by some seed and kept by another, and what
//! may not be lost is lost by none.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::error::Error;

const SEEDS: u64 = 200;
const BLOCK: usize = 4096;

fn slice(byte: u8, blocks: usize) -> Slice {
    let mut buf = AlignedBuf::zeroed(blocks * BLOCK);
    buf.as_mut_slice().fill(byte);
    Slice::private(Arc::new(buf), blocks * BLOCK)
}

fn write(file: &FileRef, block: u64, byte: u8, durable: bool) -> Op {
    let at = block * BLOCK as u64;
    Op::Write { file: file.clone(), at, data: slice(byte, 1), durable }
}

/// A disk with one file of eight stable blocks of zeros.
fn disk_with_file(config: SimConfig) -> (SimDisk, FileRef) {
    let disk = SimDisk::new(config);
    let file = disk.open("f", OpenMode::Create).unwrap();
    file.allocate(8 * BLOCK as u64).unwrap();
    file.sync().unwrap();
    disk.sync_dir("").unwrap();
    (disk, file)
}

fn finish(driver: &mut SimDriver) -> Vec<Completion> {
    let mut out = Vec::new();
    while driver.in_flight() > 0 {
        driver.wait(None, &mut out).unwrap();
    }
    out
}

/// Runs an op to its end.
fn run(driver: &mut SimDriver, op: Op) -> io::Result<()> {
    driver.submit(Token(0), op);
    finish(driver).pop().unwrap().result
}

fn block(disk: &SimDisk, block: usize) -> Vec<u8> {
    disk.read_file("f").unwrap()[block * BLOCK..][..BLOCK].to_vec()
}

fn all(bytes: &[u8], byte: u8) -> bool {
    bytes.iter().all(|b| *b == byte)
}

#[test]
fn an_unsynced_write_may_vanish_and_may_survive_and_may_tear() {
    let (mut kept, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(SimConfig::seeded(seed));
        run(&mut SimDriver::new(&disk), write(&file, 1, 7, false)).unwrap();
        assert!(all(&block(&disk, 1), 7), "visible once completed");
        let after = block(&disk.crash(Crash::Power), 1);
        match (all(&after, 7), all(&after, 0)) {
            (true, _) => kept += 1,
            (_, true) => lost += 1,
            _ => {
                torn += 1;
                assert!(after.chunks(512).all(|sector| all(sector, 0) || all(sector, 7)));
            }
        }
    }
    assert!(kept > 0 && lost > 0 && torn > 0, "{kept} {lost} {torn}");
}

#[test]
fn sectors_of_4096_bytes_do_not_tear_inside() {
    for seed in 0..SEEDS {
        let config = SimConfig { sector: 4096, ..SimConfig::seeded(seed) };
        let (disk, file) = disk_with_file(config);
        run(&mut SimDriver::new(&disk), write(&file, 1, 7, false)).unwrap();
        let after = block(&disk.crash(Crash::Power), 1);
        assert!(all(&after, 7) || all(&after, 0));
    }
}

#[test]
fn a_flushed_write_never_vanishes() {
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(SimConfig::seeded(seed));
        let mut driver = SimDriver::new(&disk);
        run(&mut driver, write(&file, 1, 7, false)).unwrap();
        run(&mut driver, Op::Flush { file: file.clone() }).unwrap();
        file.write_at(&[9; 700], 4 * BLOCK as u64 + 100).unwrap();
        file.sync().unwrap();
        // Recoveries, a kill in between and a second power loss change nothing.
        let disk = disk.crash(Crash::Process).crash(Crash::Power).crash(Crash::Power);
        assert!(all(&block(&disk, 1), 7));
        assert!(all(&block(&disk, 4)[100..800], 9));
    }
}

#[test]
fn a_durable_write_persists_itself_and_not_what_lies_below() {
    let mut holes = 0;
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(SimConfig::seeded(seed));
        let mut driver = SimDriver::new(&disk);
        run(&mut driver, write(&file, 1, 7, false)).unwrap();
        run(&mut driver, write(&file, 2, 8, true)).unwrap();
        let disk = disk.crash(Crash::Power);
        assert!(all(&block(&disk, 2), 8));
        holes += u32::from(!all(&block(&disk, 1), 7));
    }
    assert!(holes > 0);
}

#[test]
fn without_fua_a_durable_write_empties_the_cache() {
    for seed in 0..SEEDS {
        let config = SimConfig { fua: false, ..SimConfig::seeded(seed) };
        let (disk, file) = disk_with_file(config);
        let mut driver = SimDriver::new(&disk);
        run(&mut driver, write(&file, 1, 7, false)).unwrap();
        run(&mut driver, write(&file, 2, 8, true)).unwrap();
        let disk = disk.crash(Crash::Power);
        assert!(all(&block(&disk, 1), 7) && all(&block(&disk, 2), 8));
    }
}

#[test]
fn an_older_version_never_comes_back_over_a_durable_one() {
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(SimConfig::seeded(seed));
        let mut driver = SimDriver::new(&disk);
        run(&mut driver, write(&file, 1, 7, false)).unwrap();
        run(&mut driver, write(&file, 1, 8, true)).unwrap();
        assert!(all(&block(&disk.crash(Crash::Power), 1), 8));
    }
}

#[test]
fn a_durable_write_beyond_the_end_keeps_the_length_it_needs() {
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(SimConfig::seeded(seed));
        file.allocate(32 * BLOCK as u64).unwrap();
        run(&mut SimDriver::new(&disk), write(&file, 16, 8, true)).unwrap();
        let disk = disk.crash(Crash::Power);
        assert!(all(&block(&disk, 16), 8));
    }
}

#[test]
fn a_flush_submitted_before_a_write_completed_does_not_cover_it() {
    let (mut lost, mut covered_lost) = (0, 0);
    for seed in 0..SEEDS {
        // In order, so that the write completes while the flush is in flight.
        let config = SimConfig { order: Order::Submitted, ..SimConfig::seeded(seed) };
        let (disk, file) = disk_with_file(config);
        let mut driver = SimDriver::new(&disk);
        run(&mut driver, write(&file, 1, 6, false)).unwrap();
        driver.submit(Token(1), write(&file, 2, 7, false));
        driver.submit(Token(2), Op::Flush { file: file.clone() });
        finish(&mut driver);
        let disk = disk.crash(Crash::Power);
        covered_lost += u32::from(!all(&block(&disk, 1), 6));
        lost += u32::from(!all(&block(&disk, 2), 7));
    }
    assert!(lost > 0);
    assert_eq!(covered_lost, 0);
}

#[test]
fn an_unsynced_length_may_be_lost() {
    let lens: BTreeSet<u64> = (0..SEEDS)
        .map(|seed| {
            let (disk, file) = disk_with_file(SimConfig::seeded(seed));
            file.allocate(9 * BLOCK as u64).unwrap();
            file.allocate(10 * BLOCK as u64).unwrap();
            disk.crash(Crash::Power).list("").unwrap()[0].len_bytes / BLOCK as u64
        })
        .collect();
    assert_eq!(lens, BTreeSet::from([8, 9, 10]));
}

#[test]
fn unsynced_entries_may_vanish_and_synced_ones_do_not() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(SimConfig::seeded(seed));
        disk.create_dir("d").unwrap();
        disk.sync_dir("").unwrap();
        for name in ["d/synced", "d/removed", "d/old"] {
            disk.open(name, OpenMode::Create).unwrap();
        }
        disk.sync_dir("d").unwrap();
        disk.open("d/new", OpenMode::Create).unwrap();
        disk.remove("d/removed").unwrap();
        disk.rename("d/old", "d/renamed").unwrap();
        disk.create_dir("e").unwrap();
        let disk = disk.crash(Crash::Power);
        let names: Vec<String> = disk.list_all().into_iter().map(|entry| entry.name).collect();
        assert!(names.contains(&"d/synced".to_owned()));
        let old = names.contains(&"d/old".to_owned());
        let renamed = names.contains(&"d/renamed".to_owned());
        assert!(old != renamed, "one of its names");
        outcomes.insert(names);
    }
    assert_eq!(outcomes.len(), 16, "all combinations: {outcomes:?}");
}

#[test]
fn a_file_in_an_unsynced_directory_goes_with_it() {
    let gone = (0..SEEDS).filter(|seed| {
        let disk = SimDisk::new(SimConfig::seeded(*seed));
        disk.create_dir("d").unwrap();
        disk.open("d/f", OpenMode::Create).unwrap().sync().unwrap();
        disk.sync_dir("d").unwrap();
        disk.crash(Crash::Power).list_all().is_empty()
    });
    assert!((1..SEEDS as usize).contains(&gone.count()));
}

#[test]
fn a_failed_flush_loses_data_and_the_next_one_succeeds() {
    let (mut lost, mut visible_but_lost) = (0, 0);
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(SimConfig::seeded(seed));
        let mut driver = SimDriver::new(&disk);
        run(&mut driver, write(&file, 1, 7, false)).unwrap();
        disk.fail_nth(FaultOp::Flush, 1, FaultError::Io);
        let error = run(&mut driver, Op::Flush { file: file.clone() }).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
        run(&mut driver, Op::Flush { file: file.clone() }).unwrap();
        let visible = all(&block(&disk, 1), 7);
        if !all(&block(&disk.crash(Crash::Power), 1), 7) {
            lost += 1;
            visible_but_lost += u32::from(visible);
        }
    }
    assert!(lost > 0 && visible_but_lost > 0, "{lost} {visible_but_lost}");
}

#[test]
fn faults_hit_the_nth_operation_once() {
    let (disk, file) = disk_with_file(SimConfig::seeded(1));
    let mut driver = SimDriver::new(&disk);
    disk.fail_nth(FaultOp::Write, 2, FaultError::NoSpace);
    disk.fail_nth(FaultOp::Allocate, 1, FaultError::NoSpace);
    run(&mut driver, write(&file, 1, 7, true)).unwrap();
    let error = run(&mut driver, write(&file, 1, 8, true)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    run(&mut driver, write(&file, 1, 9, true)).unwrap();
    assert!(all(&block(&disk, 1), 9));
    file.allocate(1 << 20).unwrap_err();
    file.allocate(1 << 20).unwrap();
    disk.set_condition(Condition::Full);
    assert_eq!(file.allocate(2 << 20).unwrap_err().kind(), io::ErrorKind::StorageFull);
    run(&mut driver, write(&file, 1, 9, true)).unwrap();
    disk.set_condition(Condition::ReadOnly);
    let error = run(&mut driver, write(&file, 1, 9, true)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn ops_complete_out_of_order_unless_told_otherwise() {
    let order = |config: SimConfig| {
        let (disk, file) = disk_with_file(config);
        let mut driver = SimDriver::new(&disk);
        for i in 0..8 {
            driver.submit(Token(i), write(&file, i, 1, false));
        }
        finish(&mut driver).iter().map(|done| done.token.0).collect::<Vec<_>>()
    };
    let sorted: Vec<u64> = (0..8).collect();
    for seed in 0..20 {
        let config = SimConfig { order: Order::Submitted, ..SimConfig::seeded(seed) };
        assert_eq!(order(config), sorted);
    }
    assert!((0..20).any(|seed| order(SimConfig::seeded(seed)) != sorted));
    let instant = |seed| SimConfig { latency_max: Duration::ZERO, ..SimConfig::seeded(seed) };
    assert!((0..20).any(|seed| order(instant(seed)) != sorted));
}

/// A small life with everything in it.
fn life(seed: u64) -> (SimDisk, FileRef) {
    let (disk, file) = disk_with_file(SimConfig::seeded(seed));
    let mut driver = SimDriver::new(&disk);
    let ring = disk.create_ring("ring", 64 << 10).unwrap();
    for i in 0..40 {
        ring.store(i * 4096, &i.to_le_bytes());
        driver.submit(Token(i), write(&file, i % 8, i as u8, i % 3 == 0));
        if i % 7 == 0 {
            driver.submit(Token(i), Op::Flush { file: file.clone() });
            disk.note_ring_snapshot();
        }
        driver.wait(Some(Duration::from_micros(20)), &mut Vec::new()).unwrap();
    }
    std::mem::forget(driver);
    (disk, file)
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let mut digests = BTreeSet::new();
    for seed in 0..20 {
        let (a, b) = (life(seed).0, life(seed).0);
        assert_eq!(a.digest(), b.digest());
        for crash in [Crash::Process, Crash::Power] {
            assert_eq!(a.fork(7).crash(crash).digest(), b.fork(7).crash(crash).digest());
        }
        let (a, b) = (a.crash(Crash::Power), b.crash(Crash::Power));
        assert_eq!(a.digest(), b.digest());
        assert_eq!(a.stats(), b.stats());
        digests.insert(a.digest());
    }
    assert_eq!(digests.len(), 20);
}

#[test]
fn forks_meet_every_kind_of_luck_and_leave_the_disk_alone() {
    let mut sum = SimStats::default();
    let (disk, _file) = life(3);
    let before = disk.digest();
    for seed in 0..SEEDS {
        sum += disk.fork(seed).crash(Crash::Process).stats();
        sum += disk.fork(seed).crash(Crash::Power).stats();
    }
    assert_eq!(disk.digest(), before);
    for count in [
        sum.in_flight_landed,
        sum.in_flight_torn,
        sum.in_flight_dropped,
        sum.unstable_kept,
        sum.unstable_torn,
        sum.unstable_dropped,
        sum.entries_kept,
        sum.entries_lost,
        sum.ring_pages_current,
        sum.ring_pages_old,
        sum.ring_pages_zero,
        sum.rings_short,
    ] {
        assert!(count > 0, "{sum:?}");
    }
}

#[test]
fn a_process_kill_keeps_completed_writes_and_rings() {
    let mut in_flight = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(SimConfig::seeded(seed));
        let ring = disk.create_ring("ring", 64 << 10).unwrap();
        ring.store(8192, b"in the ring");
        ring.control(16).store(42, Ordering::Relaxed);
        let mut driver = SimDriver::new(&disk);
        run(&mut driver, write(&file, 1, 7, false)).unwrap();
        driver.submit(Token(1), write(&file, 2, 8, true));
        let next = disk.crash(Crash::Process);
        ring.store(8192, b"from a dead");
        assert!(all(&block(&next, 1), 7));
        let after = block(&next, 2);
        in_flight.insert((all(&after, 0), all(&after, 8)));
        let ring = next.open_ring("ring").unwrap().unwrap();
        let mut bytes = [0; 11];
        ring.load(8192, &mut bytes);
        assert_eq!(&bytes, b"in the ring");
        assert_eq!(ring.control(16).load(Ordering::Relaxed), 42);
        // Nothing of the dead reaches the successor.
        assert!(disk.is_killed() && !next.is_killed());
        driver.wait(None, &mut Vec::new()).unwrap_err();
        file.write_at(&[1], 0).unwrap_err();
        assert_eq!(block(&next, 2), after);
    }
    assert_eq!(in_flight.len(), 3, "whole, torn and not at all");
}

#[test]
fn writes_in_flight_at_a_kill_land_in_any_order() {
    let mut last = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(SimConfig::seeded(seed));
        let mut driver = SimDriver::new(&disk);
        driver.submit(Token(1), write(&file, 1, 7, false));
        driver.submit(Token(2), write(&file, 1, 8, false));
        let next = disk.crash(Crash::Process);
        if next.stats().in_flight_landed == 2 {
            last.insert(block(&next, 1)[0]);
        }
    }
    assert_eq!(last, BTreeSet::from([7, 8]));
}

#[test]
fn a_dropped_driver_leaves_nothing_in_flight() {
    let (disk, file) = disk_with_file(SimConfig::seeded(1));
    let mut driver = SimDriver::new(&disk);
    driver.submit(Token(1), write(&file, 1, 7, false));
    drop(driver);
    let after = block(&disk, 1);
    let mut driver = SimDriver::new(&disk);
    run(&mut driver, write(&file, 2, 7, false)).unwrap();
    assert_eq!(block(&disk, 1), after);
}

#[test]
fn bytes_changed_in_flight_are_noticed() {
    let (disk, file) = disk_with_file(SimConfig::seeded(1));
    let ring = Arc::new(disk.create_ring("ring", 64 << 10).unwrap());
    let mut driver = SimDriver::new(&disk);
    let data = Slice::ring(ring.clone(), 0, BLOCK);
    driver.submit(Token(1), Op::Write { file, at: 0, data, durable: true });
    ring.store(0, b"too early");
    finish(&mut driver);
    assert_eq!(disk.stats().changed_in_flight, 1);
}

#[test]
fn a_driver_with_a_waker_sleeps_until_woken() {
    let disk = SimDisk::new(SimConfig::default());
    let waker = Waker::new().unwrap();
    let mut driver = SimDriver::with_waker(&disk, waker.clone());
    let sleeper = std::thread::spawn(move || driver.wait(None, &mut Vec::new()));
    std::thread::sleep(Duration::from_millis(20));
    assert!(!sleeper.is_finished());
    waker.wake();
    sleeper.join().unwrap().unwrap();
}

#[test]
fn a_removed_file_may_lose_power_with_a_write_in_flight() {
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(SimConfig::seeded(seed));
        let mut driver = SimDriver::new(&disk);
        driver.submit(Token(1), write(&file, 1, 7, false));
        disk.remove("f").unwrap();
        disk.sync_dir("").unwrap();
        assert!(disk.crash(Crash::Power).list_all().is_empty());
    }
}

#[test]
fn the_kill_switch_fails_everything_from_its_operation_on() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(SimConfig::seeded(seed));
        disk.kill_after(2);
        assert_eq!(file.len_bytes().unwrap(), 8 * BLOCK as u64);
        disk.list("").unwrap();
        disk.rename("f", "g").unwrap_err();
        assert!(disk.is_killed());
        disk.list("").unwrap_err();
        assert!(matches!(disk.lock(Duration::ZERO), Err(Error::Io { .. })));
        let next = disk.crash(Crash::Process);
        assert_eq!(next.op_count(), 0);
        outcomes.insert(next.list("").unwrap()[0].name.clone());
    }
    assert_eq!(outcomes, BTreeSet::from(["f".to_owned(), "g".to_owned()]));
}

#[test]
fn the_lock_excludes_until_dropped_or_crashed() {
    let disk = SimDisk::new(SimConfig::default());
    let held = disk.lock(Duration::ZERO).unwrap();
    let again = held.clone();
    drop(held);
    assert!(matches!(disk.lock(Duration::ZERO), Err(Error::Locked { alive: true, .. })));
    drop(again);
    let dead = disk.lock(Duration::ZERO).unwrap();
    let next = disk.crash(Crash::Process);
    let held = next.lock(Duration::ZERO).unwrap();
    drop(dead);
    assert!(next.lock(Duration::ZERO).is_err());
    drop(held);
}

#[test]
fn a_frozen_disk_completes_nothing_until_thawed() {
    let (disk, file) = disk_with_file(SimConfig::seeded(1));
    let mut driver = SimDriver::new(&disk);
    driver.submit(Token(1), write(&file, 1, 7, true));
    disk.freeze();
    let mut out = Vec::new();
    driver.wait(Some(Duration::from_secs(1)), &mut out).unwrap();
    driver.wait(None, &mut out).unwrap();
    assert!(out.is_empty() && driver.in_flight() == 1);
    disk.thaw();
    assert_eq!(finish(&mut driver).len(), 1);
}

#[test]
fn waiting_moves_the_manual_clock_by_no_more_than_the_timeout() {
    let clock = Clock::manual();
    let config = SimConfig { clock: clock.clone(), ..SimConfig::seeded(1) };
    let mut driver = SimDriver::new(&SimDisk::new(config));
    driver.wait(Some(Duration::from_secs(3)), &mut Vec::new()).unwrap();
    assert_eq!(clock.now(), Duration::from_secs(3));
    driver.wait(None, &mut Vec::new()).unwrap();
    assert_eq!(clock.now(), Duration::from_secs(3));
}

#[test]
fn outside_hands_reach_what_is_stable() {
    let (disk, file) = disk_with_file(SimConfig::seeded(1));
    run(&mut SimDriver::new(&disk), write(&file, 1, 7, true)).unwrap();
    disk.corrupt("f", BLOCK as u64 + 3, 0xff).unwrap();
    disk.hard_link("f", "backup").unwrap();
    assert_eq!(file.link_count().unwrap(), 2);
    let disk = disk.crash(Crash::Power);
    assert_eq!(block(&disk, 1)[..5], [7, 7, 7, 0xf8, 7]);
    disk.truncate("f", BLOCK as u64 + 2).unwrap();
    let disk = disk.crash(Crash::Power);
    assert_eq!(disk.read_file("backup").unwrap()[BLOCK..], [7, 7]);
}

#[test]
fn a_stuck_op_never_completes_and_a_crash_finds_it_in_flight() {
    let (mut landed, mut lost) = (false, false);
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(SimConfig::seeded(seed));
        let mut driver = SimDriver::new(&disk);
        disk.stick_nth(FaultOp::Write, 2);
        for n in 0..3 {
            driver.submit(Token(n), write(&file, n, 7, true));
        }
        let mut out = Vec::new();
        for _ in 0..100 {
            driver.wait(Some(Duration::from_secs(1)), &mut out).unwrap();
        }
        let mut done: Vec<u64> = out.iter().map(|completion| completion.token.0).collect();
        done.sort_unstable();
        assert_eq!(done, [0, 2]);
        assert_eq!(driver.in_flight(), 1);
        let after = disk.crash(Crash::Power);
        assert!(all(&block(&after, 0), 7) && all(&block(&after, 2), 7));
        landed |= all(&block(&after, 1), 7);
        lost |= all(&block(&after, 1), 0);
    }
    assert!(landed && lost);
}

#[test]
fn a_broken_disk_fails_everything_until_it_is_mended() {
    let (disk, file) = disk_with_file(SimConfig::seeded(1));
    let mut driver = SimDriver::new(&disk);
    disk.break_after(0);
    assert!(disk.list("").is_err());
    assert!(run(&mut driver, write(&file, 0, 7, false)).is_err());
    assert!(file.sync().is_err() && file.read_at(&mut [0], 0).is_err());
    assert!(disk.stats().failed_eio >= 4);
    assert_eq!(disk.take_doubtful(), ["f"]);
    disk.mend();
    run(&mut driver, write(&file, 0, 7, true)).unwrap();
    assert!(all(&block(&disk.crash(Crash::Power), 0), 7));
}

#[test]
fn a_change_of_names_that_fails_may_have_been_made() {
    let (mut made, mut left) = (false, false);
    for seed in 0..SEEDS {
        let (disk, _file) = disk_with_file(SimConfig::seeded(seed));
        disk.fail_nth(FaultOp::Name, 1, FaultError::Io);
        assert!(disk.rename("f", "g").is_err());
        let names: Vec<String> = disk.list("").unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names.len(), 1);
        made |= names[0] == "g";
        left |= names[0] == "f";
    }
    assert!(made && left);
}

#[test]
fn what_a_dead_process_stores_into_a_ring_is_not_found() {
    let disk = SimDisk::new(SimConfig { ring_may_shrink: false, ..SimConfig::seeded(1) });
    let ring = disk.create_ring("ring", 64 << 10).unwrap();
    ring.store(0, &[1; 8]);
    disk.kill_at(Moment::Sealed, 2);
    crate::moment::pass(Moment::Sealed);
    crate::moment::pass(Moment::Claimed);
    assert!(!disk.is_killed());
    ring.store(8, &[2; 8]);
    crate::moment::pass(Moment::Sealed);
    assert!(disk.is_killed());
    assert_eq!(disk.killed_at(), Some(Moment::Sealed));
    ring.store(16, &[3; 8]);
    let after = disk.crash(Crash::Process);
    let found = after.open_ring("ring").unwrap().unwrap();
    let mut bytes = [9; 24];
    found.load(0, &mut bytes);
    assert_eq!(bytes[..16], [[1; 8], [2; 8]].concat());
    assert_eq!(bytes[16..], [0; 8]);
    assert!(after.list("").is_ok());
}

#[test]
fn what_needs_no_space_does_not_say_that_there_is_none() {
    let (disk, file) = disk_with_file(SimConfig::seeded(1));
    disk.fail_nth(FaultOp::Any, 1, FaultError::NoSpace);
    assert!(file.read_at(&mut [0], 0).is_ok() && file.len_bytes().is_ok());
    assert_eq!(file.write_at(&[1], 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.fail_nth(FaultOp::Any, 1, FaultError::Descriptors);
    assert!(file.write_at(&[1], 0).is_ok());
    assert!(disk.open("f", OpenMode::Read).is_err());
}
