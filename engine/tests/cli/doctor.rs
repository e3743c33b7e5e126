//! `doctor`: what it says, when it fails, and that it leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{BINARY, Place, Ran, finish};

/// Without `--allow-volatile`, which the harness adds: the doctor needs no leave to look.
fn doctor(data: &Path, options: &[&str]) -> Ran {
    let mut command = Command::new(BINARY);
    command.arg("doctor").args(options).arg("--data").arg(data);
    finish(command, b"")
}

/// Durable or not, it says so; nothing is left in these directories.
fn check(ran: &Ran, durable: bool) {
    assert_eq!(ran.code, Some(if durable { 0 } else { 6 }), "{ran:?}");
    let verdict = if durable { "ok: durable can be promised" } else { "NOT DURABLE" };
    assert!(ran.text().contains(verdict), "{}", ran.text());
    for word in ["kernel", "io_uring", "limits", "memory", "dirty pages", "filesystem", "device"] {
        assert!(ran.text().contains(&format!("\n{word} ")), "no {word} in\n{}", ran.text());
    }
    assert!(ran.text().contains("What an acknowledgement means here"));
}

fn is_durable(ran: &Ran) -> bool {
    ran.json()["durable"].as_bool().unwrap()
}

#[test]
fn it_agrees_with_what_opening_does_and_leaves_nothing() {
    let place = Place::new();
    let json = doctor(&place.data(), &["--json"]);
    let durable = is_durable(&json);
    check(&doctor(&place.data(), &[]), durable);
    assert_eq!(fs::read_dir(place.base()).unwrap().count(), 0, "a scratch directory is left");
    // Opening without leave succeeds exactly where it says so.
    let mut create = Command::new(BINARY);
    create.args(["create-topic", "t", "--data"]).arg(place.data());
    assert_eq!(finish(create, b"").code == Some(0), durable);
    let json = json.json();
    assert_eq!(json["chosen"]["logs"].as_array().unwrap().len(), 3);
    assert!(json["machine"]["kernel"].as_str().unwrap().contains('.'));
    assert!(json["machine"]["memory_bytes"].as_u64().unwrap() > 1 << 20);
}

#[test]
fn memory_keeps_nothing_durable() {
    let memory = Path::new("/dev/shm");
    let mut stat = Command::new("stat");
    stat.args(["-f", "-c", "%T"]).arg(memory);
    if finish(stat, b"").out != b"tmpfs\n" {
        crate::harness::skip("doctor::memory_keeps_nothing_durable", "no tmpfs in /dev/shm");
        return;
    }
    let place = Place::below(memory);
    check(&doctor(&place.data(), &[]), false);
    let ran = doctor(&place.data(), &["--json"]);
    assert!(ran.err.contains("tmpfs keeps nothing"), "{}", ran.err);
    assert!(!is_durable(&ran));
    assert_eq!(ran.json()["notes"][0]["severity"], "problem");
    assert_eq!(fs::read_dir(place.base()).unwrap().count(), 0);
}

#[test]
fn a_data_directory_is_looked_at_from_beside_even_while_it_is_held() {
    let place = Place::with_topic(&[]);
    let before = place.content();
    let mut appender = crate::harness::Appender::start(&place, &[]);
    appender.write(b"a\n");
    assert_eq!(appender.ack(), "ACK 0 0");
    let ran = place.run(&["doctor"]);
    assert!(matches!(ran.code, Some(0 | 6)), "{ran:?}");
    appender.stdin = None;
    appender.end().succeeds();
    assert_eq!(place.content().len(), before.len());
    let left: Vec<_> =
        fs::read_dir(place.base()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["data"]);
    assert_eq!(place.lines(), ["a"]);
}

#[test]
fn the_plain_driver_is_said_to_be_one() {
    let place = Place::new();
    let ran = place.run(&["doctor", "--backend", "plain", "--json"]);
    let json: Value = ran.json();
    assert_eq!(json["chosen"]["driver"], "pwritev2");
    let told = json["notes"].as_array().unwrap();
    assert!(told.iter().any(|note| note["what"].as_str().unwrap().starts_with("no io_uring")));
}

#[test]
fn what_is_no_directory_is_named() {
    let place = Place::new();
    fs::write(place.data(), "dear").unwrap();
    let data = place.data();
    doctor(&data, &[]).says(1, &[data.to_str().unwrap()]);
    doctor(&data.join("below"), &[]).says(1, &[data.to_str().unwrap()]);
    assert_eq!(fs::read(place.data()).unwrap(), b"dear");
}

#[test]
fn who_stops_reading_is_no_failure_and_nothing_is_left() {
    let place = Place::new();
    let script = r#""$0" doctor --data "$1" --allow-volatile | head -c 1 > /dev/null; exit 0"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, BINARY]).arg(place.data());
    let ran = finish(command, b"");
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    assert_eq!(fs::read_dir(place.base()).unwrap().count(), 0);
}
