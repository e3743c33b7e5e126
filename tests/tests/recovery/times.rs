//! The times in the index after each kind of end: recovered, replayed, and built again.

use ringlog::sim::Crash;
use ringlog::{Flush, Offset, Partition, Record, TimedOffset};
use ringlog_tests::world::{World, topic, value};

const COUNT: u64 = 200;

/// Timestamps that go up and down, each once.
fn time(offset: u64) -> i64 {
    (offset * 77 % 211) as i64
}

fn append(partition: &Partition, from: u64, to: u64) {
    for at in from..to {
        let value = value(at, 900);
        partition.append(Record::new(&value).timestamp_ms(time(at))).unwrap();
    }
}

fn check(partition: &Partition) {
    let end = partition.info().unwrap().end.0;
    let timed = |at| TimedOffset { offset: Offset(at), timestamp_ms: time(at) };
    for ms in -1..212 {
        let wanted = (0..end).find(|at| time(*at) >= ms).map(timed);
        assert_eq!(partition.offset_for_time(ms).unwrap(), wanted, "{ms}");
    }
    let latest = (0..end).max_by_key(|at| time(*at)).map(timed);
    assert_eq!(partition.max_timestamp().unwrap(), latest);
}

#[test]
fn times_are_found_after_every_kind_of_end_and_without_indexes() {
    for crash in [Crash::Process, Crash::Power] {
        for without_indexes in [false, true] {
            let mut world = World::new(21, |_| ());
            for life in 0..3 {
                let engine = world.open();
                for flush in [Flush::Sync, Flush::Async] {
                    let partition = topic(&engine, &format!("t-{flush}"), flush);
                    check(&partition);
                    let end = partition.info().unwrap().end.0;
                    append(&partition, end, end + COUNT / 4);
                    check(&partition);
                }
                if life == 1 {
                    engine.close(std::time::Duration::from_secs(60)).unwrap();
                }
                world.crash(crash);
                if without_indexes {
                    for log in ["log-001/", "log-002/"] {
                        for name in world.named(log, ".idx") {
                            world.remove(&name);
                        }
                    }
                }
                // The engine of before is dead, its handles too.
                drop(engine);
            }
            let engine = world.open();
            for flush in [Flush::Sync, Flush::Async] {
                check(&topic(&engine, &format!("t-{flush}"), flush));
            }
        }
    }
}
