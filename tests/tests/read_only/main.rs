//! Reading beside a writer, or without one, from elsewhere: other engines of this process, and
//! other processes, which are this test binary itself.
#![allow(clippy::unwrap_used, reason = "a failed unwrap here is a failed test")]

mod beside;
mod damaged;
mod holds;
mod joined;
mod outside;
mod restart;
mod unproven;

use std::path::Path;
use std::time::{Duration, Instant};

use ringlog::{
    Backend, Engine, Flush, Offset, Options, Partition, Reader, Record, Start, TopicSpec,
};

/// Long enough for the slowest machine; no test waits for it unless it fails.
const DEADLINE: Duration = Duration::from_secs(60);
const CLASSES: [Flush; 2] = [Flush::Sync, Flush::Async];
const BACKENDS: [Backend; 2] = [Backend::Auto, Backend::Plain];
const KIB: usize = 1 << 10;

/// Small enough that rings wrap and segments roll.
fn small() -> Options {
    Engine::options()
        .segment_bytes(64 << 10)
        .ring_bytes(64 * KIB)
        .group_bytes(16 * KIB)
        .max_payload_bytes(32 * KIB)
        .append_timeout(DEADLINE)
}

/// Opens the directory to read.
fn reading(dir: &Path) -> Engine {
    Engine::options().read_only(true).open(dir).unwrap()
}

fn spec(class: Flush) -> TopicSpec {
    TopicSpec::new(format!("t-{class}")).flush(class)
}

/// Partition 0 of the topic of this class, of whatever engine.
fn partition(engine: &Engine, class: Flush) -> Partition {
    engine.topic(&format!("t-{class}")).unwrap().partition(0).unwrap()
}

/// A value that tells its offset, and whose length and bytes follow from it.
fn value(offset: u64) -> Vec<u8> {
    let len = 8 + (offset.wrapping_mul(2_654_435_761) % 1500) as usize;
    let mut value = vec![offset as u8; len];
    value[..8].copy_from_slice(&offset.to_le_bytes());
    value
}

fn append(partition: &Partition, offsets: std::ops::Range<u64>) {
    for offset in offsets {
        let got = partition.append(Record::new(&value(offset))).unwrap();
        assert_eq!(got, Offset(offset));
    }
}

/// Reads on until `end`, sleeping in between; offsets are dense and values what they must be.
fn read_up_to(reader: &mut Reader, end: u64) {
    while reader.next_offset() < Offset(end) {
        let first = reader.next_offset().0;
        let started = Instant::now();
        let batch = reader.next_timeout(DEADLINE).unwrap();
        // At its deadline it looks once more, and may find what should have woken it.
        assert!(started.elapsed() < DEADLINE, "nobody woke it at {first}");
        let Some(batch) = batch else { continue };
        for (next, record) in (first..).zip(&batch) {
            let record = record.unwrap();
            assert_eq!(record.offset(), Offset(next));
            assert!(record.value() == Some(&*value(next)), "the value of offset {next}");
        }
    }
    assert_eq!(reader.next_offset(), Offset(end));
}

fn earliest(partition: &Partition) -> Reader {
    partition.reader(Start::Earliest).unwrap()
}

/// Sleeps until `done`, and fails if that takes for ever.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < DEADLINE, "{what} never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}
