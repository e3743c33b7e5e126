//! The completion queue: exactly one completion for each submission, whatever happens.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use ringlog::{
    Ack, AppendOptions, Batch, Completion, CompletionQueue, Engine, Error, Flush, Offset, Outcome,
    PartitionId, Record, Start, Topic, TopicReader, TopicSpec,
};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::{CLASSES, DEADLINE, KIB, number, on_each, on_each_class, partition, small, value};

/// Polls until there have been `count`.
fn gather(queue: &CompletionQueue, count: usize) -> Vec<Completion> {
    let mut out = Vec::new();
    let end = Instant::now() + DEADLINE;
    while out.len() < count {
        assert!(Instant::now() < end, "{} of {count} completions", out.len());
        queue.poll(&mut out, 100, DEADLINE).unwrap();
    }
    out
}

fn is_readable(queue: &CompletionQueue, timeout: Duration) -> bool {
    let fd = queue.fd();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&Timespec::try_from(timeout).unwrap())).unwrap() == 1
}

#[test]
fn each_submission_completes_once_with_its_offset() {
    for level in [Ack::Written, Ack::Durable] {
        on_each_class(&small(), |engine, partition, _| {
            let queue = engine.completion_queue(64).unwrap();
            let options = AppendOptions::default().ack(level);
            let (mut sent, mut done) = (0, Vec::new());
            while done.len() < 2000 {
                while sent < 2000 {
                    let value = value(sent, 100 + sent % 1000);
                    let records = [Record::new(&value)];
                    match partition.submit_append(&queue, &records, options, sent as u64) {
                        Ok(()) => sent += 1,
                        Err(Error::QueueFull { capacity: 64 }) => break,
                        Err(other) => panic!("{other}"),
                    }
                }
                queue.poll(&mut done, 50, DEADLINE).unwrap();
            }
            assert_eq!(queue.outstanding(), 0);
            let tags: BTreeSet<u64> = done.iter().map(|completion| completion.tag).collect();
            assert_eq!(tags.len(), 2000);
            for completion in done {
                let Outcome::Append { partition, result } = completion.outcome else { panic!() };
                assert_eq!(partition.0, 0);
                assert_eq!(result.unwrap().first, Offset(completion.tag));
            }
            let reader = partition.reader(Start::Earliest).unwrap();
            for (at, record) in reader.records().enumerate() {
                assert_eq!(number(&record.unwrap().value.unwrap()), at as u64);
            }
        });
    }
}

#[test]
fn many_threads_submit_and_one_polls() {
    on_each_class(&small(), |engine, partition, _| {
        let queue = engine.completion_queue(10_000).unwrap();
        thread::scope(|scope| {
            for thread in 0..8 {
                let (queue, partition) = (&queue, partition.clone());
                scope.spawn(move || {
                    for at in 0..500 {
                        let tag = thread * 500 + at;
                        let value = value(tag, 64);
                        let records = [Record::new(&value)];
                        let options = AppendOptions::default().ack(Ack::Durable);
                        partition.submit_append(queue, &records, options, tag as u64).unwrap();
                    }
                });
            }
            let done = gather(&queue, 4000);
            let tags: BTreeSet<u64> = done.iter().map(|completion| completion.tag).collect();
            assert_eq!(tags.len(), 4000);
        });
    });
}

#[test]
fn the_descriptor_tells_when_to_poll() {
    on_each_class(&small(), |engine, partition, _| {
        let queue = engine.completion_queue(10).unwrap();
        assert!(!is_readable(&queue, Duration::ZERO));
        for tag in 0..100 {
            let records = [Record::new(b"x")];
            partition.submit_append(&queue, &records, AppendOptions::default(), tag).unwrap();
            assert!(is_readable(&queue, DEADLINE));
            let mut out = Vec::new();
            let end = Instant::now() + DEADLINE;
            while out.is_empty() && Instant::now() < end {
                queue.poll(&mut out, 10, Duration::ZERO).unwrap();
            }
            assert_eq!(out.len(), 1);
            let mut rest = Vec::new();
            queue.poll(&mut rest, 10, Duration::ZERO).unwrap();
            assert!(rest.is_empty() && !is_readable(&queue, Duration::ZERO));
        }
        // What is left over after a poll that took fewer keeps it readable.
        for tag in 0..4 {
            let records = [Record::new(b"x")];
            partition.submit_append(&queue, &records, AppendOptions::default(), tag).unwrap();
        }
        engine.flush(DEADLINE).unwrap();
        let mut out = Vec::new();
        queue.poll(&mut out, 1, DEADLINE).unwrap();
        assert!(out.len() == 1 && is_readable(&queue, DEADLINE));
        assert_eq!(gather(&queue, 3).len(), 3);
    });
}

