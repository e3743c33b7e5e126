//! `verify` finds every flipped bit. A closed directory of everything there is (all codecs, several
//! shards, trims, deletions, frames too large for the ring); every byte of it is either listed here
//! as one without a meaning, as `docs/format.md` does, or a flip in it must be reported, in its
//! file. What is not listed has a meaning: a new kind of file fails the test until somebody says.
#![allow(clippy::unwrap_used, reason = "a failed unwrap here is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, iter};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringlog::inspect::{Inspector, Item, Report, SegmentState};
use ringlog::{
    AppendOptions, Compression, Engine, Flush, Offset, Record, TimestampType, TopicSpec,
};

const DEADLINE: Duration = Duration::from_secs(60);
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];
const FLIPS: usize = if cfg!(feature = "long") { 100_000 } else { 4_000 };
/// The bytes that mean nothing, as `docs/format.md` names them.
const NAMES: [&str; 4] = [
    "LOCK, READERS, WAITERS and reserve",
    "words 8, 16, 24 and 32 of a ring's control page",
    "the tail of a ring after a clean close",
    "what follows the last group of a segment",
];

fn fill(engine: &Engine, rng: &mut StdRng, rounds: usize) {
    let mut topics = Vec::new();
    for flush in [Flush::Sync, Flush::Async] {
        for codec in CODECS {
            let spec = TopicSpec::new(format!("{flush}-{codec}")).flush(flush).partitions(3);
            let spec = spec.compression(codec).timestamps(match codec {
                Compression::Lz4 => TimestampType::AppendTime,
                _ => TimestampType::CreateTime,
            });
            topics.push(engine.open_or_create_topic(spec).unwrap());
        }
    }
    for round in 0..rounds {
        let topic = &topics[rng.random_range(0..topics.len())];
        let partition = topic.partition(rng.random_range(0..3)).unwrap();
        // Now and then one that is too large for the ring and is its own group.
        let most = if round % 8 == 0 { 20_000 } else { 1500 };
        let value: Vec<u8> = iter::repeat_with(|| rng.random()).take(most).collect();
        let count = if round % 8 == 0 { 1 } else { rng.random_range(1..6) };
        let record = |n: usize| Record::new(&value[..most - n * 100]).key(b"key");
        let records: Vec<_> =
            (0..count).map(|n| record(n).header("name", Some(b"value"))).collect();
        let options = AppendOptions::default().compression(CODECS[round % 5]);
        partition.append_with(&records, options).unwrap();
        if round % 10 == 9 {
            let end = partition.info().unwrap().end.0;
            partition.trim(Offset(rng.random_range(0..=end))).unwrap();
        }
    }
    let gone = engine.create_topic(TopicSpec::new("gone")).unwrap().partition(0).unwrap();
    gone.append(Record::new(b"soon")).unwrap();
    engine.delete_topic("gone").unwrap();
}

fn closed_directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    for (rounds, shards) in [(100, 2), (30, 1), (60, 3)] {
        let options = Engine::options()
            .segment_bytes(128 << 10)
            .ring_bytes(64 << 10)
            .group_bytes(16 << 10)
            .max_payload_bytes(32 << 10)
            .spare_segments(0)
            .shards(shards);
        let engine = options.open(dir.path()).unwrap();
        fill(&engine, &mut rng, rounds);
        engine.close(DEADLINE).unwrap();
    }
    dir
}

fn files(dir: &Path, into: &mut BTreeMap<PathBuf, u64>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), into);
        } else {
            into.insert(entry.path(), entry.metadata().unwrap().len());
        }
    }
}

