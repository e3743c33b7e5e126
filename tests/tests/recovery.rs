//! What an engine finds after each kind of end, and what it does about it. One story per test;
//! `crash.rs` makes up its own.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in its helpers too")]

#[path = "recovery/damage.rs"]
mod damage;
#[path = "recovery/device.rs"]
mod device;
#[path = "recovery/ends.rs"]
mod ends;
#[path = "recovery/events.rs"]
mod events;
#[path = "recovery/full.rs"]
mod full;
#[path = "recovery/offsets.rs"]
mod offsets;
#[path = "recovery/one_log.rs"]
mod one_log;
#[path = "recovery/pins.rs"]
mod pins;
#[path = "recovery/repair.rs"]
mod repair;
#[path = "recovery/ring.rs"]
mod ring;
#[path = "recovery/scrub.rs"]
mod scrub;
#[path = "recovery/segments.rs"]
mod segments;
#[path = "recovery/shards.rs"]
mod shards;
#[path = "recovery/times.rs"]
mod times;
#[path = "recovery/topics.rs"]
mod topics;
