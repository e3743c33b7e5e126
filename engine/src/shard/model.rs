//! Models of the log for shuttle: the code of claims, commits, groups, watermarks and waiters as it
//! is, on threads of which shuttle says which one runs next. A wake that is missing is a deadlock
//! to it, and a loop without end is one too many steps. Time stands still, so that no deadline
//! helps out. Run by `tests/scripts/models`.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker as TaskWaker};
use std::time::Duration;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;
use shuttle::{Config, Runner};

use super::{Control, Shard};
use crate::buf::{RingMap, Waker};
use crate::clock::Clock;
use crate::config::{Ack, Flush, LogOptions, Options};
use crate::driver::disk::DiskRef;
use crate::driver::op::{Completion, Driver, Op, Token};
use crate::driver::sim::{SimConfig, SimDisk};
use crate::error::{Error, Result};
use crate::format::Seed;
use crate::format::frame::{FrameKind, frame_len};
use crate::format::record_batch::{Record, encode};
use crate::ids::{LogId, StreamId};
use crate::limits::RING_BYTES_MIN;
use crate::log::append::{Payload, Progress};
use crate::log::lease::Pins;
use crate::log::ring::Ring;
use crate::log::writer::{Claim, Start, StreamState, Want, Writer};
use crate::log::{Log, Parts, Stop, recovery};
use crate::metrics::Counters;
use crate::sync::Flag;

/// Schedules of each model, for each of two ways to choose them.
const SCHEDULES: usize = 3000;
/// Changes of priority in a schedule that follows priorities.
const DEPTH: usize = 4;
/// More steps than any model needs that ends.
const STEPS_MAX: usize = 200_000;
const LOG: LogId = LogId(1);
const STREAM: StreamId = StreamId(0);

fn check(model: impl Fn() + Send + Sync + 'static) {
    let number = std::env::var("RINGLOG_SCHEDULES").ok().and_then(|text| text.parse().ok());
    let schedules = number.unwrap_or(SCHEDULES);
    let model = Arc::new(model);
    let config = || {
        let mut config = Config::new();
        config.stack_size = 1 << 20;
        config.max_steps = shuttle::MaxSteps::FailAfter(STEPS_MAX);
        config
    };
    let other = Arc::clone(&model);
    Runner::new(RandomScheduler::new(schedules), config()).run(move || other());
    Runner::new(PctScheduler::new(DEPTH, schedules), config()).run(move || model());
}

/// A device that does one operation at a time, on the thread that waits for it.
struct Device {
    waker: Waker,
    queue: VecDeque<(Token, Op)>,
    /// How many operations go well.
    healthy: usize,
}

impl Device {
    fn run(&mut self, op: Op) -> io::Result<()> {
        self.healthy = self.healthy.checked_sub(1).ok_or(io::ErrorKind::Other)?;
        match op {
            Op::Write { file, at, data, .. } => file.write_at(data.as_bytes(), at),
            Op::Flush { file } => file.sync(),
        }
    }
}

impl Driver for Device {
    fn submit(&mut self, token: Token, op: Op) {
        self.queue.push_back((token, op));
    }

    fn start(&mut self, _: bool) -> io::Result<bool> {
        Ok(true)
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        // Meanwhile others run.
        thread::yield_now();
        if let Some((token, op)) = self.queue.pop_front() {
            let result = self.run(op);
            out.push(Completion { token, result });
        } else if timeout != Some(Duration::ZERO) {
            self.waker.sleep();
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.queue.len()
    }

    fn name(&self) -> &'static str {
        "model"
    }
}

/// A log, and the shard that flushes it, on a thread of its own.
struct Model {
    log: Arc<Log>,
    control: Arc<Control>,
    shard: thread::JoinHandle<()>,
}

fn options() -> LogOptions {
    let options = Options::default().segment_bytes(256 << 10).ring_bytes(RING_BYTES_MIN);
    options.group_bytes(16 << 10).max_payload_bytes(64 << 10).log
}