/// By file, the ranges without a meaning, each with its place in `NAMES`.
fn meaningless(inspector: &Inspector) -> Vec<(PathBuf, Range<u64>, usize)> {
    let mut ranges = Vec::new();
    let root = inspector.path();
    for name in ["LOCK", "READERS"] {
        ranges.push((root.join(name), 0..u64::MAX, 0));
    }
    for log in inspector.logs().unwrap() {
        ranges.push((log.path.join("WAITERS"), 0..4096, 0));
        ranges.push((log.path.join("reserve"), 0..u64::MAX, 0));
        if let Some(ring) = &log.ring {
            for word in [8, 16, 24, 32] {
                ranges.push((ring.path.clone(), word * 8..word * 8 + 8, 1));
            }
            ranges.push((ring.path.clone(), 4096..u64::MAX, 2));
        }
        let live = [SegmentState::Live, SegmentState::Prepared];
        let segments = log.segments.iter().filter(|segment| live.contains(&segment.state));
        let mut ends: BTreeMap<PathBuf, u64> = segments.map(|s| (s.path.clone(), 4096)).collect();
        inspector
            .walk(log.id, &mut |item| {
                if let Item::Group(group) = item {
                    let end = group.at + u64::from(group.used_bytes).next_multiple_of(4096);
                    ends.insert(group.path.clone(), end);
                }
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        ranges.extend(ends.into_iter().map(|(path, end)| (path, end..u64::MAX, 3)));
    }
    ranges
}

/// By file, the ranges with a meaning: all that is left.
fn meaning(dir: &Path, inspector: &Inspector) -> BTreeMap<PathBuf, Vec<Range<u64>>> {
    let mut all = BTreeMap::new();
    files(dir, &mut all);
    let without = meaningless(inspector);
    let rest = all.into_iter().map(|(path, len)| {
        let mut holes: Vec<_> =
            without.iter().filter(|(of, ..)| *of == path).map(|(_, range, _)| range).collect();
        holes.sort_by_key(|range| range.start);
        let (mut ranges, mut at) = (Vec::new(), 0);
        for hole in holes {
            ranges.push(at..hole.start.min(len));
            at = hole.end.min(len);
        }
        ranges.push(at..len);
        ranges.retain(|range| range.start < range.end);
        (path, ranges)
    });
    rest.filter(|(_, ranges)| !ranges.is_empty()).collect()
}

fn flip(path: &Path, at: u64, bit: u8) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << bit)], at).unwrap();
}

fn verify(inspector: &Inspector) -> Report {
    inspector.verify(&mut |_, _| ()).unwrap()
}

/// Somewhere in the ranges: at their edges, where structures begin, anywhere.
fn place(rng: &mut StdRng, ranges: &[Range<u64>]) -> u64 {
    let range = &ranges[rng.random_range(0..ranges.len())];
    let len = range.end - range.start;
    let inside = match rng.random_range(0..6) {
        0 => 0,
        1 => len - 1,
        2 => rng.random_range(0..len.min(200)),
        // Headers of groups and their first frames, and the padding before them.
        3 => (rng.random_range(0..len) & !4095) + rng.random_range(0..180),
        4 => (rng.random_range(0..len) | 4095) - rng.random_range(0..64),
        _ => rng.random_range(0..len),
    };
    range.start + inside.min(len - 1)
}

#[test]
fn every_flip_of_a_bit_with_a_meaning_is_found() {
    let dir = closed_directory();
    let inspector = Inspector::open(dir.path()).unwrap();
    assert_eq!(verify(&inspector).findings, []);
    let by_file = meaning(dir.path(), &inspector);
    let kinds: BTreeSet<String> = by_file.keys().map(|path| kind(path)).collect();
    let expected = ["checkpoint", "engine.meta", "idx", "log", "ring"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let mut rng = StdRng::seed_from_u64(2);
    let paths: Vec<&PathBuf> = by_file.keys().collect();
    for n in 0..FLIPS {
        let path = paths[n % paths.len()];
        let at = place(&mut rng, &by_file[path]);
        let bit = rng.random_range(0..8);
        flip(path, at, bit);
        let report = verify(&inspector);
        let found = report.damage().any(|finding| finding.path == *path);
        assert!(found, "bit {bit} of byte {at} of {}: {:?}", path.display(), report.findings);
        flip(path, at, bit);
    }
    assert!(verify(&inspector).is_whole());
}

fn kind(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    let (stem, end) = name.split_once('.').unwrap_or((name, ""));
    if stem.starts_with("checkpoint-") {
        "checkpoint".to_owned()
    } else if stem == "engine" || end.is_empty() {
        name.to_owned()
    } else {
        end.to_owned()
    }
}

#[test]
fn bytes_without_a_meaning_are_listed_and_mean_nothing() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format.md");
    let docs = fs::read_to_string(docs).unwrap();
    for name in NAMES {
        assert!(docs.contains(&format!("\n- {name}")), "{name} is not listed");
    }
    let dir = closed_directory();
    let inspector = Inspector::open(dir.path()).unwrap();
    let mut rng = StdRng::seed_from_u64(3);
    let mut met = BTreeSet::new();
    for (path, range, name) in meaningless(&inspector) {
        let len = fs::metadata(&path).map_or(0, |meta| meta.len());
        if range.start >= len {
            continue;
        }
        let end = range.end.min(len);
        for at in [range.start, end - 1, rng.random_range(range.start..end)] {
            flip(&path, at, rng.random_range(0..8));
            met.insert(name);
        }
    }
    assert_eq!(met.len(), NAMES.len());
    let report = verify(&inspector);
    assert!(report.is_whole(), "{:?}", report.findings);
}
