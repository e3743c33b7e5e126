//! `repair`: says what is lost and what it would do, does it only with `--yes`, and destroys
//! nothing.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Appender, Place};

/// One value a call, so each is a group of its own.
fn with_values(values: &[&str]) -> Place {
    let place = Place::with_topic(&[]);
    for value in values {
        place.feed(&["append", "t"], value.as_bytes()).succeeds();
    }
    place
}

/// Two segments and more: 2,000 values of 1 KiB, whose first digits are their offsets.
fn large() -> Place {
    let place = Place::with_topic(&[]);
    let lines: String = (0..2000).map(|n| format!("{n:05} {:.>1000}\n", "")).collect();
    place.feed(&["append", "t"], lines.as_bytes()).succeeds();
    place
}

fn named(place: &Place, dir: &str, start: &str, end: &str) -> Vec<PathBuf> {
    let is = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        path.parent().unwrap().ends_with(dir) && name.starts_with(start) && name.ends_with(end)
    };
    place.files().into_iter().filter(is).collect()
}

fn flip(path: &Path, at: usize) -> Vec<u8> {
    let before = fs::read(path).unwrap();
    let mut bytes = before.clone();
    bytes[at] ^= 0x10;
    fs::write(path, &bytes).unwrap();
    bytes
}

fn kept(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.damaged", path.display()))
}

/// Only tells, and touches nothing; then does it.
fn repaired(place: &Place, told: &[&str]) -> String {
    let before = place.content();
    let dry = place.run(&["repair"]).fails(3, &[]);
    for part in told {
        assert!(dry.text().contains(part), "`{part}` is not in: {}", dry.text());
    }
    assert!(dry.text().contains("would repair"), "{}", dry.text());
    assert!(place.content() == before, "without --yes nothing is touched");
    let did = place.run(&["repair", "--yes"]).succeeds().text();
    assert!(did.contains("repair: ") && !did.contains("would"), "{did}");
    did
}

#[test]
fn what_is_whole_needs_nothing_and_a_writer_is_in_the_way() {
    let place = with_values(&["one", "two"]);
    let before = place.content();
    for options in [&["repair"][..], &["repair", "--yes"]] {
        assert_eq!(place.run(options).succeeds().text(), "ok: nothing to repair\n");
    }
    let json = place.run(&["repair", "--json"]).succeeds().json();
    assert_eq!(
        (json["steps"].clone(), json["done"].clone()),
        (serde_json::json!([]), false.into())
    );
    assert!(place.content() == before);
    let mut appender = Appender::start(&place, &[]);
    appender.write(b"three\n");
    assert!(appender.ack().starts_with("ACK"));
    place.run(&["repair", "--yes"]).says(4, &["LOCK"]);
    drop(appender.stdin.take());
    appender.end().succeeds();
    place.run(&["repair", "--export"]).fails(2, &[]);
}

#[test]
fn a_bad_copy_is_restored_from_the_good_one_and_kept() {
    for at in [20, 4096 + 20] {
        let place = with_values(&["one"]);
        let meta = place.data().join("engine.meta");
        let whole = fs::read(&meta).unwrap();
        let bad = flip(&meta, at);
        repaired(&place, &["engine.meta", "copy"]);
        assert!(fs::read(&meta).unwrap() == whole && fs::read(kept(&meta)).unwrap() == bad);
        place.run(&["verify"]).succeeds();
    }
    for newest in [true, false] {
        let place = large();
        let checkpoints = named(&place, "log-001", "checkpoint-", "");
        assert_eq!(checkpoints.len(), 2);
        let path = &checkpoints[usize::from(newest)];
        let bad = flip(path, 50);
        repaired(&place, &["restore the checkpoint"]);
        assert!(fs::read(kept(path)).unwrap() == bad);
        place.run(&["verify"]).succeeds();
        assert_eq!(place.lines().len(), 2000);
    }
}

#[test]
fn an_index_is_built_again() {
    for missing in [true, false] {
        let place = large();
        let index = named(&place, "log-001", "0000000000000000", ".idx").remove(0);
        let whole = fs::read(&index).unwrap();
        if missing {
            fs::remove_file(&index).unwrap();
        } else {
            let bad = flip(&index, 100);
            repaired(&place, &["build the index"]);
            assert!(fs::read(kept(&index)).unwrap() == bad && fs::read(&index).unwrap() == whole);
            continue;
        }
        repaired(&place, &["build the index"]);
        assert!(fs::read(&index).unwrap() == whole);
    }
}

#[test]
fn a_log_goes_on_behind_damage_and_what_is_lost_is_told_exactly() {
    let place = with_values(&["before", "a value that is lost", "after"]);
    let (path, at) = place.find(b"a value that is lost");
    flip(&path, at + 3);
    // Where the index is as it should be, what is below the clean end is not read again.
    assert_eq!(place.run(&["repair"]).succeeds().text(), "lost: t/0: offsets 1 to 1\n");
    for index in named(&place, "log-001", "", ".idx") {
        fs::remove_file(index).unwrap();
    }
    place.feed(&["append", "t"], b"refused").fails(3, &[]);
    let damaged = fs::read(&path).unwrap();
    let group = at & !4095;
    repaired(&place, &["lost: t/0: offsets 1 to 1\n", "log-001", "kept as", "go on at"]);
    place.feed(&["append", "t"], b"more").succeeds();
    let now = fs::read(&path).unwrap();
    assert!(now[group..group + 4096] == damaged[group..group + 4096], "the evidence stays");
    let read = place.run(&["read", "t", "--from", "2"]).succeeds();
    assert_eq!(read.text(), "after\nmore\n");
    let read = place.run(&["read", "t"]).says(3, &["damaged"]);
    assert_eq!(read.text(), "before\n");
    // What is lost stays lost, and nothing is left to do.
    let again = place.run(&["repair"]).succeeds().text();
    assert_eq!(again, "lost: t/0: offsets 1 to 1\n");
    place.run(&["verify"]).fails(3, &[]);
}

