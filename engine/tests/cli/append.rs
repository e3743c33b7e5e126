//! `append`: what becomes a record, when it is acknowledged, how it ends.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::{Appender, Place, finish, wait};

const VALUE_BYTES_MAX: usize = 16 << 20;

#[test]
fn lines_come_back_byte_for_byte() {
    let place = Place::with_topic(&[]);
    let input = b"first\n\r\n\n\xff\x00\xfe\nwith\rreturn\r\nlast".as_slice();
    place.feed(&["append", "t"], input).succeeds();
    let whole = [input, b"\n"].concat();
    assert_eq!(place.run(&["read", "t"]).succeeds().out, whole);
}

#[test]
fn values_may_end_with_nul() {
    let place = Place::with_topic(&[]);
    place.feed(&["append", "t", "--null"], b"a\nb\0\0c").succeeds();
    assert_eq!(place.run(&["read", "t", "--null"]).succeeds().out, b"a\nb\0\0c\0");
}

#[test]
fn every_byte_passes() {
    let place = Place::with_topic(&[]);
    let bytes: Vec<u8> = (0..=255_u8).filter(|byte| *byte != b'\n').cycle().take(1 << 20).collect();
    place.feed(&["append", "t"], &bytes).succeeds();
    assert_eq!(place.run(&["read", "t"]).succeeds().out, [&bytes[..], b"\n"].concat());
}

#[test]
fn no_input_is_no_record_and_an_empty_line_is_one() {
    let place = Place::with_topic(&[]);
    let none = place.feed(&["append", "t", "--print-acks"], b"").succeeds();
    assert_eq!(none.out, b"");
    let one = place.feed(&["append", "t", "--print-acks"], b"\n").succeeds();
    assert_eq!(one.out, b"ACK 0 0\n");
    assert_eq!(place.run(&["read", "t"]).succeeds().out, b"\n");
}

#[test]
fn a_file_is_taken_like_standard_input() {
    let place = Place::with_topic(&["--partitions", "2"]);
    let file = place.base().join("orders.txt");
    fs::write(&file, b"a\nb").unwrap();
    let file = file.to_str().unwrap();
    let ran = place.run(&["append", "t", "--file", file, "--partition", "1", "--print-acks"]);
    assert_eq!(ran.succeeds().out, b"ACK 1 0\nACK 1 1\n");
    place.run(&["append", "t", "--file", "/nowhere"]).says(1, &["/nowhere", "No such file"]);
    let base = place.base().to_str().unwrap();
    place.run(&["append", "t", "--file", base]).says(1, &[base, "directory"]);
}

#[test]
fn sixteen_mebibytes_pass_and_a_byte_more_is_refused() {
    let place = Place::with_topic(&[]);
    let mut input = vec![b'x'; VALUE_BYTES_MAX];
    input.extend(b"\nafter\n");
    place.feed(&["append", "t"], &input).succeeds();
    assert_eq!(place.run(&["read", "t"]).succeeds().out, input);
    input.insert(0, b'x');
    input.splice(0..0, *b"before\n");
    let ran = place.feed(&["append", "t", "--print-acks"], &input);
    let ran = ran.says(1, &["standard input", "value 2", "byte 7", "16777216"]);
    assert_eq!(ran.out, b"ACK 0 2\n");
    assert_eq!(place.run(&["read", "t", "--from", "2"]).succeeds().out, b"before\n");
}

#[test]
fn many_large_values_pass_through_a_bounded_pipeline() {
    let place = Place::with_topic(&[]);
    let value = vec![b'y'; 3 << 20];
    let input: Vec<u8> = (0..24).flat_map(|_| [&value[..], b"\n"].concat()).collect();
    place.feed(&["append", "t", "--flush", "async"], &input).succeeds();
    assert!(place.run(&["read", "t"]).succeeds().out == input);
}

#[test]
fn offsets_are_dense_and_acknowledged_in_order() {
    let place = Place::with_topic(&[]);
    let input: String = (0..20_000).map(|n| format!("value {n}\n")).collect();
    for flush in ["sync", "async"] {
        let before = place.lines().len();
        let ran = place.feed(&["append", "t", "--print-acks", "--flush", flush], input.as_bytes());
        let acks: String = (0..20_000).map(|n| format!("ACK 0 {}\n", before + n)).collect();
        assert!(ran.succeeds().text() == acks);
    }
    assert_eq!(place.run(&["read", "t"]).succeeds().text(), input.repeat(2));
}

