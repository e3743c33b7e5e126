//! Changes of topics whose checksums are right and that say nothing which this build knows: a
//! writer's fault, or another build's. The whole directory is refused, before a byte is written.

use std::time::Duration;

use ringlog::sim::Crash;
use ringlog::{Error, ErrorKind, Flush};
use ringlog_tests::world::{World, append, topic, values};

const SEGMENT: &str = "log-000/0000000000000000.log";

#[derive(Clone, Copy, PartialEq)]
enum End {
    Crash(Crash),
    Close,
}

/// Two topics, records in one of them, and an end.
fn ended(seed: u64, end: End) -> World {
    let mut world = World::new(seed, |_| ());
    let engine = world.open();
    append(&topic(&engine, "first", Flush::Sync), 0, 10, 100);
    topic(&engine, "other", Flush::Sync);
    if end == End::Close {
        engine.close(Duration::from_secs(1)).unwrap();
        drop(engine);
        world.crash(Crash::Process);
    } else if let End::Crash(crash) = end {
        world.crash(crash);
    }
    world
}

/// Writes `new` over the last `old` in the file, both of one length; where that begins.
fn overwrite(world: &World, file: &str, old: &str, new: &str) -> usize {
    assert_eq!(old.len(), new.len());
    let bytes = world.disk.read_file(file).unwrap();
    let mut found = bytes.windows(old.len());
    let at = found.rposition(|window| window == old.as_bytes()).expect("it is there");
    world.overwrite(file, at as u64, new.as_bytes());
    at
}

fn newest_checkpoint(world: &World) -> String {
    world.named("log-000/checkpoint-", "").pop().unwrap()
}

/// Changes what the last change of topics says; the place of its frame, whose checksum is right.
fn change_frame(world: &World, old: &str, new: &str) -> u64 {
    let at = overwrite(world, SEGMENT, old, new);
    let bytes = world.disk.read_file(SEGMENT).unwrap();
    let frame = (0..at).rev().find(|from| bytes[*from..].starts_with(b"RLF0")).unwrap();
    let len = u32::from_le_bytes(bytes[frame + 16..frame + 20].try_into().unwrap()) as usize;
    let uuid = &world.disk.read_file(&newest_checkpoint(world)).unwrap()[16..32];
    let covered = &bytes[frame + 8..frame + 32 + len];
    let checksum = crc32c::crc32c_append(crc32c::crc32c(uuid), covered);
    world.overwrite(SEGMENT, frame as u64 + 4, &checksum.to_le_bytes());
    frame as u64
}

/// The same in the snapshot of the newest checkpoint.
fn change_snapshot(world: &World, old: &str, new: &str) -> u64 {
    let file = newest_checkpoint(world);
    overwrite(world, &file, old, new);
    let bytes = world.disk.read_file(&file).unwrap();
    world.overwrite(&file, 8, &crc32c::crc32c(&bytes[12..]).to_le_bytes());
    let len = u64::from_le_bytes(bytes[72..80].try_into().unwrap());
    bytes.len() as u64 - len
}

/// It is refused as often as it is asked for, with this place, and nothing has changed.
fn assert_refused(world: &World, file: &str, at: u64, says: &str) {
    let before = world.files();
    for _ in 0..3 {
        let refused = world.try_open().unwrap_err();
        let Error::Corrupt { path, at: found, reason } = &refused else { panic!("{refused}") };
        assert!(path.ends_with(file) && *found == at, "{refused}, not at {at} of {file}");
        assert!(reason.contains("topics cannot be read") && reason.contains(says), "{refused}");
        assert_eq!(refused.kind(), ErrorKind::Restore);
        assert!(world.files() == before, "{refused}, and something was written");
    }
}

const BAD: [(&str, &str, &str); 3] = [
    ("{\"topic_created\"", "{\"topic_renamed\"", "unknown variant `topic_renamed`"),
    ("{\"topic_created\"", "[\"topic_created\"", "expected"),
    ("\"partitions\":1", "\"partitions\":0", "topic \"other\" is out of range"),
];

#[test]
fn a_change_of_topics_that_cannot_be_read_is_refused_before_a_byte_is_written() {
    for (old, new, says) in BAD {
        for crash in [Crash::Process, Crash::Power] {
            let world = ended(1, End::Crash(crash));
            let at = change_frame(&world, old, new);
            assert_refused(&world, SEGMENT, at, says);
            // Put right by another hand, all is there.
            change_frame(&world, new, old);
            let engine = world.open();
            assert_eq!(values(&topic(&engine, "first", Flush::Sync)).unwrap().len(), 10);
            assert_eq!(engine.topics().len(), 2);
        }
    }
}

#[test]
fn a_snapshot_of_topics_that_cannot_be_read_is_refused_before_a_byte_is_written() {
    for (old, new, says) in [
        ("{\"logs\"", "[\"logs\"", "expected"),
        ("\"flush\":\"sync\"", "\"flush\":\"what\"", "unknown variant `what`"),
        ("\"partitions\":1", "\"partitions\":0", "is out of range"),
    ] {
        let world = ended(2, End::Close);
        let file = newest_checkpoint(&world);
        let at = change_snapshot(&world, old, new);
        assert_refused(&world, &file, at, says);
        change_snapshot(&world, new, old);
        assert_eq!(world.open().topics().len(), 2);
    }
}
