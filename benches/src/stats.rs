//! Latency histograms, and the median with minimum and maximum over repeats.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Slowest acknowledgement that is told from a slower one.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// A histogram of latencies, exact to one percent. Two digits keep it small enough to live in the
/// first-level cache beside what is measured (about 15 KiB).
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u32>);

impl Latencies {
    /// An empty histogram.
    #[expect(clippy::missing_panics_doc, reason = "the bounds are constants, and valid")]
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_MAX_NS, 2).expect("constant bounds are valid"))
    }

    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_MAX_NS));
    }

    /// Adds all of `other`.
    #[expect(clippy::missing_panics_doc, reason = "all histograms here have the same bounds")]
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// The latency in microseconds that `quantile` (0 to 1) of all do not exceed.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The slowest in microseconds.
    pub fn max_us(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// What one timed repeat did.
#[derive(Clone, Debug)]
pub struct Run {
    /// Operations (or records) acknowledged in the time.
    pub ops: u64,
    /// Payload bytes of these.
    pub bytes: u64,
    /// The time.
    pub elapsed: Duration,
    /// Latency of every acknowledgement in the time.
    pub latencies: Latencies,
}

impl Run {
    /// Operations a second.
    pub fn ops_per_sec(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64()
    }

    /// Payload megabytes (10^6) a second.
    pub fn mb_per_sec(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.elapsed.as_secs_f64()
    }
}

/// Median, minimum and maximum of one figure over the repeats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle value; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`; zeros if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
            return Self { median: 0.0, min: 0.0, max: 0.0 };
        };
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[half]
        } else {
            f64::midpoint(values[half - 1], values[half])
        };
        Self { median, min, max }
    }
}

/// The figures of several repeats of one thing.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Summary {
    /// How many repeats.
    pub repeats: usize,
    /// Operations (or records) a second.
    pub per_sec: Spread,
    /// Payload megabytes (10^6) a second.
    pub mb_per_sec: Spread,
    /// Median latency of each repeat, in microseconds.
    pub p50_us: Spread,
    /// 99th percentile of each repeat, in microseconds.
    pub p99_us: Spread,
    /// 99.9th percentile of each repeat, in microseconds.
    pub p999_us: Spread,
    /// Slowest of each repeat, in microseconds.
    pub max_us: Spread,
}

impl Summary {
    /// Sums up `runs`.
    pub fn of(runs: &[Run]) -> Self {
        let quantile = |q: f64| Spread::of(runs.iter().map(|run| run.latencies.quantile_us(q)));
        Self {
            repeats: runs.len(),
            per_sec: Spread::of(runs.iter().map(Run::ops_per_sec)),
            mb_per_sec: Spread::of(runs.iter().map(Run::mb_per_sec)),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: Spread::of(runs.iter().map(|run| run.latencies.max_us())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of([7.0]), Spread { median: 7.0, min: 7.0, max: 7.0 });
    }

    #[test]
    fn quantiles_are_exact_to_one_percent() {
        let mut latencies = Latencies::new();
        for us in 1..=1000 {
            latencies.record(Duration::from_micros(us));
        }
        assert!((latencies.quantile_us(0.5) - 500.0).abs() <= 5.0);
        assert!((latencies.quantile_us(0.99) - 990.0).abs() <= 9.9);
    }
}
