//! `create-topic`, `topics`, `trim`, `stat`, `--help`.

use crate::harness::Place;

#[test]
fn a_topic_is_created_once_and_listed_with_its_class() {
    let place = Place::new();
    place.run(&["create-topic", "orders", "--partitions", "3"]).succeeds();
    place.run(&["create-topic", "clicks", "--flush", "async"]).succeeds();
    place.run(&["create-topic", "orders"]).says(1, &["orders", "exists"]);
    let table = place.run(&["topics"]).succeeds().text();
    let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["TOPIC", "FLUSH", "PARTITION", "LOG", "SHARD", "FROM", "END"]);
    assert_eq!(rows[1], ["clicks", "async", "0", "log-002", "0", "0", "0"]);
    assert_eq!(rows[4], ["orders", "sync", "2", "log-001", "0", "0", "0"]);
    assert_eq!(rows.len(), 5);
}

#[test]
fn topics_are_there_as_json_too() {
    let place = Place::with_topic(&["--partitions", "2"]);
    place.feed(&["append", "t", "--partition", "1"], b"a\nb\n").succeeds();
    let topics = place.run(&["topics", "--json"]).succeeds().json();
    assert_eq!(topics[0]["name"], "t");
    assert_eq!(topics[0]["flush"], "sync");
    assert_eq!(topics[0]["partitions"][0]["end"], 0);
    assert_eq!(topics[0]["partitions"][1]["end"], 2);
    assert_eq!(topics[0]["partitions"][1]["durable_end"], 2);
}

#[test]
fn a_topic_without_a_proper_name_or_size_is_refused() {
    let place = Place::with_topic(&[]);
    place.run(&["create-topic", ""]).says(2, &["invalid"]);
    place.run(&["create-topic", "a/b"]).says(2, &["invalid"]);
    place.run(&["create-topic", &"x".repeat(250)]).fails(2, &["invalid"]);
    place.run(&["create-topic", "none", "--partitions", "0"]).says(2, &["invalid"]);
    place.run(&["create-topic", "many", "--partitions", "4000000000"]).says(2, &["invalid"]);
    assert_eq!(place.run(&["topics"]).succeeds().text().lines().count(), 2);
}

#[test]
fn trimming_moves_the_start_and_nothing_else() {
    let place = Place::with_topic(&["--partitions", "2"]);
    place.feed(&["append", "t", "--partition", "1"], b"a\nb\nc\n").succeeds();
    place.run(&["trim", "t", "--partition", "1", "--before", "2"]).succeeds();
    assert_eq!(place.lines(), ["c"]);
    place.run(&["read", "t", "--partition", "1", "--from", "1"]).says(5, &["offset 1", "2..3"]);
    place.run(&["trim", "t", "--partition", "1", "--before", "9"]).says(5, &["offset 9"]);
    place.run(&["trim", "t", "--partition", "1", "--before", "3"]).succeeds();
    assert!(place.lines().is_empty());
    place.feed(&["append", "t", "--partition", "1"], b"d\n").succeeds();
    let at_three = place.run(&["read", "t", "--partition", "1", "--from", "3"]).succeeds();
    assert_eq!(at_three.out, b"d\n");
}

#[test]
fn stat_tells_what_was_chosen_and_why() {
    let place = Place::with_topic(&[]);
    let text = place.run(&["stat"]).succeeds().text();
    for word in ["driver", "filesystem", "closed cleanly", "log-000, sync", "log-001, sync"] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
    let json = place.run(&["stat", "--json"]).succeeds().json();
    assert_eq!(json["capabilities"]["logs"][1]["flush"], "sync");
    assert_eq!(json["metrics"]["logs"][1]["recovery"]["clean"], true);
    let text = place.run(&["stat", "--prometheus"]).succeeds().text();
    let sample = "\nringlog_recovery_clean{log=\"log-001\",flush=\"sync\"} 1\n";
    assert!(text.starts_with("# HELP ringlog_") && text.contains(sample), "{text}");
    place.run(&["stat", "--prometheus", "--json"]).fails(2, &["--json"]);
}

#[test]
fn every_command_has_help_with_examples() {
    let place = Place::new();
    let commands = [
        "create-topic",
        "topics",
        "stat",
        "trim",
        "append",
        "read",
        "dump",
        "verify",
        "doctor",
        "bench",
    ];
    let all = place.run(&["--help"]).succeeds().text();
    assert!(all.contains("Exit codes:"), "{all}");
    for command in commands {
        assert!(all.contains(command), "{all}");
        let help = place.run(&[command, "--help"]).succeeds().text();
        assert!(help.contains("Examples:\n  "), "{help}");
    }
}
