//! Frames whose checksums are right and whose offsets are not: a bug, or a hand, made them. That is
//! damage, named with its place, and nothing is written on top of it.

use ringlog::sim::Crash;
use ringlog::{Error, Flush, Record};
use ringlog_tests::world::{World, append, expected, log, topic, value};

use super::segments::{inside, readable};

const LEN: usize = 700;
const SEGMENT: &str = "log-001/0000000000000000.log";
const RING: &str = "log-001/ring";
/// Values that fit into the first segment, so that no checkpoint comes after them.
const N: u64 = 12;
const CHANGED: u64 = 8;

fn killed(seed: u64, flush: Flush, crash: Crash) -> World {
    let mut world = World::new(seed, |_| ());
    // Each has a frame of its own.
    world.options = world.options.clone().batch_bytes(0);
    let engine = world.open();
    append(&topic(&engine, "safe", flush), 0, N, LEN);
    world.crash(crash);
    world
}

/// Gives the batch of this value another base offset, with checksums that are right; where its
/// frame is.
fn move_batch(world: &World, file: &str, n: u64, to: u64) -> u64 {
    let bytes = world.disk.read_file(file).unwrap();
    let at = world.find(file, &value(n, LEN)) as usize;
    let frame = (0..at).rev().find(|from| bytes[*from..].starts_with(b"RLF0")).unwrap();
    let checkpoint = world.named("log-001/checkpoint-", "").pop().unwrap();
    let uuid = world.disk.read_file(&checkpoint).unwrap()[16..32].to_vec();
    let mut covered = bytes[frame + 8..frame + 32 + 21].to_vec();
    assert_eq!(covered[24..32], n.to_be_bytes());
    let checksum = |covered: &[u8]| crc32c::crc32c_append(crc32c::crc32c(&uuid), covered);
    assert_eq!(bytes[frame + 4..frame + 8], checksum(&covered).to_le_bytes());
    covered[24..32].copy_from_slice(&to.to_be_bytes());
    world.overwrite(file, frame as u64 + 4, &checksum(&covered).to_le_bytes());
    world.overwrite(file, frame as u64 + 32, &to.to_be_bytes());
    frame as u64
}

fn assert_named(world: &World, flush: Flush, file: &str, at: u64) {
    let before = world.files();
    for _ in 0..2 {
        let engine = world.open();
        let safe = topic(&engine, "safe", flush);
        let refused = safe.append(Record::new(b"more")).unwrap_err();
        let Error::Corrupt { path, at: found, reason } = &refused else { panic!("{refused}") };
        assert!(path.ends_with(file) && *found == at, "{refused}, not at {at}");
        assert!(reason.contains("offset"), "{refused}");
        assert!(log(&engine, "log-001").recovery.damaged_places >= 1);
        if file == SEGMENT {
            let (got, error) = readable(&safe);
            assert!(got.len() as u64 >= CHANGED && error.is_some(), "{}", got.len());
            assert!(got[..CHANGED as usize] == expected(CHANGED, LEN)[..]);
        }
        engine.close(std::time::Duration::from_secs(1)).unwrap();
        assert_eq!(inside("log-001", &world.files()), inside("log-001", &before));
    }
}

#[test]
fn a_gap_or_an_overlap_of_offsets_is_damage() {
    for to in [CHANGED + 1, CHANGED + 1000, CHANGED - 1, 0] {
        let world = killed(1, Flush::Sync, Crash::Power);
        let at = move_batch(&world, SEGMENT, CHANGED, to);
        assert_named(&world, Flush::Sync, SEGMENT, at);
    }
}

#[test]
fn offsets_begin_at_zero() {
    let world = killed(2, Flush::Sync, Crash::Power);
    let at = move_batch(&world, SEGMENT, 0, 1);
    let engine = world.open();
    let refused = topic(&engine, "safe", Flush::Sync).append(Record::new(b"more")).unwrap_err();
    assert!(matches!(&refused, Error::Corrupt { at: found, .. } if *found == at), "{refused}");
}

#[test]
fn what_a_ring_has_is_checked_before_anything_is_written() {
    for to in [CHANGED + 1, CHANGED - 1] {
        let world = killed(3, Flush::Async, Crash::Process);
        let at = move_batch(&world, RING, CHANGED, to);
        assert_named(&world, Flush::Async, RING, at);
    }
}
