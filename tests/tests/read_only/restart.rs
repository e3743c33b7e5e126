//! The writer is another process, killed at moments of nobody's choosing and started again, while
//! a reader here goes on: it neither falls nor is fooled.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng as _;
use ringlog::{Backend, Engine, Error, Flush, Offset, Record, Start};

use super::{
    BACKENDS, CLASSES, DEADLINE, append, earliest, partition, read_up_to, reading, small, spec,
    value,
};

const DIR: &str = "RINGLOG_READ_ONLY_DIR";
const CLASS: &str = "RINGLOG_READ_ONLY_CLASS";
const BACKEND: &str = "RINGLOG_READ_ONLY_BACKEND";
const RING: &str = "RINGLOG_READ_ONLY_RING";
const STOP_AT: &str = "RINGLOG_READ_ONLY_STOP_AT";

/// A process that appends until it is killed; dead and reaped when dropped.
pub(super) struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Writer {
    /// Started, and past recovery.
    fn start(dir: &Path, class: Flush, backend: Backend, ring: usize) -> Self {
        Self::start_and_stop(dir, class, backend, ring, u64::MAX)
    }

    /// As [`start`](Self::start); it appends nothing at `stop_at` or beyond.
    pub(super) fn start_and_stop(
        dir: &Path,
        class: Flush,
        backend: Backend,
        ring: usize,
        stop_at: u64,
    ) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["restart::entry_of_the_writer", "--exact", "--nocapture"])
            .env(DIR, dir)
            .env(CLASS, class.to_string())
            .env(BACKEND, backend.to_string())
            .env(RING, ring.to_string())
            .env(STOP_AT, stop_at.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let writer = Self(child);
        assert!(out.lines().any(|line| line.is_ok_and(|line| line.contains("writing"))));
        writer
    }
}

/// In the child: goes on where the topic ends, trims now and then, until it is killed.
#[test]
fn entry_of_the_writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let var = |name| std::env::var(name).unwrap();
    let class: Flush = var(CLASS).parse().unwrap();
    let options = small().backend(var(BACKEND).parse().unwrap());
    let options = options.ring_bytes(var(RING).parse().unwrap()).lock_timeout(DEADLINE);
    let stop_at: u64 = var(STOP_AT).parse().unwrap();
    // Who stops somewhere wants to be read up to somewhere.
    let options = if stop_at == u64::MAX { options } else { options.batch_bytes(0) };
    let engine = options.open(PathBuf::from(dir)).unwrap();
    let topic = engine.open_or_create_topic(spec(class)).unwrap().partition(0).unwrap();
    println!("writing");
    loop {
        let end = topic.info().unwrap().end.0;
        if end >= stop_at {
            std::thread::park();
            continue;
        }
        append(&topic, end..end + 1);
        if end % 1000 == 999 {
            topic.trim(Offset(end.saturating_sub(3000))).unwrap();
        }
    }
}

/// Follows until it is `over`, at what has been `seen`; offsets are dense, but for trims, and
/// values what they must be.
pub(super) fn follow(
    engine: &Engine,
    class: Flush,
    seen: &AtomicU64,
    patience: Duration,
    over: impl Fn(u64) -> bool,
) {
    let mut reader = earliest(&partition(engine, class));
    while !over(seen.load(Ordering::SeqCst)) {
        match reader.next_timeout(patience) {
            Ok(None) => {}
            Ok(Some(batch)) => {
                for record in &batch {
                    let record = record.unwrap();
                    let offset = record.offset().0;
                    assert_eq!(offset, seen.load(Ordering::SeqCst), "dense");
                    assert!(record.value() == Some(&*value(offset)), "offset {offset}");
                    seen.store(offset + 1, Ordering::SeqCst);
                }
            }
            // Trimmed under it, because it is slower than the writer.
            Err(Error::OffsetOutOfRange { start, .. }) => {
                assert!(start.0 > seen.load(Ordering::SeqCst), "trimmed");
                reader.seek(Start::Earliest).unwrap();
                seen.store(reader.next_offset().0, Ordering::SeqCst);
            }
            Err(error) => panic!("{class}: {error:?}"),
        }
    }
}

/// Kills and restarts a writer `rounds` times under a reader that sleeps until there is more.
fn kill_and_restart(class: Flush, backend: Backend, rounds: usize, longest: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let writer = small().open(dir.path()).unwrap();
    append(&writer.create_topic(spec(class)).unwrap().partition(0).unwrap(), 0..10);
    drop(writer);
    let engine = reading(dir.path());
    let (over, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let patience = Duration::from_millis(200);
            follow(&engine, class, &seen, patience, |_| over.load(Ordering::SeqCst));
        });
        let mut dice = rand::rng();
        for round in 0..rounds {
            let ring = [64 << 10, 64 << 10, 64 << 10, 256 << 10][dice.random_range(0..4)];
            let writer = Writer::start(dir.path(), class, backend, ring);
            let before = seen.load(Ordering::SeqCst);
            std::thread::sleep(dice.random_range(Duration::ZERO..longest));
            drop(writer);
            if round % 5 == 0 {
                // One that opens while nobody writes.
                let fresh = reading(dir.path());
                let there = partition(&fresh, class);
                assert!(there.info().unwrap().end.0 >= before);
                read_some(&there);
            }
        }
        over.store(true, Ordering::SeqCst);
    });
    // What the reader has seen, the next writer finds.
    let last = seen.load(Ordering::SeqCst);
    let writer = small().lock_timeout(DEADLINE).open(dir.path()).unwrap();
    let topic = partition(&writer, class);
    let end = topic.info().unwrap().end.0;
    assert!(end >= last, "the writer has {end}, and {last} were seen");
    append(&topic, end..end + 20);
    let start = Start::Offset(Offset(last.max(topic.info().unwrap().log_start.0)));
    let mut reader = partition(&engine, class).reader(start).unwrap();
    read_up_to(&mut reader, end + 20);
    println!("{class} {backend}: {end} records, {rounds} kills");
}

