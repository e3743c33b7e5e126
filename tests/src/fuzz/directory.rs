//! A data directory that somebody else has had in their hands: files patched, cut and removed,
//! their checksums made right again or not. Whatever it holds, opening and reading end, name what
//! is wrong, and say the same twice.

use std::sync::OnceLock;
use std::time::Duration;

use ringlog::raw::parsers::Seed;
use ringlog::raw::parsers::limits::{GROUP_ALIGN, SEGMENT_HEADER_BYTES};
use ringlog::sim::{Crash, SimConfig};
use ringlog::{AppendOptions, Compression, Engine, Error, Flush, Offset, Record};
use ringlog::{Start, TopicSpec};

use super::headers::repair_whole_group;
use super::tables::repair_index;
use super::{at, put_checksum, repair};
use crate::dice::Dice;
use crate::world::World;

/// Most patches of one input.
const PATCHES_MAX: u64 = 6;
const CODECS: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd];
const DEADLINE: Duration = Duration::from_secs(20);

/// The records of a partition, up to the first error: offset and value.
type Found = Vec<(u64, Vec<u8>)>;

/// Which directory, what is done to it, and what is then asked of it.
pub fn directory(data: &[u8]) {
    let mut dice = Dice::of_bytes(data);
    let bases = bases();
    let world = bases[dice.below(bases.len() as u64) as usize].fork(1);
    for _ in 0..=dice.below(PATCHES_MAX) {
        patch(&world, &mut dice);
    }
    let before = world.files();
    match world.try_open() {
        Ok(engine) => opened(&world, engine),
        Err(error) => refused(&world, &error, &before),
    }
}

/// Directories to begin with: one closed in peace, one whose process was killed.
fn bases() -> &'static [World] {
    static BASES: OnceLock<Vec<World>> = OnceLock::new();
    BASES.get_or_init(|| [true, false].map(base).into())
}

fn base(close: bool) -> World {
    let mut world = World::new(7, |config: &mut SimConfig| config.latency_max = Duration::ZERO);
    for life in 0..3 {
        let engine = world.open();
        fill(&engine, life);
        if close || life < 2 {
            engine.close(DEADLINE).expect("the disk works");
        }
        drop(engine);
        world.crash(Crash::Process);
    }
    world
}

fn fill(engine: &Engine, life: u64) {
    for (name, flush) in [("sync", Flush::Sync), ("async", Flush::Async)] {
        let spec = TopicSpec::new(name).partitions(2).flush(flush);
        let topic = engine.open_or_create_topic(spec).expect("the disk works");
        for n in 0..12 {
            let partition = topic.partition(n % 2).expect("there are two");
            let value = vec![n as u8; 40 + 700 * (n as usize % 5)];
            let records = [Record::new(&value).key(b"key").timestamp_ms(5), Record::null_value()];
            let options = AppendOptions::default().compression(CODECS[n as usize % 3]);
            partition.append_with(&records, options).expect("the disk works");
        }
        let partition = topic.partition(0).expect("there are two");
        partition.trim(Offset(life)).expect("the disk works");
    }
    let name = format!("life-{life}");
    engine.create_topic(TopicSpec::new(&name)).expect("the disk works");
    if life == 1 {
        engine.delete_topic("life-0").expect("the disk works");
    }
}

fn patch(world: &World, dice: &mut Dice) {
    let files: Vec<_> = world.disk.list_all().into_iter().filter(|entry| !entry.is_dir).collect();
    if files.is_empty() {
        return;
    }
    let file = &files[dice.below(files.len() as u64) as usize];
    let kind = dice.below(16);
    // Most of a file is its tail of zeros; what means something is at its beginning.
    let reach = if dice.chance(70) { file.len_bytes.min(12 << 10) } else { file.len_bytes };
    let place = dice.below(reach.max(1));
    let len = match kind {
        0 => return world.remove(&file.name),
        1 => {
            // A ring cannot be cut.
            let _ = world.disk.truncate(&file.name, place);
            return;
        }
        _ => dice.within(1, 8).min(file.len_bytes.saturating_sub(place)),
    };
    let mut bytes = world.disk.read_file(&file.name).expect("it is listed");
    let from = place as usize;
    let patched = &mut bytes[from..from + len as usize];
    if kind < 9 {
        for byte in patched {
            *byte = dice.below(256) as u8;
        }
    } else if let Some(first) = patched.first_mut() {
        *first ^= 1 << dice.below(8);
    }
    if dice.chance(80) {
        repair_file(&file.name, &mut bytes);
    }
    world.overwrite(&file.name, 0, &bytes);
}

