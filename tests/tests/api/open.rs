//! Which directories open, and which are left as they were.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringlog::{Engine, Error, Flush, Offset, Options, Record, Start};

use super::{CLASSES, DEADLINE, append_numbered, on_each, partition, small, values};

const DIR: &str = "RINGLOG_API_DIR";
const ROLE: &str = "RINGLOG_API_ROLE";

fn impatient() -> Options {
    small().lock_timeout(Duration::ZERO)
}

/// Files below `dir` with their bytes, LOCK left out.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(content(&path));
        } else if path.file_name().unwrap() != "LOCK" {
            out.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    out.sort();
    out
}

fn filled(options: &Options, dir: &Path) {
    let engine = options.clone().open(dir).unwrap();
    for class in CLASSES {
        append_numbered(&partition(&engine, "t", class), 0..100, 1000);
    }
    engine.close(DEADLINE).unwrap();
}

#[test]
fn a_directory_that_is_open_is_locked_by_this_process() {
    on_each(&impatient(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let refused = options.clone().open(dir).unwrap_err();
        let us = Some(std::process::id());
        let named = matches!(refused, Error::Locked { pid, alive: true, .. } if pid == us);
        assert!(named, "{refused:?}");
        engine.close(DEADLINE).unwrap();
        options.clone().open(dir).unwrap();
    });
}

/// Not a test of its own: what the tests below start as another process.
#[test]
fn child() {
    let (Ok(role), Ok(dir)) = (std::env::var(ROLE), std::env::var(DIR)) else { return };
    let opened = impatient().open(&dir);
    match role.as_str() {
        "holder" => {
            let engine = opened.unwrap();
            append_numbered(&partition(&engine, "t", Flush::Async), 0..5, 10);
            println!("\nREADY");
            let _ = std::io::stdin().read_line(&mut String::new());
        }
        _ => println!("\nFOUND {:?}", opened.map(drop)),
    }
}

fn start_child(role: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "open::child", "--nocapture"]).env(ROLE, role).env(DIR, dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn line_of(child: &mut Child, start: &str) -> String {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.map(Result::unwrap).find(|line| line.starts_with(start)).unwrap()
}

#[test]
fn a_directory_held_by_another_process_is_locked_until_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start_child("holder", dir.path()).spawn().unwrap();
    line_of(&mut child, "READY");
    let refused = impatient().open(dir.path()).unwrap_err();
    let holder = Some(child.id());
    let named = matches!(refused, Error::Locked { pid, alive: true, .. } if pid == holder);
    assert!(named, "{refused:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    let engine = small().lock_timeout(DEADLINE).open(dir.path()).unwrap();
    assert_eq!(values(&partition(&engine, "t", Flush::Async), Start::Earliest).len(), 5);
}

#[test]
fn a_read_only_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(&small(), dir.path());
    let before = content(dir.path());
    let read_only = fs::Permissions::from_mode(0o555);
    fs::set_permissions(dir.path(), read_only).unwrap();
    let mut command = start_child("opener", dir.path());
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere; nobody may not.
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
    }
    let found = command.spawn().map(|mut child| {
        let line = line_of(&mut child, "FOUND");
        child.wait().unwrap();
        line
    });
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    match found {
        Ok(line) => assert!(line.contains("ReadOnly"), "{line}"),
        Err(error) => {
            println!("SKIP open::a_read_only_directory_is_refused: cannot run as nobody: {error}");
        }
    }
    assert_eq!(content(dir.path()), before);
}

#[test]
fn tmpfs_is_refused_unless_allowed() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        println!("SKIP open::tmpfs_is_refused_unless_allowed: no /dev/shm to write to");
        return;
    };
    match small().open(dir.path()) {
        Err(Error::NotDurable { .. }) => {}
        Ok(engine) if engine.capabilities().filesystem != "tmpfs" => {
            println!("SKIP open::tmpfs_is_refused_unless_allowed: /dev/shm is no tmpfs");
            return;
        }
        other => panic!("{other:?}"),
    }
    assert!(!dir.path().join("engine.meta").exists());
    let engine = small().allow_volatile(true).open(dir.path()).unwrap();
    for class in CLASSES {
        let partition = partition(&engine, "t", class);
        append_numbered(&partition, 0..50, 2000);
        assert_eq!(values(&partition, Start::Earliest).len(), 50);
    }
    assert!(engine.capabilities().volatile.is_some());
    engine.close(DEADLINE).unwrap();
}

#[test]
fn what_is_not_ours_is_left_alone() {
    on_each(&impatient(), |options, dir| {
        fs::write(dir.join("thesis.txt"), "years of work").unwrap();
        let refused = options.clone().open(dir).unwrap_err();
        assert!(matches!(refused, Error::NotADataDirectory { .. }), "{refused:?}");
        assert_eq!(content(dir).len(), 1);
        let refused = options.clone().open(dir.join("thesis.txt")).unwrap_err();
        assert!(matches!(refused, Error::NotADataDirectory { .. }), "{refused:?}");
        let refused = options.clone().create(false).open(dir.join("nothing")).unwrap_err();
        assert!(matches!(refused, Error::Io { .. }), "{refused:?}");
        fs::create_dir(dir.join("empty")).unwrap();
        let refused = options.clone().create(false).open(dir.join("empty")).unwrap_err();
        assert!(matches!(refused, Error::NotADataDirectory { .. }), "{refused:?}");
    });
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

/// Sets the version of a header whose checksum, at 8, covers what follows it.
fn set_version(path: &Path, block: std::ops::Range<usize>) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut bytes = vec![0; block.len()];
    file.read_exact_at(&mut bytes, block.start as u64).unwrap();
    bytes[12..16].copy_from_slice(&9u32.to_le_bytes());
    let checksum = crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    file.write_all_at(&bytes, block.start as u64).unwrap();
}

