//! What an engine tells of itself: every event, with fields that agree with the counters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ringlog::sim::{Condition, Crash, FaultError, FaultOp};
use ringlog::{Engine, Error, Flush, Level, Offset, Record};
use ringlog_tests::world::{World, append, expected, log, topic, value, values};

const LEN: usize = 1000;

/// An event that was kept.
#[derive(Clone, Debug)]
struct Kept {
    level: Level,
    name: &'static str,
    text: String,
    fields: BTreeMap<&'static str, String>,
}

/// A hook that keeps what it hears.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<Kept>>>);

impl Ear {
    fn listen(&self, world: &mut World) {
        let ear = self.clone();
        world.options = world.options.clone().on_event(Arc::new(move |event| {
            let fields = event.fields.iter().map(|(name, value)| (*name, value.to_string()));
            ear.0.lock().unwrap().push(Kept {
                level: event.level,
                name: event.name,
                text: event.to_string(),
                fields: fields.collect(),
            });
        }));
    }

    fn take(&self) -> Vec<Kept> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn named<'k>(kept: &'k [Kept], name: &str) -> Vec<&'k Kept> {
    kept.iter().filter(|event| event.name == name).collect()
}

/// Lets upkeep finish.
fn settle(engine: &Engine) {
    (0..20).for_each(|_| engine.turn());
}

#[test]
fn a_life_is_told_from_open_to_close() {
    let mut world = World::new(1, |_| ());
    let ear = Ear::default();
    ear.listen(&mut world);
    let engine = world.open();
    let names: Vec<_> = ear.take().iter().map(|event| event.name).collect();
    assert_eq!(names, ["recovered", "opened"]);
    let safe = topic(&engine, "safe", Flush::Sync);
    let told = ear.take();
    let made = named(&told, "topic_created");
    assert_eq!((made[0].level, &*made[0].fields["topic"]), (Level::Info, "safe"));
    append(&safe, 0, 150, LEN);
    settle(&engine);
    let told = ear.take();
    let rolled = named(&told, "segment_rolled");
    assert!(rolled.len() > 2, "{told:?}");
    for pair in rolled.windows(2) {
        let number = |at: usize, name| pair[at].fields[name].parse::<u64>().unwrap();
        assert_eq!(number(0, "base") + number(0, "bytes"), number(1, "base"));
    }
    assert_eq!(named(&told, "checkpoint_stored").len(), rolled.len());
    let made = named(&told, "segment_made").len() as u64;
    assert_eq!(made + 1, log(&engine, "log-001").segments);
    safe.trim(Offset(100)).unwrap();
    settle(&engine);
    let told = ear.take();
    let retired = named(&told, "segment_retired");
    let recycled = retired.iter().filter(|event| event.fields["recycled"] == "true").count();
    let metrics = log(&engine, "log-001");
    assert!(!retired.is_empty());
    assert_eq!(recycled as u64, metrics.segments_recycled);
    assert_eq!((retired.len() - recycled) as u64, metrics.segments_removed);
    engine.delete_topic("safe").unwrap();
    assert_eq!(named(&ear.take(), "topic_deleted")[0].text, "deleted a topic: topic=safe");
    engine.close(std::time::Duration::from_secs(1)).unwrap();
    let told = ear.take();
    assert_eq!(told.last().unwrap().name, "closed");
    let clean = named(&told, "checkpoint_stored");
    assert!(clean.iter().rev().take(2).all(|event| event.fields["clean"] == "true"), "{clean:?}");
    assert!(told.iter().all(|event| event.level < Level::Warn), "{told:?}");
}

#[test]
fn a_recovery_tells_what_the_counters_say() {
    let mut world = World::new(2, |_| ());
    let engine = world.open();
    append(&topic(&engine, "fast", Flush::Async), 0, 30, LEN);
    world.crash(Crash::Process);
    let ear = Ear::default();
    ear.listen(&mut world);
    let engine = world.open();
    let told = ear.take();
    let recovered = named(&told, "recovered");
    let counted = log(&engine, "log-001").recovery;
    let fields = &recovered.iter().find(|event| event.fields["log"] == "log-001").unwrap().fields;
    assert!(counted.replayed_bytes > 0);
    for (name, counted) in [
        ("clean", counted.clean.to_string()),
        ("scanned_bytes", counted.scanned_bytes.to_string()),
        ("replayed_bytes", counted.replayed_bytes.to_string()),
        ("cut_bytes", counted.cut_bytes.to_string()),
        ("lost_bytes", counted.lost_bytes.to_string()),
        ("damaged_bytes", counted.damaged_bytes.to_string()),
        ("damaged_places", counted.damaged_places.to_string()),
    ] {
        assert_eq!(fields[name], counted, "{name}");
    }
}

