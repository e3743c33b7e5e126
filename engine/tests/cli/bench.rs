//! `bench`: what it measures, refuses and leaves behind. Its figures decide nothing.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Place, finish, wait};

fn left(place: &Place) -> Vec<String> {
    let names = fs::read_dir(place.base()).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

fn bench(place: &Place, options: &[&str]) -> Command {
    place.command(&[&["bench"], options].concat())
}

#[test]
fn every_phase_has_its_figures_and_nothing_is_left() {
    let place = Place::new();
    let options = ["--seconds", "1", "--record-bytes", "100", "--in-flight", "8"];
    let json = finish(bench(&place, &[&options[..], &["--json"]].concat()), b"").succeeds().json();
    assert_eq!((&json["record_bytes"], &json["in_flight"]), (&100.into(), &8.into()));
    let cells = json["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 7);
    for cell in cells {
        let number = |name: &str| cell[name].as_f64().unwrap();
        assert!(number("per_second") > 0.0 && number("bytes_per_second") > 0.0, "{cell}");
        assert!(number("p50_us") <= number("p99_us"), "{cell}");
        assert!(number("p99_us") <= number("p999_us"), "{cell}");
        let name = cell["name"].as_str().unwrap();
        let alone = name.starts_with("device") || name.starts_with("written");
        assert_eq!(cell["of_device"].is_null(), alone, "{cell}");
    }
    assert!(left(&place).is_empty(), "{:?}", left(&place));
    let text = finish(bench(&place, &options), b"").succeeds().text();
    assert!(text.contains("durable appends, one at a time") && text.contains(" x"), "{text}");
    assert!(left(&place).is_empty(), "{:?}", left(&place));
}

#[test]
fn a_data_directory_is_refused_untouched() {
    let place = Place::with_topic(&[]);
    let before = place.content();
    let data = place.data();
    finish(bench(&place, &[]), b"").says(2, &[data.to_str().unwrap(), "is a data directory"]);
    assert!(place.content() == before);
    assert_eq!(left(&place), ["data"]);
}

#[test]
fn figures_out_of_range_are_usage_errors() {
    let place = Place::new();
    finish(bench(&place, &["--seconds", "0"]), b"").fails(2, &["--seconds"]);
    finish(bench(&place, &["--in-flight", "0"]), b"").fails(2, &["--in-flight"]);
    finish(bench(&place, &["--in-flight", "4097"]), b"").fails(2, &["--in-flight"]);
    finish(bench(&place, &["--record-bytes", "16777217"]), b"").fails(2, &["--record-bytes"]);
    assert!(left(&place).is_empty(), "{:?}", left(&place));
}

#[test]
fn an_interruption_leaves_nothing() {
    let place = Place::new();
    let mut command = bench(&place, &["--seconds", "600"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while left(&place).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "it never began");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(
        Command::new("sh").args(["-c", &format!("kill -INT {pid}")]).status().unwrap().success()
    );
    assert_eq!(wait(&mut child), Some(130));
    assert!(left(&place).is_empty(), "{:?}", left(&place));
}
