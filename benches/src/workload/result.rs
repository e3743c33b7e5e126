//! A workload's results: as a JSON line, and as a row of the table.

use serde::Serialize;

use crate::limit::CellFigures;
use crate::report::{Table, number, spread};
use crate::stats::{Run, Spread, Summary};
use crate::workload::spec::{Floor, Producers, Spec, Yardstick};

/// Whether segments are recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing is trimmed.
    Growth,
    /// The log is trimmed behind its tail.
    Steady,
}

impl Mode {
    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Growth => "growth",
            Self::Steady => "steady",
        }
    }
}

/// What was seen around the repeats of a workload.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Account {
    /// Processor seconds of the process, all threads, per million records, over the repeats.
    pub cpu_secs_per_million: Spread,
    /// Processors that other programs used during the repeats.
    pub others_cpus: Spread,
    /// Repeats that were dropped because other programs used too much of the processors.
    pub repeats_disturbed: usize,
    /// Resident memory before the target was opened: the harness's own.
    pub rss_before_bytes: u64,
    /// Largest resident memory while the clock ran.
    pub rss_peak_bytes: u64,
    /// Bytes allocated on disk when the clock first started.
    pub prewritten_bytes: u64,
    /// Bytes of log written since, in all repeats.
    pub log_bytes: u64,
    /// Whether `log_bytes` was counted by the target, or reckoned from the number of records.
    pub log_bytes_counted: bool,
    /// Bytes that the kernel charged this process with writing, the same time.
    pub kernel_write_bytes: u64,
    /// Time of the clean close, in milliseconds.
    pub close_ms: f64,
}

/// The results of one workload in one mode.
#[derive(Clone, Debug, Serialize)]
pub struct WorkloadResult {
    /// The workload.
    pub workload: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Whether segments are recycled.
    pub mode: Mode,
    /// What was measured.
    pub target: &'static str,
    /// Size of a value.
    pub value_bytes: usize,
    /// Records of a batch.
    pub batch: usize,
    /// Batches in flight.
    pub in_flight: usize,
    /// Who appends.
    pub producers: Producers,
    /// Size of a segment, where it is not the target's default.
    pub segment_bytes: Option<u64>,
    /// Records a second, and the latency of a batch's acknowledgement.
    #[serde(flatten)]
    pub summary: Summary,
    /// The best device cell of the same bytes in flight, measured between the repeats.
    pub device: CellFigures,
    /// All its device cells.
    pub cells: Vec<CellFigures>,
    /// Against the device, repeat by repeat: of p50 latencies, or of bytes a second.
    pub ratio: Spread,
    /// The same of the 99th percentiles; of latencies only.
    pub ratio_p99: Option<Spread>,
    /// What has to be reached.
    pub floor: String,
    /// Whether it was; of the engine in steady mode only.
    pub floor_reached: Option<bool>,
    /// Processor, memory, bytes.
    #[serde(flatten)]
    pub account: Account,
    /// `log_bytes` over `prewritten_bytes`, if anything was pre-written.
    pub times_prewritten: Option<f64>,
    /// Whether ten times what was pre-written was reached.
    pub long_enough: bool,
}

/// What makes a run long enough: as many times what was pre-written.
pub const TIMES_PREWRITTEN: f64 = 10.0;

