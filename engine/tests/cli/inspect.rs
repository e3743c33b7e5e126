//! `dump` and `verify`: they show and judge what lies on disk, and change nothing.

use std::fs;
use std::path::Path;

use crate::harness::{Appender, Place};

const MARK: &[u8] = b"a value that is easy to find";

fn marked() -> Place {
    let place = Place::with_topic(&[]);
    for value in [b"before".as_slice(), MARK, b"after"] {
        place.feed(&["append", "t"], value).succeeds();
    }
    place
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_undamaged_directory_verifies_and_is_not_touched() {
    let place = marked();
    let before = place.content();
    assert!(place.run(&["verify"]).succeeds().text().contains("ok"));
    assert_eq!(
        place.run(&["verify", "--json"]).succeeds().json()["findings"],
        serde_json::json!([])
    );
    place.run(&["dump"]).succeeds();
    assert!(place.content() == before);
}

#[test]
fn a_flipped_bit_is_found_named_and_never_served() {
    let place = marked();
    let (path, at) = place.find(MARK);
    flip(&path, at + 3);
    let before = place.content();
    let ran = place.run(&["verify"]).says(3, &[place.data().to_str().unwrap()]);
    assert!(ran.text().contains(path.to_str().unwrap()), "{}", ran.text());
    assert!(place.content() == before);
    let ran = place.run(&["verify", "--json"]).fails(3, &[]);
    assert_eq!(ran.json()["findings"][0]["path"], path.to_str().unwrap());
    let read = place.run(&["read", "t"]).says(3, &[path.to_str().unwrap(), "damaged at byte"]);
    assert_eq!(read.out, b"before\n");
    flip(&path, at + 3);
    place.run(&["verify"]).succeeds();
    assert_eq!(place.lines().len(), 3);
}

#[test]
fn damage_anywhere_is_found() {
    let place = marked();
    for (path, content) in place.content() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if matches!(name, "LOCK" | "READERS" | "WAITERS" | "ring") || content.is_empty() {
            continue;
        }
        flip(&path, 0);
        let ran = place.run(&["verify"]);
        assert_eq!(ran.code, Some(3), "{}: {ran:?}", path.display());
        let told = ran.text() + &ran.err;
        assert!(told.contains(name), "{name} is not in {told}");
        flip(&path, 0);
    }
    place.run(&["verify"]).succeeds();
}

#[test]
fn a_missing_segment_is_damage() {
    let place = marked();
    let (path, _) = place.find(MARK);
    let away = place.base().join("away");
    fs::rename(&path, &away).unwrap();
    let ran = place.run(&["verify"]).fails(3, &[]);
    assert!((ran.text() + &ran.err).contains(path.file_name().unwrap().to_str().unwrap()));
    assert!(place.run(&["read", "t"]).fails(3, &[]).out.is_empty());
    fs::rename(&away, &path).unwrap();
    assert_eq!(place.lines().len(), 3);
}

#[test]
fn dump_shows_every_level() {
    let place = marked();
    let text = place.run(&["dump"]).succeeds().text();
    for word in ["segment", "group", "frame", "batch"] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
    for line in place.run(&["dump", "--json"]).succeeds().text().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object());
    }
}

#[test]
fn a_raw_dump_is_record_batches_and_nothing_else() {
    let place = marked();
    let raw = place.run(&["dump", "--raw"]).succeeds().out;
    let (mut at, mut offsets) = (0, Vec::new());
    while at < raw.len() {
        offsets.push(u64::from_be_bytes(raw[at..at + 8].try_into().unwrap()));
        let length = u32::from_be_bytes(raw[at + 8..at + 12].try_into().unwrap()) as usize;
        assert_eq!(raw[at + 16], 2, "the magic of a RecordBatch v2");
        let crc = u32::from_be_bytes(raw[at + 17..at + 21].try_into().unwrap());
        at += 12 + length;
        assert_eq!(crc, crc32c::crc32c(&raw[at - length + 9..at]));
    }
    assert_eq!((at, offsets.as_slice()), (raw.len(), &[0, 1, 2][..]));
}

#[test]
fn after_a_kill_inspecting_leaves_recovery_to_the_next_open() {
    let place = Place::with_topic(&[]);
    let mut appender = Appender::start(&place, &[]);
    appender.write(b"a\n");
    appender.ack();
    appender.signal("KILL");
    appender.end();
    let before = place.content();
    place.run(&["verify"]).succeeds();
    place.run(&["dump"]).succeeds();
    assert!(place.content() == before);
    assert_eq!(place.lines(), ["a"]);
}
