//! Segments that are missing, cut, linked or recycled, and files that are none of ours.

use ringlog::sim::Crash;
use ringlog::{Error, Flush, Offset, Partition, Record, Start};
use ringlog_tests::world::{World, append, expected, log, topic, values};

const LEN: usize = 1000;

/// A killed engine with several segments of one sync topic.
fn killed(seed: u64) -> World {
    let mut world = World::new(seed, |_| ());
    let engine = world.open();
    append(&topic(&engine, "safe", Flush::Sync), 0, 150, LEN);
    world.crash(Crash::Power);
    world
}

/// The files of one directory.
pub(super) fn inside<'a>(dir: &str, files: &'a [(String, Vec<u8>)]) -> Vec<&'a (String, Vec<u8>)> {
    files.iter().filter(|(name, _)| name.starts_with(dir)).collect()
}

/// The values of a partition up to the first error, and that.
pub(super) fn readable(partition: &Partition) -> (Vec<Vec<u8>>, Option<Error>) {
    let mut got = Vec::new();
    for record in partition.reader(Start::Earliest).unwrap().records() {
        match record {
            Ok(record) => got.push(record.value.unwrap_or_default().to_vec()),
            Err(error) => return (got, Some(error)),
        }
    }
    (got, None)
}

#[test]
fn a_missing_segment_is_named_and_nothing_is_guessed() {
    let segments = killed(1).named("log-001/", ".log");
    assert!(segments.len() > 4, "{segments:?}");
    // The last one may be unused yet, and is then not missed.
    for segment in &segments[..segments.len() - 2] {
        let world = killed(1);
        world.remove(segment);
        let before = world.files();
        let engine = world.open();
        let refused = topic(&engine, "safe", Flush::Sync).append(Record::new(b"more")).unwrap_err();
        let Error::Corrupt { path, .. } = &refused else { panic!("{refused}") };
        assert!(path.ends_with(segment), "{refused}, not {segment}");
        engine.close(std::time::Duration::from_secs(1)).unwrap();
        assert_eq!(inside("log-001", &world.files()), inside("log-001", &before));
    }
}

#[test]
fn a_truncated_segment_is_named() {
    let segments = killed(2).named("log-001/", ".log");
    for segment in &segments {
        let world = killed(2);
        world.disk.truncate(segment, 12_288).unwrap();
        let engine = world.open();
        let refused = topic(&engine, "safe", Flush::Sync).append(Record::new(b"more")).unwrap_err();
        let Error::Corrupt { path, at, .. } = &refused else { panic!("{refused}") };
        assert!(path.ends_with(segment) && *at == 12_288, "{refused}");
        // What the file still has, and what the others have, can be read.
        let (got, error) = readable(&topic(&engine, "safe", Flush::Sync));
        assert!(error.is_some_and(|error| matches!(error, Error::Corrupt { .. })));
        assert!(got == expected(150, LEN)[..got.len()]);
    }
}

#[test]
fn strangers_are_left_alone() {
    let world = killed(3);
    let names = [
        "log-001/notes.txt",
        "log-001/notes.tmp",
        "log-001/spare-part",
        "log-001/12.log",
        "log-001/00000000000f0000.log.bak",
        "log-001/checkpoint-old",
        "notes",
    ];
    for name in names {
        world.put(name, name.as_bytes());
    }
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    assert_eq!(values(&safe).unwrap(), expected(150, LEN));
    append(&safe, 150, 300, LEN);
    safe.trim(Offset(200)).unwrap();
    engine.close(std::time::Duration::from_secs(1)).unwrap();
    for name in names {
        assert_eq!(world.disk.read_file(name).unwrap(), name.as_bytes(), "{name}");
    }
}

#[test]
fn a_foreign_directory_is_refused_untouched() {
    let world = World::new(4, |_| ());
    world.put("thesis.txt", b"mine");
    let before = world.files();
    assert!(matches!(world.try_open().unwrap_err(), Error::NotADataDirectory { .. }));
    assert!(world.files() == before);
}

#[test]
fn a_directory_without_its_engine_meta_is_no_new_store() {
    let world = killed(5);
    world.remove("engine.meta");
    let before = world.files();
    assert!(matches!(world.try_open().unwrap_err(), Error::NotADataDirectory { .. }));
    assert!(world.files() == before);
}

#[test]
fn what_recycled_segments_held_never_comes_back() {
    let mut recycled = 0;
    for seed in 0..30 {
        let mut world = World::new(seed, |_| ());
        let engine = world.open();
        let safe = topic(&engine, "safe", Flush::Sync);
        for round in 0..4 {
            append(&safe, round * 100, (round + 1) * 100, LEN);
            safe.trim(Offset((round + 1) * 100)).unwrap();
        }
        append(&safe, 400, 430, LEN);
        recycled += log(&engine, "log-001").segments_recycled;
        world.crash(Crash::Power);
        let engine = world.open();
        let safe = topic(&engine, "safe", Flush::Sync);
        assert_eq!(values(&safe).unwrap(), expected(430, LEN)[400..]);
        assert_eq!(log(&engine, "log-001").stopped, None);
    }
    assert!(recycled > 30, "{recycled}");
}

#[test]
fn trimmed_segments_give_their_space_back() {
    let world = World::new(6, |_| ());
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    for round in 0..20 {
        append(&safe, round * 50, (round + 1) * 50, LEN);
        safe.trim(Offset((round + 1) * 50)).unwrap();
    }
    for _ in 0..20 {
        engine.turn();
    }
    let files = world.named("log-001/", ".log").len() + world.named("log-001/spare-", "").len();
    assert!(files <= 8, "{:?}", world.disk.list_all());
}

#[test]
fn a_hard_linked_segment_is_never_overwritten() {
    let world = World::new(7, |_| ());
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    append(&safe, 0, 200, LEN);
    let mut backups = Vec::new();
    for (i, segment) in world.named("log-001/", ".log").iter().enumerate() {
        let backup = format!("log-001/backup-{i}");
        world.disk.hard_link(segment, &backup).unwrap();
        backups.push((backup.clone(), world.disk.read_file(&backup).unwrap()));
    }
    // The open segment and the prepared one are still to be written.
    let sealed = backups.len() - 2;
    for round in 0..5 {
        append(&safe, 200 + round * 100, 300 + round * 100, LEN);
        safe.trim(Offset(300 + round * 100)).unwrap();
    }
    for (backup, bytes) in &backups[..sealed] {
        assert!(world.disk.read_file(backup).unwrap() == *bytes, "{backup} was overwritten");
    }
    assert!(log(&engine, "log-001").segments_removed >= sealed as u64);
}

#[test]
fn a_reader_keeps_its_segment_from_being_recycled() {
    let world = World::new(8, |_| ());
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    append(&safe, 0, 200, LEN);
    let mut reader = safe.reader(ringlog::Start::Earliest).unwrap();
    let first = reader.next_batch().unwrap().unwrap();
    safe.trim(Offset(200)).unwrap();
    append(&safe, 200, 600, LEN);
    // What it was given stays; where it stood is gone, and it says so.
    let record = first.iter().next().unwrap().unwrap();
    assert_eq!(record.value().unwrap(), expected(1, LEN)[0]);
    let mut next = Ok(None);
    for _ in 0..300 {
        next = reader.next_batch();
        if next.is_err() {
            break;
        }
    }
    assert!(matches!(next, Err(Error::OffsetOutOfRange { .. })), "{next:?}");
}
