//! The end of an engine: closed, dropped, outlived.

use std::pin::Pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use ringlog::{
    Ack, AppendFuture, AppendOptions, Engine, Error, Flush, Offset, Partition, Record, Start,
    TopicSpec,
};

use super::{
    CLASSES, DEADLINE, append_numbered, number, on_each, on_each_class, partition, small, values,
};

fn is_closed<T: std::fmt::Debug>(result: ringlog::Result<T>) {
    let closed = matches!(result, Err(Error::Closed { outcome_unknown: false }));
    assert!(closed, "{result:?}");
}

#[test]
fn every_call_on_a_closed_engine_says_so() {
    on_each(&small(), |options, dir| {
        for class in CLASSES {
            let engine = options.clone().open(dir).unwrap();
            let topic = engine.open_or_create_topic(TopicSpec::new("t").flush(class)).unwrap();
            let partition = topic.partition(0).unwrap();
            append_numbered(&partition, 0..3, 10);
            let mut reader = partition.reader(Start::Earliest).unwrap();
            engine.close(DEADLINE).unwrap();
            engine.close(DEADLINE).unwrap();
            let record = || Record::new(b"x");
            is_closed(partition.append(record()));
            is_closed(partition.try_append(record()));
            is_closed(partition.append_many(&[record()]));
            is_closed(partition.append_async(record()).wait());
            is_closed(partition.trim(Offset(1)));
            is_closed(engine.create_topic(TopicSpec::new("new")));
            is_closed(engine.open_or_create_topic(TopicSpec::new("new")));
            is_closed(engine.delete_topic("t"));
            is_closed(reader.next_batch());
            is_closed(reader.next_timeout(DEADLINE));
            let Err(refused) = reader.follow().next().unwrap() else { panic!("a closed follow") };
            is_closed::<()>(Err(refused));
            // These only tell what is known, and touch no file.
            assert_eq!(engine.topics().len(), 1);
            let _ = (topic.describe(), partition.info(), engine.metrics(), engine.stat());
            drop(engine);
            // Another has the directory now; the old handles still touch nothing of it.
            let again = options.clone().open(dir).unwrap();
            is_closed(partition.append(record()));
            let there = again.topic("t").unwrap().partition(0).unwrap();
            assert_eq!(values(&there, Start::Earliest).len(), 3);
            again.delete_topic("t").unwrap();
            again.close(DEADLINE).unwrap();
        }
    });
}

#[test]
fn handles_keep_the_engine_open_and_the_last_one_closes_it() {
    on_each(&small(), |options, dir| {
        let partition = partition(&options.clone().open(dir).unwrap(), "t", Flush::Async);
        append_numbered(&partition, 0..10, 100);
        let reader = partition.reader(Start::Earliest).unwrap();
        drop(partition);
        assert_eq!(reader.records().count(), 10);
        let again = options.clone().open(dir).unwrap();
        assert!(again.metrics().logs.iter().all(|log| log.recovery.clean));
        let partition = again.topic("t-async").unwrap().partition(0).unwrap();
        assert_eq!(values(&partition, Start::Earliest).len(), 10);
    });
}

#[test]
fn appends_in_flight_at_a_close_are_acknowledged_or_told() {
    on_each_class(&small(), |engine, _, _| drop(engine.clone()));
    on_each(&small(), |options, dir| {
        for round in 0..10 {
            let engine = options.clone().open(dir).unwrap();
            let writers: Vec<_> = (0..4)
                .map(|at| {
                    let partition = partition(&engine, "t", CLASSES[at % 2]);
                    thread::spawn(move || until_closed(&partition))
                })
                .collect();
            let wait = partition(&engine, "t", Flush::Sync);
            while wait.info().unwrap().end.0 < 10 * (round + 1) {
                thread::yield_now();
            }
            engine.close(DEADLINE).unwrap();
            let acknowledged: usize = writers.into_iter().map(|w| w.join().unwrap()).sum();
            drop((engine, wait));
            let engine = options.clone().open(dir).unwrap();
            let found: usize = CLASSES
                .map(|c| values(&partition(&engine, "t", c), Start::Earliest).len())
                .iter()
                .sum();
            assert!(found >= acknowledged, "{found} of {acknowledged}");
            for class in CLASSES {
                engine.delete_topic(&format!("t-{class}")).unwrap();
            }
        }
    });
}

