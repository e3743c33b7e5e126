//! Several shards: where partitions go, that they stay, and that every shard is drained, told and
//! ended like the first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread;
use std::time::Duration;

use ringlog::{Ack, AppendOptions, Engine, Error, Flush, Options, Record, Start, Topic, TopicSpec};

use super::load::alone;
use super::{CLASSES, DEADLINE, number, on_each, small, value, values};

/// The log and the shard of each partition.
fn places(topic: &Topic) -> Vec<(u32, usize)> {
    let info = topic.describe().unwrap();
    info.partitions.iter().map(|partition| (partition.log, partition.shard)).collect()
}

fn logs(topic: &Topic) -> Vec<u32> {
    places(topic).into_iter().map(|(log, _)| log).collect()
}

fn create(engine: &Engine, name: &str, partitions: u32, class: Flush) -> Topic {
    engine.create_topic(TopicSpec::new(name).partitions(partitions).flush(class)).unwrap()
}

/// So many records in each partition, without waiting for each; every one acknowledged.
fn fill(topic: &Topic, numbers: std::ops::Range<usize>) {
    for id in 0..topic.partitions() {
        let partition = topic.partition(id).unwrap();
        let append = |at| partition.append_async(Record::new(&value(at, 300)));
        let flights: Vec<_> = numbers.clone().map(append).collect();
        for flight in flights {
            flight.wait().unwrap();
        }
    }
}

fn check(topic: &Topic, count: usize) {
    for id in 0..topic.partitions() {
        let found = values(&topic.partition(id).unwrap(), Start::Earliest);
        let numbers: Vec<u64> = found.iter().map(|v| number(v.as_ref().unwrap())).collect();
        assert_eq!(numbers, (0..count as u64).collect::<Vec<_>>(), "{}/{id}", topic.name());
    }
}

#[test]
fn partitions_are_spread_evenly_over_the_shards() {
    on_each(&small().shards(3), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        assert_eq!((engine.shards(), engine.capabilities().shards), (3, 3));
        for class in CLASSES {
            let wide = create(&engine, &format!("wide-{class}"), 8, class);
            let places = places(&wide);
            let mut counts: BTreeMap<(u32, usize), usize> = BTreeMap::new();
            for place in &places {
                *counts.entry(*place).or_default() += 1;
            }
            let mut sizes: Vec<usize> = counts.values().copied().collect();
            sizes.sort_unstable();
            assert_eq!(sizes, [2, 3, 3], "{places:?}");
            let shards: BTreeSet<usize> = counts.keys().map(|(_, shard)| *shard).collect();
            assert_eq!(shards.len(), 3);
            // What comes alone goes where there is least.
            let small: Vec<u32> = (0..4)
                .map(|at| logs(&create(&engine, &format!("one-{at}-{class}"), 1, class))[0])
                .collect();
            let of_two = counts.iter().find(|(_, count)| **count == 2).map(|((log, _), _)| *log);
            assert_eq!(Some(small[0]), of_two);
            assert_eq!(small[1..].iter().collect::<BTreeSet<_>>().len(), 3);
        }
        // No log is made before it is needed, and none twice.
        assert_eq!(engine.metrics().logs.len(), 7);
    });
}

#[test]
fn logs_are_made_when_they_are_first_needed() {
    on_each(&small().shards(4), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let made = || engine.metrics().logs.len() - 1;
        assert_eq!(made(), 0);
        create(&engine, "a", 1, Flush::Sync);
        assert_eq!(made(), 1);
        create(&engine, "b", 2, Flush::Sync);
        assert_eq!(made(), 3);
        create(&engine, "c", 9, Flush::Async);
        assert_eq!(made(), 7);
        create(&engine, "d", 9, Flush::Async);
        assert_eq!(made(), 7);
        engine.delete_topic("c").unwrap();
        // The emptiest are those that it has left.
        let share = logs(&create(&engine, "e", 4, Flush::Async));
        assert_eq!(share.iter().collect::<BTreeSet<_>>().len(), 4);
        assert_eq!(made(), 7);
    });
}

