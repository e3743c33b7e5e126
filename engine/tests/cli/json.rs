//! `--json`: what every command prints, for programs.

use serde_json::{Value, json};

use crate::harness::{Place, Ran};

fn lines(ran: &Ran) -> Vec<Value> {
    ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_command_that_prints_has_json() {
    let place = Place::new();
    let made = place.run(&["create-topic", "t", "--partitions", "2", "--json"]).succeeds().json();
    assert_eq!((&made["name"], &made["flush"]), (&json!("t"), &json!("sync")));
    assert_eq!(made["partitions"].as_array().unwrap().len(), 2);
    let acks = place.feed(&["append", "t", "--partition", "1", "--json"], b"a\nb\nc\n").succeeds();
    let ack = |offset: u64| json!({ "partition": 1, "offset": offset });
    assert_eq!(lines(&acks), [ack(0), ack(1), ack(2)]);
    let trim = ["trim", "t", "--partition", "1", "--before", "2", "--json"];
    let trimmed = place.run(&trim).succeeds().json();
    assert_eq!((&trimmed["log_start"], &trimmed["end"]), (&json!(2), &json!(3)));
    for command in ["topics", "stat", "verify", "doctor"] {
        place.run(&[command, "--json"]).json();
    }
    assert!(!lines(&place.run(&["dump", "--json"]).succeeds()).is_empty());
}

#[test]
fn records_come_as_objects_with_bytes_that_can_be_told_from_text() {
    let place = Place::with_topic(&[]);
    place.feed(&["append", "t", "--null"], b"say \"x\"\n\0\0\xff\x00\0").succeeds();
    let records = lines(&place.run(&["read", "t", "--json"]).succeeds());
    let values: Vec<_> = records.iter().map(|record| &record["value"]).collect();
    assert_eq!(
        values,
        [&json!("say \"x\"\n"), &json!(""), &json!({ "base64": "/w==" }), &json!("")]
    );
    for (offset, record) in records.iter().enumerate() {
        assert_eq!((&record["partition"], &record["offset"]), (&json!(0), &json!(offset)));
        assert_eq!((&record["key"], &record["headers"]), (&Value::Null, &json!([])));
        assert!(record["timestamp_ms"].as_i64().unwrap() > 1_700_000_000_000);
    }
    let one = place.run(&["read", "t", "--json", "--from", "2", "--max", "1"]).succeeds();
    assert_eq!(lines(&one).len(), 1);
    place.run(&["read", "t", "--json", "--null"]).fails(2, &["--null"]);
}

#[test]
fn an_error_prints_no_json() {
    let place = Place::with_topic(&[]);
    for args in [
        &["create-topic", "t", "--json"][..],
        &["append", "nope", "--json"],
        &["read", "nope", "--json"],
        &["trim", "nope", "--before", "0", "--json"],
        &["trim", "t", "--before", "9", "--json"],
    ] {
        let ran = place.feed(args, b"a\n");
        assert!(ran.code != Some(0) && ran.out.is_empty(), "{args:?}: {ran:?}");
    }
}
