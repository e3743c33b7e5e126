//! Trimming and deleting: what is gone stays gone, and its space comes back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Instant;

use ringlog::{Engine, Error, Flush, Offset, Start, TopicSpec};

use super::{CLASSES, DEADLINE, append_numbered, on_each, on_each_class, partition, small, values};

/// Bytes that the segments of a log take on disk, spares included.
fn space(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let kept = files.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.ends_with(".log") || name.starts_with("spare-")
    });
    // One that goes meanwhile takes nothing.
    kept.map(|entry| entry.metadata().map_or(0, |meta| meta.blocks() * 512)).sum()
}

/// Waits for work that the maintenance thread does on its own.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < DEADLINE, "{what} did not come");
        thread::yield_now();
    }
}

#[test]
fn trim_does_what_it_says_and_twice_is_once() {
    on_each_class(&small(), |_, partition, _| {
        append_numbered(partition, 0..20, 100);
        for offset in [0, 5, 5, 3, 0, 20, 20] {
            let before = partition.info().unwrap().log_start.0;
            partition.trim(Offset(offset)).unwrap();
            assert_eq!(partition.info().unwrap().log_start.0, before.max(offset));
        }
        for beyond in [21, u64::MAX] {
            let refused = partition.trim(Offset(beyond)).unwrap_err();
            assert!(matches!(refused, Error::OffsetOutOfRange { .. }), "{refused:?}");
        }
        assert!(values(partition, Start::Earliest).is_empty());
        append_numbered(partition, 20..21, 100);
        assert_eq!(values(partition, Start::Earliest).len(), 1);
    });
}

#[test]
fn a_trim_survives_reopening_however_often() {
    on_each(&small(), |options, dir| {
        for round in 0..6u64 {
            let engine = options.clone().open(dir).unwrap();
            for class in CLASSES {
                let partition = partition(&engine, "t", class);
                let info = partition.info().unwrap();
                assert_eq!(
                    (info.log_start.0, info.end.0),
                    ((round * 40).saturating_sub(20), round * 40)
                );
                append_numbered(&partition, 0..40, 3000);
                partition.trim(Offset(round * 40 + 20)).unwrap();
                assert_eq!(values(&partition, Start::Earliest).len(), 20);
            }
            if round % 2 == 0 {
                engine.close(DEADLINE).unwrap();
            }
        }
    });
}

#[test]
fn trimmed_segments_are_recycled_or_removed_and_space_stays_bounded() {
    on_each(&small().spare_segments(1), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for class in CLASSES {
            let partition = partition(&engine, "t", class);
            let dir = dir.join(if class == Flush::Sync { "log-001" } else { "log-002" });
            let mut most = 0;
            for round in 1..=30 {
                append_numbered(&partition, 0..50, 3000);
                partition.trim(Offset(round * 50)).unwrap();
                eventually("space", || space(&dir) <= 8 * (64 << 10));
                most = most.max(space(&dir));
            }
            assert!(most > 0);
        }
        let logs = || engine.metrics().logs.into_iter().skip(1);
        eventually("segments", || logs().all(|log| log.segments <= 6));
        assert!(logs().all(|log| log.segments_recycled > 0), "{:?}", engine.metrics());
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn a_deleted_topic_gives_its_space_back() {
    on_each(&small().spare_segments(0), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for (class, log) in [(Flush::Sync, "log-001"), (Flush::Async, "log-002")] {
            let keep = partition(&engine, "keep", class);
            let topic = engine.create_topic(TopicSpec::new("gone").flush(class)).unwrap();
            let gone = topic.partition(0).unwrap();
            append_numbered(&gone, 0..300, 3000);
            append_numbered(&keep, 0..60, 3000);
            assert!(space(&dir.join(log)) > 1_000_000);
            engine.delete_topic("gone").unwrap();
            // Segments that still hold what is kept stay: four, the open and the next one.
            eventually("space", || space(&dir.join(log)) <= 7 * (64 << 10));
            assert_eq!(values(&keep, Start::Earliest).len(), 60);
        }
        reopened(&engine, options, dir);
    });
}

fn reopened(engine: &Engine, options: &ringlog::Options, dir: &Path) {
    engine.close(DEADLINE).unwrap();
    let engine = options.clone().open(dir).unwrap();
    for class in CLASSES {
        assert_eq!(values(&partition(&engine, "keep", class), Start::Earliest).len(), 60);
    }
}

#[test]
fn segments_of_other_partitions_stay() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let topic = engine.create_topic(TopicSpec::new("t").partitions(2)).unwrap();
        let (a, b) = (topic.partition(0).unwrap(), topic.partition(1).unwrap());
        append_numbered(&b, 0..1, 100);
        append_numbered(&a, 0..200, 3000);
        a.trim(Offset(200)).unwrap();
        append_numbered(&a, 200..210, 3000);
        eventually("removal", || {
            let log = engine.metrics().logs.pop().unwrap();
            log.segments_recycled + log.segments_removed > 2
        });
        assert_eq!(values(&b, Start::Earliest).len(), 1);
        assert_eq!(values(&a, Start::Earliest).len(), 10);
        engine.close(DEADLINE).unwrap();
    });
}
