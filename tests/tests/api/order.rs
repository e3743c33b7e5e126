//! What an acknowledgement and a wake mean, step by step: the simulated disk moves only when told,
//! so that nothing here is left to chance.

use std::time::Duration;

use ringlog::sim::{SimConfig, SimDisk};
use ringlog::{Clock, Engine, Flush, Options, Record, Start};

use super::{partition, small, value};

fn simulated(options: Options) -> (SimDisk, Engine) {
    let clock = Clock::manual();
    let disk = SimDisk::new(SimConfig { clock: clock.clone(), ..SimConfig::seeded(7) });
    let engine = Engine::open_simulated(&disk, options, clock).unwrap();
    (disk, engine)
}

#[test]
fn a_frame_of_any_length_is_written_only_when_it_is_in_its_segment() {
    let (disk, engine) = simulated(small().segment_bytes(512 << 10).max_payload_bytes(200 << 10));
    let partition = partition(&engine, "t", Flush::Async);
    // Frames as long as the ring, and a little less and more: their ends fall on the places of
    // their beginnings. Smaller ones never leave the ring.
    let ring = 64 << 10;
    for len in (ring - 240..ring + 40).step_by(8).chain((2 * ring - 240..2 * ring + 40).step_by(8))
    {
        partition.append(Record::new(b"before")).unwrap();
        let mut reader = partition.reader(Start::Latest).unwrap();
        let record = value(1, len);
        let mut future = partition.append_async(Record::new(&record));
        let mut turns = 0;
        while partition.info().unwrap().end == reader.next_offset() {
            // It waits for the ring to drain.
            assert!(!future.is_done());
            let waker = std::task::Waker::noop();
            let mut context = std::task::Context::from_waker(waker);
            let _ = std::pin::Pin::new(&mut future).poll(&mut context);
            engine.turn();
            turns += 1;
            assert!(turns < 100_000);
        }
        disk.freeze();
        for _ in 0..20 {
            engine.turn();
            assert!(!future.is_done(), "a frame of a {len}-byte value, not yet written");
            assert!(reader.next_batch().unwrap().is_none());
        }
        disk.thaw();
        future.wait().unwrap();
        let batch = reader.next_batch().unwrap().unwrap();
        assert!(batch.iter().next().unwrap().unwrap().value() == Some(&record[..]));
    }
}

#[test]
fn a_frozen_disk_bounds_what_is_accepted() {
    for class in super::CLASSES {
        let (disk, engine) = simulated(small());
        let partition = partition(&engine, "t", class);
        disk.freeze();
        let options = ringlog::AppendOptions::default().wait_for_room(false);
        let mut accepted = Vec::new();
        let busy = loop {
            let record = value(accepted.len(), 1000);
            let mut future = partition.append_async_with(&[Record::new(&record)], options);
            let claimed = partition.info().unwrap().end.0 as usize;
            if claimed == accepted.len() {
                break future.wait_timeout(Duration::ZERO).unwrap_err();
            }
            let _ = future.is_done();
            accepted.push(future);
            engine.turn();
        };
        assert!(matches!(busy, ringlog::Error::Busy { .. }), "{busy:?}");
        assert!(accepted.len() <= 64 && accepted.len() > 40, "{}", accepted.len());
        let queued = engine.metrics().logs.pop().unwrap().queued_bytes;
        assert!(queued <= 64 << 10, "{queued}");
        disk.thaw();
        for (at, future) in accepted.into_iter().enumerate() {
            assert_eq!(future.wait().unwrap().first.0, at as u64);
        }
        assert_eq!(partition.append(Record::new(b"again")).unwrap().0 as usize, at_end(&partition));
    }
}

fn at_end(partition: &ringlog::Partition) -> usize {
    partition.info().unwrap().end.0 as usize - 1
}

#[test]
fn what_waits_for_room_is_appended_in_the_order_of_the_calls_polled_or_not() {
    for class in super::CLASSES {
        let (disk, engine) = simulated(small());
        let partition = partition(&engine, "t", class);
        disk.freeze();
        // One of them needs the ring for itself, where there is room for the others; one is given
        // up.
        let lens = |at: usize| if at == 10 { 20 << 10 } else { 1000 };
        let record = |at: usize| value(at, lens(at));
        let mut futures: Vec<_> =
            (0..100).map(|at| partition.append_async(Record::new(&record(at)))).collect();
        let claimed = partition.info().unwrap().end.0;
        assert_eq!(claimed, 10);
        let overtaking = ringlog::AppendOptions::default().wait_for_room(false);
        let busy = partition.append_with(&[Record::new(b"now")], overtaking).unwrap_err();
        assert!(matches!(busy, ringlog::Error::Busy { .. }), "{busy:?}");
        drop(futures.remove(90));
        disk.thaw();
        // Nobody polls: others see to it.
        for turns in 0.. {
            engine.turn();
            if partition.info().unwrap().end.0 == 99 {
                break;
            }
            assert!(turns < 100_000, "{:?}", partition.info());
        }
        let busy = partition.append_with(&[Record::new(b"now")], overtaking);
        assert_eq!(busy.unwrap().first.0, 99, "nobody waits any more");
        for (at, future) in futures.into_iter().enumerate().rev() {
            assert_eq!(future.wait().unwrap().first.0, at as u64);
        }
        let found = super::values(&partition, Start::Earliest);
        let wanted = (0..100).filter(|at| *at != 90).map(record);
        let found: Vec<Vec<u8>> = found.into_iter().take(99).map(Option::unwrap).collect();
        assert!(wanted.eq(found), "each at its place");
        engine.close(super::DEADLINE).unwrap();
    }
}

#[test]
fn a_full_ring_times_out_before_the_claim_and_writes_nothing() {
    // It is full before the segment is.
    let (disk, engine) = simulated(small().segment_bytes(256 << 10));
    let partition = partition(&engine, "t", Flush::Sync);
    disk.freeze();
    let mut pending = Vec::new();
    loop {
        let before = partition.info().unwrap().end;
        let future = partition.append_async(Record::new(&[0; 4000]));
        if partition.info().unwrap().end == before {
            let late = future.wait_timeout(Duration::from_millis(5)).unwrap_err();
            let nothing = matches!(late, ringlog::Error::Timeout { outcome_unknown: false, .. });
            assert!(nothing, "{late:?}");
            assert_eq!(partition.info().unwrap().end, before);
            break;
        }
        pending.push(future);
    }
    let late = pending.pop().unwrap().wait_timeout(Duration::from_millis(5)).unwrap_err();
    assert!(late.outcome_is_unknown(), "{late:?}");
    disk.thaw();
    for future in pending {
        future.wait().unwrap();
    }
}
