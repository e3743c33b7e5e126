//! Topics: made, listed, described, deleted; metrics.

use ringlog::{Engine, Error, Flush, Offset, Record, Start, TopicSpec};

use super::{CLASSES, DEADLINE, append_numbered, on_each, on_each_class, partition, small, values};

#[test]
fn topics_are_listed_by_name_and_survive() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        assert!(engine.topics().is_empty());
        engine.create_topic(TopicSpec::new("b").partitions(3)).unwrap();
        engine.create_topic(TopicSpec::new("a").flush(Flush::Async)).unwrap();
        let same = engine.open_or_create_topic(TopicSpec::new("b").flush(Flush::Async)).unwrap();
        assert_eq!((same.partitions(), same.flush()), (3, Flush::Sync));
        same.partition(2).unwrap().append(Record::new(b"x")).unwrap();
        let before = engine.topics();
        engine.close(DEADLINE).unwrap();
        drop((engine, same));
        let engine = options.clone().open(dir).unwrap();
        let after = engine.topics();
        assert_eq!(after, before);
        let names: Vec<_> = after.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let ends: Vec<_> = after[1].partitions.iter().map(|p| (p.end.0, p.durable_end.0)).collect();
        assert_eq!(ends, [(0, 0), (0, 0), (1, 1)]);
    });
}

#[test]
fn a_topic_made_again_is_a_fresh_one_and_old_handles_do_not_reach_it() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for class in CLASSES {
            let spec = || TopicSpec::new("t").flush(class);
            let old = engine.create_topic(spec()).unwrap();
            let old_partition = old.partition(0).unwrap();
            append_numbered(&old_partition, 0..10, 100);
            let mut reader = old_partition.reader(Start::Earliest).unwrap();
            engine.delete_topic("t").unwrap();
            let new = engine.create_topic(spec()).unwrap();
            assert_ne!(new.uuid(), old.uuid());
            let new_partition = new.partition(0).unwrap();
            assert_eq!(new_partition.info().unwrap().end, Offset(0));
            let unknown = |error| matches!(error, Error::UnknownTopic { .. });
            assert!(unknown(old_partition.append(Record::new(b"x")).unwrap_err()));
            assert!(unknown(old_partition.info().unwrap_err()));
            assert!(unknown(old_partition.trim(Offset(1)).unwrap_err()));
            assert!(unknown(old_partition.reader(Start::Earliest).unwrap_err()));
            assert!(unknown(old.describe().unwrap_err()));
            assert!(unknown(reader.next_timeout(DEADLINE).unwrap_err()));
            assert_eq!(new_partition.append(Record::new(b"new")).unwrap(), Offset(0));
            engine.delete_topic("t").unwrap();
        }
        engine.create_topic(TopicSpec::new("t")).unwrap();
        drop(engine);
        let engine = options.clone().open(dir).unwrap();
        assert!(
            values(&engine.topic("t").unwrap().partition(0).unwrap(), Start::Earliest).is_empty()
        );
    });
}

#[test]
fn many_threads_make_and_delete_topics() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let engine = &engine;
                scope.spawn(move || make_and_delete(engine, thread));
            }
        });
        let before: Vec<_> = engine.topics().iter().map(|topic| topic.uuid).collect();
        assert_eq!(before.len(), 5);
        drop(engine);
        let engine = options.clone().open(dir).unwrap();
        assert_eq!(engine.topics().iter().map(|topic| topic.uuid).collect::<Vec<_>>(), before);
    });
}

fn make_and_delete(engine: &Engine, thread: usize) {
    let shared = TopicSpec::new("shared").partitions(4);
    let shared = engine.open_or_create_topic(shared).unwrap().partition(thread as u32).unwrap();
    for round in 0..10 {
        let name = format!("t{thread}");
        let spec = TopicSpec::new(&name).flush(CLASSES[(thread + round) % 2]);
        let partition = engine.create_topic(spec).unwrap().partition(0).unwrap();
        assert_eq!(partition.append(Record::new(b"x")).unwrap(), Offset(0));
        shared.append(Record::new(b"x")).unwrap();
        if round < 9 {
            engine.delete_topic(&name).unwrap();
        }
    }
    assert_eq!(shared.info().unwrap().end, Offset(10));
}

#[test]
fn the_counters_add_up() {
    on_each_class(&small(), |engine, partition, class| {
        let find = |engine: &Engine| {
            let logs = engine.metrics().logs;
            logs.into_iter()
                .filter(|log| log.flush == class)
                .max_by_key(|log| log.log.clone())
                .unwrap()
        };
        let before = find(engine);
        append_numbered(partition, 0..100, 1000);
        let records = [Record::new(b"a"), Record::new(b"b")];
        let options = ringlog::AppendOptions::default().ack(ringlog::Ack::Durable);
        partition.append_with(&records, options).unwrap();
        let after = find(engine);
        assert_eq!(after.appends - before.appends, 101);
        assert_eq!(after.records - before.records, 102);
        assert!((100_000..150_000).contains(&(after.bytes - before.bytes)), "{after:?}");
        let groups = after.groups - before.groups;
        let expected = if class == Flush::Sync { 1..=101 } else { 1..=20 };
        assert!(expected.contains(&groups), "{groups} groups");
        assert_eq!(after.group_records - before.group_records, 102);
        assert!(after.group_bytes - before.group_bytes >= after.bytes - before.bytes);
        assert!(after.flush_latency.count > before.flush_latency.count);
        assert!(after.flush_latency.p50_us <= after.flush_latency.max_us);
        assert_eq!(after.durable_end, after.written_end.min(after.durable_end));
        assert!(after.queued_bytes <= 4096, "{after:?}");
        assert!(after.stopped.is_none() && after.upkeep_error.is_none());
    });
}

#[test]
fn stat_says_what_was_chosen() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        partition(&engine, "t", Flush::Sync);
        let stat = engine.stat();
        assert_eq!(stat.topics.len(), 1);
        assert_eq!(stat.path, dir);
        assert!(["io_uring", "pwritev2"].contains(&stat.capabilities.driver.as_str()));
        assert_eq!(stat.capabilities.logs.len(), 2);
    });
}
