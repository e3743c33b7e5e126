//! What a writer has accepted and not proven: a caller-driven one that nobody turns has committed
//! it to the ring, and flushed nothing. It is another process that is then killed, or is here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringlog::raw::{Disk, OsDisk};
use ringlog::{Engine, Flush, Offset, Partition, Record};

use super::{
    BACKENDS, CLASSES, DEADLINE, append, earliest, eventually, partition, read_up_to, reading,
    small, spec, value,
};

const DIR: &str = "RINGLOG_UNPROVEN_DIR";
const CLASS: &str = "RINGLOG_UNPROVEN_CLASS";
/// Records that were acknowledged, and the end of those that were only accepted.
const PROVEN: u64 = 20;
const ACCEPTED: u64 = 30;

/// Acknowledged ones, then some that wait for a turn that nobody makes.
fn leave_unproven(engine: &Engine, class: Flush) -> Partition {
    let topic = engine.create_topic(spec(class)).unwrap().partition(0).unwrap();
    append(&topic, 0..PROVEN);
    engine.flush(DEADLINE).unwrap();
    for offset in PROVEN..ACCEPTED {
        drop(topic.append_async(Record::new(&value(offset))));
    }
    topic
}

/// How far a reader of this class may see it.
fn visible(class: Flush) -> u64 {
    if class == Flush::Sync { PROVEN } else { ACCEPTED }
}

/// Sees so many, and no more for a while.
fn sees(engine: &Engine, class: Flush, end: u64) {
    let topic = partition(engine, class);
    let mut reader = earliest(&topic);
    read_up_to(&mut reader, end);
    assert!(reader.next_timeout(Duration::from_millis(50)).unwrap().is_none(), "{class}");
    assert_eq!(topic.info().unwrap().end.0, end);
}

#[test]
fn beside_a_writer_a_sync_topic_shows_what_is_durable_and_an_async_one_what_is_written() {
    for backend in BACKENDS {
        for class in CLASSES {
            let dir = tempfile::tempdir().unwrap();
            let writer = small().backend(backend).caller_driven(true).open(dir.path()).unwrap();
            let topic = leave_unproven(&writer, class);
            let engine = reading(dir.path());
            sees(&engine, class, visible(class));
            let mut reader = earliest(&partition(&engine, class));
            read_up_to(&mut reader, visible(class));
            writer.flush(DEADLINE).unwrap();
            read_up_to(&mut reader, ACCEPTED);
            append(&topic, ACCEPTED..ACCEPTED + 5);
            read_up_to(&mut reader, ACCEPTED + 5);
            drop(topic);
            writer.close(DEADLINE).unwrap();
        }
    }
}

#[test]
fn who_sleeps_on_a_sync_topic_hears_of_its_flush() {
    let class = Flush::Sync;
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        // Nothing happens after an append has returned: no other group wakes the sleeper.
        let writer = small().backend(backend).caller_driven(true).open(dir.path()).unwrap();
        let topic = writer.create_topic(spec(class)).unwrap().partition(0).unwrap();
        append(&topic, 0..1);
        let engine = reading(dir.path());
        let mut reader = earliest(&partition(&engine, class));
        read_up_to(&mut reader, 1);
        for round in 1..20 {
            std::thread::scope(|scope| {
                scope.spawn(|| read_up_to(&mut reader, round + 1));
                // Most of the time it sleeps by then.
                std::thread::sleep(Duration::from_millis(10));
                append(&topic, round..round + 1);
            });
        }
        drop(topic);
        writer.close(DEADLINE).unwrap();
    }
}

#[test]
fn who_sleeps_hears_of_the_last_of_several_appenders() {
    const APPENDERS: u64 = 3;
    for class in CLASSES {
        let dir = tempfile::tempdir().unwrap();
        let writer = small().open(dir.path()).unwrap();
        let topic = writer.create_topic(spec(class)).unwrap().partition(0).unwrap();
        let engine = reading(dir.path());
        let mut reader = earliest(&partition(&engine, class));
        for round in 0..300 {
            std::thread::scope(|scope| {
                for _ in 0..APPENDERS {
                    scope.spawn(|| topic.append(Record::new(b"one of several")).unwrap());
                }
                let end = (round + 1) * APPENDERS;
                while reader.next_offset() < Offset(end) {
                    let before = reader.next_offset();
                    let started = Instant::now();
                    let _ = reader.next_timeout(DEADLINE).unwrap();
                    assert!(started.elapsed() < DEADLINE, "nobody woke it at {before}");
                }
            });
        }
        drop(topic);
        writer.close(DEADLINE).unwrap();
    }
}