fn a_log(class: Flush, in_file: bool, control: &Control) -> Arc<Log> {
    let config = SimConfig { no_file_ring: Some("a model".to_owned()), ..SimConfig::default() };
    let disk: DiskRef = Arc::new(SimDisk::new(config));
    let options = options();
    recovery::create(&disk, LOG, &options).expect("the disk works");
    let found = recovery::recover(&disk, LOG, &options, BTreeSet::new()).expect("the disk works");
    let map = RingMap::private(options.ring_bytes).expect("memory for a ring");
    let log = Log::new(Parts {
        id: LOG,
        uuid: found.uuid,
        class,
        shard: 0,
        ring: Ring::new(map, false, found.position, found.epoch),
        ring_in_file: in_file,
        writer: Writer::new(Start {
            seed: Seed::of(found.uuid),
            log_uuid: found.uuid,
            epoch: found.epoch,
            group_bytes: options.group_bytes,
            batch_bytes: options.join_bytes(class),
            position: found.position,
            segment: found.segment,
            next: found.next,
            streams: found.streams,
            rolled: found.rolled,
        }),
        options,
        disk,
        segments: found.segments,
        upkeep: found.upkeep,
        waker: control.waker.clone(),
        maintenance: Arc::new(|| ()),
        stop: None,
        snapshot: Vec::new(),
        metrics: Counters::new(found.report),
        sleepers: None,
        follow: None,
        pins: Pins::new(1 << 20),
        beyond: None,
    });
    log.add_stream(STREAM, StreamState::new(0, 0));
    log
}

impl Model {
    fn start(class: Flush, in_file: bool) -> Self {
        Self::with_device(class, in_file, usize::MAX)
    }

    fn with_device(class: Flush, in_file: bool, healthy: usize) -> Self {
        let control = Arc::new(Control::new().expect("a descriptor"));
        let log = a_log(class, in_file, &control);
        control.add(Arc::clone(&log));
        let device = Device { waker: control.waker.clone(), queue: VecDeque::new(), healthy };
        let shard = Shard::new(Arc::clone(&control), Box::new(device), Clock::manual());
        let shard = thread::spawn(move || super::thread::turn_until_closed(shard));
        Self { log, control, shard }
    }

    /// Everything claimed is flushed, and the shard ends, as in a close.
    fn end(self) -> Arc<Log> {
        self.log.stop_claims();
        self.log.want(Ack::Durable, u64::MAX - 1);
        self.control.close();
        self.shard.join().expect("a shard that ends well");
        self.log
    }
}

/// Not a parked thread, which may wake for no reason and so find what nobody told it.
struct Raise(Flag);

impl Wake for Raise {
    fn wake(self: Arc<Self>) {
        self.0.raise();
    }
}

fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let raise = Arc::new(Raise(Flag::default()));
    let waker = TaskWaker::from(Arc::clone(&raise));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = poll(&mut context) {
            return value;
        }
        raise.0.wait();
    }
}

fn payload(len: usize) -> Vec<u8> {
    let (value, mut batch) = (vec![7; len], Vec::new());
    encode(&[Record::new(&value)], 0, &mut batch).expect("a small batch");
    batch
}

const WHAT: Payload = Payload {
    stream: STREAM,
    kind: FrameKind::Batch,
    records: 1,
    max_timestamp_ms: 0,
    joins: true,
    frees: false,
};

/// Appends as every caller does, and waits for the level.
fn append(log: &Log, level: Ack, len: usize) -> Result<Claim> {
    let mut progress = log.begin(&WHAT, &mut payload(len), level)?;
    let done = block_on(|context| log.poll_put(&mut progress, context));
    log.settle(&mut progress);
    if let Ok(claim) = &done {
        assert!(log.reached(level) >= claim.end, "acknowledged before it is so");
    }
    done
}

/// Threads that append `each` times; the offsets that they were given.
fn appenders(log: &Arc<Log>, threads: usize, each: usize, level: Ack, len: usize) -> Vec<u64> {
    let spawn = |_| {
        let log = Arc::clone(log);
        thread::spawn(move || -> Vec<u64> {
            let append = |_| append(&log, level, len).expect("the device works").first.0;
            (0..each).map(append).collect()
        })
    };
    let threads: Vec<_> = (0..threads).map(spawn).collect();
    let mut offsets = Vec::new();
    for thread in threads {
        let mine = thread.join().expect("an appender");
        assert!(mine.is_sorted(), "an appender's own order");
        offsets.extend(mine);
    }
    offsets.sort_unstable();
    offsets
}

fn each_append_reaches_its_level(class: Flush, in_file: bool, level: Ack) {
    check(move || {
        let model = Model::start(class, in_file);
        let offsets = appenders(&model.log, 2, 2, level, 100);
        assert_eq!(offsets, [0, 1, 2, 3], "dense, each given once");
        let log = model.end();
        assert_eq!(log.durable(), log.ring.committed(), "all that was claimed is durable");
    });
}

