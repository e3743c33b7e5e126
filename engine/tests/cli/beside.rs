//! Beside a program that appends, and where nothing may be written: what only reads works.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::harness::{Appender, Place, wait};

#[test]
fn what_only_reads_works_beside_an_appender() {
    for flush in ["sync", "async"] {
        let place = Place::with_topic(&["--flush", flush]);
        let mut appender = Appender::start(&place, &[]);
        for n in 0..50 {
            appender.write(format!("{n}\n").as_bytes());
            appender.ack();
            if n % 10 != 9 {
                continue;
            }
            let expected: Vec<String> = (0..=n).map(|n| n.to_string()).collect();
            assert_eq!(place.lines(), expected);
            assert!(place.run(&["verify"]).succeeds().text().contains("ok"));
            place.run(&["dump"]).succeeds();
            let topics = place.run(&["topics", "--json"]).succeeds().json();
            assert_eq!(topics[0]["partitions"][0]["end"], n + 1);
            assert_eq!(place.run(&["stat", "--json"]).succeeds().json()["topics"], topics);
        }
        appender.stdin = None;
        appender.end().succeeds();
    }
}

#[test]
fn following_sleeps_until_there_is_more_and_ends_with_an_interrupt() {
    for flush in ["sync", "async"] {
        let place = Place::with_topic(&["--flush", flush, "--partitions", "2"]);
        for partition in [&[][..], &["--partition", "0"]] {
            let mut command = place.command(&[&["read", "t", "--follow"], partition].concat());
            let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let had: usize = place.lines().len();
            for line in place.lines() {
                assert_eq!(lines.next().unwrap().unwrap(), line);
            }
            // One writer after another.
            for n in had..had + 3 {
                place.feed(&["append", "t"], format!("{n}\n").as_bytes()).succeeds();
                assert_eq!(lines.next().unwrap().unwrap(), n.to_string());
            }
            let pid = child.id().to_string();
            assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
            assert_eq!(wait(&mut child), Some(130));
            assert!(lines.next().is_none());
        }
        let most = place.run(&["read", "t", "--follow", "--max", "2"]).succeeds().text();
        assert_eq!(most, "0\n1\n");
    }
}

#[test]
fn reading_changes_nothing_and_needs_only_the_right_to_read() {
    let place = Place::with_topic(&[]);
    place.feed(&["append", "t"], b"a\nb\n").succeeds();
    let state = || {
        let times = place.files().into_iter().map(|path| {
            let meta = fs::metadata(&path).unwrap();
            (path, meta.modified().unwrap())
        });
        (place.content(), times.collect::<Vec<_>>())
    };
    let before = state();
    let dirs = [place.data(), place.data().join("log-000"), place.data().join("log-001")];
    for mode in [0o500, 0o700] {
        for dir in &dirs {
            fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
        }
        for args in [&["topics"][..], &["stat"], &["read", "t"], &["dump"], &["verify"]] {
            place.run(args).succeeds();
            assert!(state() == before, "{args:?}");
        }
    }
}
