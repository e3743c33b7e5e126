//! Caller-driven mode: no thread of the engine's; an event loop, or the calls that block, turn the
//! shards, each on the thread that did so first.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ringlog::{
    Ack, AppendFuture, AppendOptions, Engine, Error, Flush, Options, Record, Start, TopicSpec,
};
use rustix::event::epoll;

use super::load::alone;
use super::{CLASSES, DEADLINE, append_numbered, number, on_each, partition, small, value, values};

fn driven() -> Options {
    small().caller_driven(true)
}

/// Threads of this process, but for those that the kernel runs for io_uring.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).filter(|name| !name.starts_with("iou-")).count()
}

/// An event loop over the descriptors of all shards.
struct Loop {
    epoll: std::os::fd::OwnedFd,
}

impl Loop {
    fn new(engine: &Engine) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        for shard in 0..engine.shards() {
            let data = epoll::EventData::new_u64(shard as u64);
            epoll::add(&epoll, engine.poll_fd(shard).unwrap(), data, epoll::EventFlags::IN)
                .unwrap();
        }
        Self { epoll }
    }

    /// Sleeps until a shard is due, and turns it without waiting; how many there were.
    fn turn(&self, engine: &Engine, timeout: Duration) -> usize {
        let mut events = Vec::with_capacity(8);
        let timeout = rustix::event::Timespec::try_from(timeout).unwrap();
        let space = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, space, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("{error}"),
        }
        for event in &events {
            engine.run_once(event.data.u64() as usize, Duration::ZERO).unwrap();
        }
        events.len()
    }

    /// Until these are acknowledged.
    fn settle(&self, engine: &Engine, flights: &mut [AppendFuture]) {
        let started = Instant::now();
        while !flights.iter_mut().all(AppendFuture::is_done) {
            self.turn(engine, Duration::from_secs(1));
            assert!(started.elapsed() < DEADLINE, "the descriptor leaves work undone");
        }
    }
}

#[test]
fn one_thread_appends_and_reads_through_an_event_loop() {
    alone("caller::one_thread_appends_and_reads_through_an_event_loop", || {
        // The test harness has a thread for itself and one for the test.
        let before = threads();
        for shards in [1, 2] {
            on_each(&driven().shards(shards), |options, dir| {
                let engine = options.clone().open(dir).unwrap();
                let events = Loop::new(&engine);
                for class in CLASSES {
                    let spec = TopicSpec::new(class.to_string()).partitions(3).flush(class);
                    let topic = engine.create_topic(spec).unwrap();
                    for round in 0..20 {
                        let durable = AppendOptions::default().ack(Ack::Durable);
                        let numbers = round * 10..(round + 1) * 10;
                        let append = |at: usize| {
                            let partition = topic.partition(at as u32 % 3).unwrap();
                            let value = value(at, 900);
                            partition.append_async_with(&[Record::new(&value)], durable)
                        };
                        let mut flights: Vec<_> = numbers.map(append).collect();
                        events.settle(&engine, &mut flights);
                        for flight in flights {
                            flight.wait_timeout(Duration::ZERO).unwrap();
                        }
                    }
                    let found: usize = (0..3)
                        .map(|id| values(&topic.partition(id).unwrap(), Start::Earliest).len())
                        .sum();
                    assert_eq!(found, 200);
                    // Segments were rolled, so upkeep was done on this thread as well.
                    let logs = engine.metrics().logs;
                    assert!(logs.iter().any(|log| log.flush == class && log.segments > 1));
                }
                assert_eq!(threads(), before, "no thread of the engine's");
                engine.close(DEADLINE).unwrap();
            });
        }
    });
}

#[test]
fn blocking_calls_turn_the_shards_themselves() {
    on_each(&driven().shards(2), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for class in CLASSES {
            let topic =
                engine.create_topic(TopicSpec::new(class.to_string()).partitions(4).flush(class));
            let topic = topic.unwrap();
            for id in 0..4 {
                append_numbered(&topic.partition(id).unwrap(), 0..100, 900);
            }
            engine.flush(DEADLINE).unwrap();
            let partition = topic.partition(2).unwrap();
            let mut reader = partition.reader(Start::Latest).unwrap();
            assert!(reader.next_timeout(Duration::from_millis(20)).unwrap().is_none());
            partition.append(Record::new(b"more")).unwrap();
            assert!(reader.next_timeout(DEADLINE).unwrap().is_some());
            partition.trim(ringlog::Offset(50)).unwrap();
        }
        engine.close(DEADLINE).unwrap();
        let again = options.clone().lock_timeout(Duration::ZERO).open(dir).unwrap();
        assert!(again.metrics().logs.iter().all(|log| log.recovery.clean));
        for class in CLASSES {
            let found = values(
                &again.topic(&class.to_string()).unwrap().partition(1).unwrap(),
                Start::Earliest,
            );
            let numbers: Vec<u64> = found.iter().map(|v| number(v.as_ref().unwrap())).collect();
            assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        }
    });
}

