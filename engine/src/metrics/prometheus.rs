//! The counters as Prometheus text (exposition format 0.0.4). Owns the names, which are part of the
//! API: alerts are written against them. `docs/operations.md` lists them; a test compares the two.

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use super::{LogMetrics, Metrics};

/// A family whose value is one number of a log.
struct Number {
    name: &'static str,
    kind: MetricType,
    help: &'static str,
    value: fn(&LogMetrics) -> f64,
}

const fn counter(name: &'static str, help: &'static str, value: fn(&LogMetrics) -> f64) -> Number {
    Number { name, kind: MetricType::COUNTER, help, value }
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&LogMetrics) -> f64) -> Number {
    Number { name, kind: MetricType::GAUGE, help, value }
}

const NUMBERS: &[Number] = &[
    counter("ringlog_appends_total", "Append calls accepted.", |log| log.appends as f64),
    counter("ringlog_records_total", "Records accepted.", |log| log.records as f64),
    counter("ringlog_appended_bytes_total", "Bytes of frames accepted.", |log| log.bytes as f64),
    counter("ringlog_groups_total", "Groups submitted to the device.", |log| log.groups as f64),
    counter("ringlog_group_records_total", "Records in these groups.", |log| {
        log.group_records as f64
    }),
    counter("ringlog_group_bytes_total", "Bytes of these groups, padding included.", |log| {
        log.group_bytes as f64
    }),
    counter("ringlog_segments_recycled_total", "Segments set aside for reuse.", |log| {
        log.segments_recycled as f64
    }),
    counter("ringlog_segments_removed_total", "Segments removed.", |log| {
        log.segments_removed as f64
    }),
    gauge("ringlog_segments", "Live segments.", |log| log.segments as f64),
    gauge("ringlog_queued_bytes", "Bytes accepted and not yet in a segment.", |log| {
        log.queued_bytes as f64
    }),
    gauge("ringlog_written_position_bytes", "Everything below survives the process.", |log| {
        log.written_end as f64
    }),
    gauge("ringlog_durable_position_bytes", "Everything below survives a power loss.", |log| {
        log.durable_end as f64
    }),
    gauge("ringlog_durable_lag_bytes", "Written, and not yet durable.", |log| {
        log.written_end.saturating_sub(log.durable_end) as f64
    }),
    gauge("ringlog_epoch", "The writer's epoch: one more at every open.", |log| log.epoch.into()),
    gauge("ringlog_stopped", "1: takes no appends (latched, damaged or closed).", |log| {
        log.stopped.is_some().into()
    }),
    counter("ringlog_scrub_bytes_total", "Bytes of sealed segments read again.", |log| {
        log.scrub.bytes as f64
    }),
    counter("ringlog_scrub_passes_total", "Passes through all that is sealed.", |log| {
        log.scrub.passes as f64
    }),
    gauge(
        "ringlog_scrub_completed_timestamp_seconds",
        "When the last ended; 0: none has.",
        |log| log.scrub.completed_ms.map_or(0.0, |at| at as f64 / 1e3),
    ),
    gauge("ringlog_scrub_damaged_places", "Damaged places that it knows.", |log| {
        log.scrub.damaged_places as f64
    }),
    gauge("ringlog_upkeep_failing", "1: background work fails and is tried again.", |log| {
        log.upkeep_error.is_some().into()
    }),
    gauge("ringlog_recovery_clean", "1: had been closed cleanly before this open.", |log| {
        log.recovery.clean.into()
    }),
    gauge("ringlog_recovery_seconds", "How long recovery took at this open.", |log| {
        log.recovery.took.as_secs_f64()
    }),
    gauge("ringlog_recovery_scanned_bytes", "Bytes of segments read by it.", |log| {
        log.recovery.scanned_bytes as f64
    }),
    gauge("ringlog_recovery_replayed_bytes", "Bytes taken from the ring by it.", |log| {
        log.recovery.replayed_bytes as f64
    }),
    gauge("ringlog_recovery_cut_bytes", "Bytes of a torn tail that it cut.", |log| {
        log.recovery.cut_bytes as f64
    }),
    gauge("ringlog_recovery_lost_bytes", "Written bytes that a power loss took.", |log| {
        log.recovery.lost_bytes as f64
    }),
    gauge("ringlog_recovery_damaged_bytes", "Bytes that it proved damaged.", |log| {
        log.recovery.damaged_bytes as f64
    }),
    gauge("ringlog_recovery_damaged_places", "Places that it proved damaged.", |log| {
        log.recovery.damaged_places as f64
    }),
];

