//! What costs nothing, on the simulator: nothing turns the shard in between.

use super::*;
use crate::clock::Clock;
use crate::driver::sim::{FaultError, FaultOp, SimConfig, SimDisk};
use crate::engine::Engine;
use crate::format::record_batch::Record;
use crate::topic::TopicSpec;

#[test]
fn only_partitions_that_may_have_something_stand_in_the_queue() {
    let clock = Clock::manual();
    let disk = SimDisk::new(SimConfig { clock: clock.clone(), ..SimConfig::seeded(1) });
    let engine = Engine::open_simulated(&disk, Engine::options(), clock).unwrap();
    let topic = engine.create_topic(TopicSpec::new("t").partitions(10_000)).unwrap();
    let mut reader = topic.reader(Start::Earliest).unwrap();
    let queued = |reader: &TopicReader| reader.ready.inner.lock().queue.clone();
    assert_eq!(queued(&reader).len(), 10_000);
    assert!(reader.next_batch().unwrap().is_none());
    assert!(queued(&reader).is_empty());
    for number in [7, 9_999, 7] {
        topic.partition(number).unwrap().append(Record::new(b"x")).unwrap();
    }
    assert_eq!(queued(&reader), [7, 9_999]);
    for number in [7, 9_999, 7] {
        assert_eq!(reader.next_batch().unwrap().unwrap().0, PartitionId(number));
    }
    assert!(reader.next_batch().unwrap().is_none());
    assert!(queued(&reader).is_empty());
    engine.close(Duration::from_secs(60)).unwrap();
}

#[test]
fn what_came_between_the_look_and_the_registration_is_not_slept_over() {
    let clock = Clock::manual();
    let disk = SimDisk::new(SimConfig { clock: clock.clone(), ..SimConfig::seeded(1) });
    let engine = Engine::open_simulated(&disk, Engine::options(), clock).unwrap();
    let topic = engine.create_topic(TopicSpec::new("t").partitions(3)).unwrap();
    let mut reader = topic.reader(Start::Earliest).unwrap();
    assert!(reader.next_batch().unwrap().is_none());
    topic.partition(1).unwrap().append(Record::new(b"x")).unwrap();
    assert!(!reader.follow_with(Waker::noop()).unwrap(), "look again");
    assert_eq!(reader.next_batch().unwrap().unwrap().0, PartitionId(1));
    assert!(reader.next_batch().unwrap().is_none());
    assert!(reader.follow_with(Waker::noop()).unwrap(), "sleep");
    // A log that takes no appends any more wakes nobody: waiting for it would never end.
    disk.fail_nth(FaultOp::Write, 1, FaultError::Io);
    let refused = topic.partition(2).unwrap().append(Record::new(b"x"));
    assert!(matches!(refused, Err(Error::Latched { .. })), "{refused:?}");
    assert!(reader.next_batch().unwrap().is_none());
    let ended = reader.follow_with(Waker::noop());
    assert!(matches!(ended, Err(Error::Latched { .. })), "{ended:?}");
}
