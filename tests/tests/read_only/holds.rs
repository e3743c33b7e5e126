//! READERS and LOCK: what a reader holds, and what it learns of the writer.

use std::collections::BTreeSet;
use std::os::unix::fs::DirEntryExt;
use std::path::Path;

use ringlog::raw::{Disk, OsDisk};
use ringlog::{Engine, Offset, Partition, Record, TopicSpec};

use super::{DEADLINE, eventually, small};

fn fill_and_trim(partition: &Partition) {
    let end = partition.info().unwrap().end;
    for _ in 0..100 {
        partition.append(Record::new(&[7; 3000])).unwrap();
    }
    partition.trim(Offset(end.0 + 100)).unwrap();
}

/// Segments recycled and removed so far by the log of the topic.
fn retired(engine: &Engine) -> (u64, u64) {
    let log = engine.metrics().logs.pop().unwrap();
    (log.segments_recycled, log.segments_removed)
}

#[test]
fn segments_are_recycled_only_while_nobody_holds_readers() {
    let dir = tempfile::tempdir().unwrap();
    let engine = small().spare_segments(8).open(dir.path()).unwrap();
    let topic = engine.create_topic(TopicSpec::new("t")).unwrap().partition(0).unwrap();
    let disk = OsDisk::open(dir.path(), false).unwrap();
    {
        let held = disk.hold_readers().unwrap().expect("the writer has made READERS");
        let also = disk.hold_readers().unwrap();
        drop(held);
        fill_and_trim(&topic);
        eventually("a removal", || retired(&engine).1 >= 3);
        assert_eq!(retired(&engine).0, 0, "recycled although {also:?} holds READERS");
    }
    fill_and_trim(&topic);
    eventually("recycling", || retired(&engine).0 > 0);
    engine.close(DEADLINE).unwrap();
}

/// Inodes of the files whose names begin and end so.
fn inodes(dir: &Path, begin: &str, end: &str) -> BTreeSet<u64> {
    let found = std::fs::read_dir(dir.join("log-001")).unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name.starts_with(begin) && name.ends_with(end)).then(|| entry.ino())
    });
    found.collect()
}

#[test]
fn what_was_set_aside_is_not_overwritten_while_somebody_holds_readers() {
    let dir = tempfile::tempdir().unwrap();
    let engine = small().spare_segments(8).open(dir.path()).unwrap();
    let topic = engine.create_topic(TopicSpec::new("t")).unwrap().partition(0).unwrap();
    fill_and_trim(&topic);
    eventually("recycling", || retired(&engine).0 > 2);
    let disk = OsDisk::open(dir.path(), false).unwrap();
    let segments_of =
        |spares: &BTreeSet<u64>| inodes(dir.path(), "", ".log").intersection(spares).count();
    let held = disk.hold_readers().unwrap().expect("the writer has made READERS");
    let spares = inodes(dir.path(), "spare-", "");
    assert!(!spares.is_empty());
    let fill = || {
        for _ in 0..100 {
            topic.append(Record::new(&[7; 3000])).unwrap();
        }
    };
    fill();
    assert_eq!(segments_of(&spares), 0, "overwritten although {held:?} is there");
    drop(held);
    fill();
    assert!(segments_of(&spares) > 0, "spares are used again");
    engine.close(DEADLINE).unwrap();
}

#[test]
fn a_reader_learns_whether_there_is_a_writer_and_disturbs_none() {
    let dir = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(dir.path(), false).unwrap();
    let writers = OsDisk::open(dir.path(), false).unwrap();
    assert!(!disk.has_writer().unwrap());
    for _ in 0..3 {
        let lock = writers.lock(DEADLINE).unwrap();
        assert!(disk.has_writer().unwrap());
        // Somebody else, that is.
        assert!(!writers.has_writer().unwrap());
        drop(lock);
        assert!(!disk.has_writer().unwrap());
    }
}
