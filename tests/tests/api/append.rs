//! Every way to append, at both levels, on both classes.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringlog::sim::{SimConfig, SimDisk};
use ringlog::{
    Ack, AppendFuture, AppendOptions, Appended, Engine, Error, Flush, Offset, Partition, Record,
    Start, TopicSpec,
};

use super::{DEADLINE, Executor, on_each, on_each_class, partition, small, value, values};

#[test]
fn every_variant_gives_dense_offsets_and_the_bytes_come_back() {
    on_each_class(&small(), |_, partition, _| {
        let mut next = 0;
        let mut check = |appended: Appended, count: u64| {
            assert_eq!(appended.first, Offset(next));
            next += count;
            assert_eq!(appended.last, Offset(next - 1));
        };
        let one = |offset| Appended { first: offset, last: offset };
        check(one(partition.append(Record::new(b"0")).unwrap()), 1);
        check(one(partition.try_append(Record::new(b"1")).unwrap()), 1);
        let three = [Record::new(b"2"), Record::null_value(), Record::new(b"")];
        check(partition.append_many(&three).unwrap(), 3);
        for ack in [Ack::Written, Ack::Durable] {
            let options = AppendOptions::default().ack(ack);
            check(partition.append_with(&[Record::new(b"5")], options).unwrap(), 1);
            check(partition.append_async_with(&[Record::new(b"6")], options).wait().unwrap(), 1);
        }
        check(partition.append_async(Record::new(b"9")).wait_timeout(DEADLINE).unwrap(), 1);
        check(Executor::new().run(partition.append_async(Record::new(b"10"))).unwrap(), 1);
        let found = values(partition, Start::Earliest);
        let wanted: [Option<&[u8]>; 11] = [
            Some(b"0"),
            Some(b"1"),
            Some(b"2"),
            None,
            Some(b""),
            Some(b"5"),
            Some(b"6"),
            Some(b"5"),
            Some(b"6"),
            Some(b"9"),
            Some(b"10"),
        ];
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), wanted);
    });
}

#[test]
fn a_durable_acknowledgement_means_durable_on_either_class() {
    on_each_class(&small(), |_, partition, _| {
        for at in 0..20 {
            let options = AppendOptions::default().ack(Ack::Durable);
            partition.append_with(&[Record::new(&value(at, 100))], options).unwrap();
            let info = partition.info().unwrap();
            assert_eq!(info.durable_end, info.end);
        }
    });
}

