//! Wrong calls and wrong directories: each has its exit code and message, and changes nothing.

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::{Appender, Place};

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let place = Place::new();
    place.run(&[]).fails(2, &["Usage"]);
    place.run(&["frobnicate"]).fails(2, &["frobnicate"]);
    place.run(&["append"]).fails(2, &["TOPIC"]);
    place.run(&["append", "t", "--partition", "-1"]).fails(2, &["-1"]);
    assert!(!place.data().exists());
}

#[test]
fn the_directory_may_come_from_the_environment_but_must_come() {
    let place = Place::with_topic(&[]);
    let mut command = std::process::Command::new(crate::harness::BINARY);
    command.args(["topics", "--allow-volatile"]).env_remove("RINGLOG_DATA");
    let none = command.output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("--data"));
    let given = command.env("RINGLOG_DATA", place.data()).output().unwrap();
    assert_eq!(given.status.code(), Some(0));
}

#[test]
fn an_unknown_topic_partition_or_offset_is_named() {
    let place = Place::with_topic(&["--partitions", "2"]);
    let data = place.data();
    let data = data.to_str().unwrap();
    place.feed(&["append", "nope"], b"a\n").says(5, &[data, "nope"]);
    place.run(&["read", "nope"]).says(5, &[data, "nope"]);
    place.run(&["trim", "nope", "--before", "0"]).says(5, &[data, "nope"]);
    place.feed(&["append", "t", "--partition", "2"], b"a\n").says(5, &[data, "0 to 1", "2"]);
    place.run(&["read", "t", "--partition", "4294967295"]).says(5, &[data, "4294967295"]);
    place.run(&["read", "t", "--from", "1"]).says(5, &[data, "offset 1"]);
    assert!(place.lines().is_empty());
}

#[test]
fn only_create_topic_makes_a_directory() {
    let place = Place::new();
    for args in [
        &["topics"][..],
        &["stat"],
        &["read", "t"],
        &["append", "t"],
        &["trim", "t", "--before", "0"],
        &["dump"],
        &["verify"],
    ] {
        let ran = place.run(args);
        assert!(matches!(ran.code, Some(1 | 3)), "{args:?}: {ran:?}");
        assert!(ran.err.contains(place.data().to_str().unwrap()), "{args:?}: {}", ran.err);
        assert!(!place.data().exists(), "{args:?}");
    }
}

#[test]
fn a_directory_that_is_not_ours_is_left_alone() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::write(place.data().join("letter.txt"), "dear").unwrap();
    for args in
        [&["create-topic", "t"][..], &["topics"], &["append", "t"], &["read", "t"], &["verify"]]
    {
        let data = place.data();
        place.run(args).says(3, &[data.to_str().unwrap(), "not a ringlog directory"]);
        assert_eq!(place.files(), [data.join("letter.txt")]);
    }
}

#[test]
fn a_file_is_no_directory() {
    let place = Place::new();
    fs::write(place.data(), "dear").unwrap();
    let ran = place.run(&["create-topic", "t"]);
    assert!(matches!(ran.code, Some(1 | 3)), "{ran:?}");
    assert_eq!(fs::read(place.data()).unwrap(), b"dear");
}

#[test]
fn a_locked_directory_names_its_holder() {
    let place = Place::with_topic(&[]);
    let mut appender = Appender::start(&place, &[]);
    appender.write(b"a\n");
    assert_eq!(appender.ack(), "ACK 0 0");
    let pid = appender.child.id().to_string();
    let started = Instant::now();
    for args in [&["append", "t"][..], &["create-topic", "u"]] {
        place.run(args).says(4, &["LOCK", "locked by", &pid]);
    }
    assert!(started.elapsed() < Duration::from_secs(40));
    appender.write(b"b\n");
    assert_eq!(appender.ack(), "ACK 0 1");
    appender.stdin = None;
    appender.end().succeeds();
    assert_eq!(place.lines(), ["a", "b"]);
}

#[test]
fn an_opener_waits_for_a_holder_who_is_about_to_leave() {
    let place = Place::with_topic(&[]);
    let mut appender = Appender::start(&place, &[]);
    appender.write(b"a\n");
    appender.ack();
    let append = std::thread::scope(|scope| {
        let append = scope.spawn(|| place.feed(&["append", "t"], b"b\n"));
        std::thread::sleep(Duration::from_millis(700));
        drop(appender.stdin.take());
        append.join().unwrap()
    });
    appender.end().succeeds();
    append.succeeds();
    assert_eq!(place.lines(), ["a", "b"]);
}

/// Both copies of engine.meta with another format version, and right checksums.
fn set_format_version(place: &Place, version: u32) {
    const COPY_BYTES: usize = 4096;
    let path = place.data().join("engine.meta");
    let mut bytes = fs::read(&path).unwrap();
    for copy in bytes.chunks_mut(COPY_BYTES) {
        copy[12..16].copy_from_slice(&version.to_le_bytes());
        let checksum = crc32c::crc32c(&copy[12..]);
        copy[8..12].copy_from_slice(&checksum.to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_newer_format_is_refused_before_a_byte_is_written() {
    let place = Place::with_topic(&[]);
    place.feed(&["append", "t"], b"a\n").succeeds();
    set_format_version(&place, 7);
    let before = place.content();
    for args in
        [&["create-topic", "u"][..], &["topics"], &["append", "t"], &["read", "t"], &["verify"]]
    {
        place.run(args).says(3, &["engine.meta", "format version 7"]);
        assert!(place.content() == before, "{args:?}");
    }
    set_format_version(&place, 0);
    assert_eq!(place.lines(), ["a"]);
}

#[test]
fn a_directory_of_another_program_is_told_from_a_damaged_one() {
    let place = Place::with_topic(&[]);
    let path = place.data().join("engine.meta");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, b"[engine]\nfuel = \"diesel\"\n").unwrap();
    place.run(&["topics"]).says(3, &["not a ringlog directory"]);
    let mut damaged = whole.clone();
    for copy in damaged.chunks_mut(4096) {
        copy[20] ^= 1;
    }
    fs::write(&path, damaged).unwrap();
    place.run(&["topics"]).says(3, &["engine.meta", "damaged"]);
    let mut torn = whole.clone();
    torn[20] ^= 1;
    fs::write(&path, torn).unwrap();
    place.run(&["topics"]).succeeds();
}
