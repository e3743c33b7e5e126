//! Leases: a batch that is held keeps its bytes whatever happens to reader, retention, engine and
//! directory, its file is used for nothing else meanwhile, and what is held has a cap.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use ringlog::{Batch, Engine, Error, Flush, Offset, Options, Partition, Record, Start};

use super::{CLASSES, DEADLINE, KIB, append_numbered, number, on_each, partition, value, values};

/// Each record in a batch of its own.
fn small() -> Options {
    super::small().batch_bytes(0)
}

const LOG: [&str; 2] = ["log-001", "log-002"];

fn assert_holds(batches: &[Batch], from: u64, len: usize) {
    for (at, batch) in (from..).zip(batches) {
        let record = batch.iter().next().unwrap().unwrap();
        assert_eq!(record.offset().0, at);
        assert_eq!(record.value().unwrap(), value(at as usize, len));
    }
}

fn assert_all_hold(held: &[Vec<Batch>]) {
    for held in held {
        assert_holds(held, 0, 2000);
    }
}

fn read(partition: &Partition, from: u64, count: usize) -> Vec<Batch> {
    let reader = partition.reader(Start::Offset(Offset(from))).unwrap();
    let batches: Vec<_> = reader.take(count).map(Result::unwrap).collect();
    assert_eq!(batches.len(), count);
    batches
}

/// The segments of a log, with their inodes.
fn inodes(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.ends_with(".log") || name.starts_with("spare-")
        })
        .filter_map(|path| Some((path.clone(), fs::metadata(path).ok()?.ino())))
        .collect();
    found.sort();
    found
}

/// Bytes of segment files that this process has mapped.
fn mapped_segments() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(".log") || line.contains("spare-")).count()
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < DEADLINE, "{what} did not come");
        thread::yield_now();
    }
}

#[test]
fn a_batch_outlives_reader_trim_close_engine_and_directory() {
    for mmap in [true, false] {
        on_each(&small().mmap(mmap), |options, dir| {
            let engine = options.clone().open(dir).unwrap();
            for class in CLASSES {
                append_numbered(&partition(&engine, "t", class), 0..300, 2000);
            }
            let held: Vec<Vec<Batch>> =
                CLASSES.map(|class| read(&partition(&engine, "t", class), 0, 250)).into();
            for class in CLASSES {
                let partition = partition(&engine, "t", class);
                partition.trim(Offset(280)).unwrap();
                append_numbered(&partition, 300..700, 2000);
                partition.trim(Offset(690)).unwrap();
            }
            assert_all_hold(&held);
            engine.close(DEADLINE).unwrap();
            drop(engine);
            assert_all_hold(&held);
            fs::remove_dir_all(dir).unwrap();
            fs::create_dir(dir).unwrap();
            assert_all_hold(&held);
        });
    }
}