#[test]
fn a_turn_in_which_nothing_becomes_durable_takes_no_mark() {
    let dir = tempfile::tempdir().unwrap();
    let writer = small().caller_driven(true).open(dir.path()).unwrap();
    let topic = writer.create_topic(spec(Flush::Sync)).unwrap().partition(0).unwrap();
    append(&topic, 0..1);
    let waiters = fs::read_dir(dir.path()).unwrap().map(|log| log.unwrap().path().join("WAITERS"));
    let waiters: Vec<_> = waiters.filter(|path| path.exists()).collect();
    for path in &waiters {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(&[1; 4], 0).unwrap();
    }
    let sleepers = || waiters.iter().filter(|path| fs::read(path).unwrap()[..4] == [1; 4]).count();
    writer.run_once(0, Duration::ZERO).unwrap();
    assert_eq!(sleepers(), waiters.len());
    append(&topic, 1..2);
    assert_eq!(sleepers(), waiters.len() - 1, "the log that was appended to has told its readers");
}

/// In the child: leaves something unproven and waits to be killed.
#[test]
fn entry_of_the_writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let class = std::env::var(CLASS).unwrap().parse().unwrap();
    let engine = small().caller_driven(true).open(PathBuf::from(dir)).unwrap();
    let topic = leave_unproven(&engine, class);
    println!("accepted");
    std::thread::park();
    drop(topic);
}

/// What a killed writer leaves.
fn leave_dead(dir: &Path, class: Flush) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["unproven::entry_of_the_writer", "--exact", "--nocapture"])
        .env(DIR, dir)
        .env(CLASS, class.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let accepted = out.lines().any(|line| line.is_ok_and(|line| line.contains("accepted")));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(accepted);
    // The kernel may hold its lock a little longer; who reads then takes it for alive.
    let disk = OsDisk::open(dir, false).unwrap();
    eventually("its end", || !disk.has_writer().unwrap());
}

#[test]
fn without_a_writer_a_sync_topic_shows_what_is_proven_until_the_next_one_proves_the_rest() {
    for class in CLASSES {
        let dir = tempfile::tempdir().unwrap();
        leave_dead(dir.path(), class);
        let engine = reading(dir.path());
        sees(&engine, class, visible(class));
        let mut reader = earliest(&partition(&engine, class));
        // The next writer replays the ring, and nothing of it is lost.
        let writer = small().lock_timeout(DEADLINE).open(dir.path()).unwrap();
        read_up_to(&mut reader, ACCEPTED);
        append(&partition(&writer, class), ACCEPTED..ACCEPTED + 5);
        read_up_to(&mut reader, ACCEPTED + 5);
        writer.close(DEADLINE).unwrap();
    }
}

#[test]
fn what_does_not_prove_itself_ends_what_is_seen() {
    const BAD: u64 = 25;
    let class = Flush::Async;
    let dir = tempfile::tempdir().unwrap();
    leave_dead(dir.path(), class);
    let ring = dir.path().join("log-001/ring");
    let bytes = std::fs::read(&ring).unwrap();
    let bad = value(BAD);
    let at = bytes.windows(bad.len()).position(|bytes| bytes == bad).unwrap();
    let file = std::fs::File::options().write(true).open(&ring).unwrap();
    file.write_all_at(&[!bad[bad.len() - 1]], (at + bad.len() - 1) as u64).unwrap();
    let engine = reading(dir.path());
    sees(&engine, class, BAD);
    let mut reader = earliest(&partition(&engine, class));
    read_up_to(&mut reader, BAD);
    // The next writer does not believe it either.
    let writer = small().lock_timeout(DEADLINE).open(dir.path()).unwrap();
    append(&partition(&writer, class), BAD..BAD + 20);
    read_up_to(&mut reader, BAD + 20);
    writer.close(DEADLINE).unwrap();
}
