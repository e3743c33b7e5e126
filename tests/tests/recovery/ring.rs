//! Rings that are missing, foreign, newer, too short, or back from another time.

use ringlog::sim::{Crash, RingMap};
use ringlog::{Error, Flush};
use ringlog_tests::world::{World, append, expected, log, topic, values};

const RING: &str = "log-001/ring";

fn killed(seed: u64) -> World {
    let mut world = World::new(seed, |_| ());
    world.options = world.options.clone().batch_bytes(0);
    let engine = world.open();
    append(&topic(&engine, "fast", Flush::Async), 0, 20, 500);
    world.crash(Crash::Process);
    world
}

fn prefix(world: &World) -> usize {
    let engine = world.open();
    let found = values(&topic(&engine, "fast", Flush::Async)).unwrap();
    assert_eq!(found, expected(found.len() as u64, 500));
    append(&topic(&engine, "fast", Flush::Async), found.len() as u64, 30, 500);
    assert_eq!(values(&topic(&engine, "fast", Flush::Async)).unwrap(), expected(30, 500));
    found.len()
}

#[test]
fn without_its_ring_a_log_opens_with_what_segments_hold() {
    let world = killed(1);
    world.remove(RING);
    assert!(prefix(&world) < 20);
}

#[test]
fn a_ring_of_another_log_is_left_out() {
    let world = killed(2);
    world.disk.corrupt(RING, 16, 1).unwrap();
    assert!(prefix(&world) < 20);
}

#[test]
fn a_ring_that_has_lost_its_pages_is_taken_as_far_as_it_proves_itself() {
    let world = killed(3);
    let at = world.find(RING, b"value 10 ");
    world.disk.corrupt(RING, at, 1).unwrap();
    let copy = world.fork(1);
    let engine = copy.open();
    let found = values(&topic(&engine, "fast", Flush::Async)).unwrap();
    assert_eq!(found, expected(10, 500));
    let recovery = log(&engine, "log-001").recovery;
    assert!(recovery.lost_bytes >= 10 * 500, "{recovery:?}");
    drop(engine);
    assert_eq!(prefix(&world), 10);
}

#[test]
fn nothing_beyond_a_hole_in_a_ring_is_taken() {
    // Closed groups that the frozen device has not taken, each of a few frames.
    let mut world = World::new(7, |_| ());
    world.options = world.options.clone().group_bytes(4096).batch_bytes(0);
    let engine = world.open();
    let fast = topic(&engine, "fast", Flush::Async);
    world.disk.freeze();
    append(&fast, 0, 30, 500);
    world.crash(Crash::Process);
    for hole in 0..30 {
        let world = world.fork(hole);
        let at = world.find(RING, format!("value {hole} ").as_bytes());
        world.disk.corrupt(RING, at + 1, 1).unwrap();
        let engine = world.open();
        let found = values(&topic(&engine, "fast", Flush::Async)).unwrap();
        assert_eq!(found, expected(hole, 500));
        assert!(log(&engine, "log-001").recovery.lost_bytes > 0);
    }
}

#[test]
fn a_ring_cut_short_by_a_power_loss_is_as_good_as_missing() {
    let mut met = false;
    for seed in 0..40 {
        let mut world = World::new(seed, |config| config.ring_may_shrink = true);
        let engine = world.open();
        append(&topic(&engine, "fast", Flush::Async), 0, 20, 500);
        world.crash(Crash::Power);
        met |= world.disk.stats().rings_short > 0;
        prefix(&world);
    }
    assert!(met);
}

/// The control page of a newer version, with its checksum right.
fn make_newer(world: &World) {
    let bytes = world.disk.read_file(RING).unwrap();
    let mut identity = bytes[..40].to_vec();
    identity[8] += 1;
    let checksum = u64::from(crc32c::crc32c(&identity));
    world.overwrite(RING, 0, &identity);
    world.overwrite(RING, 40, &checksum.to_le_bytes());
}

#[test]
fn a_newer_ring_refuses_the_open_after_a_kill_and_is_replaced_after_a_close() {
    let world = killed(4);
    make_newer(&world);
    let before = world.disk.read_file(RING).unwrap();
    let refused = world.try_open().unwrap_err();
    assert!(matches!(refused, Error::UnsupportedFormat { .. }), "{refused}");
    assert_eq!(world.disk.read_file(RING).unwrap(), before);

    let world = World::new(5, |_| ());
    let engine = world.open();
    append(&topic(&engine, "fast", Flush::Async), 0, 20, 500);
    engine.close(std::time::Duration::from_secs(1)).unwrap();
    drop(engine);
    make_newer(&world);
    assert_eq!(prefix(&world), 20);
}

#[test]
fn old_pages_of_a_ring_bring_nothing_back() {
    // Laps of the ring come back mixed: whatever is found is a prefix.
    for seed in 0..40 {
        let mut world = World::new(seed, |config| config.ring_snapshot_every = 8);
        let engine = world.open();
        append(&topic(&engine, "fast", Flush::Async), 0, 400, 500);
        world.crash(Crash::Power);
        let engine = world.open();
        let found = values(&topic(&engine, "fast", Flush::Async)).unwrap();
        assert_eq!(found, expected(found.len() as u64, 500), "seed {seed}");
    }
}

#[test]
fn without_rings_in_files_written_means_that_the_segment_has_it() {
    for seed in 0..20 {
        let mut world =
            World::new(seed, |config| config.no_file_ring = Some("asked for".to_owned()));
        let engine = world.open();
        append(&topic(&engine, "fast", Flush::Async), 0, 50, 500);
        world.crash(Crash::Process);
        let engine = world.open();
        assert_eq!(values(&topic(&engine, "fast", Flush::Async)).unwrap(), expected(50, 500));
    }
}

#[test]
fn a_ring_is_as_long_as_it_was_whatever_the_options_say() {
    let mut world = killed(6);
    world.options = world.options.clone().ring_bytes(256 << 10);
    assert_eq!(prefix(&world), 20);
    let bytes = world.disk.read_file(RING).unwrap();
    assert_eq!(bytes.len(), (256 << 10) + 4096);
    let _ = RingMap::private(64 << 10).unwrap();
}