/// With nobody else about whose appends would wake it.
#[test]
fn a_lone_append_is_woken() {
    for (class, in_file, level) in [
        (Flush::Sync, true, Ack::Durable),
        (Flush::Async, true, Ack::Durable),
        (Flush::Async, false, Ack::Written),
    ] {
        check(move || {
            let model = Model::start(class, in_file);
            append(&model.log, level, 100).expect("the device works");
            model.end();
        });
    }
}

#[test]
fn durable_appends_of_a_sync_log_are_woken() {
    each_append_reaches_its_level(Flush::Sync, true, Ack::Durable);
}

#[test]
fn durable_appends_of_an_async_log_are_woken() {
    each_append_reaches_its_level(Flush::Async, true, Ack::Durable);
}

#[test]
fn written_appends_of_an_async_log_are_woken() {
    each_append_reaches_its_level(Flush::Async, true, Ack::Written);
}

#[test]
fn written_appends_without_a_file_ring_are_woken() {
    each_append_reaches_its_level(Flush::Async, false, Ack::Written);
}

#[test]
fn appends_that_wait_for_room_are_woken() {
    check(|| {
        let model = Model::start(Flush::Sync, true);
        // A frame may be a quarter of the ring: five do not fit.
        let offsets = appenders(&model.log, 3, 2, Ack::Written, 15 << 10);
        assert_eq!(offsets, [0, 1, 2, 3, 4, 5]);
        model.end();
    });
}

/// Begun one after the other, and only then waited for, as by who keeps futures.
fn pipeline(log: &Log, lens: &[usize]) -> Vec<u64> {
    let begin = |len: &usize| log.begin(&WHAT, &mut payload(*len), Ack::Durable).expect("it waits");
    let begun: Vec<Progress> = lens.iter().map(begin).collect();
    let wait = |mut progress: Progress| {
        let claim = block_on(|context| log.poll_put(&mut progress, context));
        claim.expect("the device works").first.0
    };
    begun.into_iter().map(wait).collect()
}

#[test]
fn what_one_thread_begins_is_appended_in_that_order_whoever_else_waits() {
    check(|| {
        let model = Model::start(Flush::Sync, true);
        let (log, other) = (Arc::clone(&model.log), Arc::clone(&model.log));
        // The ring has room for four small ones; a large one needs it for itself.
        let lens = [15 << 10, 15 << 10, 15 << 10, 40 << 10, 15 << 10, 15 << 10];
        let first = thread::spawn(move || pipeline(&log, &lens));
        let second = thread::spawn(move || {
            let mut given_up = other.begin(&WHAT, &mut payload(40 << 10), Ack::Durable)?;
            other.settle(&mut given_up);
            let mine = append(&other, Ack::Durable, 15 << 10)?.first.0;
            Ok::<_, Error>((given_up.claim().map(|claim| claim.first.0), mine))
        });
        let mut offsets = first.join().expect("an appender");
        assert!(offsets.is_sorted(), "{offsets:?}");
        let (given_up, mine) = second.join().expect("an appender").expect("the device works");
        assert!(given_up.is_none_or(|given_up| given_up < mine), "{given_up:?} {mine}");
        offsets.push(mine);
        offsets.extend(given_up);
        offsets.sort_unstable();
        assert!(offsets.into_iter().eq(0..7 + u64::from(given_up.is_some())), "dense");
        model.end();
    });
}

#[test]
fn a_large_append_among_small_ones_is_woken() {
    check(|| {
        let model = Model::start(Flush::Sync, true);
        let log = Arc::clone(&model.log);
        let large = thread::spawn(move || append(&log, Ack::Durable, 40 << 10).map(drop));
        appenders(&model.log, 1, 2, Ack::Durable, 1000);
        large.join().expect("an appender").expect("the device works");
        model.end();
    });
}

#[test]
fn a_stop_answers_everyone_and_takes_no_one_after() {
    check(|| {
        let model = Model::start(Flush::Sync, true);
        let spawn = |_| {
            let log = Arc::clone(&model.log);
            thread::spawn(move || append(&log, Ack::Durable, 100).err())
        };
        let threads: Vec<_> = (0..2).map(spawn).collect();
        model.log.stop(Stop::Closed);
        for thread in threads {
            let error = thread.join().expect("an appender that is answered");
            assert!(matches!(error, None | Some(Error::Closed { .. })), "{error:?}");
        }
        assert!(append(&model.log, Ack::Written, 100).is_err(), "after the stop");
        model.end();
    });
}