impl WorkloadResult {
    /// Puts the figures together. `cells` holds the runs of each of the workload's cells, as many
    /// as `runs`.
    pub fn of(
        spec: &Spec,
        mode: Mode,
        target: &'static str,
        runs: &[Run],
        cells: &[Vec<Run>],
        account: Account,
    ) -> Self {
        let summary = Summary::of(runs);
        let figures: Vec<CellFigures> =
            spec.cells.iter().zip(cells).map(|(&cell, runs)| CellFigures::of(cell, runs)).collect();
        let rate = |figures: &CellFigures| figures.summary.mb_per_sec.median;
        let best = (0..figures.len())
            .max_by(|&a, &b| rate(&figures[a]).total_cmp(&rate(&figures[b])))
            .unwrap_or(0);
        let pairs = || runs.iter().zip(&cells[best]);
        let quantiles = |q: f64| {
            let latency = |run: &Run| run.latencies.quantile_us(q);
            Spread::of(pairs().map(|(run, cell)| latency(run) / latency(cell)))
        };
        let (ratio, ratio_p99) = match spec.yardstick {
            Yardstick::Latency => (quantiles(0.5), Some(quantiles(0.99))),
            Yardstick::Bytes => {
                let bytes = pairs().map(|(run, cell)| run.mb_per_sec() / cell.mb_per_sec());
                (Spread::of(bytes), None)
            }
        };
        let times_prewritten = (account.prewritten_bytes > 0)
            .then(|| account.log_bytes as f64 / account.prewritten_bytes as f64);
        // What does nothing has no floor to reach.
        let judged = target != "null";
        let reached = match spec.floor {
            Floor::Latencies { p50, p99 } => {
                ratio.median <= p50 && ratio_p99.is_some_and(|ratio| ratio.median <= p99)
            }
            Floor::Ratio(floor) => ratio.median >= floor,
            Floor::PerSec(floor) => summary.per_sec.median >= floor,
        };
        Self {
            workload: spec.name,
            about: spec.about,
            mode,
            target,
            value_bytes: spec.value_bytes,
            batch: spec.batch,
            in_flight: spec.in_flight,
            producers: spec.producers,
            segment_bytes: spec.segment_bytes,
            summary,
            device: figures[best].clone(),
            cells: figures,
            ratio,
            ratio_p99,
            floor: floor_text(spec.floor),
            floor_reached: (mode == Mode::Steady && judged).then_some(reached),
            account,
            times_prewritten,
            long_enough: times_prewritten.is_none_or(|times| times >= TIMES_PREWRITTEN),
        }
    }
}

fn floor_text(floor: Floor) -> String {
    match floor {
        Floor::Latencies { p50, p99 } => format!("p50 ≤ {p50} x, p99 ≤ {p99} x"),
        Floor::Ratio(ratio) => format!("≥ {ratio} x"),
        Floor::PerSec(rate) => format!("≥ {}/s", number(rate)),
    }
}

/// The table of all results.
pub fn table(results: &[WorkloadResult]) -> String {
    let mut speeds = Table::new(&[
        "workload",
        "mode",
        "records/s",
        "p50 µs",
        "p99",
        "p99.9",
        "x device",
        "floor",
        "reached",
    ]);
    let mut legend: Vec<String> = Vec::new();
    let mut costs = Table::new(&[
        "workload",
        "mode",
        "cpu-s/M",
        "others' cpus",
        "peak MiB",
        "(before)",
        "written MB",
        "x pre-written",
        "device's best cell",
        "MB/s",
        "p50 µs",
        "p99",
    ]);
    for result in results {
        let WorkloadResult { summary, account, device, .. } = result;
        let ratio = match result.ratio_p99 {
            Some(p99) => format!("p50 {}, p99 {}", spread(result.ratio), spread(p99)),
            None => spread(result.ratio),
        };
        let reached = match result.floor_reached {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        let line = format!("{}: {}", result.workload, result.about);
        if legend.last() != Some(&line) {
            legend.push(line);
        }
        let name = || vec![result.workload.to_owned(), result.mode.name().to_owned()];
        let figures = [
            spread(summary.per_sec),
            spread(summary.p50_us),
            spread(summary.p99_us),
            spread(summary.p999_us),
            ratio,
            result.floor.clone(),
            reached.to_owned(),
        ];
        speeds.row([name(), figures.to_vec()].concat());
        let short = if result.long_enough { "" } else { " (short)" };
        let figures = [
            spread(account.cpu_secs_per_million),
            spread(account.others_cpus),
            number(account.rss_peak_bytes as f64 / f64::from(1 << 20)),
            number(account.rss_before_bytes as f64 / f64::from(1 << 20)),
            number(account.log_bytes as f64 / 1e6),
            format!("{}{short}", result.times_prewritten.map_or("–".to_owned(), number)),
            device.cell.clone(),
            spread(device.summary.mb_per_sec),
            spread(device.summary.p50_us),
            spread(device.summary.p99_us),
        ];
        costs.row([name(), figures.to_vec()].concat());
    }
    format!("\n{}\n\n{}\n\n{}\n", speeds.render(), costs.render(), legend.join("\n"))
}
