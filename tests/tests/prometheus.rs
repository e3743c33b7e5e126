//! The counters as Prometheus text: Prometheus' own client reads them, every value is the
//! counter's, and `docs/operations.md` lists every name.
//!
//! Needs Python with `tests/foreign/requirements.txt`; `RINGLOG_PYTHON` names the interpreter.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use ringlog::sim::{Crash, FaultError, FaultOp};
use ringlog::{Flush, LogMetrics, Metrics, Record, Start};
use ringlog_tests::world::{World, append, topic};

/// A sample: its family's type, and its value.
type Samples = BTreeMap<(String, String), (String, f64)>;

/// What the foreign parser makes of it, by sample and labels.
fn parsed(text: &str) -> Samples {
    let foreign = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign");
    let python = std::env::var_os("RINGLOG_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(&python);
    command.arg(foreign.join("prometheus.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}: {}; it needs {}",
        python.display(),
        String::from_utf8_lossy(&output.stderr),
        foreign.join("requirements.txt").display(),
    );
    let sample = |line: &str| {
        let fields: Vec<_> = line.split('\t').map(str::to_owned).collect();
        let [_, kind, name, labels, value] = <[String; 5]>::try_from(fields).unwrap();
        ((name, labels), (kind, value.parse().unwrap()))
    };
    String::from_utf8(output.stdout).unwrap().lines().map(sample).collect()
}

/// An engine's counters with something in each: recovered, appended to, one log latched.
fn metrics() -> Metrics {
    let mut world = World::new(1, |_| ());
    let engine = world.open();
    append(&topic(&engine, "fast", Flush::Async), 0, 30, 1000);
    world.crash(Crash::Process);
    let engine = world.open();
    append(&topic(&engine, "fast", Flush::Async), 0, 30, 1000);
    let safe = topic(&engine, "safe", Flush::Sync);
    append(&safe, 0, 150, 1000);
    world.disk.fail_nth(FaultOp::Write, 1, FaultError::Io);
    safe.append(Record::new(b"more")).unwrap_err();
    let _held = safe.reader(Start::Earliest).unwrap().next().unwrap().unwrap();
    engine.metrics()
}

fn labels(log: &LogMetrics) -> String {
    format!("{{\"flush\": \"{}\", \"log\": \"{}\"}}", log.flush, log.log)
}

#[test]
fn a_foreign_parser_reads_every_counter() {
    let metrics = metrics();
    let samples = parsed(&metrics.to_prometheus());
    assert_eq!(metrics.logs.len(), 3);
    for log in &metrics.logs {
        let recovery = &log.recovery;
        let flag = u64::from;
        for (name, kind, value) in [
            ("appends_total", "counter", log.appends),
            ("records_total", "counter", log.records),
            ("appended_bytes_total", "counter", log.bytes),
            ("groups_total", "counter", log.groups),
            ("group_records_total", "counter", log.group_records),
            ("group_bytes_total", "counter", log.group_bytes),
            ("segments_recycled_total", "counter", log.segments_recycled),
            ("segments_removed_total", "counter", log.segments_removed),
            ("segments", "gauge", log.segments),
            ("queued_bytes", "gauge", log.queued_bytes),
            ("written_position_bytes", "gauge", log.written_end),
            ("durable_position_bytes", "gauge", log.durable_end),
            ("durable_lag_bytes", "gauge", log.written_end.saturating_sub(log.durable_end)),
            ("epoch", "gauge", log.epoch.into()),
            ("stopped", "gauge", flag(log.stopped.is_some())),
            ("upkeep_failing", "gauge", flag(log.upkeep_error.is_some())),
            ("recovery_clean", "gauge", flag(recovery.clean)),
            ("recovery_scanned_bytes", "gauge", recovery.scanned_bytes),
            ("recovery_replayed_bytes", "gauge", recovery.replayed_bytes),
            ("recovery_cut_bytes", "gauge", recovery.cut_bytes),
            ("recovery_lost_bytes", "gauge", recovery.lost_bytes),
            ("recovery_damaged_bytes", "gauge", recovery.damaged_bytes),
            ("recovery_damaged_places", "gauge", recovery.damaged_places),
            ("scrub_bytes_total", "counter", log.scrub.bytes),
            ("scrub_passes_total", "counter", log.scrub.passes),
            ("scrub_damaged_places", "gauge", log.scrub.damaged_places),
            ("flush_seconds_count", "histogram", log.flush_latency.count),
        ] {
            let (found_kind, found) = &samples[&(format!("ringlog_{name}"), labels(log))];
            assert_eq!((&**found_kind, *found), (kind, value as f64), "{name} of {}", log.log);
        }
        let seconds = |name: &str| samples[&(format!("ringlog_{name}"), labels(log))].1;
        assert!((seconds("recovery_seconds") - recovery.took.as_secs_f64()).abs() < 1e-9);
        let completed = log.scrub.completed_ms.unwrap_or(0) as f64 / 1e3;
        assert!((seconds("scrub_completed_timestamp_seconds") - completed).abs() < 1e-3);
        assert!((seconds("flush_seconds_sum") - log.flush_sum_us as f64 / 1e6).abs() < 1e-9);
    }
    let engine = |name: &str| {
        let (kind, value) = &samples[&(format!("ringlog_{name}"), "{}".to_owned())];
        (kind.as_str(), *value)
    };
    assert_eq!(engine("pinned_bytes"), ("gauge", metrics.pinned_bytes as f64));
    assert_eq!(engine("pinned_bytes_max"), ("gauge", metrics.pinned_bytes_max as f64));
    assert!(metrics.pinned_bytes > 0 && metrics.pinned_bytes_max > metrics.pinned_bytes);
    assert!(metrics.logs[1].recovery.replayed_bytes > 0 && metrics.logs[2].appends >= 150);
}

#[test]
fn the_histogram_is_cumulative_and_ends_with_all() {
    let metrics = metrics();
    let samples = parsed(&metrics.to_prometheus());
    let log = &metrics.logs[2];
    let mut buckets: Vec<(f64, f64)> = samples
        .iter()
        .filter(|((name, labels), _)| {
            name == "ringlog_flush_seconds_bucket" && labels.contains(&*log.log)
        })
        .map(|((_, labels), (_, count))| {
            let bound = labels.split("\"le\": \"").nth(1).unwrap().split('"').next().unwrap();
            (if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() }, *count)
        })
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(buckets.len(), log.flush_buckets.len() + 1);
    assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{buckets:?}");
    assert!((buckets.last().unwrap().1 - log.flush_latency.count as f64).abs() < 0.5);
    assert!(log.flush_latency.count > 100);
}

#[test]
fn why_a_log_is_stopped_is_a_label_whatever_is_in_it() {
    let mut metrics = metrics();
    let stopped = metrics.logs[2].stopped.clone().unwrap();
    let info = |metrics: &Metrics| -> Vec<String> {
        let samples = parsed(&metrics.to_prometheus());
        let info = samples.into_keys().filter(|key| key.0 == "ringlog_stopped_info");
        info.map(|key| key.1).collect()
    };
    let found = info(&metrics);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains(&stopped), "{found:?}");
    metrics.logs[2].stopped = Some("say \"no\",\n\\ and } more".to_owned());
    assert!(info(&metrics)[0].contains(r#"say \"no\",\n\\ and } more"#));
    metrics.logs[2].stopped = None;
    assert!(info(&metrics).is_empty());
}

#[test]
fn the_documentation_lists_every_family_and_no_other() {
    let text = metrics().to_prometheus();
    let families: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let docs = std::fs::read_to_string(path).unwrap();
    let documented: BTreeSet<_> = docs
        .lines()
        .filter(|line| line.starts_with("| `ringlog_") && line.matches('|').count() == 4)
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    assert_eq!(documented, families);
    for family in families {
        assert!(text.contains(&format!("# HELP {family} ")), "{family}");
    }
}
