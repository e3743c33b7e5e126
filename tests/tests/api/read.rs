//! Readers: where they start, what they give, and that nothing that happens beside them shows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringlog::{Error, Flush, Offset, Partition, Record, Start};

use super::{DEADLINE, append_numbered, number, on_each, on_each_class, partition, small, value};

#[test]
fn readers_start_where_they_are_told() {
    on_each_class(&small(), |_, partition, _| {
        append_numbered(partition, 0..300, 500);
        partition.trim(Offset(100)).unwrap();
        let first = |start| {
            let reader = partition.reader(start).unwrap();
            reader.records().next().map(|record| number(&record.unwrap().value.unwrap()))
        };
        assert_eq!(first(Start::Earliest), Some(100));
        assert_eq!(first(Start::Latest), None);
        for offset in [100, 101, 299] {
            assert_eq!(first(Start::Offset(Offset(offset))), Some(offset));
        }
        assert_eq!(first(Start::Offset(Offset(300))), None);
        for outside in [0, 99, 301, u64::MAX] {
            let refused = partition.reader(Start::Offset(Offset(outside))).unwrap_err();
            let (start, end) = (Offset(100), Offset(300));
            let typed = matches!(
                refused, Error::OffsetOutOfRange { start: s, end: e, .. } if (s, e) == (start, end)
            );
            assert!(typed, "{refused:?}");
        }
    });
}

#[test]
fn seek_goes_anywhere_and_a_refused_one_leaves_the_reader_where_it_was() {
    on_each_class(&small().batch_bytes(0), |_, partition, _| {
        append_numbered(partition, 0..300, 500);
        let mut reader = partition.reader(Start::Earliest).unwrap();
        for target in [250, 3, 299, 0, 150, 151, 149] {
            reader.seek(Start::Offset(Offset(target))).unwrap();
            assert!(reader.seek(Start::Offset(Offset(301))).is_err());
            assert_eq!(reader.next_offset(), Offset(target));
            let batch = reader.next_batch().unwrap().unwrap();
            assert_eq!(batch.base_offset(), Offset(target));
        }
        reader.seek(Start::Latest).unwrap();
        assert!(reader.next_batch().unwrap().is_none());
        append_numbered(partition, 300..301, 10);
        assert_eq!(reader.next_batch().unwrap().unwrap().base_offset(), Offset(300));
    });
}

#[test]
fn a_batch_is_given_whole_and_its_records_begin_at_the_offset_asked_for() {
    on_each_class(&small(), |_, partition, _| {
        let values: Vec<_> = (0..10).map(|at| value(at, 20)).collect();
        let records: Vec<_> = values.iter().map(|value| Record::new(value)).collect();
        partition.append_many(&records).unwrap();
        partition.append_many(&records).unwrap();
        let mut reader = partition.reader(Start::Offset(Offset(7))).unwrap().verify(false);
        let batch = reader.next_batch().unwrap().unwrap();
        assert_eq!((batch.base_offset(), batch.last_offset()), (Offset(0), Offset(9)));
        let offsets: Vec<_> = batch.iter().map(|record| record.unwrap().offset().0).collect();
        assert_eq!(offsets, [7, 8, 9]);
        assert_eq!(reader.next_offset(), Offset(10));
        let all: Vec<_> = partition.reader(Start::Offset(Offset(15))).unwrap().records().collect();
        assert_eq!(all.len(), 5);
    });
}

#[test]
fn readers_racing_with_appends_see_every_record_once_and_in_order() {
    // Small records, so that group padding and the ring's edge are met at every distance.
    for (count, len) in [(30_000, 40), (8_000, 1000), (300, 20 << 10)] {
        on_each(&small().segment_bytes(256 << 10), |options, dir| {
            let engine = options.clone().open(dir).unwrap();
            let partition = partition(&engine, "t", Flush::Async);
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                let reads: Vec<_> = (0..3)
                    .map(|lag| {
                        let (partition, done) = (&partition, &done);
                        scope.spawn(move || read_all(partition, count, lag, done))
                    })
                    .collect();
                append_numbered(&partition, 0..count, len);
                done.store(true, Ordering::SeqCst);
                for read in reads {
                    read.join().unwrap();
                }
            });
            engine.close(DEADLINE).unwrap();
        });
    }
}

/// Reads `count` records while they come; a lag keeps it near the ring's far end.
fn read_all(partition: &Partition, count: usize, lag: u64, done: &AtomicBool) {
    let mut reader = partition.reader(Start::Earliest).unwrap();
    let mut next = 0;
    while next < count as u64 {
        // In bytes of the smallest records: most of a ring behind, and all of it.
        let end = partition.info().unwrap().end.0;
        if lag > 0 && end - next < 450 + 50 * lag && !done.load(Ordering::SeqCst) {
            thread::yield_now();
            continue;
        }
        let Some(batch) = reader.next_timeout(DEADLINE).unwrap() else { panic!("nothing came") };
        for record in &batch {
            assert_eq!(number(record.unwrap().value().unwrap()), next);
            next += 1;
        }
    }
}

#[test]
fn readers_racing_with_trims_see_the_records_or_that_they_are_gone() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Async);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for verify in [true, false] {
                let (partition, done) = (&partition, &done);
                scope.spawn(move || read_what_is_there(partition, verify, done));
            }
            for round in 1..=60u64 {
                append_numbered(&partition, round as usize * 50 - 50..round as usize * 50, 2000);
                partition.trim(Offset((round * 50).saturating_sub(100))).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        let retired = || {
            let log = engine.metrics().logs.pop().unwrap();
            log.segments_recycled + log.segments_removed
        };
        // Upkeep may lie behind.
        let end = Instant::now() + DEADLINE;
        while retired() == 0 {
            assert!(Instant::now() < end, "{:?}", engine.metrics());
            thread::sleep(Duration::from_millis(5));
        }
        engine.close(DEADLINE).unwrap();
    });
}

fn read_what_is_there(partition: &Partition, verify: bool, done: &AtomicBool) {
    let mut reader = partition.reader(Start::Earliest).unwrap().verify(verify);
    while !done.load(Ordering::SeqCst) {
        let from = reader.next_offset().0;
        match reader.next_batch() {
            Ok(Some(batch)) => {
                let record = batch.iter().next().unwrap().unwrap();
                assert_eq!(record.offset().0, from);
                assert_eq!(number(record.value().unwrap()), from);
                assert!(record.value().unwrap()[8..].iter().all(|byte| *byte == from as u8));
            }
            Ok(None) => thread::yield_now(),
            Err(Error::OffsetOutOfRange { .. }) => reader.seek(Start::Earliest).unwrap_or(()),
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn a_reader_keeps_the_segment_it_stands_in_from_being_reused() {
    on_each_class(&small().batch_bytes(0), |_, partition, _| {
        append_numbered(partition, 0..200, 2000);
        let mut reader = partition.reader(Start::Earliest).unwrap();
        assert!(reader.next_batch().unwrap().is_some());
        partition.trim(Offset(150)).unwrap();
        append_numbered(partition, 200..600, 2000);
        // What it still gives is what was there; then it is told that the rest is gone.
        let mut next = 1;
        loop {
            match reader.next_batch() {
                Ok(Some(batch)) => {
                    let record = batch.iter().next().unwrap().unwrap();
                    assert_eq!(number(record.value().unwrap()), next);
                    next += 1;
                }
                Ok(None) | Err(Error::OffsetOutOfRange { .. }) => break,
                Err(error) => panic!("{error:?}"),
            }
        }
    });
}
