//! Steps that only show when nothing turns the shard in between.

use std::task::Waker;

use super::Engine;
use crate::clock::Clock;
use crate::driver::sim::{SimConfig, SimDisk};
use crate::format::record_batch::Record;
use crate::topic::TopicSpec;
use crate::topic::read::Start;

#[test]
fn what_became_visible_after_the_look_is_not_slept_over() {
    let clock = Clock::manual();
    let disk = SimDisk::new(SimConfig { clock: clock.clone(), ..SimConfig::seeded(1) });
    let engine = Engine::open_simulated(&disk, Engine::options(), clock).unwrap();
    let topic = engine.create_topic(TopicSpec::new("t")).unwrap();
    let partition = topic.partition(0).unwrap();
    let mut reader = partition.reader(Start::Earliest).unwrap();
    // Claimed, but not durable: nobody turns the shard.
    let append = partition.append_async(Record::new(b"x"));
    assert!(reader.next_batch().unwrap().is_none());
    append.wait().unwrap();
    assert!(!reader.cursor.follow(Waker::noop()).unwrap(), "look again");
    assert!(reader.next_batch().unwrap().is_some());
    assert!(reader.cursor.follow(Waker::noop()).unwrap(), "sleep");
}