#[test]
fn ready_made_batches_keep_every_byte_but_their_place() {
    on_each_class(&small(), |_, partition, _| {
        partition.append(Record::new(b"before")).unwrap();
        let mut batch = Vec::new();
        let records = [Record::new(b"a").key(b"k").timestamp_ms(7), Record::new(b"b")];
        ringlog::raw::encode(&records, 9, &mut batch).unwrap();
        let done = partition.append_batch(&batch, AppendOptions::default()).unwrap();
        assert_eq!((done.first, done.last), (Offset(1), Offset(2)));
        let mut reader = partition.reader(Start::Offset(Offset(1))).unwrap();
        let found = reader.next_batch().unwrap().unwrap();
        assert_eq!(found.bytes()[16..], batch[16..]);
        assert_eq!(found.base_offset(), Offset(1));
        assert_eq!(found.len(), 2);
    });
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn batches_that_are_none_are_refused_and_leave_no_trace() {
    on_each_class(&small(), |_, partition, _| {
        let mut good = Vec::new();
        ringlog::raw::encode(&[Record::new(b"value")], 1, &mut good).unwrap();
        let sealed = |mut batch: Vec<u8>| {
            let crc = crc32c(&batch[21..]).to_be_bytes();
            batch[17..21].copy_from_slice(&crc);
            batch
        };
        let with = |at: usize, byte: u8| {
            let mut batch = good.clone();
            batch[at] = byte;
            sealed(batch)
        };
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let mut two = good.clone();
        two.extend_from_slice(&good);
        let mut cases = vec![Vec::new(), vec![0; 61], vec![0xff; 200], flipped, two];
        cases.extend((0..good.len()).map(|len| good[..len].to_vec()));
        // Magic 1; gzip; transactional; control; a record count and a last offset that lie.
        cases.extend([with(16, 1), with(22, 1), with(22, 16), with(22, 32)]);
        cases.extend([with(60, 2), with(60, 0), with(26, 9), with(8, 0x7f), with(8, 0xff)]);
        for case in &cases {
            let refused = partition.append_batch(case, AppendOptions::default()).unwrap_err();
            let typed = matches!(
                refused,
                Error::InvalidBatch { .. } | Error::TooLarge { .. } | Error::InvalidArgument { .. }
            );
            assert!(typed, "{refused:?} for {case:?}");
        }
        assert_eq!(sealed(good.clone()), good, "the checksum of this test is the right one");
        assert_eq!(partition.info().unwrap().end, Offset(0));
    });
}

#[test]
fn no_records_are_refused() {
    on_each_class(&small(), |_, partition, _| {
        let refused = partition.append_many(&[]).unwrap_err();
        assert!(matches!(refused, Error::InvalidArgument { .. }), "{refused:?}");
        let refused = partition.append_async_with(&[], AppendOptions::default()).wait();
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
    });
}

#[test]
fn a_future_has_its_bytes_and_its_place_before_it_is_polled() {
    on_each_class(&small(), |_, partition, _| {
        let mut bytes = b"first".to_vec();
        let first = partition.append_async(Record::new(&bytes));
        bytes.fill(0);
        let second = partition.append(Record::new(b"second")).unwrap();
        assert_eq!(second, Offset(1));
        let done = Executor::new().run(first).unwrap();
        assert_eq!(done.first, Offset(0));
        assert_eq!(values(partition, Start::Earliest)[0].as_deref(), Some(&b"first"[..]));
    });
}

#[test]
fn a_dropped_future_is_appended_all_the_same() {
    on_each_class(&small(), |_, partition, _| {
        drop(partition.append_async(Record::new(b"nobody waits")));
        let mut polled = Box::pin(partition.append_async(Record::new(b"polled once")));
        let _ = poll(polled.as_mut());
        drop(polled);
        assert_eq!(partition.append(Record::new(b"last")).unwrap(), Offset(2));
        assert_eq!(values(partition, Start::Earliest).len(), 3);
    });
}

fn poll(future: Pin<&mut AppendFuture>) -> Poll<ringlog::Result<Appended>> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_future_may_be_polled_after_its_end_and_moved_to_another_waker() {
    on_each_class(&small(), |_, partition, _| {
        let mut future = pin!(partition.append_async(Record::new(b"x")));
        let _ = poll(future.as_mut());
        let first = Executor::new().run(future.as_mut()).unwrap();
        assert_eq!(poll(future.as_mut()).map(Result::unwrap), Poll::Ready(first));
        assert!(future.is_done());
    });
}

#[test]
fn a_future_wakes_its_executor_once() {
    on_each_class(&small(), |_, partition, class| {
        let executor = Executor::new();
        executor.run(partition.append_async(Record::new(b"x"))).unwrap();
        let expected = if class == Flush::Sync { 0..=1 } else { 0..=0 };
        assert!(expected.contains(&executor.wakes()), "{} wakes", executor.wakes());
    });
}

/// An engine whose async groups stay open for long: what is put there is released only when asked.
fn slow(dir: &std::path::Path, options: &ringlog::Options) -> (Engine, Partition) {
    let options = options.clone().async_window(1 << 30, Duration::from_secs(3600));
    let engine = options.group_bytes(32 << 10).open(dir).unwrap();
    let partition = partition(&engine, "t", Flush::Async);
    (engine, partition)
}

#[test]
fn a_deadline_after_the_claim_leaves_the_outcome_unknown() {
    on_each(&small(), |options, dir| {
        let (engine, partition) = slow(dir, options);
        let options = AppendOptions::default().ack(Ack::Durable).timeout(Duration::ZERO);
        let late = partition.append_with(&[Record::new(b"late")], options).unwrap_err();
        assert!(matches!(late, Error::Timeout { outcome_unknown: true, .. }), "{late:?}");
        assert!(late.outcome_is_unknown() && !late.is_retriable());
        let late = partition.append_async_with(&[Record::new(b"later")], options);
        let late = late.wait_timeout(Duration::ZERO).unwrap_err();
        assert!(matches!(late, Error::Timeout { outcome_unknown: true, .. }), "{late:?}");
        // Unknown, and here in fact appended: once.
        assert_eq!(partition.append(Record::new(b"next")).unwrap(), Offset(2));
        assert_eq!(values(&partition, Start::Earliest).len(), 3);
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn a_large_frame_waits_its_turn_and_a_deadline_before_the_claim_writes_nothing() {
    // On the simulator, where nothing drains the ring unless a call turns the shard.
    let config = SimConfig::seeded(7);
    let clock = config.clock.clone();
    let disk = SimDisk::new(config);
    let options = small().ring_bytes(64 << 10);
    let engine = Engine::open_simulated(&disk, options, clock).unwrap();
    let spec = TopicSpec::new("t").flush(Flush::Async);
    let partition = engine.create_topic(spec).unwrap().partition(0).unwrap();
    partition.append(Record::new(b"open group")).unwrap();
    let large = value(7, 20 << 10);
    let options = AppendOptions::default().timeout(Duration::ZERO);
    let refused = partition.append_with(&[Record::new(&large)], options).unwrap_err();
    assert!(matches!(refused, Error::Timeout { outcome_unknown: false, .. }), "{refused:?}");
    assert!(refused.is_retriable());
    assert_eq!(partition.info().unwrap().end, Offset(1));
    assert_eq!(partition.append(Record::new(&large)).unwrap(), Offset(1));
    assert_eq!(partition.append(Record::new(b"after")).unwrap(), Offset(2));
    engine.close(DEADLINE).unwrap();
}

#[test]
fn where_there_is_no_room_try_append_is_busy_and_nothing_is_written() {
    on_each(&small(), |options, dir| {
        let (engine, partition) = slow(dir, options);
        // A large frame needs the ring drained; an open group keeps it from being so.
        partition.append(Record::new(b"open group")).unwrap();
        let large = value(7, 20 << 10);
        let busy = partition.try_append(Record::new(&large)).unwrap_err();
        assert!(matches!(busy, Error::Busy { .. }), "{busy:?}");
        assert!(busy.is_retriable());
        assert_eq!(partition.info().unwrap().end, Offset(1));
        partition.append(Record::new(&large)).unwrap();
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn a_waiting_large_frame_that_is_dropped_lets_the_others_go_on() {
    on_each(&small(), |options, dir| {
        let (engine, partition) = slow(dir, options);
        partition.append(Record::new(b"open group")).unwrap();
        let large = value(7, 20 << 10);
        let mut waiting = Box::pin(partition.append_async(Record::new(&large)));
        if poll(waiting.as_mut()).is_pending() {
            let options = AppendOptions::default().wait_for_room(false);
            let held = partition.append_with(&[Record::new(b"small")], options);
            assert!(matches!(held, Ok(_) | Err(Error::Busy { .. })), "{held:?}");
        }
        drop(waiting);
        partition.append(Record::new(b"small")).unwrap();
        engine.close(DEADLINE).unwrap();
    });
}
