//! A damaged log keeps nobody from reading the others, with a lock or without.

use std::fs;
use std::path::{Path, PathBuf};

use ringlog::{Engine, Error, Flush, Offset, Record, Start};

use super::{DEADLINE, append, earliest, partition, read_up_to, reading, small, spec};

/// Several segments of a `sync` topic in log-001, and an `async` topic in log-002; closed.
fn made() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let engine = small().open(dir.path()).unwrap();
    for class in [Flush::Sync, Flush::Async] {
        engine.create_topic(spec(class)).unwrap();
        append(&partition(&engine, class), 0..400);
    }
    engine.close(DEADLINE).unwrap();
    dir
}

fn named(dir: &Path, start: &str, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("log-001")).unwrap().map(|entry| entry.unwrap());
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<_> =
        names.filter(|name| name.starts_with(start) && name.ends_with(end)).collect();
    names.sort_unstable();
    names.into_iter().map(|name| dir.join("log-001").join(name)).collect()
}

fn file_of(error: &Error) -> PathBuf {
    let Error::Corrupt { path, .. } = error else { panic!("{error}") };
    path.clone()
}

/// As a writer opens it, and as a reader does.
fn both(dir: &Path) -> [Engine; 2] {
    [small().open(dir).unwrap(), reading(dir)]
}

#[test]
fn a_log_without_checkpoints_or_directory_is_refused_alone() {
    for all in [false, true] {
        let dir = made();
        if all {
            fs::remove_dir_all(dir.path().join("log-001")).unwrap();
        } else {
            for checkpoint in named(dir.path(), "checkpoint-", "") {
                fs::write(checkpoint, b"rot").unwrap();
            }
        }
        for engine in both(dir.path()) {
            let damaged = partition(&engine, Flush::Sync);
            for refused in [
                damaged.info().map(drop).unwrap_err(),
                damaged.reader(Start::Earliest).map(drop).unwrap_err(),
                damaged.append(Record::new(b"more")).map(drop).unwrap_err(),
            ] {
                assert!(file_of(&refused).starts_with(dir.path().join("log-001")), "{refused}");
            }
            read_up_to(&mut earliest(&partition(&engine, Flush::Async)), 400);
            let topics = engine.topics();
            let damaged = topics.iter().find(|topic| topic.damaged.is_some()).unwrap();
            assert_eq!((damaged.name.as_str(), damaged.partition_count), ("t-sync", 1));
        }
    }
}

#[test]
fn a_missing_segment_hides_no_other() {
    let dir = made();
    let segments = named(dir.path(), "", ".log");
    assert!(segments.len() > 4);
    fs::remove_file(&segments[2]).unwrap();
    for engine in both(dir.path()) {
        let damaged = partition(&engine, Flush::Sync);
        let mut reader = earliest(&damaged);
        let missing = loop {
            match reader.next_batch() {
                Ok(batch) => assert!(batch.is_some(), "the end was not reached"),
                Err(error) => break error,
            }
        };
        assert_eq!(file_of(&missing), segments[2], "{missing}");
        let stopped = reader.next_offset().0;
        let beyond = (stopped..400).find(|offset| {
            let reader = damaged.reader(Start::Offset(Offset(*offset)));
            reader.and_then(|mut reader| reader.next_batch()).is_ok()
        });
        let beyond = beyond.unwrap();
        assert!(stopped > 0 && beyond > stopped && beyond < 390, "{stopped} {beyond}");
        read_up_to(&mut damaged.reader(Start::Offset(Offset(beyond))).unwrap(), 400);
        read_up_to(&mut earliest(&partition(&engine, Flush::Async)), 400);
    }
}
