//! `verify` finds any flipped bit in any byte that `docs/format.md` gives a meaning, every missing
//! and every cut file, finds nothing in a directory that is whole, and changes nothing.
#![allow(clippy::unwrap_used, reason = "a failed unwrap here is a failed test")]
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "names of our own making")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringlog::inspect::{Body, Inspector, Item, Report, SegmentState, Severity};
use ringlog::{Engine, Error, Flush, Offset, Options, Record, TopicSpec};

const FLIPS_PER_FILE: usize = 60;
const DEADLINE: Duration = Duration::from_secs(30);

fn options() -> Options {
    Engine::options()
        .segment_bytes(64 << 10)
        .ring_bytes(64 << 10)
        .group_bytes(16 << 10)
        .max_payload_bytes(16 << 10)
}

/// Appends to everything there is; leaves several segments behind, some retired.
fn fill(engine: &Engine, rng: &mut StdRng, rounds: usize) {
    let sync = engine.open_or_create_topic(TopicSpec::new("orders").partitions(2)).unwrap();
    let spec = TopicSpec::new("clicks").partitions(3).flush(Flush::Async);
    let bulk = engine.open_or_create_topic(spec).unwrap();
    for round in 0..rounds {
        for topic in [&sync, &bulk] {
            let partition = topic.partition(rng.random_range(0..topic.partitions())).unwrap();
            let value = vec![round as u8; rng.random_range(0..4000)];
            let record = Record::new(&value);
            let count = rng.random_range(1..4);
            partition.append_many(&vec![record; count]).unwrap();
            if round % 16 == 15 && rng.random_bool(0.5) {
                let end = partition.info().unwrap().end.0;
                partition.trim(Offset(rng.random_range(0..=end))).unwrap();
            }
        }
    }
    let gone = engine.create_topic(TopicSpec::new("gone")).unwrap().partition(0).unwrap();
    gone.append(Record::new(b"soon")).unwrap();
    engine.delete_topic("gone").unwrap();
}

fn closed_directory(seed: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    for rounds in [60, 5, 70] {
        let engine = options().open(dir.path()).unwrap();
        fill(&engine, &mut rng, rounds);
        engine.close(DEADLINE).unwrap();
    }
    dir
}

/// What a killed process leaves: the files of an engine at rest, copied.
fn killed_directory(seed: u64) -> tempfile::TempDir {
    let (dir, copy) = (closed_directory(seed), tempfile::tempdir().unwrap());
    let engine = options().open(dir.path()).unwrap();
    fill(&engine, &mut StdRng::seed_from_u64(seed), 40);
    for (path, bytes) in files_at_rest(dir.path()) {
        let to = copy.path().join(path.strip_prefix(dir.path()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
    copy
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    try_files(dir).unwrap()
}

/// The same while an engine may still rename and write there, once it has stopped to.
fn files_at_rest(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let end = Instant::now() + DEADLINE;
    let mut before = None;
    loop {
        let now = try_files(dir).ok();
        if let (Some(now), true) = (&now, now == before) {
            return now.clone();
        }
        assert!(Instant::now() < end, "the engine does not come to rest");
        before = now;
        thread::sleep(Duration::from_millis(20));
    }
}

fn try_files(dir: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(try_files(&path)?);
        } else {
            found.insert(path.clone(), fs::read(path)?);
        }
    }
    Ok(found)
}

fn verify(inspector: &Inspector) -> Report {
    inspector.verify(&mut |done, total| assert!(done <= total)).unwrap()
}

/// The ranges with a meaning, and whether damage there is proven to be damage: all below the clean
/// end, and below what later groups or a checkpoint say was durable.
fn meaning(inspector: &Inspector) -> Vec<(PathBuf, u64, u64)> {
    let mut ranges = vec![(inspector.path().join("engine.meta"), 0, 8192)];
    for log in inspector.logs().unwrap() {
        for checkpoint in &log.checkpoints {
            let len = fs::metadata(&checkpoint.path).unwrap().len();
            ranges.push((checkpoint.path.clone(), 0, len));
        }
        for index in &log.indexes {
            if log.segments.iter().any(|s| s.base == index.base && s.state == SegmentState::Live) {
                ranges.push((index.path.clone(), 0, index.len_bytes));
            }
        }
        for segment in &log.segments {
            if matches!(segment.state, SegmentState::Live | SegmentState::Prepared) {
                ranges.push((segment.path.clone(), 0, 4096));
            }
        }
        if let Some(ring) = &log.ring {
            ranges.push((ring.path.clone(), 0, 56));
            ranges.push((ring.path.clone(), 56, 64));
            ranges.push((ring.path.clone(), 328, 384));
            ranges.push((ring.path.clone(), 512, 4096));
        }
        let mut groups = Vec::new();
        let newest = &log.checkpoints[0];
        let mut proven = newest.position;
        inspector
            .walk(log.id, &mut |item| {
                if let Item::Group(group) = item {
                    let len = u64::from(group.used_bytes).next_multiple_of(4096);
                    proven = proven.max(group.durable_upto);
                    groups.push((group.position, group.path.clone(), group.at, group.at + len));
                }
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        let below = groups.into_iter().filter(|group| group.0 < proven);
        ranges.extend(below.map(|(_, path, from, to)| (path, from, to)));
    }
    ranges
}

fn flip(path: &Path, at: u64, bit: u8) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << bit)], at).unwrap();
}