#[test]
fn a_reader_comes_back_with_what_was_appended_later() {
    on_each_class(&small(), |engine, partition, class| {
        let queue = engine.completion_queue(10).unwrap();
        let mut reader = Some(partition.reader(Start::Earliest).unwrap());
        for at in 0..200 {
            queue.submit_read(reader.take().unwrap(), 7).unwrap();
            if at % 3 == 0 {
                let mut out = Vec::new();
                queue.poll(&mut out, 1, Duration::ZERO).unwrap();
                assert!(out.is_empty(), "nothing was appended yet ({class})");
            }
            partition.append(Record::new(&value(at, 50))).unwrap();
            let done = gather(&queue, 1).remove(0);
            assert_eq!(done.tag, 7);
            let Outcome::Read { reader: back, result } = done.outcome else { panic!() };
            assert_eq!(result.unwrap().base_offset(), Offset(at as u64));
            reader = Some(*back);
        }
    });
}

#[test]
fn a_flush_makes_what_came_before_durable() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let queue = engine.completion_queue(10).unwrap();
        engine.submit_flush(&queue, 1).unwrap();
        assert_eq!(gather(&queue, 1)[0].tag, 1);
        let partitions = CLASSES.map(|class| partition(&engine, "t", class));
        for round in 0..20 {
            for partition in &partitions {
                for _ in 0..10 {
                    let options = AppendOptions::default().ack(Ack::Written);
                    partition.append_with(&[Record::new(&[7; KIB])], options).unwrap();
                }
            }
            if round % 2 == 0 {
                engine.submit_flush(&queue, 2).unwrap();
                let Outcome::Flush(result) = gather(&queue, 1).remove(0).outcome else { panic!() };
                result.unwrap();
                assert_eq!(queue.outstanding(), 0);
            } else {
                engine.flush(DEADLINE).unwrap();
            }
            for partition in &partitions {
                let info = partition.info().unwrap();
                assert_eq!((info.durable_end, info.end.0), (info.end, (round + 1) * 10));
            }
        }
    });
}

#[test]
fn closing_completes_what_is_outstanding() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Async);
        let queue = engine.completion_queue(100).unwrap();
        queue.submit_read(partition.reader(Start::Latest).unwrap(), 0).unwrap();
        for tag in 1..50 {
            let options = AppendOptions::default().ack(Ack::Durable);
            partition.submit_append(&queue, &[Record::new(b"x")], options, tag).unwrap();
        }
        engine.close(DEADLINE).unwrap();
        for completion in gather(&queue, 50) {
            match completion.outcome {
                Outcome::Append { result, .. } => drop(result.unwrap()),
                Outcome::Read { result, .. } => {
                    let closed = matches!(result, Ok(_) | Err(Error::Closed { .. }));
                    assert!(closed);
                }
                other => panic!("{other:?}"),
            }
        }
        let refused = partition.submit_append(&queue, &[Record::new(b"x")], <_>::default(), 9);
        assert!(matches!(refused, Err(Error::Closed { outcome_unknown: false })));
        assert!(matches!(engine.submit_flush(&queue, 9), Err(Error::Closed { .. })));
        assert_eq!(queue.outstanding(), 0);
    });
}

#[test]
fn a_poll_ends_when_it_is_woken() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let queue = engine.completion_queue(1).unwrap();
        thread::scope(|scope| {
            let poller = scope.spawn(|| queue.poll(&mut Vec::new(), 1, DEADLINE).unwrap());
            thread::sleep(Duration::from_millis(20));
            queue.wake();
            assert_eq!(poller.join().unwrap(), 0);
        });
        queue.wake();
        let started = Instant::now();
        assert_eq!(queue.poll(&mut Vec::new(), 1, DEADLINE).unwrap(), 0, "woken before it began");
        assert!(started.elapsed() < DEADLINE);
        assert!(queue.fd().as_fd().try_clone_to_owned().is_ok());
    });
}

#[test]
fn what_is_refused_is_not_submitted() {
    on_each_class(&small(), |engine, partition, _| {
        let queue = engine.completion_queue(1).unwrap();
        let too_large = vec![0; 64 * KIB];
        let submit = |records: &[Record<'_>]| {
            partition.submit_append(&queue, records, AppendOptions::default(), 0)
        };
        assert!(matches!(submit(&[Record::new(&too_large)]), Err(Error::TooLarge { .. })));
        assert!(matches!(submit(&[]), Err(Error::InvalidArgument { .. })));
        assert_eq!(queue.outstanding(), 0);
        submit(&[Record::new(b"x")]).unwrap();
        assert!(matches!(submit(&[Record::new(b"x")]), Err(Error::QueueFull { capacity: 1 })));
        gather(&queue, 1);
        assert!(matches!(engine.completion_queue(0), Err(Error::InvalidArgument { .. })));
        assert_eq!(partition.info().unwrap().end, Offset(1));
        // A reader comes back where it was.
        let reader = partition.reader(Start::Latest).unwrap();
        queue.submit_read(partition.reader(Start::Latest).unwrap(), 1).unwrap();
        let refused = queue.submit_read(reader, 2).unwrap_err();
        assert!(matches!(refused.error, Error::QueueFull { capacity: 1 }));
        assert_eq!(refused.reader.next_offset(), Offset(1));
    });
}