#[test]
fn with_another_number_of_shards_nothing_moves_and_every_shard_has_work() {
    on_each(&small(), |options, dir| {
        let mut placed: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut rounds = 0;
        for (round, shards) in [2usize, 1, 4, 3, 2].into_iter().enumerate() {
            let engine = options.clone().shards(shards).open(dir).unwrap();
            assert!(engine.metrics().logs.iter().all(|log| log.stopped.is_none()));
            for class in CLASSES {
                let name = format!("t{round}-{class}");
                placed.insert(name.clone(), logs(&create(&engine, &name, 5, class)));
                fill(&engine.topic(&name).unwrap(), 0..rounds * 20);
            }
            rounds += 1;
            for (name, logs_before) in &placed {
                let topic = engine.topic(name).unwrap();
                assert_eq!(logs(&topic), *logs_before, "{name}");
                assert!(places(&topic).iter().all(|(_, shard)| *shard < shards));
                check(&topic, (rounds - 1) * 20);
                fill(&topic, (rounds - 1) * 20..rounds * 20);
                check(&topic, rounds * 20);
            }
            balanced(&engine, shards);
            if round % 2 == 0 {
                engine.close(DEADLINE).unwrap();
            }
        }
    });
}

/// The logs of each class differ by at most one from shard to shard.
fn balanced(engine: &Engine, shards: usize) {
    for class in CLASSES {
        let mut counts = vec![0usize; shards];
        let logs = engine.capabilities().logs;
        for log in logs.iter().filter(|log| log.flush == class && log.log != "log-000") {
            counts[log.shard] += 1;
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "{class}: {counts:?}");
    }
}

#[test]
fn threads_append_to_all_shards_at_once_and_followers_hear_of_it() {
    on_each(&small().shards(3), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for class in CLASSES {
            let topic = create(&engine, &format!("t-{class}"), 6, class);
            thread::scope(|scope| {
                for id in 0..6 {
                    let partition = topic.partition(id).unwrap();
                    let mut reader = partition.reader(Start::Earliest).unwrap();
                    scope.spawn(move || super::append_numbered(&partition, 0..100, 500));
                    scope.spawn(move || {
                        let mut next = 0;
                        while next < 100 {
                            let batch = reader.next_timeout(DEADLINE).unwrap().unwrap();
                            next = batch.last_offset().0 + 1;
                        }
                    });
                }
            });
            check(&topic, 100);
        }
    });
}

#[test]
fn a_close_drains_every_shard() {
    on_each(&small().shards(3).async_window(16 << 20, DEADLINE), |options, dir| {
        for round in 0..5 {
            let engine = options.clone().open(dir).unwrap();
            let topic =
                engine.open_or_create_topic(TopicSpec::new("t").partitions(6).flush(Flush::Async));
            // Written, and nowhere near durable.
            fill(&topic.unwrap(), round * 30..(round + 1) * 30);
            engine.close(DEADLINE).unwrap();
            let again = options.clone().lock_timeout(Duration::ZERO).open(dir).unwrap();
            for log in again.metrics().logs {
                assert!(log.recovery.clean, "{log:?}");
                assert_eq!(log.recovery.replayed_bytes, 0);
            }
            check(&again.topic("t").unwrap(), (round + 1) * 30);
        }
    });
}

#[test]
fn appends_in_flight_on_every_shard_are_answered_by_a_close() {
    on_each(&small().shards(3), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let topic = create(&engine, "t", 6, Flush::Async);
        let durable = AppendOptions::default().ack(Ack::Durable);
        let append =
            |id| topic.partition(id).unwrap().append_async_with(&[Record::new(b"x")], durable);
        let flights: Vec<_> = (0..6).map(append).collect();
        engine.close(DEADLINE).unwrap();
        for flight in flights {
            assert_eq!(flight.wait_timeout(Duration::ZERO).unwrap().first.0, 0);
        }
    });
}