fn assert_every_flip_is_found(dir: &Path, seed: u64) {
    let inspector = Inspector::open(dir).unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut by_file: BTreeMap<PathBuf, Vec<(u64, u64)>> = BTreeMap::new();
    for (path, from, to) in meaning(&inspector) {
        by_file.entry(path).or_default().push((from, to));
    }
    let mut flips = 0;
    for (path, ranges) in &by_file {
        for i in 0..FLIPS_PER_FILE {
            // Every range at its edges and somewhere inside, in turn.
            let (from, to) = ranges[i % ranges.len()];
            let at = match rng.random_range(0..4) {
                0 => from,
                1 => to - 1,
                2 => from + rng.random_range(0..(to - from).min(100)),
                _ => rng.random_range(from..to),
            };
            let bit = rng.random_range(0..8);
            flip(path, at, bit);
            let report = verify(&inspector);
            let found = report.damage().any(|finding| finding.path == *path);
            assert!(found, "bit {bit} of byte {at} of {}: {:?}", path.display(), report.findings);
            flip(path, at, bit);
            flips += 1;
        }
    }
    assert!(flips > 1000, "{flips} flips");
    assert!(verify(&inspector).is_whole());
}

#[test]
fn a_directory_that_is_whole_gives_no_finding_and_keeps_every_byte() {
    let dir = closed_directory(1);
    let before = files(dir.path());
    let inspector = Inspector::open(dir.path()).unwrap();
    let report = verify(&inspector);
    assert_eq!(report.findings, []);
    assert!(report.is_whole() && report.totals.records > 300 && report.totals.logs == 3);
    for log in inspector.logs().unwrap() {
        inspector.walk(log.id, &mut |_| Ok(ControlFlow::Continue(()))).unwrap();
    }
    drop(inspector);
    let (mut after, mut before) = (files(dir.path()), before);
    after.remove(&dir.path().join("LOCK"));
    before.remove(&dir.path().join("LOCK"));
    assert!(before == after, "inspecting changed a file");
}

#[test]
fn a_directory_of_a_killed_writer_is_not_damaged() {
    let dir = killed_directory(2);
    let report = verify(&Inspector::open(dir.path()).unwrap());
    assert!(report.is_whole(), "{:?}", report.findings);
}

#[test]
fn every_flip_in_a_closed_directory_is_found() {
    assert_every_flip_is_found(closed_directory(3).path(), 3);
}

#[test]
fn every_flip_below_what_is_proven_durable_is_found_after_a_kill() {
    assert_every_flip_is_found(killed_directory(4).path(), 4);
}