fn newest(dir: &Path, prefix: &str, suffix: &str) -> PathBuf {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let matching = names.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(prefix) && name.ends_with(suffix)
    });
    matching.max().unwrap()
}

#[test]
fn a_newer_format_is_refused_before_a_byte_is_written() {
    on_each(&impatient(), |options, dir| {
        type Change = fn(&Path);
        let changes: [Change; 4] = [
            |dir| {
                set_version(&dir.join("engine.meta"), 0..4096);
                set_version(&dir.join("engine.meta"), 4096..8192);
            },
            |dir| set_version(&newest(&dir.join("log-001"), "", ".log"), 0..4096),
            |dir| set_version(&newest(&dir.join("log-000"), "", ".log"), 0..4096),
            |dir| {
                let path = newest(&dir.join("log-001"), "checkpoint-", "");
                let len = fs::metadata(&path).unwrap().len() as usize;
                set_version(&path, 0..len);
            },
        ];
        for (at, change) in changes.iter().enumerate() {
            let dir = dir.join(at.to_string());
            filled(options, &dir);
            change(&dir);
            let before = content(&dir);
            let refused = options.clone().open(&dir).map(drop).unwrap_err();
            let newer = matches!(refused, Error::UnsupportedFormat { found: 9, .. });
            assert!(newer, "case {at}: {refused:?}");
            let after = content(&dir);
            let pairs = before.iter().zip(&after).filter(|(was, is)| was != is);
            let names: Vec<_> = pairs.map(|(was, _)| &was.0).collect();
            assert!(names.is_empty() && before.len() == after.len(), "case {at}: {names:?}");
        }
    });
}

#[test]
fn damage_in_one_log_leaves_the_other_and_its_own_rest_readable() {
    on_each(&impatient(), |options, dir| {
        filled(options, dir);
        // A byte in the middle of the first segment of the sync log, which is closed cleanly.
        let first = dir.join("log-001/0000000000000000.log");
        let file = File::options().write(true).open(first).unwrap();
        file.write_all_at(&[0x55; 64], 30_000).unwrap();
        let engine = options.clone().open(dir).unwrap();
        assert_eq!(values(&partition(&engine, "t", Flush::Async), Start::Earliest).len(), 100);
        let damaged = partition(&engine, "t", Flush::Sync);
        let read: Vec<_> = damaged.reader(Start::Earliest).unwrap().take(100).collect();
        let good = read.iter().take_while(|batch| batch.is_ok()).count();
        assert!((1..100).contains(&good), "{good}");
        let error = read[good].as_ref().unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        // Beyond the damage.
        assert_eq!(values(&damaged, Start::Offset(Offset(90))).len(), 10);
    });
}

#[test]
fn missing_and_cut_files_are_named() {
    on_each(&impatient(), |options, dir| {
        filled(options, dir);
        let first = dir.join("log-001/0000000000000000.log");
        let bytes = fs::read(&first).unwrap();
        let assert_named = || {
            let engine = options.clone().open(dir).unwrap();
            let refused = partition(&engine, "t", Flush::Sync).append(Record::new(b"more"));
            let refused = refused.unwrap_err();
            let named = matches!(&refused, Error::Corrupt { path, .. } if *path == first);
            assert!(named, "{refused:?}");
            assert_eq!(values(&partition(&engine, "t", Flush::Async), Start::Earliest).len(), 100);
        };
        fs::write(&first, &bytes[..bytes.len() / 2]).unwrap();
        assert_named();
        fs::remove_file(&first).unwrap();
        assert_named();
        fs::write(&first, &bytes).unwrap();
        let engine = options.clone().open(dir).unwrap();
        assert_eq!(values(&partition(&engine, "t", Flush::Sync), Start::Earliest).len(), 100);
        engine.close(DEADLINE).unwrap();
        for copy in [0, 4096] {
            let file = File::options().write(true).open(dir.join("engine.meta")).unwrap();
            file.write_all_at(b"?", copy + 20).unwrap();
            let opened = options.clone().open(dir).map(drop);
            assert_eq!(opened.is_ok(), copy == 0, "{opened:?}");
        }
        fs::remove_file(dir.join("engine.meta")).unwrap();
        let refused = options.clone().open(dir).unwrap_err();
        assert!(matches!(refused, Error::NotADataDirectory { .. }), "{refused:?}");
    });
}

#[test]
fn other_options_at_the_next_open_change_nothing_that_is_there() {
    on_each(&small(), |options, dir| {
        let kib = 1 << 10;
        let others = [
            options.clone(),
            options.clone().ring_bytes(256 * kib).group_bytes(128 * kib),
            options.clone().segment_bytes(1 << 20).max_payload_bytes(100 * kib),
            options.clone().ring_bytes(64 * kib).group_bytes(4 * kib).groups_in_flight(1),
            options.clone().segment_bytes(64 << 10).spare_segments(0),
        ];
        for (round, options) in others.iter().cycle().take(10).enumerate() {
            let engine = options.clone().open(dir).unwrap();
            for class in CLASSES {
                let partition = partition(&engine, "t", class);
                assert_eq!(values(&partition, Start::Earliest).len(), round * 60);
                append_numbered(&partition, 0..60, 3000);
            }
            if round % 2 == 0 {
                engine.close(DEADLINE).unwrap();
            }
        }
    });
}

#[test]
fn an_unlocked_stray_record_of_a_holder_is_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let mut lock = File::create(dir.path().join("LOCK")).unwrap();
    lock.write_all(b"1         \n").unwrap();
    let engine = impatient().open(dir.path()).unwrap();
    let partition = partition(&engine, "t", Flush::Sync);
    partition.append(Record::new(b"x")).unwrap();
    let _: Engine = engine;
}