#[test]
fn nobody_but_its_first_thread_turns_a_shard() {
    on_each(&driven().shards(2), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        engine.run_once(0, Duration::ZERO).unwrap();
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                let refused = engine.run_once(0, Duration::ZERO).unwrap_err();
                assert!(matches!(refused, Error::WrongThread { shard: 0 }), "{refused}");
                engine.run_once(1, Duration::ZERO).unwrap();
                // A blocking call there waits for the owner, who does nothing.
                let refused = engine.topic("none").unwrap_err();
                assert!(matches!(refused, Error::UnknownTopic { .. }));
            });
            other.join().unwrap();
        });
        let refused = engine.run_once(1, Duration::ZERO).unwrap_err();
        assert!(matches!(refused, Error::WrongThread { shard: 1 }), "{refused}");
        engine.run_once(0, Duration::ZERO).unwrap();
        let refused = engine.run_once(2, Duration::ZERO).unwrap_err();
        assert!(matches!(refused, Error::InvalidArgument { what: "shard", .. }), "{refused}");
        // Shard 1 is another thread's, which is gone: a close says so in time.
        let closed = engine.close(Duration::from_millis(50));
        assert!(matches!(closed, Err(Error::Timeout { .. })), "{closed:?}");
    });
}

#[test]
fn an_append_that_nobody_turns_ends_at_its_deadline() {
    on_each(&driven(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Sync);
        let (start, waits) = mpsc::channel();
        thread::scope(|scope| {
            let there = partition.clone();
            let other = scope.spawn(move || {
                waits.recv().unwrap();
                let options = AppendOptions::default().timeout(Duration::from_millis(30));
                there.append_with(&[Record::new(b"late")], options)
            });
            start.send(()).unwrap();
            let outcome = other.join().unwrap();
            let late = outcome.unwrap_err();
            assert!(matches!(late, Error::Timeout { outcome_unknown: true, .. }), "{late}");
        });
        // Its owner turns it: what was claimed is there all the same.
        partition.append(Record::new(b"more")).unwrap();
        assert_eq!(values(&partition, Start::Earliest).len(), 2);
    });
}

#[test]
fn other_threads_append_and_follow_while_the_owner_turns() {
    on_each(&driven().shards(2), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let topic = engine.create_topic(TopicSpec::new("t").partitions(2)).unwrap();
        let (done, ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            for id in 0..2 {
                let (partition, done) = (topic.partition(id).unwrap(), done.clone());
                let mut reader = partition.reader(Start::Earliest).unwrap();
                scope.spawn(move || {
                    append_numbered(&partition, 0..50, 300);
                    drop(done);
                });
                scope.spawn(move || {
                    while reader.next_offset().0 < 50 {
                        assert!(reader.next_timeout(DEADLINE).unwrap().is_some());
                    }
                });
            }
            drop(done);
            let events = Loop::new(&engine);
            while ended.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                events.turn(&engine, Duration::from_millis(20));
            }
        });
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn a_close_on_another_thread_waits_for_the_owner() {
    on_each(&driven(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        append_numbered(&partition(&engine, "t", Flush::Async), 0..100, 300);
        thread::scope(|scope| {
            let closing = scope.spawn(|| engine.close(DEADLINE));
            let ended = loop {
                match engine.run_once(0, DEADLINE) {
                    Ok(()) => {}
                    Err(error) => break error,
                }
            };
            assert!(matches!(ended, Error::Closed { .. }), "{ended}");
            closing.join().unwrap().unwrap();
        });
        let again = options.clone().lock_timeout(DEADLINE).open(dir).unwrap();
        assert!(again.metrics().logs.iter().all(|log| log.recovery.clean));
    });
}

#[test]
fn a_drop_without_close_keeps_what_was_written() {
    on_each(&driven().shards(2), |options, dir| {
        for round in 0..3 {
            let engine = options.clone().lock_timeout(DEADLINE).open(dir).unwrap();
            // A drop on the owner's thread ends as a close does.
            let clean = engine.metrics().logs.iter().all(|log| log.recovery.clean);
            assert!(clean || round == 2);
            let partition = partition(&engine, "t", Flush::Async);
            append_numbered(&partition, round * 50..(round + 1) * 50, 300);
            if round == 1 {
                // The last handle goes on a thread that turned nothing.
                engine.flush(DEADLINE).unwrap();
                drop(engine);
                thread::spawn(move || drop(partition)).join().unwrap();
            }
        }
        let again = options.clone().lock_timeout(DEADLINE).open(dir).unwrap();
        assert_eq!(values(&partition(&again, "t", Flush::Async), Start::Earliest).len(), 150);
    });
}

