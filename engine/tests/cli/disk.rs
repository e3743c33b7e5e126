//! Directories that cannot be written, or not any more.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::{BINARY, Place, finish, skip};

const NOBODY: u32 = 65534;

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Everything below readable by everybody and writable by nobody, or back.
fn protect(place: &Place, dirs: u32, files: u32) {
    for file in place.files() {
        set_mode(&file, files);
    }
    for dir in fs::read_dir(place.data()).unwrap().map(|entry| entry.unwrap().path()) {
        if dir.is_dir() {
            set_mode(&dir, dirs);
        }
    }
    set_mode(&place.data(), dirs);
}

#[test]
fn a_read_only_directory_is_a_typed_error_and_can_be_inspected() {
    // Where an ordinary user can reach it, whatever our own directory's permissions are.
    let place = Place::below(Path::new("/var/tmp"));
    set_mode(place.base(), 0o755);
    let binary = place.base().join("ringlog");
    fs::copy(BINARY, &binary).unwrap();
    place.run(&["create-topic", "t"]).succeeds();
    place.feed(&["append", "t"], b"a\n").succeeds();
    protect(&place, 0o555, 0o444);
    let before = place.content();
    let run = |args: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(args).arg("--data").arg(place.data()).arg("--allow-volatile");
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        finish(command, b"b\n")
    };
    let data = place.data();
    let data = data.to_str().unwrap();
    run(&["append", "t"]).says(6, &[data, "read-only"]);
    for args in [&["topics"][..], &["stat"]] {
        run(args).succeeds();
    }
    assert_eq!(run(&["read", "t"]).succeeds().out, b"a\n");
    run(&["verify"]).succeeds();
    assert!(run(&["dump", "--raw"]).succeeds().out.windows(1).any(|byte| byte == b"a"));
    assert!(place.content() == before);
    protect(&place, 0o755, 0o644);
    assert_eq!(place.lines(), ["a"]);
}

/// A small filesystem of its own, gone with the shell that it lives in.
const FULL_DISK: &str = r#"
set -eu
mount -t tmpfs -o size=160m none "$PLACE"
export RINGLOG_DATA="$PLACE/data"
head -c 40M /dev/zero > "$PLACE/filler"
"$BINARY" create-topic t $OPTIONS
status=0
seq -f 'value %.0f of many, with something behind it to make it longer' 0 10000000 |
    "$BINARY" append t --print-acks $OPTIONS > "$RESULT/acks" 2> "$RESULT/error" || status=$?
echo "$status" > "$RESULT/status"
"$BINARY" verify
rm "$PLACE/filler"
"$BINARY" read t $OPTIONS > "$RESULT/read"
echo more | "$BINARY" append t $OPTIONS
"$BINARY" read t $OPTIONS | tail -n 1 > "$RESULT/last"
"#;

#[test]
fn a_full_disk_stops_the_input_and_loses_nothing_acknowledged() {
    let name = "disk::a_full_disk_stops_the_input_and_loses_nothing_acknowledged";
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        let flags = if is_root() { "-m" } else { "-rm" };
        command.args([flags, "sh", "-c", script]);
        command
    };
    let place = Place::new();
    let disk = place.base().join("disk");
    fs::create_dir(&disk).unwrap();
    let mut can = unshare(r#"mount -t tmpfs none "$PLACE""#);
    if !can.env("PLACE", &disk).output().is_ok_and(|output| output.status.success()) {
        skip(name, "no right to mount a small filesystem");
        return;
    }
    let mut script = unshare(FULL_DISK);
    // The largest value has to fit in a segment, and so does the default limit of a payload.
    script.env("OPTIONS", "--allow-volatile --segment-bytes 35651584");
    script.env("PLACE", &disk).env("RESULT", place.base()).env("BINARY", BINARY);
    let ran = finish(script, b"");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let result = |name| fs::read_to_string(place.base().join(name)).unwrap();
    assert_eq!(result("status").trim(), "6", "{}", result("error"));
    assert!(result("error").contains("no space"), "{}", result("error"));
    let (acks, read) = (result("acks").lines().count(), result("read"));
    assert!(acks > 1000 && read.lines().count() >= acks, "{acks}");
    let value = |n| format!("value {n} of many, with something behind it to make it longer");
    assert!(read.lines().enumerate().all(|(n, line)| line == value(n)));
    assert_eq!(result("last"), "more\n");
}
