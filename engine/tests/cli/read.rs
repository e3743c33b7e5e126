//! `read`: where it begins, where it ends, in which order.

use std::io::Read as _;
use std::process::Stdio;

use crate::harness::{Place, wait};

fn ten() -> Place {
    let place = Place::with_topic(&[]);
    let input: String = (0..10).map(|n| format!("{n}\n")).collect();
    place.feed(&["append", "t"], input.as_bytes()).succeeds();
    place
}

#[test]
fn reading_begins_where_it_is_told() {
    let place = ten();
    let read = |from| place.run(&["read", "t", "--from", from]).succeeds().text();
    assert_eq!(read("earliest").lines().count(), 10);
    assert_eq!(read("8"), "8\n9\n");
    assert_eq!(read("10"), "");
    assert_eq!(read("latest"), "");
    place.run(&["read", "t", "--from", "11"]).says(5, &["offset 11", "t", "0..10"]);
    place.run(&["read", "t", "--from", "now"]).fails(2, &["neither earliest, latest nor"]);
}

#[test]
fn reading_ends_after_max() {
    let place = ten();
    let read = |max| place.run(&["read", "t", "--from", "3", "--max", max]).succeeds().text();
    assert_eq!(read("0"), "");
    assert_eq!(read("2"), "3\n4\n");
    assert_eq!(read("100").lines().count(), 7);
}

#[test]
fn partitions_come_one_after_another() {
    let place = Place::with_topic(&["--partitions", "3"]);
    for (partition, input) in [("2", "e\nf\n"), ("0", "a\nb\n"), ("1", "c\nd\n")] {
        place.feed(&["append", "t", "--partition", partition], input.as_bytes()).succeeds();
    }
    assert_eq!(place.lines(), ["a", "b", "c", "d", "e", "f"]);
    let some = place.run(&["read", "t", "--max", "3", "--from", "1"]).succeeds().text();
    assert_eq!(some, "b\nd\nf\n");
    assert_eq!(place.run(&["read", "t", "--partition", "1"]).succeeds().text(), "c\nd\n");
}

#[test]
fn who_reads_our_output_may_stop() {
    let place = Place::with_topic(&[]);
    let input = "0123456789\n".repeat(100_000);
    place.feed(&["append", "t", "--flush", "async"], input.as_bytes()).succeeds();
    for args in [&["read", "t"][..], &["dump"], &["dump", "--raw"]] {
        let mut command = place.command(args);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 10]).unwrap();
        drop(out);
        let err = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert_eq!((wait(&mut child), err.as_str()), (Some(0), ""), "{args:?}");
    }
    place.run(&["verify"]).succeeds();
}

#[test]
fn what_was_written_in_many_sessions_is_read_as_one() {
    let place = Place::with_topic(&[]);
    for n in 0..5 {
        let flush = if n % 2 == 0 { "sync" } else { "async" };
        let backend = if n % 3 == 0 { "plain" } else { "auto" };
        let args = ["append", "t", "--flush", flush, "--backend", backend];
        place.feed(&args, format!("{n}\n").as_bytes()).succeeds();
    }
    assert_eq!(place.lines(), ["0", "1", "2", "3", "4"]);
}
