//! Single records that join one batch: what a killed process had acknowledged is there, whatever
//! the moment, though the headers in the ring say nothing of it yet.

use std::time::Duration;

use ringlog::sim::{Crash, Moment};
use ringlog::{Batch, Flush, Record, Start, TimestampType, TopicSpec};
use ringlog_tests::world::{World, append, expected, log, topic, value, values};

const RING: &str = "log-001/ring";
const LEN: usize = 60;
/// Where the two proofs of the batch that grows lie in the ring's control page.
const PROOFS: [u64; 2] = [8 * 48, 8 * 56];
const PROOF_BYTES: u64 = 64;
/// The word that says where that batch lies.
const GROWING: usize = 8 * 40;

/// The sizes of the batches of "fast", in records.
fn batches(world: &World) -> Vec<usize> {
    let engine = world.open();
    let fast = topic(&engine, "fast", Flush::Async);
    fast.reader(Start::Earliest).unwrap().map(|batch| batch.unwrap().len()).collect()
}

/// A process killed with `n` records in a batch that grew.
fn killed(n: u64) -> World {
    let mut world = World::new(n, |_| ());
    let engine = world.open();
    append(&topic(&engine, "fast", Flush::Async), 0, n, LEN);
    world.crash(Crash::Process);
    world
}

#[test]
fn a_batch_that_grew_is_whole_after_a_kill() {
    for n in 1..40 {
        let world = killed(n);
        let ring = world.disk.read_file(RING).unwrap();
        assert_ne!(ring[GROWING..GROWING + 8], [0; 8], "{n}: nothing was left to prove");
        assert_eq!(batches(&world), [n as usize]);
        let engine = world.open();
        let fast = topic(&engine, "fast", Flush::Async);
        assert_eq!(values(&fast).unwrap(), expected(n, LEN));
        assert_eq!(log(&engine, "log-001").recovery.lost_bytes, 0);
    }
}

#[test]
fn killed_at_any_moment_of_joining_nothing_acknowledged_is_gone() {
    const JOINING: [Moment; 8] = [
        Moment::Claimed,
        Moment::FrameStored,
        Moment::JoinStored,
        Moment::ProofHalf,
        Moment::JoinProven,
        Moment::Joined,
        Moment::BatchClosing,
        Moment::BatchClosed,
    ];
    for moment in JOINING {
        let mut met = 0;
        for nth in 1..12 {
            let mut world = World::new(nth, |_| ());
            let engine = world.open();
            let fast = topic(&engine, "fast", Flush::Async);
            let mut reader = fast.reader(Start::Earliest).unwrap();
            world.disk.kill_at(moment, nth);
            let mut acknowledged = 0;
            for n in 0..60 {
                if fast.append(Record::new(&value(n, LEN))).is_err() || world.disk.is_killed() {
                    break;
                }
                acknowledged = n + 1;
                // Every seventh is read at once, which closes its batch.
                if n % 7 == 6 {
                    while reader.next_batch().is_ok_and(|batch| batch.is_some()) {}
                }
            }
            met += u64::from(world.disk.killed_at() == Some(moment));
            world.crash(Crash::Process);
            let engine = world.open();
            let fast = topic(&engine, "fast", Flush::Async);
            let found = values(&fast).unwrap();
            let at = format!("{moment:?} {nth}: {} of {acknowledged}", found.len());
            assert!((acknowledged..=acknowledged + 1).contains(&(found.len() as u64)), "{at}");
            assert_eq!(found, expected(found.len() as u64, LEN), "{at}");
            let lost = log(&engine, "log-001").recovery.lost_bytes;
            assert_eq!(lost, 0, "{at}");
        }
        assert!(met >= 7, "{moment:?} was met {met} times");
    }
}

#[test]
fn one_torn_proof_leaves_the_other() {
    const N: u64 = 9;
    for (which, proof) in PROOFS.into_iter().enumerate() {
        for at in (0..PROOF_BYTES).step_by(7) {
            let world = killed(N);
            world.disk.corrupt(RING, proof + at, 4).unwrap();
            let engine = world.open();
            let found = values(&topic(&engine, "fast", Flush::Async)).unwrap();
            // The newest stands in the place of its number's parity.
            let spared = if which as u64 == N % 2 { N - 1 } else { N };
            assert_eq!(found, expected(spared, LEN), "proof {which}, byte {at}");
            let lost = log(&engine, "log-001").recovery.lost_bytes;
            assert_eq!(lost > 0, spared < N, "what was committed and is gone is told");
        }
    }
}

#[test]
fn what_no_proof_covers_is_not_taken() {
    let world = killed(9);
    for proof in PROOFS {
        world.disk.corrupt(RING, proof + 30, 1).unwrap();
    }
    assert!(batches(&world).is_empty());
    let world = killed(9);
    let at = world.find(RING, b"value 5 ");
    world.disk.corrupt(RING, at, 1).unwrap();
    assert!(batches(&world).is_empty());
}

#[test]
fn a_proof_of_an_earlier_life_proves_nothing() {
    let mut world = killed(9);
    let before = world.disk.read_file(RING).unwrap();
    let engine = world.open();
    let fast = topic(&engine, "fast", Flush::Async);
    append(&fast, 9, 12, LEN);
    world.crash(Crash::Process);
    for proof in PROOFS {
        let proof = proof as usize..(proof + PROOF_BYTES) as usize;
        world.overwrite(RING, proof.start as u64, &before[proof]);
    }
    // What joined in the second life is proven by nothing any more.
    let engine = world.open();
    assert_eq!(values(&topic(&engine, "fast", Flush::Async)).unwrap(), expected(9, LEN));
}

#[test]
fn append_time_is_one_for_all_of_a_batch() {
    let world = World::new(1, |_| ());
    let engine = world.open();
    let spec = TopicSpec::new("t").flush(Flush::Async).timestamps(TimestampType::AppendTime);
    let partition = engine.create_topic(spec).unwrap().partition(0).unwrap();
    for n in 0..15 {
        partition.append(Record::new(&value(n, LEN))).unwrap();
        if n % 3 == 2 {
            world.clock.advance(Duration::from_secs(1));
        }
    }
    let found: Vec<Batch> =
        partition.reader(Start::Earliest).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.iter().map(Batch::len).collect::<Vec<_>>(), [3; 5]);
    let times: Vec<i64> =
        found.iter().flatten().map(|record| record.unwrap().timestamp_ms()).collect();
    let wanted = (0..15).map(|n| times[0] + 1000 * (n / 3));
    assert_eq!(times, wanted.collect::<Vec<i64>>());
}
