//! Followers: woken by what concerns them, and by nothing else.

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ringlog::{Ack, AppendOptions, Error, Flush, Offset, Record, Start, TopicSpec};

use super::{DEADLINE, append_numbered, number, on_each, on_each_class, partition, small, value};

/// Far less than the watermark group takes to come, which would hide a lost wake.
const SOON: Duration = Duration::from_millis(800);

#[test]
fn a_follower_gets_everything_and_ends_with_the_close() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        thread::scope(|scope| {
            let mut followers = Vec::new();
            for class in super::CLASSES {
                let partition = partition(&engine, "t", class);
                let follow = partition.reader(Start::Latest).unwrap().follow();
                followers.push(scope.spawn(move || {
                    let mut next = 0;
                    for batch in follow {
                        match batch {
                            Ok(batch) => {
                                for record in &batch {
                                    assert_eq!(number(record.unwrap().value().unwrap()), next);
                                    next += 1;
                                }
                            }
                            Err(error) => return (next, error),
                        }
                    }
                    unreachable!("ends with an error only")
                }));
                append_numbered(&partition, 0..200, 700);
            }
            for class in super::CLASSES {
                let mut reader = partition(&engine, "t", class).reader(Start::Earliest).unwrap();
                while reader.next_offset() < Offset(200) {
                    assert!(reader.next_timeout(DEADLINE).unwrap().is_some());
                }
            }
            engine.close(DEADLINE).unwrap();
            for follower in followers {
                let (next, error) = follower.join().unwrap();
                assert!(next <= 200);
                assert!(matches!(error, Error::Closed { .. }), "{error:?}");
            }
        });
    });
}

#[test]
fn every_append_wakes_its_follower_soon() {
    // The race is between the look and the registration, so it is tried often.
    on_each_class(&small(), |_, partition, class| {
        let rounds = if class == Flush::Sync { 300 } else { 5000 };
        let (read, wait) = mpsc::channel();
        let mut reader = partition.reader(Start::Latest).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..rounds {
                    let started = Instant::now();
                    let batch = reader.next_timeout(DEADLINE).unwrap().unwrap();
                    assert!(started.elapsed() < SOON, "at offset {}", batch.base_offset());
                    read.send(batch.base_offset()).unwrap();
                }
            });
            for round in 0..rounds {
                partition.append(Record::new(b"x")).unwrap();
                assert_eq!(wait.recv_timeout(DEADLINE).unwrap(), Offset(round));
            }
        });
    });
}

#[test]
fn what_is_written_wakes_an_async_follower_before_it_is_durable() {
    on_each(&small(), |options, dir| {
        let options = options.clone().async_window(1 << 30, Duration::from_secs(3600));
        let engine = options.open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Async);
        let mut reader = partition.reader(Start::Earliest).unwrap();
        partition.append(Record::new(b"x")).unwrap();
        assert!(reader.next_timeout(DEADLINE).unwrap().is_some());
        if engine.capabilities().no_file_ring.is_none() {
            assert_eq!(partition.info().unwrap().durable_end, Offset(0));
        }
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn a_sync_reader_sees_only_what_is_durable() {
    on_each_class(&small(), |_, partition, class| {
        if class == Flush::Async {
            return;
        }
        let mut reader = partition.reader(Start::Earliest).unwrap();
        for at in 0..200 {
            let written = AppendOptions::default().ack(Ack::Written);
            partition.append_with(&[Record::new(&value(at, 50))], written).unwrap();
            while let Some(batch) = reader.next_batch().unwrap() {
                // Its own batch may share a run with later ones, of which this is a lower bound.
                assert!(batch.last_offset() < partition.info().unwrap().end);
            }
        }
        while reader.next_offset() < Offset(200) {
            assert!(reader.next_timeout(DEADLINE).unwrap().is_some());
        }
        assert_eq!(partition.info().unwrap().durable_end, Offset(200));
    });
}

/// Context switches of the thread with this id, by its own choice and not.
fn switches(tid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
    let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
    counts.map(|line| line.rsplit_once('\t').unwrap().1.parse::<u64>().unwrap()).sum()
}

#[test]
fn appends_to_other_partitions_do_not_wake_a_follower() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for class in super::CLASSES {
            let spec = TopicSpec::new(format!("t-{class}")).partitions(2).flush(class);
            let topic = engine.create_topic(spec).unwrap();
            let mut reader = topic.partition(0).unwrap().reader(Start::Earliest).unwrap();
            let (say, tid) = mpsc::channel();
            thread::scope(|scope| {
                let follower = scope.spawn(move || {
                    say.send(rustix::thread::gettid().as_raw_nonzero().to_string()).unwrap();
                    reader.next_timeout(DEADLINE).unwrap().unwrap()
                });
                let tid = tid.recv().unwrap();
                let stat = || fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap();
                while !stat().contains(") S ") {
                    thread::yield_now();
                }
                let before = switches(&tid);
                append_numbered(&topic.partition(1).unwrap(), 0..100, 100);
                assert_eq!(switches(&tid), before);
                append_numbered(&topic.partition(0).unwrap(), 0..1, 100);
                assert_eq!(follower.join().unwrap().base_offset(), Offset(0));
            });
        }
    });
}

#[test]
fn a_deadline_passes_and_the_reader_goes_on() {
    on_each_class(&small(), |_, partition, _| {
        let mut reader = partition.reader(Start::Earliest).unwrap();
        for _ in 0..100 {
            assert!(reader.next_timeout(Duration::ZERO).unwrap().is_none());
        }
        append_numbered(partition, 0..1, 10);
        assert!(reader.next_timeout(DEADLINE).unwrap().is_some());
    });
}