fn until_closed(partition: &Partition) -> usize {
    for done in 0.. {
        match partition.append(Record::new(b"x")) {
            Ok(_) => {}
            Err(Error::Closed { .. }) => return done,
            Err(error) => panic!("{error:?}"),
        }
    }
    unreachable!("the loop has no end")
}

#[test]
fn a_close_while_topics_are_made_leaves_a_directory_that_opens() {
    on_each(&small(), |options, dir| {
        for round in 0..20 {
            let path = dir.join(format!("{round}"));
            let engine = options.clone().open(&path).unwrap();
            let maker = {
                let engine = engine.clone();
                thread::spawn(move || engine.create_topic(TopicSpec::new("t").flush(Flush::Async)))
            };
            if round % 2 == 0 {
                thread::yield_now();
            }
            engine.close(DEADLINE).unwrap();
            let made = maker.join().unwrap();
            if let Ok(topic) = &made {
                is_closed(topic.partition(0).unwrap().append(Record::new(b"x")));
            }
            let was_made = made.is_ok();
            drop((made, engine));
            let again = options.clone().lock_timeout(Duration::ZERO).open(&path).unwrap();
            assert!(!was_made || again.topic("t").is_ok());
        }
    });
}

/// As an executor's task does, holds what it polls; drops it when woken, on the thread that wakes.
struct Task(Mutex<Option<Holds>>, mpsc::Sender<()>);
type Holds = (Engine, Partition, Pin<Box<AppendFuture>>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let held = self.0.lock().unwrap().take();
        drop(held);
        let _ = self.1.send(());
    }
}

#[test]
fn the_last_handle_may_be_dropped_by_a_waker_on_the_shards_thread() {
    on_each(&small(), |options, dir| {
        let (sender, woken) = mpsc::channel();
        let engine = options.clone().open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Async);
        let durable = AppendOptions::default().ack(Ack::Durable);
        let future = Box::pin(partition.append_async_with(&[Record::new(b"x")], durable));
        let task = Arc::new(Task(Mutex::new(Some((engine, partition, future))), sender));
        let pending = {
            let mut held = task.0.lock().unwrap();
            let waker = Waker::from(Arc::clone(&task));
            let future = &mut held.as_mut().unwrap().2;
            future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        };
        if pending {
            woken.recv_timeout(DEADLINE).unwrap();
        }
        drop(task);
        let again = options.clone().lock_timeout(DEADLINE).open(dir).unwrap();
        let there = again.topic("t-async").unwrap().partition(0).unwrap();
        assert_eq!(values(&there, Start::Earliest).len(), 1);
    });
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker of the caller's that panics");
    }
}

#[test]
fn a_waker_that_panics_leaves_nobody_waiting() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Async);
        let options_durable = AppendOptions::default().ack(Ack::Durable);
        let mut future =
            Box::pin(partition.append_async_with(&[Record::new(b"x")], options_durable));
        let waker = Waker::from(Arc::new(Panics));
        let pending = future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        if pending {
            let mut told = partition.append_with(&[Record::new(b"y")], options_durable);
            while told.is_ok() {
                told = partition.append_with(&[Record::new(b"y")], options_durable);
            }
            assert!(matches!(told, Err(Error::Latched { .. })), "{told:?}");
        }
        drop((future, partition, engine));
        let again = options.clone().open(dir).unwrap();
        let there = again.topic("t-async").unwrap().partition(0).unwrap();
        assert!(!values(&there, Start::Earliest).is_empty());
    });
}

#[test]
fn several_engines_of_one_process_do_not_meet() {
    on_each(&small(), |options, dir| {
        let engines: Vec<_> =
            (0..4).map(|at| options.clone().open(dir.join(at.to_string())).unwrap()).collect();
        thread::scope(|scope| {
            for (at, engine) in engines.iter().enumerate() {
                scope.spawn(move || {
                    for class in CLASSES {
                        append_numbered(
                            &partition(engine, "t", class),
                            at * 100..at * 100 + 50,
                            99,
                        );
                    }
                });
            }
        });
        for (at, engine) in engines.iter().enumerate() {
            let found = values(&partition(engine, "t", Flush::Sync), Start::Earliest);
            let numbers: Vec<_> = found.iter().map(|v| number(v.as_ref().unwrap())).collect();
            let wanted: Vec<_> = (at as u64 * 100..at as u64 * 100 + 50).collect();
            assert_eq!(numbers, wanted);
        }
    });
}