#[test]
fn without_checkpoints_a_log_is_found_again_from_its_segments() {
    let place = large();
    let bad: Vec<_> = named(&place, "log-001", "checkpoint-", "")
        .into_iter()
        .map(|path| (flip(&path, 50), path))
        .collect();
    place.run(&["read", "t"]).says(3, &["checkpoint-"]);
    let did = repaired(&place, &["go on at position"]);
    assert!(!did.contains("lost"), "{did}");
    for (bytes, path) in bad {
        assert!(fs::read(kept(&path)).unwrap() == bytes);
    }
    let ran = place.feed(&["append", "t", "--print-acks"], b"more").succeeds();
    assert_eq!(ran.text(), "ACK 0 2000\n");
    assert_eq!(place.lines().len(), 2001);
    place.run(&["verify"]).succeeds();
}

#[test]
fn a_missing_or_cut_segment_costs_what_was_in_it() {
    for cut in [false, true] {
        let place = large();
        let segment = named(&place, "log-001", "0000000000000000", ".log").remove(0);
        let whole = fs::read(&segment).unwrap();
        if cut {
            fs::write(&segment, &whole[..whole.len() / 2]).unwrap();
        } else {
            fs::remove_file(&segment).unwrap();
        }
        place.feed(&["append", "t"], b"refused").fails(3, &[]);
        let json = place.run(&["repair", "--json"]).fails(3, &[]).json();
        let loss = json["losses"][0].clone();
        let (from, to) = (loss["from"].as_u64().unwrap(), loss["to"].as_u64().unwrap());
        assert_eq!((json["losses"].as_array().unwrap().len(), from > 0), (1, cut), "{json}");
        assert_eq!((loss["topic"].clone(), loss["partition"].clone()), ("t".into(), 0.into()));
        repaired(&place, &[&format!("lost: t/0: offsets {from} to {}", to - 1)]);
        if cut {
            let kept = fs::read(&segment).unwrap();
            assert!(kept.len() == whole.len());
            assert!(kept[..whole.len() / 2] == whole[..whole.len() / 2]);
        }
        let ran = place.feed(&["append", "t", "--print-acks"], b"more").succeeds();
        assert_eq!(ran.text(), "ACK 0 2000\n");
        let rest = place.run(&["read", "t", "--from", &to.to_string()]).succeeds().text();
        assert!(rest.starts_with(&format!("{to:05} ")) && rest.ends_with("\nmore\n"));
        assert_eq!(rest.lines().count() as u64, 2001 - to);
    }
}

#[test]
fn what_can_be_read_of_a_damaged_log_is_exported() {
    let place = with_values(&["before", "a value that is lost", "after"]);
    place.run(&["create-topic", "other", "--flush", "async"]).succeeds();
    place.feed(&["append", "other"], b"whole").succeeds();
    let (path, at) = place.find(b"a value that is lost");
    flip(&path, at + 3);
    let before = place.content();
    let out = place.base().join("salvaged");
    let dir = out.to_str().unwrap();
    let ran = place.run(&["repair", "--export", dir]).succeeds();
    assert!(ran.text().contains("exported: ") && place.content() == before);
    let files: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files, [out.join("t-0.batches")]);
    let bytes = fs::read(&files[0]).unwrap();
    let has = |value: &[u8]| bytes.windows(value.len()).any(|window| window == value);
    assert!(has(b"before") && has(b"after") && !has(b"is lost"));
    // Kafka's batches: magic 2 in its place, and the length says where the next one begins.
    let second = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
    assert_eq!((bytes[16], bytes[second + 16]), (2, 2));
    assert_eq!(bytes[second..second + 8], 2u64.to_be_bytes());
    // Nothing is overwritten.
    place.run(&["repair", "--export", dir]).says(1, &["t-0.batches"]);
}

#[test]
fn damage_among_the_topics_is_beyond_repair_and_not_touched() {
    let place = with_values(&["one"]);
    for checkpoint in named(&place, "log-000", "checkpoint-", "") {
        flip(&checkpoint, 50);
    }
    let before = place.content();
    let dry = place.run(&["repair"]).fails(3, &[]);
    assert!(dry.text().contains("beyond repair: "), "{}", dry.text());
    assert_eq!(place.run(&["repair", "--yes"]).code, Some(3));
    assert!(place.content() == before);
}

#[test]
fn a_torn_tail_is_cut_and_kept() {
    let place = with_values(&["one", "two"]);
    let mut appender = Appender::start(&place, &[]);
    // Each a group of its own.
    for value in [b"three\n".as_slice(), b"four\n"] {
        appender.write(value);
        appender.ack();
    }
    appender.signal("KILL");
    appender.end();
    let (path, at) = place.find(b"four");
    flip(&path, at);
    fs::remove_file(place.data().join("log-001/ring")).unwrap();
    let torn = fs::read(&path).unwrap();
    repaired(&place, &["cut a torn tail"]);
    let copy = named(&place, "log-001", "0000000000000000.log.from-", ".damaged").remove(0);
    let kept = fs::read(copy).unwrap();
    assert!(torn.windows(kept.len()).any(|window| window == kept) && kept.len() >= 4096);
    assert_eq!(place.lines(), ["one", "two", "three"]);
}
