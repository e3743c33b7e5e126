//! Steps that only show when nothing turns the shard in between.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::Engine;
use crate::buf::futex;
use crate::clock::Clock;
use crate::config::Flush;
use crate::driver::sim::{SimConfig, SimDisk};
use crate::format::record_batch::Record;
use crate::format::ring_control::COMMITTED;
use crate::ids::{LeaderEpoch, LogId, Offset};
use crate::log::Log;
use crate::log::follow::source::Source;
use crate::log::writer::Rolled;
use crate::topic::TopicSpec;
use crate::topic::read::Start;

#[test]
fn what_became_visible_after_the_look_is_not_slept_over() {
    let clock = Clock::manual();
    let disk = SimDisk::new(SimConfig { clock: clock.clone(), ..SimConfig::seeded(1) });
    let engine = Engine::open_simulated(&disk, Engine::options(), clock).unwrap();
    let topic = engine.create_topic(TopicSpec::new("t")).unwrap();
    let partition = topic.partition(0).unwrap();
    let mut reader = partition.reader(Start::Earliest).unwrap();
    // Claimed, but not durable: nobody turns the shard.
    let append = partition.append_async(Record::new(b"x"));
    assert!(reader.next_batch().unwrap().is_none());
    append.wait().unwrap();
    assert!(!reader.cursor.follow(Waker::noop()).unwrap(), "look again");
    assert!(reader.next_batch().unwrap().is_some());
    assert!(reader.cursor.follow(Waker::noop()).unwrap(), "sleep");
}

#[test]
fn whose_mark_was_taken_before_it_sleeps_does_not_sleep() {
    const DEADLINE: Duration = Duration::from_secs(60);
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::options().open(dir.path()).unwrap();
    let topic = engine.create_topic(TopicSpec::new("t").flush(Flush::Async)).unwrap();
    topic.partition(0).unwrap().append(Record::new(b"x")).unwrap();
    let log = engine.inner.logs.read()[&LogId(1)].clone();
    let source = Source::open(&*log.disk, &log.name, log.uuid).unwrap();
    assert_eq!(source.tell_that_we_sleep(), Some(true));
    let seen = log.written() as u32;
    // Of several appenders one comes late to tell of what has been seen by now.
    log.wake_sleepers(COMMITTED);
    let words: Vec<_> = source.futexes(Flush::Async, seen).collect();
    let started = Instant::now();
    // Kernels before 5.16 sleep on one word only, and nobody sleeps there.
    if futex::wait_any(&words, Some(DEADLINE)).is_ok() {
        assert!(started.elapsed() < DEADLINE);
    }
}

/// As if the newest sealed segment had only just been left, `count` times over.
fn leave_again(log: &Log, count: usize) {
    let mut writer = log.writer.lock();
    let base = writer.segment.segment.base();
    let sealed = log.segments.read().range(..base).next_back().map(|(_, segment)| segment.clone());
    let sealed = sealed.expect("a sealed segment");
    let segment = sealed.open_for_write(&*log.disk).expect("its file");
    let index = Arc::new(writer.index_so_far());
    let rolled = Rolled {
        position: segment.segment.end(),
        segment,
        index,
        epoch: LeaderEpoch(1),
        streams: writer.stream_entries(),
    };
    writer.rolled.extend((0..count).map(|_| rolled.clone()));
}

#[test]
fn what_was_trimmed_goes_while_there_is_always_a_segment_to_seal() {
    let clock = Clock::manual();
    let disk = SimDisk::new(SimConfig { clock: clock.clone(), ..SimConfig::seeded(1) });
    let options = Engine::options().segment_bytes(64 << 10).ring_bytes(64 << 10);
    let options = options.max_payload_bytes(32 << 10).group_bytes(16 << 10);
    let engine = Engine::open_simulated(&disk, options, clock).unwrap();
    let partition = engine.create_topic(TopicSpec::new("t")).unwrap().partition(0).unwrap();
    for _ in 0..200 {
        partition.append(Record::new(&[7; 2000])).unwrap();
    }
    let log = engine.inner.logs.read()[&LogId(1)].clone();
    let gone = || {
        let metrics = engine.metrics().logs;
        metrics.iter().map(|log| log.segments_recycled + log.segments_removed).sum::<u64>()
    };
    while !log.writer.lock().rolled.is_empty() {
        engine.turn();
    }
    assert_eq!(gone(), 0);
    leave_again(&log, 200);
    partition.trim(Offset(150)).unwrap();
    while gone() == 0 {
        engine.turn();
    }
    let left = log.writer.lock().rolled.len();
    assert!(left > 100, "only once all was sealed: {left} left");
}
