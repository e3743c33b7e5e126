//! What an engine counts: per log, nothing global. Recording costs an atomic at most, and nothing
//! at all on the append path, whose counters live under the writer's lock.

mod prometheus;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;

use crate::config::Flush;
use crate::error::Error;
use crate::limits::DAMAGED_PLACES_MAX;

/// Flush latencies are kept to two significant digits, from a microsecond to a minute.
const LATENCY_MAX_US: u64 = 60_000_000;
/// Upper bounds of the buckets of [`LogMetrics::flush_buckets`], in microseconds.
const BUCKETS_US: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// What recovery did when the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Recovery {
    /// How long it took.
    #[serde(rename = "took_us", serialize_with = "as_micros")]
    pub took: Duration,
    /// The log had been closed cleanly.
    pub clean: bool,
    /// Bytes of segments that were read.
    pub scanned_bytes: u64,
    /// Bytes taken from the ring that had not reached a segment.
    pub replayed_bytes: u64,
    /// Bytes of a torn tail that were cut: nothing durable was in them.
    pub cut_bytes: u64,
    /// Bytes that are proven damaged. They stay as they are, and the log takes no appends.
    pub damaged_bytes: u64,
    /// Places that are proven damaged, in segments or because a file is missing, cut or bad.
    pub damaged_places: u64,
    /// *Written* bytes that the ring no longer had: a power loss took them.
    pub lost_bytes: u64,
}

fn as_micros<S: serde::Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(value.as_micros() as u64)
}

/// A distribution of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Median, in microseconds.
    pub p50_us: u64,
    /// 99th percentile, in microseconds.
    pub p99_us: u64,
    /// 99.9th percentile, in microseconds.
    pub p999_us: u64,
    /// Longest, in microseconds.
    pub max_us: u64,
}

/// What the scrub of sealed segments has found in a log; see
/// [`Options::scrub`](crate::Options::scrub).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Scrub {
    /// Bytes read since it was opened.
    pub bytes: u64,
    /// Passes that were completed since it was opened.
    pub passes: u64,
    /// When the last of them was, in milliseconds since the Unix epoch.
    pub completed_ms: Option<i64>,
    /// Places that are damaged: found by the last pass or by the one under way. At most 64 are
    /// counted; `verify` lists all.
    pub damaged_places: u64,
    /// The first of them.
    pub damage: Option<String>,
}

/// A snapshot of one log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogMetrics {
    /// Its directory.
    pub log: String,
    /// Its flush class.
    pub flush: Flush,
    /// Append calls accepted since it was opened.
    pub appends: u64,
    /// Records accepted.
    pub records: u64,
    /// Bytes of frames accepted.
    pub bytes: u64,
    /// Groups written.
    pub groups: u64,
    /// Bytes of these groups, padding included.
    pub group_bytes: u64,
    /// Records in these groups.
    pub group_records: u64,
    /// From submission to stable storage.
    pub flush_latency: Latency,
    /// How many of them took up to so many microseconds: (bound, count), ascending. Bounds are kept
    /// to a hundredth.
    pub flush_buckets: Vec<(u64, u64)>,
    /// All of them together, in microseconds.
    pub flush_sum_us: u64,
    /// Bytes accepted and not yet in a segment: the queue before the device.
    pub queued_bytes: u64,
    /// Live segments.
    pub segments: u64,
    /// Segments set aside for reuse since it was opened.
    pub segments_recycled: u64,
    /// Segments removed since it was opened.
    pub segments_removed: u64,
    /// The writer's epoch.
    pub epoch: u32,
    /// Position up to which everything survives the process.
    pub written_end: u64,
    /// Position up to which everything survives power loss.
    pub durable_end: u64,
    /// What recovery did.
    pub recovery: Recovery,
    /// What the scrub has found.
    pub scrub: Scrub,
    /// Why the log takes no appends, if it does not.
    pub stopped: Option<String>,
    /// The last error of background work (sealing, checkpoints, retiring), if it has not passed.
    pub upkeep_error: Option<String>,
}

/// A snapshot of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// One entry per log, by directory.
    pub logs: Vec<LogMetrics>,
    /// Bytes of memory that readers, batches and extents hold now, mapped or copied: those of
    /// handles that are still alive, in whatever part of the program.
    pub pinned_bytes: u64,
    /// The most that they may hold; beyond, reading is refused with
    /// [`Error::Pinned`](crate::Error::Pinned). See
    /// [`Options::pinned_bytes_max`](crate::Options::pinned_bytes_max).
    pub pinned_bytes_max: u64,
}