#[test]
fn a_failed_write_answers_every_append_in_flight() {
    check(|| {
        let model = Model::with_device(Flush::Sync, true, 1);
        let spawn = |_| {
            let log = Arc::clone(&model.log);
            thread::spawn(move || append(&log, Ack::Durable, 100))
        };
        let threads: Vec<_> = (0..3).map(spawn).collect();
        let mut good = 0;
        for thread in threads {
            match thread.join().expect("an appender that is answered") {
                Ok(claim) => {
                    assert!(model.log.durable() >= claim.end);
                    good += 1;
                }
                Err(Error::Latched { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(good > 0 || model.log.stop_reason().is_some());
        model.end();
    });
}

/// What a thread does that is stopped after its claim: nothing, until it is let go on.
fn claim_and_stop(log: &Log) -> Claim {
    let want = Want {
        stream: STREAM,
        frame_len: frame_len(payload(100).len()) as u64,
        records: 1,
        max_timestamp_ms: 0,
        large: false,
        lone: None,
        frees: false,
    };
    log.writer.lock().claim(&log.ring, log.released(), want).expect("there is room")
}

#[test]
fn a_thread_stopped_between_claim_and_commit_delays_what_is_behind_it_alone() {
    check(|| {
        let model = Model::start(Flush::Sync, true);
        let log = Arc::clone(&model.log);
        append(&log, Ack::Durable, 100).expect("what is before it goes on");
        let claim = claim_and_stop(&log);
        let behind = {
            let log = Arc::clone(&log);
            thread::spawn(move || append(&log, Ack::Durable, 100).expect("the device works"))
        };
        // Others may claim, the shard may turn as it likes; nothing behind is acknowledged.
        for _ in 0..20 {
            thread::yield_now();
            assert!(log.ring.committed() <= claim.position, "committed past a hole");
            assert!(log.durable() <= claim.position, "durable past a hole");
        }
        log.ring.seal(claim.position, claim.end);
        if let Some(committed) = log.ring.advance() {
            log.committed_moved(committed);
        }
        let behind = behind.join().expect("woken once the hole is filled");
        assert_eq!((claim.first.0, behind.first.0), (1, 2));
        model.end();
    });
}

#[test]
fn a_trim_does_not_wait_for_upkeep() {
    check(|| {
        let model = Model::start(Flush::Sync, true);
        // Held while files are made and flushed.
        let busy = model.log.upkeep.lock();
        let log = Arc::clone(&model.log);
        thread::spawn(move || log.trimmed()).join().expect("a caller that does not wait");
        drop(busy);
        model.end();
    });
}

#[test]
fn leases_that_outlive_their_engine_hold_readers_until_the_last() {
    check(|| {
        let disk = SimDisk::new(SimConfig::default());
        let disk: DiskRef = Arc::new(disk);
        disk.make_readers().expect("the disk works");
        let pins = Pins::new(100);
        let lease = {
            let pins = Arc::clone(&pins);
            thread::spawn(move || match pins.share() {
                Ok(share) => {
                    let pin = pins.claim(60, 60).expect("nobody else pins");
                    thread::yield_now();
                    drop((pin, share));
                    true
                }
                Err(error) => {
                    assert!(matches!(error, Error::Closed { .. }), "{error}");
                    false
                }
            })
        };
        let held = pins.share().expect("open");
        pins.close(&*disk).expect("the disk works");
        let excluded = disk.exclude_readers().expect("the disk works");
        assert!(excluded.is_none(), "a lease lives, and its file may be recycled");
        drop(held);
        lease.join().expect("a reader");
        assert_eq!(pins.pinned(), 0);
        let excluded = disk.exclude_readers().expect("the disk works");
        assert!(excluded.is_some(), "held for nobody");
    });
}

#[test]
fn a_follower_hears_of_what_comes() {
    check(|| {
        let model = Model::start(Flush::Async, true);
        let label: Arc<str> = "model/0".into();
        let mut cursor = crate::log::reader::Cursor::new(Arc::clone(&model.log), STREAM, label, 0);
        let reader = thread::spawn(move || {
            let mut next = 0;
            while next < 3 {
                // Records that joined before he looked come as one batch.
                next = block_on(|context| {
                    loop {
                        match cursor.next_batch().expect("nothing is damaged") {
                            Some((batch, _)) => {
                                assert_eq!(batch.base_offset.0, next, "in order, none twice");
                                return Poll::Ready(batch.last_offset().0 + 1);
                            }
                            None if cursor.follow(context.waker()).expect("open") => {
                                return Poll::Pending;
                            }
                            None => {}
                        }
                    }
                });
            }
        });
        for _ in 0..3 {
            append(&model.log, Ack::Written, 100).expect("the device works");
        }
        reader.join().expect("a reader that is woken");
        model.end();
    });
}
