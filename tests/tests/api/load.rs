//! Many at once, for long, and nobody at all.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringlog::{Ack, AppendOptions, Engine, Flush, Offset, Record, Start, TopicSpec};

use super::{CLASSES, DEADLINE, append_numbered, number, on_each, on_each_class, partition, small};

#[test]
fn sixty_four_blocking_threads_share_a_partition() {
    on_each_class(&small(), |_, partition, _| {
        let seen = AtomicU64::new(0);
        thread::scope(|scope| {
            for thread in 0..64 {
                let seen = &seen;
                scope.spawn(move || {
                    let mut last = None;
                    for at in 0..30usize {
                        let value = super::value(thread * 1000 + at, 300);
                        let offset = partition.append(Record::new(&value)).unwrap();
                        assert!(last < Some(offset));
                        last = Some(offset);
                        seen.fetch_add(offset.0, Ordering::Relaxed);
                    }
                });
            }
        });
        let count = 64 * 30;
        assert_eq!(seen.into_inner(), count * (count - 1) / 2, "each offset once");
        assert_each_writer_in_order(partition, count as usize);
    });
}

fn assert_each_writer_in_order(partition: &ringlog::Partition, count: usize) {
    let mut next = [0; 64];
    let found = super::values(partition, Start::Earliest);
    assert_eq!(found.len(), count);
    for value in found {
        let number = number(&value.unwrap());
        let writer = (number / 1000) as usize;
        assert_eq!(number % 1000, next[writer]);
        next[writer] += 1;
    }
}

#[test]
fn threads_on_both_classes_with_sizes_of_every_kind_keep_their_order() {
    let options = small().segment_bytes(256 << 10).max_payload_bytes(100 << 10);
    on_each(&options, |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for class in CLASSES {
            engine
                .create_topic(TopicSpec::new(class.to_string()).partitions(3).flush(class))
                .unwrap();
        }
        thread::scope(|scope| {
            for thread in 0..8usize {
                let engine = &engine;
                scope.spawn(move || mixed_appends(engine, thread));
            }
        });
        check_order(&engine);
        engine.close(DEADLINE).unwrap();
        drop(engine);
        check_order(&options.clone().open(dir).unwrap());
    });
}

fn mixed_appends(engine: &Engine, thread: usize) {
    let levels = [Ack::Written, Ack::Durable];
    let mut pending = Vec::new();
    for at in 0..120usize {
        let topic = engine.topic(["sync", "async"][at % 2]).unwrap();
        let partition = topic.partition((at / 2 % 3) as u32).unwrap();
        // Mostly small, some larger than a quarter of the ring or all of it.
        let len = match (thread + at * 7) % 40 {
            0 => 70_000,
            1 => 20_000,
            other => other * 40,
        };
        let value = super::value(thread * 1000 + at, len);
        let options = AppendOptions::default().ack(levels[at / 6 % 2]);
        let future = partition.append_async_with(&[Record::new(&value)], options);
        if at % 5 == 0 || len > 16_000 {
            future.wait().unwrap();
        } else {
            pending.push(future);
        }
        if pending.len() > 6 {
            pending.drain(..).for_each(|future| {
                future.wait().unwrap();
            });
        }
    }
    for future in pending {
        future.wait().unwrap();
    }
}

fn check_order(engine: &Engine) {
    let mut total = 0;
    for topic in ["sync", "async"] {
        for partition in 0..3 {
            let partition = engine.topic(topic).unwrap().partition(partition).unwrap();
            let mut reader = partition.reader(Start::Earliest).unwrap();
            let mut seen = std::collections::BTreeSet::new();
            while reader.next_offset() < partition.info().unwrap().end {
                let batch = reader.next_timeout(DEADLINE).unwrap().unwrap();
                for record in &batch {
                    assert!(seen.insert(number(record.unwrap().value().unwrap())), "twice");
                }
            }
            total += seen.len();
        }
    }
    assert_eq!(total, 8 * 120);
}

/// Context switches of the engine's own threads, by kernel name; other tests of this process have
/// threads of the same names, so this runs in a process of its own.
fn engine_switches() -> u64 {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
        if name.starts_with("ringlog") || name.starts_with("iou-") {
            let status = fs::read_to_string(path.join("status")).unwrap_or_default();
            let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
            sum += counts
                .map(|line| line.rsplit_once('\t').unwrap().1.parse::<u64>().unwrap())
                .sum::<u64>();
        }
    }
    sum
}

const ALONE: &str = "RINGLOG_API_ALONE";

/// Runs `test` in a process of its own, so that what it measures is its own.
pub(super) fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return test();
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{complained}");
}

#[test]
fn an_idle_engine_switches_no_context() {
    alone("load::an_idle_engine_switches_no_context", || {
        on_each(&small().shards(2), |options, dir| {
            let engine = options.clone().open(dir).unwrap();
            let follower = {
                let mut reader =
                    partition(&engine, "f", Flush::Async).reader(Start::Latest).unwrap();
                thread::spawn(move || reader.next_timeout(DEADLINE).unwrap())
            };
            for class in CLASSES {
                append_numbered(&partition(&engine, "t", class), 0..200, 500);
            }
            // Until it has settled: flushes, the watermark group, the segments ahead.
            let started = Instant::now();
            let mut before = engine_switches();
            let quiet = loop {
                thread::sleep(Duration::from_secs(2));
                let now = engine_switches();
                if now == before {
                    break true;
                }
                if started.elapsed() > DEADLINE {
                    break false;
                }
                before = now;
            };
            assert!(quiet, "never two seconds without a context switch");
            for log in engine.metrics().logs {
                assert!(log.queued_bytes <= 64, "{log:?}");
            }
            append_numbered(&partition(&engine, "f", Flush::Async), 0..1, 10);
            assert!(follower.join().unwrap().is_some());
            engine.close(DEADLINE).unwrap();
        });
    });
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn memory_is_bounded_by_configuration_not_by_load() {
    alone("load::memory_is_bounded_by_configuration_not_by_load", || {
        on_each(&small().segment_bytes(1 << 20).spare_segments(1), |options, dir| {
            let engine = options.clone().open(dir).unwrap();
            let partition = partition(&engine, "t", Flush::Async);
            let load = |from: u64| {
                for round in from..from + 40 {
                    append_numbered(&partition, 0..500, 1000);
                    let mut reader = partition.reader(Start::Offset(Offset(round * 500))).unwrap();
                    while reader.next_offset() < Offset(round * 500 + 500) {
                        assert!(reader.next_timeout(DEADLINE).unwrap().is_some());
                    }
                    partition.trim(Offset(round * 500 + 500)).unwrap();
                }
            };
            load(0);
            let before = resident_bytes();
            load(40);
            load(80);
            let after = resident_bytes();
            assert!(after < before + (8 << 20), "{before} grew to {after}");
            engine.close(DEADLINE).unwrap();
        });
    });
}