/// The counters behind a snapshot.
#[derive(Debug)]
pub(crate) struct Counters {
    groups: AtomicU64,
    group_bytes: AtomicU64,
    group_records: AtomicU64,
    recycled: AtomicU64,
    removed: AtomicU64,
    flushes: Mutex<Histogram<u64>>,
    flush_sum_us: AtomicU64,
    upkeep_error: Mutex<Option<String>>,
    scrub: Mutex<Scrubbed>,
    pub(crate) recovery: Recovery,
}

#[derive(Debug, Default)]
struct Scrubbed {
    bytes: u64,
    passes: u64,
    completed_ms: Option<i64>,
    /// Damaged places by position, and what is wrong there.
    places: BTreeMap<u64, String>,
}

impl Counters {
    pub(crate) fn new(recovery: Recovery) -> Self {
        let flushes = Histogram::new_with_bounds(1, LATENCY_MAX_US, 2);
        Self {
            groups: AtomicU64::new(0),
            group_bytes: AtomicU64::new(0),
            group_records: AtomicU64::new(0),
            recycled: AtomicU64::new(0),
            removed: AtomicU64::new(0),
            flushes: Mutex::new(flushes.expect("the bounds are constant and valid")),
            flush_sum_us: AtomicU64::new(0),
            upkeep_error: Mutex::default(),
            scrub: Mutex::default(),
            recovery,
        }
    }

    pub(crate) fn group(&self, bytes: u64, records: u64) {
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.group_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.group_records.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn flush(&self, took: Duration) {
        let took_us = (took.as_micros() as u64).max(1);
        self.flush_sum_us.fetch_add(took_us, Ordering::Relaxed);
        self.flushes.lock().saturating_record(took_us);
    }

    pub(crate) fn recycled(&self) {
        self.recycled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn removed(&self) {
        self.removed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn has_upkeep_error(&self) -> bool {
        self.upkeep_error.lock().is_some()
    }

    pub(crate) fn set_upkeep_error(&self, error: Option<String>) {
        *self.upkeep_error.lock() = error;
    }

    pub(crate) fn scrubbed(&self, bytes: u64) {
        self.scrub.lock().bytes += bytes;
    }

    /// Notes a damaged place; whether it was not known before.
    pub(crate) fn scrub_found(&self, position: u64, error: &Error) -> bool {
        let places = &mut self.scrub.lock().places;
        let is_new = !places.contains_key(&position) && places.len() < DAMAGED_PLACES_MAX;
        if is_new {
            places.insert(position, error.to_string());
        }
        is_new
    }

    /// A pass has ended, which found these.
    pub(crate) fn scrubbed_all(&self, found: &BTreeSet<u64>, now_ms: i64) {
        let mut scrub = self.scrub.lock();
        scrub.passes += 1;
        scrub.completed_ms = Some(now_ms);
        scrub.places.retain(|position, _| found.contains(position));
    }

    /// Fills in what is counted here.
    pub(crate) fn fill(&self, into: &mut LogMetrics) {
        into.groups = self.groups.load(Ordering::Relaxed);
        into.group_bytes = self.group_bytes.load(Ordering::Relaxed);
        into.group_records = self.group_records.load(Ordering::Relaxed);
        into.segments_recycled = self.recycled.load(Ordering::Relaxed);
        into.segments_removed = self.removed.load(Ordering::Relaxed);
        into.recovery = self.recovery;
        into.upkeep_error.clone_from(&self.upkeep_error.lock());
        let scrub = self.scrub.lock();
        into.scrub = Scrub {
            bytes: scrub.bytes,
            passes: scrub.passes,
            completed_ms: scrub.completed_ms,
            damaged_places: scrub.places.len() as u64,
            damage: scrub.places.values().next().cloned(),
        };
        let flushes = self.flushes.lock();
        into.flush_latency = Latency {
            count: flushes.len(),
            p50_us: flushes.value_at_quantile(0.5),
            p99_us: flushes.value_at_quantile(0.99),
            p999_us: flushes.value_at_quantile(0.999),
            max_us: flushes.max(),
        };
        into.flush_sum_us = self.flush_sum_us.load(Ordering::Relaxed);
        let upto = |bound: u64| (bound, flushes.count_between(0, bound));
        into.flush_buckets = BUCKETS_US.iter().copied().map(upto).collect();
    }
}