#[test]
fn a_missing_or_cut_file_is_found() {
    let dir = closed_directory(5);
    let inspector = Inspector::open(dir.path()).unwrap();
    let mut seen = 0;
    for (path, bytes) in files(dir.path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let evidence = name.ends_with(".log") || name.starts_with("checkpoint-");
        // An index is derived, and a prepared segment is made again.
        let prepared = inspector.logs().unwrap().iter().any(|log| {
            let state = log.segments.iter().find(|s| s.path == path).map(|s| s.state);
            state == Some(SegmentState::Prepared)
        });
        if evidence && !prepared {
            fs::remove_file(&path).unwrap();
            let report = verify(&inspector);
            // Of two checkpoints the other one tells that one is missing, not which.
            let other = |f: &Path| {
                let name = f.file_name().unwrap().to_str().unwrap();
                f.parent() == path.parent() && name.starts_with("checkpoint-")
            };
            let named = |f: &Path| f == path || (name.starts_with("checkpoint-") && other(f));
            assert!(report.damage().any(|f| named(&f.path)), "{name}: {:?}", report.findings);
            seen += 1;
        }
        if evidence || name.ends_with(".idx") || name == "engine.meta" || name == "ring" {
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            let report = verify(&inspector);
            assert!(report.damage().any(|f| f.path == path), "{name}: {:?}", report.findings);
        }
        if name != "LOCK" {
            fs::write(&path, &bytes).unwrap();
        }
    }
    assert!(seen > 10, "{seen} files");
    assert!(verify(&inspector).is_whole());
}

#[test]
fn a_torn_tail_is_a_note_and_the_walk_says_where_it_is() {
    let dir = killed_directory(6);
    let inspector = Inspector::open(dir.path()).unwrap();
    let mut last = None;
    inspector
        .walk(1, &mut |item| {
            if let Item::Group(group) = item {
                last = Some(group.clone());
            }
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    let last = last.unwrap();
    flip(&last.path, last.at + 64 + 40, 3);
    let report = verify(&inspector);
    assert!(report.is_whole(), "{:?}", report.findings);
    let note = report.findings.iter().find(|finding| finding.path == last.path).unwrap();
    assert_eq!((note.severity, note.at), (Severity::Note, last.at));
}

#[test]
fn damage_in_the_middle_does_not_hide_what_follows() {
    let dir = closed_directory(7);
    let inspector = Inspector::open(dir.path()).unwrap();
    let mut frames = Vec::new();
    let mut group = None;
    let mut changes = 0;
    for log in inspector.logs().unwrap() {
        inspector
            .walk(log.id, &mut |item| {
                if let Item::Group(found) = item {
                    group = Some((found.path.clone(), found.at));
                }
                if let Item::Frame(frame) = item {
                    frames.push((log.id, group.clone().unwrap()));
                    if let Body::Metadata(json) = &frame.body {
                        changes += usize::from(json.contains("topic_created"));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
    }
    assert!(changes > 2, "{changes} topics were created");
    let log = inspector.logs().unwrap().remove(1);
    let first = &log.segments.iter().find(|s| s.state == SegmentState::Live).unwrap().path;
    flip(first, 4096 + 20, 0);
    let (mut damage, mut after) = (0, 0);
    inspector
        .walk(log.id, &mut |item| {
            match item {
                Item::Damage(finding) => {
                    assert_eq!((&finding.path, finding.at), (first, 4096));
                    damage += 1;
                }
                Item::Frame(_) => after += 1,
                _ => {}
            }
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    let count = |log, in_damaged| {
        let damaged = (first.clone(), 4096);
        frames.iter().filter(|f| f.0 == log && (f.1 == damaged) == in_damaged).count()
    };
    // The damaged group may be an empty one: upkeep decides which segment is the first.
    let (hidden, whole) = (count(log.id, true), count(log.id, false));
    assert_eq!(damage, 1);
    assert_eq!(after, whole, "{hidden} frames are in the damaged group");
    assert!(whole > hidden);
}

#[test]
fn what_is_not_ours_is_refused_and_a_writer_is_no_obstacle() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Inspector::open(empty.path()), Err(Error::NotADataDirectory { .. })));
    fs::write(empty.path().join("notes.txt"), "mine").unwrap();
    assert!(matches!(Inspector::open(empty.path()), Err(Error::NotADataDirectory { .. })));
    assert_eq!(files(empty.path()).len(), 1);

    let dir = closed_directory(8);
    let engine = options().open(dir.path()).unwrap();
    let inspector = Inspector::open(dir.path()).unwrap();
    assert!(inspector.has_writer() && verify(&inspector).is_whole());
    engine.close(DEADLINE).unwrap();
    assert!(!inspector.has_writer());

    let meta = dir.path().join("engine.meta");
    flip(&meta, 20, 0);
    let report = verify(&Inspector::open(dir.path()).unwrap());
    assert_eq!(report.damage().count(), 1, "one copy is enough to look further");
    flip(&meta, 4096 + 20, 0);
    assert!(matches!(Inspector::open(dir.path()), Err(Error::Corrupt { .. })));
}
