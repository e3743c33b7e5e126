//! Beside a writer of the same process: everything in order, through laps, rolls, trims, new and
//! deleted topics, restarts; and nothing is written.

use ringlog::{Engine, Error, Flush, Offset, Record, Start, TopicSpec};

use super::{
    BACKENDS, CLASSES, DEADLINE, append, earliest, eventually, partition, read_up_to, reading,
    small, spec,
};

#[test]
fn a_reader_sees_everything_in_order_through_laps_and_rolls() {
    for backend in BACKENDS {
        for class in CLASSES {
            let dir = tempfile::tempdir().unwrap();
            let writer = small().backend(backend).open(dir.path()).unwrap();
            let topic = writer.create_topic(spec(class)).unwrap().partition(0).unwrap();
            append(&topic, 0..50);
            let engine = reading(dir.path());
            let mut reader = earliest(&partition(&engine, class));
            read_up_to(&mut reader, 50);
            std::thread::scope(|scope| {
                scope.spawn(|| append(&topic, 50..2000));
                read_up_to(&mut reader, 2000);
            });
            read_up_to(&mut earliest(&partition(&engine, class)), 2000);
            writer.close(DEADLINE).unwrap();
            // Without a writer, and for another that begins now.
            read_up_to(&mut earliest(&partition(&engine, class)), 2000);
            read_up_to(&mut earliest(&partition(&reading(dir.path()), class)), 2000);
            let writer = small().backend(backend).open(dir.path()).unwrap();
            append(&partition(&writer, class), 2000..2300);
            read_up_to(&mut reader, 2300);
            engine.close(DEADLINE).unwrap();
            assert!(matches!(reader.next_batch(), Err(Error::Closed { .. })));
            writer.close(DEADLINE).unwrap();
        }
    }
}

#[test]
fn what_is_written_with_another_ring_is_seen_too() {
    for class in CLASSES {
        let dir = tempfile::tempdir().unwrap();
        let writer = small().open(dir.path()).unwrap();
        append(&writer.create_topic(spec(class)).unwrap().partition(0).unwrap(), 0..100);
        let engine = reading(dir.path());
        let mut reader = earliest(&partition(&engine, class));
        read_up_to(&mut reader, 100);
        for (round, ring) in [128 << 10, 64 << 10, 256 << 10].into_iter().enumerate() {
            let (from, to) = (100 + 200 * round as u64, 300 + 200 * round as u64);
            if round == 0 {
                writer.close(DEADLINE).unwrap();
            }
            let writer = small().ring_bytes(ring).open(dir.path()).unwrap();
            std::thread::scope(|scope| {
                let topic = partition(&writer, class);
                scope.spawn(move || append(&topic, from..to));
                read_up_to(&mut reader, to);
            });
            writer.close(DEADLINE).unwrap();
        }
    }
}

#[test]
fn values_larger_than_the_ring_take_are_seen() {
    for class in CLASSES {
        let dir = tempfile::tempdir().unwrap();
        let writer = small().open(dir.path()).unwrap();
        let topic = writer.create_topic(spec(class)).unwrap().partition(0).unwrap();
        let engine = reading(dir.path());
        let mut reader = earliest(&partition(&engine, class));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..60u8 {
                    let len = if number % 3 == 0 { 30_000 } else { 700 };
                    topic.append(Record::new(&vec![number; len])).unwrap();
                }
            });
            for number in 0..60u8 {
                let batch = reader.next_timeout(DEADLINE).unwrap().unwrap();
                let record = batch.iter().next().unwrap().unwrap();
                assert!(record.value().unwrap().iter().all(|byte| *byte == number));
            }
        });
    }
}

#[test]
fn topics_that_come_and_go_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let writer = small().open(dir.path()).unwrap();
    let engine = reading(dir.path());
    assert!(engine.topics().is_empty());
    assert!(matches!(engine.topic("a"), Err(Error::UnknownTopic { .. })));
    for round in 0..3 {
        for class in CLASSES {
            let name = format!("a-{class}");
            let spec = TopicSpec::new(&name).partitions(3).flush(class);
            let topic = writer.create_topic(spec).unwrap();
            topic.partition(2).unwrap().append(Record::new(b"x")).unwrap();
            let seen = engine.topic(&name).unwrap();
            assert_eq!((seen.uuid(), seen.partitions()), (topic.uuid(), 3));
            let mut empty = earliest(&seen.partition(0).unwrap());
            assert!(empty.next_batch().unwrap().is_none());
            let mut reader = earliest(&seen.partition(2).unwrap());
            assert!(reader.next_timeout(DEADLINE).unwrap().is_some(), "round {round}");
            std::thread::scope(|scope| {
                let sleeper = scope.spawn(move || reader.next_timeout(DEADLINE));
                writer.delete_topic(&name).unwrap();
                let told = sleeper.join().unwrap();
                assert!(matches!(told, Err(Error::UnknownTopic { .. })), "{told:?}");
            });
            assert!(matches!(engine.topic(&name), Err(Error::UnknownTopic { .. })));
        }
    }
    assert!(engine.topics().is_empty());
}