#[test]
fn an_acknowledgement_is_printed_before_more_is_waited_for() {
    let place = Place::with_topic(&[]);
    for flush in ["sync", "async"] {
        let mut appender = Appender::start(&place, &["--flush", flush]);
        let before = appender.child.id();
        assert_ne!(before, 0);
        appender.write(b"one\n");
        let first = appender.ack();
        assert!(first.starts_with("ACK 0 "), "{first}");
        appender.write(b"two\nthr");
        assert!(appender.ack().starts_with("ACK 0 "));
        appender.write(b"ee");
        appender.stdin = None;
        assert!(appender.ack().starts_with("ACK 0 "));
        assert_eq!(appender.end().succeeds().out, b"");
    }
    assert_eq!(place.lines(), ["one", "two", "three", "one", "two", "three"]);
}

#[test]
fn one_call_may_ask_for_the_other_level_without_changing_the_topic() {
    let place = Place::with_topic(&[]);
    place.feed(&["append", "t", "--flush", "async"], b"a\n").succeeds();
    assert_eq!(place.run(&["topics", "--json"]).succeeds().json()[0]["flush"], "sync");
    assert_eq!(place.lines(), ["a"]);
}

#[test]
fn an_interrupt_leaves_a_clean_log_and_everything_taken_in_it() {
    for signal in ["INT", "TERM"] {
        let place = Place::with_topic(&[]);
        let mut appender = Appender::start(&place, &[]);
        appender.write(b"a\nb\nnot a whole li");
        assert_eq!(appender.ack(), "ACK 0 0");
        assert_eq!(appender.ack(), "ACK 0 1");
        appender.signal(signal);
        let stdin = appender.stdin.take();
        let ran = appender.end();
        drop(stdin);
        assert_eq!((ran.code, ran.err.as_str()), (Some(130), ""));
        place.run(&["verify"]).succeeds();
        assert_eq!(place.lines(), ["a", "b"]);
    }
}

#[test]
fn an_interrupt_under_load_loses_nothing_acknowledged() {
    let place = Place::with_topic(&[]);
    let mut command =
        place.command(&["append", "t", "--print-acks", "--file", "/dev/zero", "--null"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::read_to_string(out).unwrap());
    std::thread::sleep(Duration::from_millis(500));
    let pid = child.id().to_string();
    finish(std::process::Command::new("kill").tap(|kill| kill.args(["-INT", &pid])), b"");
    assert_eq!(wait(&mut child), Some(130));
    let acks = reader.join().unwrap().lines().count();
    place.run(&["verify"]).succeeds();
    let read = place.run(&["read", "t"]).succeeds().out.len();
    assert_eq!(read, acks);
}

#[test]
fn a_killed_writer_loses_nothing_acknowledged() {
    let place = Place::with_topic(&[]);
    let mut appender = Appender::start(&place, &[]);
    for n in 0..500 {
        appender.write(format!("value {n}\n").as_bytes());
    }
    let mut acks = 0;
    while acks < 300 {
        assert_eq!(appender.ack(), format!("ACK 0 {acks}"));
        acks += 1;
    }
    appender.signal("KILL");
    let ran = appender.end();
    assert_eq!(ran.code, None);
    acks += ran.text().matches('\n').count();
    let lines = place.lines();
    assert!(lines.len() >= acks && lines.len() <= 500, "{} of {acks}", lines.len());
    assert!(lines.iter().enumerate().all(|(n, line)| *line == format!("value {n}")));
}

#[test]
fn a_second_interrupt_quits_at_once() {
    let place = Place::with_topic(&[]);
    let mut appender = Appender::start(&place, &[]);
    appender.write(b"a\n");
    appender.ack();
    let started = Instant::now();
    appender.interrupt();
    appender.interrupt();
    assert_eq!(appender.end().code, Some(130));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(place.lines(), ["a"]);
}

#[test]
fn acknowledgements_that_nobody_reads_stop_the_input() {
    let place = Place::with_topic(&[]);
    let mut command =
        place.command(&["append", "t", "--print-acks", "--file", "/dev/zero", "--null"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let err = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert_eq!(wait(&mut child), Some(1));
    assert!(err.contains("standard output is closed"), "{err}");
    place.run(&["verify"]).succeeds();
}

trait Tap: Sized {
    fn tap(self, change: impl FnOnce(&mut Self) -> &mut Self) -> Self;
}

impl Tap for std::process::Command {
    fn tap(mut self, change: impl FnOnce(&mut Self) -> &mut Self) -> Self {
        change(&mut self);
        self
    }
}
