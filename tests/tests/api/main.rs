//! The Rust API from outside, on real directories: every call, what it refuses, and what it
//! promises to those who call at the same time. Whatever does not depend on the driver is run on
//! both.
#![allow(clippy::unwrap_used, reason = "a failed unwrap here is a failed test")]
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "names of our own making")]
#![allow(clippy::needless_pass_by_value, reason = "a result that is looked at is used up")]

mod append;
mod arrow;
mod caller;
mod close;
mod completions;
mod compression;
mod follow;
mod input;
mod joined;
mod leases;
mod load;
mod open;
mod order;
mod read;
mod scrub;
mod send;
mod shards;
mod times;
mod topic;
mod topics;
mod trim;
mod zero_copy;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use ringlog::{Backend, Engine, Flush, Offset, Options, Partition, Record, Start, TopicSpec};

/// Long enough for the slowest machine; no test waits for it unless it fails.
const DEADLINE: Duration = Duration::from_secs(60);
const CLASSES: [Flush; 2] = [Flush::Sync, Flush::Async];
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

/// Runs `test` in a fresh directory on each backend.
fn on_each(options: &Options, test: impl Fn(&Options, &Path)) {
    for backend in [Backend::Auto, Backend::Plain] {
        println!("backend {backend}");
        let dir = tempfile::tempdir().unwrap();
        test(&options.clone().backend(backend), dir.path());
    }
}

/// As [`on_each`], with a topic of each flush class and one partition.
fn on_each_class(options: &Options, test: impl Fn(&Engine, &Partition, Flush)) {
    on_each(options, |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for class in CLASSES {
            test(&engine, &partition(&engine, "t", class), class);
        }
        engine.close(DEADLINE).unwrap();
    });
}

/// Partition 0 of a topic named after `prefix` and its class.
fn partition(engine: &Engine, prefix: &str, class: Flush) -> Partition {
    let spec = TopicSpec::new(format!("{prefix}-{class}")).flush(class);
    engine.open_or_create_topic(spec).unwrap().partition(0).unwrap()
}

/// All values from `start` on; offsets must be dense.
fn values(partition: &Partition, start: Start) -> Vec<Option<Vec<u8>>> {
    let reader = partition.reader(start).unwrap();
    let mut next = reader.next_offset();
    let mut out = Vec::new();
    for record in reader.records() {
        let record = record.unwrap();
        assert_eq!(record.offset, next);
        next = Offset(next.0 + 1);
        out.push(record.value.map(|value| value.to_vec()));
    }
    out
}

/// A value that names its number.
fn value(number: usize, len: usize) -> Vec<u8> {
    let mut value = vec![number as u8; len.max(8)];
    value[..8].copy_from_slice(&(number as u64).to_le_bytes());
    value
}

/// The number in a [`value`].
fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(*value.first_chunk().unwrap())
}

fn append_numbered(partition: &Partition, numbers: std::ops::Range<usize>, len: usize) {
    for at in numbers {
        partition.append(Record::new(&value(at, len))).unwrap();
    }
}

/// The smallest executor: parks its thread between polls, and counts the wakes.
struct Executor {
    thread: Thread,
    wakes: AtomicUsize,
}

impl Wake for Executor {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Executor {
    fn new() -> Arc<Self> {
        Arc::new(Self { thread: thread::current(), wakes: AtomicUsize::new(0) })
    }

    fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }

    fn run<F: Future>(self: &Arc<Self>, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let waker = Waker::from(Arc::clone(self));
        loop {
            if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return done;
            }
            thread::park_timeout(DEADLINE);
        }
    }
}