#[test]
fn an_idle_loop_sleeps() {
    alone("caller::an_idle_loop_sleeps", || {
        on_each(&driven().shards(2), |options, dir| {
            let engine = options.clone().open(dir).unwrap();
            let events = Loop::new(&engine);
            for class in CLASSES {
                append_numbered(&partition(&engine, "t", class), 0..200, 500);
            }
            // Until it has settled: flushes, the watermark group, the segments ahead.
            let started = Instant::now();
            while events.turn(&engine, Duration::from_secs(3)) > 0 {
                assert!(started.elapsed() < DEADLINE, "never three seconds without work");
            }
            // Nor does a blocking turn come back before its time.
            let idle = Instant::now();
            engine.run_once(0, Duration::from_millis(200)).unwrap();
            assert!(idle.elapsed() >= Duration::from_millis(150));
            for log in engine.metrics().logs {
                assert!(log.queued_bytes <= 64, "{log:?}");
            }
            engine.close(DEADLINE).unwrap();
        });
    });
}

/// On the thread of the shard: blocks, turns and closes, all of which it is refused.
struct Meddles(Mutex<Option<Engine>>, mpsc::Sender<[Option<Error>; 3]>);

impl Wake for Meddles {
    fn wake(self: Arc<Self>) {
        let Some(engine) = self.0.lock().unwrap().take() else { return };
        let partition = engine.topic("t-sync").unwrap().partition(0).unwrap();
        let options = AppendOptions::default().timeout(Duration::from_millis(10));
        let said = [
            partition.append_with(&[Record::new(b"x")], options).err(),
            engine.run_once(0, Duration::ZERO).err(),
            engine.close(Duration::ZERO).err(),
        ];
        self.1.send(said).unwrap();
    }
}

#[test]
fn a_waker_that_meddles_is_refused_and_hangs_nothing() {
    on_each(&driven(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Sync);
        let (sender, said) = mpsc::channel();
        let waker = Waker::from(Arc::new(Meddles(Mutex::new(Some(engine.clone())), sender)));
        let mut append = Box::pin(partition.append_async(Record::new(b"y")));
        assert!(append.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        while !append.is_done() {
            engine.run_once(0, DEADLINE).unwrap();
        }
        let [append, turn, close] = said.recv_timeout(DEADLINE).unwrap();
        assert!(matches!(append, Some(Error::Timeout { .. })), "{append:?}");
        assert!(matches!(turn, Some(Error::InvalidArgument { .. })), "{turn:?}");
        assert!(matches!(close, Some(Error::InvalidArgument { .. })), "{close:?}");
        engine.close(DEADLINE).unwrap();
    });
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker of the caller's that panics");
    }
}

#[test]
fn a_waker_that_panics_does_so_in_the_turn_and_latches() {
    on_each(&driven(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Sync);
        let mut append = Box::pin(partition.append_async(Record::new(b"x")));
        let waker = Waker::from(Arc::new(Panics));
        assert!(append.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let turned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while engine.run_once(0, DEADLINE).is_ok() {}
        }));
        assert!(turned.is_err());
        let told = partition.append(Record::new(b"y")).unwrap_err();
        assert!(matches!(told, Error::Latched { .. }), "{told}");
        assert!(engine.close(DEADLINE).is_err());
        drop((append, partition, engine));
        let again = options.clone().lock_timeout(DEADLINE).open(dir).unwrap();
        drop(again);
    });
}

#[test]
fn an_engine_with_threads_is_not_turned_by_hand() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let turned = engine.run_once(0, Duration::ZERO);
        assert!(matches!(turned, Err(Error::InvalidArgument { what: "run_once", .. })));
        assert!(matches!(engine.poll_fd(0), Err(Error::InvalidArgument { what: "poll_fd", .. })));
    });
}

#[test]
fn a_completion_queue_is_polled_on_the_owners_thread_and_on_others() {
    on_each(&driven().shards(2), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let topic = engine.create_topic(TopicSpec::new("t").partitions(2)).unwrap();
        let queue = engine.completion_queue(64).unwrap();
        let submit = |count: u64| {
            for tag in 0..count {
                let partition = topic.partition(tag as u32 % 2).unwrap();
                let record = [Record::new(b"x")];
                partition.submit_append(&queue, &record, AppendOptions::default(), tag).unwrap();
            }
        };
        let mut out = Vec::new();
        submit(20);
        while out.len() < 20 {
            assert!(queue.poll(&mut out, 64, DEADLINE).unwrap() > 0);
        }
        // Another thread's poll sleeps while the owner turns.
        submit(20);
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut out = Vec::new();
                while out.len() < 20 {
                    assert!(queue.poll(&mut out, 64, DEADLINE).unwrap() > 0);
                }
            });
            while !other.is_finished() {
                for shard in 0..2 {
                    engine.run_once(shard, Duration::from_millis(5)).unwrap();
                }
            }
        });
        engine.close(DEADLINE).unwrap();
    });
}