/// Names of the threads of this process.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    let mut names: Vec<String> =
        tasks.filter_map(name).map(|name| name.trim().to_owned()).collect();
    names.sort();
    names.retain(|name| name.starts_with("ringlog-"));
    names
}

#[test]
fn a_shard_is_one_thread_and_upkeep_is_one_for_all() {
    alone("shards::a_shard_is_one_thread_and_upkeep_is_one_for_all", || {
        on_each(&small().shards(3), |options, dir| {
            let engine = options.clone().open(dir).unwrap();
            fill(&create(&engine, "t", 6, Flush::Async), 0..20);
            let expected =
                ["ringlog-shard-0", "ringlog-shard-1", "ringlog-shard-2", "ringlog-upkeep"];
            assert_eq!(threads(), expected);
            engine.close(DEADLINE).unwrap();
            assert!(threads().is_empty(), "{:?}", threads());
        });
    });
}

/// The processors that each shard's thread may use.
fn processors() -> Vec<String> {
    let mut found = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let value = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_once(':').unwrap().1.trim().to_owned()
        };
        if value("Name").starts_with("ringlog-shard") {
            found.push((value("Name"), value("Cpus_allowed_list")));
        }
    }
    found.sort();
    found.into_iter().map(|(_, list)| list).collect()
}

#[test]
fn pinned_shards_stay_on_one_processor_each_in_turn() {
    alone("shards::pinned_shards_stay_on_one_processor_each_in_turn", || {
        on_each(&small().shards(3).pin_shards(true), |options, dir| {
            let engine = options.clone().open(dir).unwrap();
            fill(&create(&engine, "t", 6, Flush::Sync), 0..20);
            let pinned = processors();
            assert!(pinned.iter().all(|list| list.parse::<usize>().is_ok()), "{pinned:?}");
            let there = thread::available_parallelism().unwrap().get();
            let used: BTreeSet<&String> = pinned.iter().collect();
            assert_eq!(used.len(), there.min(3));
            check(&engine.topic("t").unwrap(), 20);
        });
    });
}

#[test]
fn a_number_of_shards_out_of_range_is_refused() {
    on_each(&small(), |options, dir| {
        for shards in [0, 65, usize::MAX] {
            let refused = options.clone().shards(shards).open(dir).unwrap_err();
            assert!(matches!(refused, Error::InvalidArgument { what: "shards", .. }), "{refused}");
        }
        options.clone().shards(64).open(dir).unwrap().close(DEADLINE).unwrap();
    });
}

#[test]
fn rings_of_all_shards_count_against_the_memory() {
    on_each(&Engine::options(), |options, dir| {
        // 128 rings of 1 GiB: 2 TiB of memory would take them.
        let options = options.clone().ring_bytes(1 << 30);
        let refused = options.shards(64).open(dir).unwrap_err();
        assert!(matches!(refused, Error::InvalidArgument { what: "ring_bytes", .. }), "{refused}");
        assert!(refused.to_string().contains("128 rings"), "{refused}");
        assert!(!dir.join("LOCK").exists());
    });
}

#[test]
fn a_drop_without_close_keeps_what_every_shard_was_given() {
    on_each(&small().shards(3), |options, dir| {
        let topic = create(&options.clone().open(dir).unwrap(), "t", 6, Flush::Async);
        fill(&topic, 0..50);
        drop(topic);
        let again = reopen(options, dir);
        check(&again.topic("t").unwrap(), 50);
        assert!(again.metrics().logs.iter().all(|log| log.recovery.clean));
    });
}

fn reopen(options: &Options, dir: &Path) -> Engine {
    options.clone().lock_timeout(DEADLINE).open(dir).unwrap()
}