fn read_some(partition: &ringlog::Partition) {
    for record in earliest(partition).records() {
        let record = record.unwrap();
        assert!(record.value.as_deref() == Some(&*value(record.offset.0)));
    }
}

#[test]
fn a_writer_that_is_killed_and_restarted_fools_no_reader() {
    for class in CLASSES {
        for backend in BACKENDS {
            kill_and_restart(class, backend, 6, Duration::from_millis(60));
        }
    }
}

/// For minutes: `make test-long`.
#[cfg(feature = "long")]
#[test]
fn many_kills_fool_no_reader() {
    for class in CLASSES {
        for backend in BACKENDS {
            kill_and_restart(class, backend, 150, Duration::from_millis(400));
        }
    }
}

/// What of an async topic is lost with the ring and the tail of a segment, as a power loss or a
/// failed flush loses it, a reader that had it is told; it never gets other bytes in their place.
#[test]
fn what_vanishes_of_an_async_topic_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let class = Flush::Async;
    let options = small().segment_bytes(1 << 20).async_window(1 << 30, DEADLINE).batch_bytes(0);
    let writer = options.clone().open(dir.path()).unwrap();
    append(&writer.create_topic(spec(class)).unwrap().partition(0).unwrap(), 0..20);
    writer.flush(DEADLINE).unwrap();
    writer.close(DEADLINE).unwrap();
    let ring = 64 << 10;
    let killed = Writer::start_and_stop(dir.path(), class, Backend::Auto, ring, 100);
    let engine = reading(dir.path());
    let there = partition(&engine, class);
    let (mut beyond, mut below) = (earliest(&there), earliest(&there));
    read_up_to(&mut below, 10);
    super::eventually("records", || {
        while beyond.next_batch().unwrap().is_some() {}
        beyond.next_offset().0 == 100
    });
    drop(killed);
    let seen = beyond.next_offset().0;
    // The tail of the segment from the second epoch's groups on, and the ring.
    let log = dir.path().join("log-001");
    std::fs::remove_file(log.join("ring")).unwrap();
    wipe_epochs_after_the_first(&log);
    let writer = options.lock_timeout(DEADLINE).open(dir.path()).unwrap();
    let topic = partition(&writer, class);
    let end = topic.info().unwrap().end.0;
    assert!((20..seen).contains(&end), "{end} of {seen} are left");
    for _ in end..seen + 50 {
        topic.append(Record::new(b"another")).unwrap();
    }
    let told = beyond.next_timeout(DEADLINE);
    let Err(Error::Truncated { requested, end: cut, .. }) = told else { panic!("{told:?}") };
    assert_eq!((requested.0, cut.0), (seen, end));
    // And again, until it is put elsewhere.
    assert!(matches!(beyond.next_batch(), Err(Error::Truncated { .. })));
    beyond.seek(Start::Offset(cut)).unwrap();
    let batch = beyond.next_timeout(DEADLINE).unwrap().unwrap();
    assert_eq!(batch.iter().next().unwrap().unwrap().value(), Some(&b"another"[..]));
    // Who had not come so far goes on.
    read_up_to(&mut below, end);
    let batch = below.next_timeout(DEADLINE).unwrap().unwrap();
    assert_eq!(batch.iter().next().unwrap().unwrap().value(), Some(&b"another"[..]));
    drop(writer);
}

/// Zeroes everything from the first frame of the second writer on: its records were never durable.
fn wipe_epochs_after_the_first(log: &Path) {
    const ALIGN: usize = 4096;
    let mut first_seen = false;
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(log).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    for path in paths {
        let mut bytes = std::fs::read(&path).unwrap();
        for at in (ALIGN..bytes.len()).step_by(ALIGN) {
            let epoch = u32::from_le_bytes(bytes[at + 20..at + 24].try_into().unwrap());
            let used = u32::from_le_bytes(bytes[at + 16..at + 20].try_into().unwrap());
            let is_group = &bytes[at..at + 4] == b"RLG0";
            first_seen |= is_group && epoch == 2 && used > 64;
            if first_seen {
                bytes[at..at + ALIGN].fill(0);
            }
        }
        std::fs::write(&path, bytes).unwrap();
    }
    assert!(first_seen);
}

#[test]
fn a_reader_may_come_before_the_first_record_and_stay_over_many_writers() {
    for class in CLASSES {
        let dir = tempfile::tempdir().unwrap();
        Engine::options().open(dir.path()).unwrap().create_topic(spec(class)).unwrap();
        let engine = reading(dir.path());
        let mut reader = earliest(&partition(&engine, class));
        for round in 0..8u64 {
            let writer = small().open(dir.path()).unwrap();
            append(&partition(&writer, class), round * 30..(round + 1) * 30);
            if round % 2 == 0 {
                read_up_to(&mut reader, (round + 1) * 30);
            }
            drop(writer);
        }
        read_up_to(&mut reader, 240);
    }
}
