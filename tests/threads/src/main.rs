//! Threads on one engine, for ThreadSanitizer to watch: `tests/threads/run` builds this with it.
//! Producers, blocking and in flight; readers that follow, hold what they read, and look for times;
//! trims; topics that come and go; flushes; a close while all of that goes on, and a drop without
//! one. Each on both drivers, with rings that wrap and segments that roll.
//!
//! `race` makes a data race of its own instead, of one word that two threads write: what does not
//! report that would report nothing.

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringlog::{
    Ack, AppendOptions, Backend, Engine, Error, Flush, Offset, Options, Partition, Record, Start,
    TopicSpec,
};

const DEADLINE: Duration = Duration::from_secs(120);
const PRODUCERS: usize = 4;
const EACH: usize = 400;

/// What is done to an engine while threads use it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Close,
    CloseAmid,
    Drop,
}

fn options(backend: Backend) -> Options {
    Engine::options()
        .backend(backend)
        .shards(2)
        .segment_bytes(256 << 10)
        .ring_bytes(64 << 10)
        .group_bytes(16 << 10)
        .max_payload_bytes(64 << 10)
        .append_timeout(DEADLINE)
}

/// Only what a close brings about.
fn ended(error: &Error) -> bool {
    matches!(error, Error::Closed { .. })
}

/// Appends in every form; how many were acknowledged.
fn produce(partition: &Partition, thread: usize, until: &AtomicBool) -> usize {
    let mut done = 0;
    for at in 0..EACH {
        let value = vec![thread as u8; 1 + (at * 7919 + thread) % 3000];
        let level = if at % 50 == 0 { Ack::Durable } else { Ack::Written };
        let options = AppendOptions::default().ack(level);
        let records = [Record::new(&value)];
        let appended = if at % 3 == 0 {
            partition.append_async_with(&records, options).wait()
        } else {
            partition.append_with(&records, options)
        };
        match appended {
            Ok(_) => done += 1,
            Err(error) if ended(&error) => break,
            Err(error) => panic!("{error}"),
        }
        // A frame too large for the ring, now and then.
        if at % 97 == 96 && partition.append(Record::new(&[1; 40_000])).is_ok() {
            done += 1;
        }
        if until.load(Ordering::Relaxed) {
            break;
        }
    }
    done
}

/// Follows to the end, holding some of what it reads; ends when told to, or by a close.
fn follow(partition: &Partition, until: &AtomicBool) {
    let mut reader = partition.reader(Start::Earliest).expect("a reader");
    let mut held = Vec::new();
    loop {
        match reader.next_timeout(Duration::from_millis(20)) {
            Ok(Some(batch)) => {
                for record in &batch {
                    let record = record.expect("a record");
                    black_box(record.value().unwrap_or_default().to_vec());
                }
                held.push(batch);
                if held.len() > 40 {
                    held.drain(..30);
                }
            }
            Ok(None) if until.load(Ordering::Relaxed) => return,
            Ok(None) => {}
            Err(Error::OffsetOutOfRange { .. }) => reader.seek(Start::Earliest).expect("a seek"),
            Err(error) if ended(&error) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Trims, looks for times, asks for figures, flushes, makes topics and deletes them.
fn disturb(engine: &Engine, partition: &Partition, until: &AtomicBool) {
    for round in 0u64.. {
        if until.load(Ordering::Relaxed) {
            return;
        }
        let done = (|| {
            let info = partition.info()?;
            partition
                .trim(Offset(info.log_start.0 + (info.durable_end.0 - info.log_start.0) / 4))?;
            partition.offset_for_time(1)?;
            drop(engine.metrics());
            drop(engine.stat());
            engine.flush(DEADLINE)?;
            let name = format!("short-{}-{}", info.log, round % 3);
            let short = engine.open_or_create_topic(TopicSpec::new(&name).flush(Flush::Async))?;
            short.append(Record::new(b"x"))?;
            engine.delete_topic(&name)
        })();
        match done {
            Ok(()) => thread::sleep(Duration::from_millis(2)),
            Err(error) if ended(&error) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn life(backend: Backend, end: End) {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = options(backend).open(dir.path()).expect("an engine");
    let partitions: Vec<Partition> = [Flush::Sync, Flush::Async]
        .into_iter()
        .map(|flush| {
            let spec = TopicSpec::new(format!("t-{flush}")).flush(flush);
            engine.create_topic(spec).and_then(|topic| topic.partition(0)).expect("a topic")
        })
        .collect();
    let stop = AtomicBool::new(false);
    let appended: usize = thread::scope(|scope| {
        let stop = &stop;
        let mut others = Vec::new();
        for partition in &partitions {
            others.push(scope.spawn(move || follow(partition, stop)));
            others.push(scope.spawn(move || follow(partition, stop)));
            let engine = engine.clone();
            others.push(scope.spawn(move || disturb(&engine, partition, stop)));
        }
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|at| {
                let partition = partitions[at % partitions.len()].clone();
                scope.spawn(move || produce(&partition, at, stop))
            })
            .collect();
        if end == End::CloseAmid {
            thread::sleep(Duration::from_millis(300));
            engine.close(DEADLINE).expect("a close");
        }
        let count = producers.into_iter().map(|producer| producer.join().expect("a producer"));
        let count = count.sum();
        stop.store(true, Ordering::Relaxed);
        others.into_iter().for_each(|other| other.join().expect("a thread"));
        count
    });
    if end == End::Close {
        engine.close(DEADLINE).expect("a close");
    }
    drop((partitions, engine));
    // What follows is recovery, and a reader of it.
    let engine = options(backend).open(dir.path()).expect("an engine");
    assert_eq!(engine.topics().iter().filter(|topic| topic.name.starts_with("t-")).count(), 2);
    println!("{backend} {end:?}: {appended} appends");
}

/// One word, and no order between those who write it.
struct Racy(UnsafeCell<u64>);

// SAFETY: it is not; that is what it is for.
unsafe impl Sync for Racy {}

fn race() {
    let racy = Arc::new(Racy(UnsafeCell::new(0)));
    let threads: Vec<_> = (0..2)
        .map(|at| {
            let racy = Arc::clone(&racy);
            thread::spawn(move || {
                for _ in 0..1000 {
                    // SAFETY: none; see above.
                    unsafe { *racy.0.get() += at };
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
    println!("raced");
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("race") {
        return race();
    }
    for backend in [Backend::Auto, Backend::Plain] {
        for end in [End::Close, End::CloseAmid, End::Drop] {
            life(backend, end);
        }
    }
}