/// Makes all checksums of a file right.
fn repair_file(name: &str, bytes: &mut [u8]) {
    let len = bytes.len();
    let (dir, name) = name.rsplit_once('/').unwrap_or(("", name));
    match name.rsplit_once('.') {
        Some((_, "idx")) => repair_index(bytes),
        Some((_, "meta")) => {
            repair(bytes, 8, 12, 4096);
            repair(bytes, 4096 + 8, 4096 + 12, 8192);
        }
        Some((_, "log")) => repair_segment(bytes),
        _ if name.starts_with("checkpoint-") => {
            if let Some(place) = bytes.get_mut(32..40) {
                place.copy_from_slice(&(len as u64).to_le_bytes());
            }
            repair(bytes, 8, 12, len);
        }
        _ if name == "ring" && !dir.is_empty() => {
            let checksum = crc32c::crc32c(&bytes[..40]);
            put_checksum(bytes, 40, checksum);
        }
        _ => {}
    }
}

fn repair_segment(bytes: &mut [u8]) {
    repair(bytes, 8, 12, SEGMENT_HEADER_BYTES);
    let Some(log) = at(bytes, 16) else { return };
    let seed = Seed::of(uuid::Uuid::from_bytes(log));
    for from in (SEGMENT_HEADER_BYTES..bytes.len()).step_by(GROUP_ALIGN) {
        if bytes[from..].starts_with(b"RLG0") {
            let used = at(bytes, from + 16).map_or(0, u32::from_le_bytes) as usize;
            let to = from.saturating_add(used).min(bytes.len());
            let group = &mut bytes[from..to.max(from)];
            repair_whole_group(seed, group);
        }
    }
}

/// A refusal names a reason that a caller can act on, is given again, and touches nothing.
fn refused(world: &World, error: &Error, before: &[(String, Vec<u8>)]) {
    let kind = error.kind();
    assert!(!matches!(error, Error::InvalidArgument { .. }), "the options are right: {error}");
    let again = world.try_open().expect_err("refused once");
    assert_eq!(kind, again.kind(), "{error}, then {again}");
    let after = world.files();
    let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(before), names(&after), "{error}: made or removed files");
    let changed: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
    assert!(changed.is_empty(), "{error}: changed {}", changed[0].0.0);
}

fn opened(world: &World, engine: Engine) {
    let first = read_all(&engine);
    drop(engine.metrics());
    let mut added = 0;
    for info in engine.topics() {
        let Ok(partition) = engine.topic(&info.name).and_then(|topic| topic.partition(0)) else {
            continue;
        };
        match partition.append(Record::new(b"after")) {
            Ok(offset) => {
                added += 1;
                let batch = partition.reader(Start::Offset(offset)).expect("appended").next();
                let batch = batch.expect("appended").expect("what was just written can be read");
                assert_eq!(batch.base_offset(), offset);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    let closed = engine.close(DEADLINE);
    drop(engine);
    let engine = match world.try_open() {
        Ok(engine) => engine,
        Err(error) => panic!("opened once, closed ({closed:?}), and then: {error}"),
    };
    let second = read_all(&engine);
    for ((name, first), (other, second)) in first.iter().zip(&second) {
        assert_eq!(name, other);
        let same = first.iter().zip(second).all(|(a, b)| a == b) && second.len() >= first.len();
        assert!(same, "{name}: {} records, then {}; {added} added", first.len(), second.len());
    }
    assert_eq!(first.len(), second.len(), "partitions");
}

/// By partition.
fn read_all(engine: &Engine) -> Vec<(String, Found)> {
    let mut all = Vec::new();
    for info in engine.topics() {
        let Ok(topic) = engine.topic(&info.name) else { continue };
        for id in 0..topic.partitions().min(16) {
            let Ok(partition) = topic.partition(id) else { continue };
            let mut found = Vec::new();
            if let Ok(reader) = partition.reader(Start::Earliest) {
                for record in reader.records().map_while(Result::ok) {
                    found.push((record.offset.0, record.value.unwrap_or_default().to_vec()));
                }
            }
            all.push((format!("{}/{id}", info.name), found));
        }
    }
    all
}