#[test]
fn trims_are_seen_and_segments_that_go_are_no_damage() {
    for class in CLASSES {
        let dir = tempfile::tempdir().unwrap();
        let writer = small().open(dir.path()).unwrap();
        let topic = writer.create_topic(spec(class)).unwrap().partition(0).unwrap();
        append(&topic, 0..600);
        let engine = reading(dir.path());
        let seen = partition(&engine, class);
        let mut behind = earliest(&seen);
        assert!(behind.next_batch().unwrap().is_some());
        let mut there = seen.reader(Start::Offset(Offset(590))).unwrap();
        topic.trim(Offset(550)).unwrap();
        eventually("a removal", || {
            let log = writer.metrics().logs.pop().unwrap();
            log.segments_recycled + log.segments_removed > 2
        });
        eventually("the trim", || seen.info().unwrap().log_start == Offset(550));
        // What it has in its window it may still give.
        let told = loop {
            match behind.next_batch() {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        let start = Offset(550);
        assert!(matches!(told, Err(Error::OffsetOutOfRange { start: s, .. }) if s == start));
        read_up_to(&mut there, 600);
        append(&topic, 600..700);
        read_up_to(&mut there, 700);
        read_up_to(&mut earliest(&seen), 700);
    }
}

#[test]
fn a_reader_left_far_behind_is_told_so() {
    for class in CLASSES {
        let dir = tempfile::tempdir().unwrap();
        let writer = small().open(dir.path()).unwrap();
        let topic = writer.create_topic(spec(class)).unwrap().partition(0).unwrap();
        append(&topic, 0..10);
        let engine = reading(dir.path());
        let mut reader = earliest(&partition(&engine, class));
        read_up_to(&mut reader, 10);
        // Nobody follows meanwhile: all of what it has not walked goes.
        append(&topic, 10..1000);
        topic.trim(Offset(1000)).unwrap();
        append(&topic, 1000..1100);
        topic.trim(Offset(1050)).unwrap();
        append(&topic, 1100..1200);
        eventually("a removal", || {
            let log = writer.metrics().logs.pop().unwrap();
            log.segments_recycled + log.segments_removed > 5
        });
        let told = reader.next_batch();
        assert!(matches!(told, Err(Error::OffsetOutOfRange { .. })), "{told:?}");
        reader.seek(Start::Earliest).unwrap();
        assert_eq!(reader.next_offset(), Offset(1050));
        read_up_to(&mut reader, 1200);
    }
}

#[test]
fn nothing_can_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    let writer = small().open(dir.path()).unwrap();
    writer.create_topic(spec(Flush::Async)).unwrap();
    let engine = reading(dir.path());
    let topic = partition(&engine, Flush::Async);
    let read_only = |error: Error| assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
    read_only(topic.append(Record::new(b"x")).unwrap_err());
    read_only(topic.try_append(Record::new(b"x")).unwrap_err());
    read_only(topic.append_async(Record::new(b"x")).wait().unwrap_err());
    read_only(engine.create_topic(TopicSpec::new("u")).unwrap_err());
    read_only(engine.open_or_create_topic(TopicSpec::new("u")).unwrap_err());
    read_only(engine.delete_topic("t-async").unwrap_err());
    engine.open_or_create_topic(spec(Flush::Async)).unwrap();
    append(&partition(&writer, Flush::Async), 0..1);
    read_only(topic.trim(Offset(1)).unwrap_err());
    engine.flush(DEADLINE).unwrap();
    drop(writer);
    let made = Engine::options().read_only(true).open(dir.path().join("nothing"));
    assert!(made.is_err() && !dir.path().join("nothing").exists());
    let empty = tempfile::tempdir().unwrap();
    let refused = Engine::options().read_only(true).open(empty.path()).unwrap_err();
    assert!(matches!(refused, Error::NotADataDirectory { .. }), "{refused:?}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}