const FLUSHES: &str = "ringlog_flush_seconds";
const STOPPED: &str = "ringlog_stopped_info";

impl Metrics {
    /// The counters as Prometheus text, for an endpoint of yours to answer with (content type
    /// `text/plain; version=0.0.4`). One sample a log, labelled `log` and `flush`; those of the
    /// whole engine have no label.
    ///
    /// ```no_run
    /// # fn main() -> ringlog::Result<()> {
    /// # let engine = ringlog::Engine::options().open("data")?;
    /// let body = engine.metrics().to_prometheus();
    /// assert!(body.contains("ringlog_appends_total{log=\"log-001\",flush=\"sync\"}"));
    /// # Ok(()) }
    /// ```
    #[expect(clippy::missing_panics_doc, reason = "what is encoded has names and metrics")]
    pub fn to_prometheus(&self) -> String {
        let mut families: Vec<MetricFamily> =
            NUMBERS.iter().map(|number| self.family(number)).collect();
        // What there is one of in an engine.
        let pinned = "Bytes that readers, batches and extents hold.";
        for (name, help, value) in [
            ("ringlog_pinned_bytes", pinned, self.pinned_bytes),
            ("ringlog_pinned_bytes_max", "The most that they may hold.", self.pinned_bytes_max),
        ] {
            let metric = gauge_of(value as f64, Vec::new());
            families.push(family(name, MetricType::GAUGE, help, vec![metric]));
        }
        let flushes = self.logs.iter().map(flush_histogram).collect();
        let help = "From submission of a group or flush to stable storage.";
        families.push(family(FLUSHES, MetricType::HISTOGRAM, help, flushes));
        let reasons = self.logs.iter().filter_map(stopped_reason).collect();
        let help = "Why it takes no appends, in the label reason; absent while it does.";
        families.push(family(STOPPED, MetricType::GAUGE, help, reasons));
        families.retain(|family| !family.get_metric().is_empty());
        let mut text = String::new();
        let encoded = TextEncoder::new().encode_utf8(&families, &mut text);
        encoded.expect("every family has a name and a metric, and a String takes everything");
        text
    }

    fn family(&self, number: &Number) -> MetricFamily {
        let sample = |log: &LogMetrics| {
            let value = (number.value)(log);
            if number.kind != MetricType::COUNTER {
                return gauge_of(value, labels(log));
            }
            let mut counter = Counter::default();
            counter.set_value(value);
            let mut metric = Metric::from_label(labels(log));
            metric.set_counter(counter);
            metric
        };
        family(number.name, number.kind, number.help, self.logs.iter().map(sample).collect())
    }
}

fn family(name: &str, kind: MetricType, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn label(name: &str, value: String) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value);
    pair
}

fn labels(log: &LogMetrics) -> Vec<LabelPair> {
    vec![label("log", log.log.clone()), label("flush", log.flush.to_string())]
}

fn flush_histogram(log: &LogMetrics) -> Metric {
    let bucket = |&(upto_us, count): &(u64, u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(upto_us as f64 / 1e6);
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_bucket(log.flush_buckets.iter().map(bucket).collect());
    histogram.set_sample_count(log.flush_latency.count);
    histogram.set_sample_sum(log.flush_sum_us as f64 / 1e6);
    let mut metric = Metric::from_label(labels(log));
    metric.set_histogram(histogram);
    metric
}

fn stopped_reason(log: &LogMetrics) -> Option<Metric> {
    let mut labels = labels(log);
    labels.push(label("reason", log.stopped.clone()?));
    Some(gauge_of(1.0, labels))
}

fn gauge_of(value: f64, labels: Vec<LabelPair>) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_gauge(gauge);
    metric
}