#[test]
fn a_latch_is_told_once_and_names_the_file() {
    let mut world = World::new(3, |_| ());
    let ear = Ear::default();
    ear.listen(&mut world);
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    append(&safe, 0, 3, LEN);
    world.disk.fail_nth(FaultOp::Write, 1, FaultError::Io);
    for _ in 0..3 {
        safe.append(Record::new(b"more")).unwrap_err();
    }
    let told = ear.take();
    let latched = named(&told, "latched");
    assert_eq!((latched.len(), latched[0].level), (1, Level::Error), "{told:?}");
    assert!(latched[0].fields["error"].contains("log-001/"), "{latched:?}");
    engine.close(std::time::Duration::from_secs(1)).unwrap_err();
    let told = ear.take();
    assert_eq!((told.last().unwrap().name, told.last().unwrap().level), ("closed", Level::Warn));
}

#[test]
fn damage_is_told_with_its_place_and_measured() {
    const SEGMENT: &str = "log-001/0000000000000000.log";
    let mut world = World::new(4, |_| ());
    let engine = world.open();
    append(&topic(&engine, "safe", Flush::Sync), 0, 12, LEN);
    world.crash(Crash::Power);
    let at = world.find(SEGMENT, &value(3, LEN));
    world.disk.corrupt(SEGMENT, at + 100, 0x10).unwrap();
    let ear = Ear::default();
    ear.listen(&mut world);
    let engine = world.open();
    let told = ear.take();
    let damaged = named(&told, "damaged");
    assert_eq!((damaged.len(), damaged[0].level), (1, Level::Error));
    assert!(damaged[0].fields["error"].contains(SEGMENT), "{damaged:?}");
    // One group, of one record.
    let recovery = log(&engine, "log-001").recovery;
    assert_eq!((recovery.damaged_places, recovery.damaged_bytes), (1, 4096));
}

#[test]
fn no_space_is_told_once_until_it_has_passed() {
    let mut world = World::new(5, |_| ());
    let ear = Ear::default();
    ear.listen(&mut world);
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    append(&safe, 0, 3, LEN);
    settle(&engine);
    world.disk.set_condition(Condition::Full);
    let failed = (0..300).find_map(|n| safe.append(Record::new(&value(n, LEN))).err());
    assert!(matches!(failed, Some(Error::NoSpace { .. } | Error::Timeout { .. })), "{failed:?}");
    assert_eq!(named(&ear.take(), "segment_failed").len(), 1);
    world.disk.set_condition(Condition::Normal);
    settle(&engine);
    let resumed = (0..3).any(|_| safe.append(Record::new(b"after")).is_ok());
    assert!(resumed);
    append(&safe, 0, 100, LEN);
    assert_eq!(named(&ear.take(), "segment_failed").len(), 0);
}

#[test]
fn what_is_missing_here_is_told_as_a_fallback() {
    let mut world = World::new(6, |config| {
        config.direct_io = false;
        config.volatile = Some("it is a dream".to_owned());
        config.no_file_ring = Some("it copies".to_owned());
    });
    world.options = world.options.clone().allow_volatile(true);
    let ear = Ear::default();
    ear.listen(&mut world);
    world.open();
    let told = ear.take();
    let reasons: Vec<_> =
        named(&told, "fallback").iter().map(|event| &*event.fields["reason"]).collect();
    assert_eq!(reasons, ["O_DIRECT is refused", "it copies", "it is a dream"]);
}

#[test]
fn a_hook_that_panics_harms_nobody() {
    let mut world = World::new(7, |_| ());
    world.options = world.options.clone().on_event(Arc::new(|event| panic!("{event}")));
    let engine = world.open();
    let safe = topic(&engine, "safe", Flush::Sync);
    append(&safe, 0, 150, LEN);
    engine.close(std::time::Duration::from_secs(1)).unwrap();
    assert_eq!(values(&topic(&world.open(), "safe", Flush::Sync)).unwrap(), expected(150, LEN));
}