fn topic(engine: &Engine, class: Flush, partitions: u32) -> Topic {
    let spec = TopicSpec::new(format!("all-{class}")).partitions(partitions).flush(class);
    engine.open_or_create_topic(spec).unwrap()
}

fn topic_read(completion: Completion) -> (Box<TopicReader>, ringlog::Result<Batch>) {
    let Outcome::TopicRead { reader, result } = completion.outcome else { panic!() };
    (reader, result)
}

#[test]
fn a_reader_of_a_topic_comes_back_with_what_any_partition_got() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().shards(2).open(dir).unwrap();
        for class in CLASSES {
            let topic = topic(&engine, class, 5);
            let queue = engine.completion_queue(10).unwrap();
            let mut reader = Box::new(topic.reader(Start::Earliest).unwrap());
            let mut ends = [0; 5];
            for at in 0..200 {
                queue.submit_topic_read(reader, 7).unwrap();
                if at % 3 == 0 {
                    let mut out = Vec::new();
                    queue.poll(&mut out, 1, Duration::ZERO).unwrap();
                    assert!(out.is_empty(), "nothing was appended yet ({class})");
                }
                let number = at * 7 % 5;
                let partition = topic.partition(number as u32).unwrap();
                partition.append(Record::new(&value(at, 50))).unwrap();
                let done = gather(&queue, 1).remove(0);
                assert_eq!(done.tag, 7);
                let (back, result) = topic_read(done);
                let batch = result.unwrap();
                assert_eq!(batch.partition().0, number as u32);
                assert_eq!(batch.base_offset(), Offset(ends[number]));
                ends[number] += 1;
                reader = back;
            }
            assert_eq!(queue.outstanding(), 0);
        }
        engine.close(DEADLINE).unwrap();
    });
}

/// Appends race with the registration of the reader: none may be missed.
#[test]
fn a_reader_of_a_topic_in_a_queue_misses_nothing_of_many_writers() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let topic = topic(&engine, Flush::Async, 4);
        let queue = engine.completion_queue(1).unwrap();
        let mut reader = Box::new(topic.reader(Start::Earliest).unwrap());
        thread::scope(|scope| {
            for number in 0..4 {
                let partition = topic.partition(number).unwrap();
                scope.spawn(move || {
                    for at in 0..500 {
                        partition.append(Record::new(&value(at, 40))).unwrap();
                        if at % 16 == 0 {
                            thread::yield_now();
                        }
                    }
                });
            }
            let mut ends = [0; 4];
            while ends.iter().sum::<u64>() < 2000 {
                queue.submit_topic_read(reader, 0).unwrap();
                let (back, result) = topic_read(gather(&queue, 1).remove(0));
                let batch = result.unwrap();
                let end = &mut ends[batch.partition().0 as usize];
                assert_eq!(batch.base_offset(), Offset(*end));
                *end = batch.last_offset().0 + 1;
                reader = back;
            }
        });
    });
}

#[test]
fn a_reader_of_a_topic_is_refused_by_a_full_queue_and_completed_by_the_close() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let topic = topic(&engine, Flush::Sync, 3);
        topic.partition(1).unwrap().append(Record::new(b"x")).unwrap();
        let queue = engine.completion_queue(1).unwrap();
        queue.submit_topic_read(topic.reader(Start::Latest).unwrap(), 1).unwrap();
        let mut second = topic.reader(Start::Earliest).unwrap();
        assert_eq!(second.next_batch().unwrap().unwrap().0.0, 1);
        let mut refused = queue.submit_topic_read(second, 2).unwrap_err();
        assert!(matches!(refused.error, Error::QueueFull { capacity: 1 }));
        assert_eq!(refused.reader.next_offset(PartitionId(1)).unwrap(), Offset(1));
        engine.close(DEADLINE).unwrap();
        let done = gather(&queue, 1).remove(0);
        assert_eq!(done.tag, 1);
        assert!(matches!(topic_read(done).1, Err(Error::Closed { .. })));
    });
}
