//! The whole life on each filesystem: append, kill, recover, mount again, verify; what the doctor
//! says of it; and segments that somebody keeps a reflink of.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringlog::{Engine, Flush, Offset, Record, TopicSpec};
use serde_json::Value;

use super::{ALL, BTRFS, EXT4, MIB, Mount, Recipe, XFS};
use crate::program::{Place, Program, Until};
use crate::{LONG, eventually, skip, text, tool};

/// Its verdict of a directory.
fn doctor(place: &Place) -> (Value, Option<i32>) {
    let done = place.command(&[], &["doctor", "--json"]).output().unwrap();
    (serde_json::from_slice(&done.stdout).unwrap(), done.status.code())
}

fn round(recipe: Recipe, backend: &'static str) -> Result<(), String> {
    let mount = Mount::plain(recipe)?;
    let liar = mount.dir.join("liar");
    fs::create_dir(&liar).unwrap();
    let mut liar = Place::new(Program::Liar, &liar, &[]);
    liar.append(20_003, &[], Until::Heard(93, Duration::ZERO));
    assert!(liar.check(false).is_err(), "{}: a liar passes", recipe.name);
    let mut place = Place::not_yet(Program::Ringlog, &mount.dir, &["--segment-bytes=35651584"]);
    place.options.push(backend);
    place.has_rings = recipe.name != "btrfs";
    for (topic, flush) in [("t", "sync"), ("u", "async")] {
        place.run(&["create-topic", topic, "--flush", flush]).unwrap();
    }
    for round in 0..if LONG { 20 } else { 3 } {
        let until = Until::Heard(40 + 60 * round, Duration::from_millis(round as u64));
        assert!(place.append(20_000, &[], until).killed());
        let checked = place.check(round % 2 == 0);
        checked.unwrap_or_else(|lost| panic!("{} {backend}: {lost}", recipe.name));
        mount.again().unwrap();
        let checked = place.check(round % 2 == 1);
        checked.unwrap_or_else(|lost| panic!("{} {backend}, mounted: {lost}", recipe.name));
    }
    assert!(place.append(200, &[], Until::ItsEnd).status.success());
    mount.again().unwrap();
    place.check(false).unwrap();
    says(&place, recipe);
    Ok(())
}

/// The doctor's words fit what is known of each filesystem.
fn says(place: &Place, recipe: Recipe) {
    let (told, code) = doctor(place);
    let chosen = &told["chosen"];
    assert_eq!(chosen["filesystem"], recipe.name);
    assert_eq!(chosen["direct_io"], true, "{told}");
    assert_eq!(code, Some(if told["durable"] == true { 0 } else { 6 }), "{told}");
    let in_file = |log: &Value| log["ring_in_file"] == true;
    let logs = chosen["logs"].as_array().unwrap();
    let files = logs.iter().filter(|log| in_file(log)).count();
    // A store into a mapping can be a signal where overwriting takes space.
    assert_eq!(files, if recipe.name == "btrfs" { 0 } else { 2 }, "{told}");
    let written = logs.last().unwrap()["written"].as_str().unwrap();
    assert_eq!(written.contains("ring file"), files > 0, "{written}");
}

#[test]
fn append_kill_reopen_verify_on_ext4_with_a_journal() {
    on(EXT4, "mounts::rounds::append_kill_reopen_verify_on_ext4_with_a_journal");
}

#[test]
fn append_kill_reopen_verify_on_xfs() {
    on(XFS, "mounts::rounds::append_kill_reopen_verify_on_xfs");
}

#[test]
fn append_kill_reopen_verify_on_btrfs() {
    on(BTRFS, "mounts::rounds::append_kill_reopen_verify_on_btrfs");
}

fn on(recipe: Recipe, name: &str) {
    for backend in ["--backend=auto", "--backend=plain"] {
        if let Err(reason) = round(recipe, backend) {
            return skip(name, &reason);
        }
    }
}

/// Segments of the log of sync topics.
fn segments(data: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(data.join("log-001")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|suffix| suffix == "log")).collect()
}

/// Segments die and are recycled while somebody keeps reflinks of some: the reflinks keep their
/// bytes, and no recycled file shares its blocks.
fn reflinked(recipe: Recipe) -> Result<(), String> {
    let mount = Mount::plain(recipe)?;
    let (data, kept) = (mount.dir.join("data"), mount.dir.join("kept"));
    fs::create_dir(&kept).unwrap();
    let options = Engine::options().segment_bytes(MIB).max_payload_bytes(256 << 10);
    let engine = options.ring_bytes(256 << 10).group_bytes(64 << 10).open(&data).unwrap();
    let topic = engine.create_topic(TopicSpec::new("t").flush(Flush::Sync)).unwrap();
    let partition = topic.partition(0).unwrap();
    let value = vec![7; 100_000];
    let mut next = Offset(0);
    let mut fill = |count: usize| {
        for _ in 0..count {
            next = partition.append(Record::new(&value)).unwrap() + 1;
        }
        next
    };
    let recycled = || engine.metrics().logs[1].segments_recycled;
    let removed = || engine.metrics().logs[1].segments_removed;
    // Without reflinks they are recycled, once they have their full size.
    let end = fill(60);
    partition.trim(end).unwrap();
    eventually("a recycled segment", || recycled() > 0);
    let end = fill(40);
    let mut copies = Vec::new();
    for segment in segments(&data) {
        let copy = kept.join(segment.file_name().unwrap());
        tool("cp", &["--reflink=always", text(&segment), text(&copy)])?;
        copies.push((fs::read(&copy).unwrap(), copy));
    }
    let (before, gone) = (recycled(), removed());
    partition.trim(end).unwrap();
    eventually("segments that go", || removed() > gone);
    assert_eq!(recycled(), before, "{}: set aside although others share it", recipe.name);
    fill(60);
    engine.close(crate::DEADLINE).unwrap();
    for (bytes, copy) in copies {
        assert!(fs::read(&copy).unwrap() == bytes, "{}: {}", recipe.name, copy.display());
    }
    Ok(())
}

#[test]
fn a_reflinked_segment_is_never_recycled() {
    for recipe in ALL {
        if recipe.name == "ext4" {
            continue;
        }
        if let Err(reason) = reflinked(recipe) {
            return skip("mounts::rounds::a_reflinked_segment_is_never_recycled", &reason);
        }
    }
}