#[test]
fn reading_by_copy_and_by_lease_gives_the_same() {
    for class in CLASSES {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        for mmap in [true, false, true] {
            let engine = small().mmap(mmap).open(dir.path()).unwrap();
            let partition = partition(&engine, "t", class);
            if seen.is_empty() {
                append_numbered(&partition, 0..500, 700);
            }
            let bytes: Vec<_> =
                read(&partition, 0, 500).iter().map(|batch| batch.bytes().to_vec()).collect();
            seen.push((bytes, values(&partition, Start::Earliest)));
            engine.close(DEADLINE).unwrap();
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

/// Trims everything and appends until retired files have come back under new names.
fn recycle(engine: &Engine, partition: &Partition, rounds: u64) {
    let recycled = || engine.metrics().logs.iter().map(|log| log.segments_recycled).sum::<u64>();
    let before = recycled();
    let mut next = partition.info().unwrap().end.0;
    let since = Instant::now();
    while recycled() < before + rounds {
        assert!(since.elapsed() < DEADLINE, "no file came back: {:?}", engine.metrics().logs);
        append_numbered(partition, next as usize..next as usize + 50, 2000);
        next += 50;
        partition.trim(Offset(next)).unwrap();
    }
}

#[test]
fn a_leased_segment_is_not_recycled_and_once_given_back_it_is() {
    on_each(&small(), |options, dir| {
        for (class, log) in CLASSES.into_iter().zip(LOG) {
            let engine = options.clone().open(dir).unwrap();
            let partition = partition(&engine, "t", class);
            append_numbered(&partition, 0..200, 2000);
            let held = read(&partition, 60, 40);
            let leased = inodes(&dir.join(log));
            recycle(&engine, &partition, 4);
            assert_holds(&held, 60, 2000);
            // Of the files that were there, those not held have come back under other names; the
            // leased one's inode lives on without any.
            let now: Vec<u64> = inodes(&dir.join(log)).iter().map(|(_, inode)| *inode).collect();
            let gone = leased.iter().filter(|(_, inode)| !now.contains(inode)).count();
            assert!(gone > 0, "{leased:?} {now:?}");
            drop(held);
            assert_holds(&read(&partition, partition.info().unwrap().log_start.0, 0), 0, 0);
            engine.close(DEADLINE).unwrap();
        }
    });
}

#[test]
fn a_lease_that_outlives_its_engine_binds_the_next_writer() {
    on_each(&small().spare_segments(4), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let first = partition(&engine, "t", Flush::Sync);
        append_numbered(&first, 0..200, 2000);
        let held = read(&first, 60, 40);
        engine.close(DEADLINE).unwrap();
        drop((engine, first));
        let log_count = |engine: &Engine| engine.metrics().logs.last().unwrap().clone();
        let engine = options.clone().open(dir).unwrap();
        let second = partition(&engine, "t", Flush::Sync);
        second.trim(Offset(200)).unwrap();
        append_numbered(&second, 200..500, 2000);
        second.trim(Offset(500)).unwrap();
        eventually("retiring", || log_count(&engine).segments_removed > 3);
        assert_eq!(log_count(&engine).segments_recycled, 0, "a lease of an engine now closed");
        assert_holds(&held, 60, 2000);
        drop(held);
        recycle(&engine, &second, 1);
        engine.close(DEADLINE).unwrap();
    });
}

/// As small as the cap may be.
fn capped() -> Options {
    small().pinned_bytes_max((32 * KIB + (1 << 20)) as u64)
}

#[test]
fn what_is_held_is_capped_with_a_typed_error_and_goes_on_when_given_back() {
    for mmap in [true, false] {
        on_each(&capped().mmap(mmap), |options, dir| {
            let engine = options.clone().open(dir).unwrap();
            let partition = partition(&engine, "t", Flush::Async);
            append_numbered(&partition, 0..2000, 2000);
            let mut reader = partition.reader(Start::Earliest).unwrap();
            let mut held = Vec::new();
            let refused = loop {
                match reader.next_batch() {
                    Ok(batch) => held.push(batch.unwrap()),
                    Err(error) => break error,
                }
                assert!(held.len() < 1000, "{} bytes are held", held.len() * 2000);
            };
            let Error::Pinned { pinned, max } = refused else { panic!("{refused:?}") };
            assert!(pinned <= max && max == (32 * KIB + (1 << 20)) as u64);
            let told = engine.metrics();
            assert_eq!((told.pinned_bytes, told.pinned_bytes_max), (pinned, max));
            assert!(refused.is_retriable());
            assert!(matches!(reader.next_batch(), Err(Error::Pinned { .. })), "still");
            assert_holds(&held, 0, 2000);
            let next = held.len() as u64;
            held.clear();
            for at in next..2000 {
                let batch = reader.next_batch().unwrap().unwrap();
                assert_eq!(number(batch.iter().next().unwrap().unwrap().value().unwrap()), at);
            }
            assert!(reader.next_batch().unwrap().is_none());
            drop(reader);
            assert_eq!(engine.metrics().pinned_bytes, 0);
            engine.close(DEADLINE).unwrap();
        });
    }
}

#[test]
fn a_cap_below_one_batch_is_refused() {
    let options = small().pinned_bytes_max(32 << 10);
    let refused = options.open(tempfile::tempdir().unwrap().path()).unwrap_err();
    let named = matches!(refused, Error::InvalidArgument { what: "pinned_bytes_max", .. });
    assert!(named, "{refused:?}");
}

#[test]
fn sealed_segments_are_mapped_once_for_all_readers_and_not_at_all_without_mmap() {
    // Alone in this process: other tests map segments, too.
    if let Some(mmap) = std::env::var_os("RINGLOG_TEST_MAPS") {
        let dir = tempfile::tempdir().unwrap();
        let engine = small().mmap(mmap == "1").open(dir.path()).unwrap();
        let partition = partition(&engine, "t", Flush::Sync);
        append_numbered(&partition, 0..200, 2000);
        let held: Vec<_> = (0..5).map(|_| read(&partition, 0, 10)).collect();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        assert_eq!(mapped_segments(), usize::from(mmap == "1"), "{maps}");
        // Kept for the next reader, as long as the segment is there and the engine open.
        drop(held);
        assert_eq!(mapped_segments(), usize::from(mmap == "1"));
        partition.trim(Offset(150)).unwrap();
        eventually("trimmed", || mapped_segments() == 0);
        drop(read(&partition, 150, 10));
        assert_eq!(mapped_segments(), usize::from(mmap == "1"));
        engine.close(DEADLINE).unwrap();
        assert_eq!(mapped_segments(), 0);
        return;
    }
    for mmap in ["0", "1"] {
        let this =
            "leases::sealed_segments_are_mapped_once_for_all_readers_and_not_at_all_without_mmap";
        let done = std::process::Command::new(std::env::current_exe().unwrap())
            .args([this, "--exact", "--nocapture"])
            .env("RINGLOG_TEST_MAPS", mmap)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
}

/// A closed directory with several segments of one sync topic, and the path of the one that holds
/// its first records.
fn with_segments(options: &Options, dir: &Path) -> PathBuf {
    let engine = options.clone().open(dir).unwrap();
    append_numbered(&partition(&engine, "t", Flush::Sync), 0..200, 2000);
    engine.close(DEADLINE).unwrap();
    inodes(&dir.join(LOG[0])).remove(0).0
}

#[test]
fn a_file_cut_short_under_the_map_is_an_error_and_no_signal() {
    for mmap in [true, false] {
        on_each(&small().mmap(mmap), |options, dir| {
            let first = with_segments(options, dir);
            let engine = options.clone().open(dir).unwrap();
            let partition = partition(&engine, "t", Flush::Sync);
            let mut reader = partition.reader(Start::Earliest).unwrap();
            // Mapped by now; the first windows do not reach to the cut.
            reader.next_batch().unwrap().unwrap();
            let file = OpenOptions::new().write(true).open(&first).unwrap();
            let len = file.metadata().unwrap().len();
            file.set_len(len - (16 << 10)).unwrap();
            let refused = reader.find_map(Result::err).unwrap();
            let Error::Corrupt { path, .. } = &refused else { panic!("{refused:?}") };
            assert_eq!(*path, first);
            file.set_len(len).unwrap();
            engine.close(DEADLINE).unwrap();
        });
    }
}

#[test]
fn a_damaged_batch_is_named_and_others_are_read() {
    use std::os::unix::fs::FileExt;
    for mmap in [true, false] {
        on_each(&small().mmap(mmap), |options, dir| {
            let first = with_segments(options, dir);
            let bytes = fs::read(&first).unwrap();
            let at = bytes.windows(40).position(|bytes| bytes == &value(10, 2000)[..40]).unwrap();
            let file = OpenOptions::new().write(true).open(&first).unwrap();
            file.write_all_at(&[0xff], at as u64 + 100).unwrap();
            let engine = options.clone().open(dir).unwrap();
            let partition = partition(&engine, "t", Flush::Sync);
            let mut reader = partition.reader(Start::Earliest).unwrap();
            let before = reader.by_ref().take_while(Result::is_ok).count();
            assert_eq!(before, 10);
            let refused = reader.next_batch().unwrap_err();
            let Error::Corrupt { path, .. } = &refused else { panic!("{refused:?}") };
            assert_eq!(*path, first);
            reader.seek(Start::Offset(Offset(11))).unwrap();
            assert_eq!(reader.map(Result::unwrap).count(), 189);
            engine.close(DEADLINE).unwrap();
        });
    }
}

#[test]
fn partitions_side_by_side_are_read_whole_each() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for class in CLASSES {
            let spec = ringlog::TopicSpec::new(format!("many-{class}")).partitions(40).flush(class);
            let topic = engine.create_topic(spec).unwrap();
            let all: Vec<_> = (0..40).map(|id| topic.partition(id).unwrap()).collect();
            for round in 0..60 {
                for partition in &all {
                    partition.append(Record::new(&value(round, 100))).unwrap();
                }
            }
            for partition in &all {
                assert_holds(&read(partition, 0, 60), 0, 100);
                assert_holds(&read(partition, 31, 20), 31, 100);
            }
        }
        engine.close(DEADLINE).unwrap();
    });
}
