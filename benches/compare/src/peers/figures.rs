//! What the peers came to: as a JSON line, which the charts are drawn from, and as tables.

use std::fmt::Write;

use ringlog_benches::contest::turn::{QUANTILES, Turn};
use ringlog_benches::limit::CellFigures;
use ringlog_benches::limit::cell::Cell;
use ringlog_benches::report::{Table, number, spread};
use ringlog_benches::stats::{Run, Spread};
use ringlog_benches::workload::spec::{Spec, Yardstick};
use serde::{Deserialize, Serialize};

use super::known;
use super::rounds::{Course, Rounds};

/// One entrant's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The peer.
    pub peer: String,
    /// How it takes part: its mode, and who appends.
    pub how: String,
    /// Whether it is us.
    pub ours: bool,
    /// Turns that these are of.
    pub turns: usize,
    /// Records a second.
    pub per_sec: Spread,
    /// Megabytes (10^6) of values a second.
    pub mb_per_sec: Spread,
    /// Median latency of an acknowledgement.
    pub p50_us: Spread,
    /// Its 99th percentile.
    pub p99_us: Spread,
    /// Its 99.9th percentile.
    pub p999_us: Spread,
    /// Pairs of a quantile and the latency there, the median of the turns.
    pub latency_us: Vec<(f64, f64)>,
    /// Processor seconds per million records, a server's included.
    pub cpu_secs_per_million: Spread,
    /// Of them, those of a server.
    pub server_cpu_secs_per_million: Spread,
    /// Processors that other programs used meanwhile.
    pub others_cpus: Spread,
    /// Largest resident memory of its process.
    pub rss_peak_bytes: u64,
    /// Resident memory of a server.
    pub server_rss_bytes: u64,
    /// Largest size on disk.
    pub disk_bytes: u64,
    /// Records a second over what the device would take of such records, turn by turn.
    pub ratio_to_device: Spread,
    /// What is known of that ratio.
    pub known_ratio: Option<f64>,
    /// Flushes for each acknowledgement, counted apart.
    pub flushes_per_ack: Option<f64>,
}

/// One workload over all entrants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkFigures {
    /// Its name.
    pub workload: String,
    /// What it is.
    pub about: String,
    /// Rounds that were held.
    pub rounds: usize,
    /// Rounds that were dropped.
    pub rounds_disturbed: usize,
    /// The device's best cell.
    pub device_cell: String,
    /// Records of the workload that it would take in a second.
    pub device_per_sec: Spread,
    /// Its latencies there: medians of the 50th, 99th and 99.9th percentile.
    pub device_us: [f64; 3],
    /// Who took part.
    pub entrants: Vec<Figures>,
    /// Who did not, and why.
    pub left_out: Vec<(String, String)>,
}

/// Who an entrant is.
#[derive(Clone, Debug)]
pub struct Who {
    /// The peer.
    pub peer: String,
    /// How it takes part.
    pub how: String,
    /// Whether it is us.
    pub ours: bool,
    /// What is known of it at this workload is found under this name.
    pub known_as: String,
    /// Flushes for each acknowledgement, counted apart.
    pub flushes_per_ack: Option<f64>,
}

/// Records of the workload that the device takes in a second. A record alone takes a write.
fn device_rate(spec: &Spec, run: &Run) -> f64 {
    match (spec.yardstick, spec.in_flight, run.ops) {
        (Yardstick::Bytes, 1, _) if spec.cells.len() == 1 => run.ops_per_sec(),
        _ => run.mb_per_sec() * 1e6 / spec.value_bytes as f64,
    }
}

/// The cell with the best median.
fn best_cell(spec: &Spec, looks: &[Vec<Run>]) -> usize {
    let median =
        |cell: usize| Spread::of(looks.iter().map(|look| device_rate(spec, &look[cell]))).median;
    let cells = 0..looks.first().map_or(0, Vec::len);
    cells.max_by(|&a, &b| median(a).total_cmp(&median(b))).unwrap_or(0)
}

fn rate(turn: &Turn) -> f64 {
    turn.records as f64 / turn.secs
}

fn per_million(turn: &Turn, secs: f64) -> f64 {
    secs / (turn.records.max(1) as f64 / 1e6)
}

impl Figures {
    fn of(who: &Who, workload: &str, course: &Course, device: impl Fn(usize) -> f64) -> Self {
        let turns = || course.turns.iter().map(|taken| &taken.turn);
        let of = |what: &dyn Fn(&Turn) -> f64| Spread::of(turns().map(what));
        let most = |what: fn(&Turn) -> u64| turns().map(what).max().unwrap_or(0);
        let latency = |at: usize| of(&|turn| turn.quantiles_us[at]).median;
        let ratios = course.turns.iter().map(|taken| rate(&taken.turn) / device(taken.look));
        Self {
            peer: who.peer.clone(),
            how: who.how.clone(),
            ours: who.ours,
            turns: course.turns.len(),
            per_sec: of(&rate),
            mb_per_sec: of(&|turn| turn.bytes as f64 / 1e6 / turn.secs),
            p50_us: of(&|turn| turn.p50_us),
            p99_us: of(&|turn| turn.p99_us),
            p999_us: of(&|turn| turn.p999_us),
            latency_us: QUANTILES.iter().enumerate().map(|(at, &q)| (q, latency(at))).collect(),
            cpu_secs_per_million: of(&|turn| per_million(turn, turn.cpu_secs)),
            server_cpu_secs_per_million: of(&|turn| per_million(turn, turn.helpers_cpu_secs)),
            others_cpus: of(&|turn| turn.others_cpus),
            rss_peak_bytes: most(|turn| turn.rss_peak_bytes),
            server_rss_bytes: most(|turn| turn.helpers_rss_bytes),
            disk_bytes: most(|turn| turn.disk_bytes),
            ratio_to_device: Spread::of(ratios),
            known_ratio: known::ratio(&who.known_as, workload),
            flushes_per_ack: who.flushes_per_ack,
        }
    }

    /// The name with the way it takes part.
    pub fn full_name(&self) -> String {
        format!("{}, {}", self.peer, self.how)
    }

    /// How many times it is below what is known of it; of those that are too far below.
    pub fn too_low_by(&self) -> Option<f64> {
        let below = self.known_ratio? / self.ratio_to_device.median;
        (below > known::BELIEVED).then_some(below)
    }
}

impl WorkFigures {
    /// Puts the figures together.
    pub fn of(spec: &Spec, name: &str, who: &[Who], cells: &[Cell], rounds: &Rounds) -> Self {
        let best = best_cell(spec, &rounds.looks);
        let device = |look: usize| device_rate(spec, &rounds.looks[look][best]);
        let runs: Vec<Run> = rounds.looks.iter().map(|look| look[best].clone()).collect();
        let cell = CellFigures::of(cells[best], &runs);
        let latency = [cell.summary.p50_us, cell.summary.p99_us, cell.summary.p999_us];
        let took_part = || who.iter().zip(&rounds.courses);
        Self {
            workload: name.to_owned(),
            about: spec.about.to_owned(),
            rounds: rounds.courses.iter().map(|course| course.turns.len()).max().unwrap_or(0),
            rounds_disturbed: rounds.disturbed,
            device_cell: cell.cell,
            device_per_sec: Spread::of((0..rounds.looks.len()).map(device)),
            device_us: latency.map(|spread| spread.median),
            entrants: took_part()
                .filter(|(_, course)| !course.turns.is_empty())
                .map(|(who, course)| Figures::of(who, name, course, device))
                .collect(),
            left_out: took_part()
                .filter_map(|(who, course)| {
                    let name = format!("{}, {}", who.peer, who.how);
                    course.failed.clone().map(|why| (name, why))
                })
                .collect(),
        }
    }

    /// Our own best figure over that of this entrant.
    fn ours_over(&self, entrant: &Figures) -> Option<f64> {
        let ours = self.entrants.iter().filter(|figures| figures.ours);
        let best = ours.map(|figures| figures.per_sec.median).max_by(f64::total_cmp)?;
        (!entrant.ours).then(|| best / entrant.per_sec.median)
    }
}

const HEADINGS: [&str; 11] = [
    "",
    "records/s",
    "x device",
    "known",
    "ours over it",
    "p50 µs",
    "p99",
    "p99.9",
    "cpu-s/M",
    "of a server",
    "flushes/ack",
];

fn row(work: &WorkFigures, figures: &Figures) -> Vec<String> {
    let optional = |value: Option<f64>| value.map_or_else(String::new, small);
    let known = match (figures.known_ratio, figures.too_low_by()) {
        (Some(known), Some(below)) => format!("{} ({} x below!)", small(known), number(below)),
        (known, _) => optional(known),
    };
    let ratio = figures.ratio_to_device;
    let ratio = format!("{} ({}–{})", small(ratio.median), small(ratio.min), small(ratio.max));
    let server = figures.server_cpu_secs_per_million;
    vec![
        format!("  {}", figures.full_name()),
        spread(figures.per_sec),
        ratio,
        known,
        work.ours_over(figures).map_or_else(String::new, number),
        number(figures.p50_us.median),
        number(figures.p99_us.median),
        number(figures.p999_us.median),
        spread(figures.cpu_secs_per_million),
        if server.max > 0.0 { number(server.median) } else { String::new() },
        optional(figures.flushes_per_ack),
    ]
}

/// Three figures that matter, however small.
fn small(value: f64) -> String {
    if value >= 0.1 || value == 0.0 { number(value) } else { format!("{value:.4}") }
}

/// The tables, one for each workload, and who is missing in it.
pub fn table(works: &[WorkFigures]) -> String {
    let mut text = String::new();
    for work in works {
        let mut table = Table::new(&HEADINGS);
        let [p50, p99, p999] = work.device_us.map(number);
        let device = format!("  the device, {}", work.device_cell);
        let rate = spread(work.device_per_sec);
        table.row([vec![device, rate], vec![String::new(); 3], vec![p50, p99, p999]].concat());
        for figures in &work.entrants {
            table.row(row(work, figures));
        }
        let (name, about) = (&work.workload, &work.about);
        let _ = writeln!(text, "\n{name}: {about}\n{}", table.render());
        for (name, why) in &work.left_out {
            let _ = writeln!(text, "  left out: {name}: {why}");
        }
        let disturbed = work.entrants.iter().map(|figures| figures.others_cpus.median);
        let disturbed = disturbed.fold(0.0, f64::max);
        let _ = writeln!(text, "  other programs used up to {} processors", number(disturbed));
    }
    text
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use ringlog_benches::stats::Latencies;

    use super::*;
    use crate::peers::rounds::Taken;
    use crate::peers::work;

    /// A second's run of the device.
    fn device(ops: u64, block_bytes: u64) -> Run {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_micros(100));
        Run { ops, bytes: ops * block_bytes, elapsed: Duration::from_secs(1), latencies }
    }

    /// A second's turn.
    fn turn(records: u64) -> Turn {
        Turn {
            records,
            bytes: records * 1024,
            secs: 1.0,
            p50_us: 110.0,
            p99_us: 200.0,
            p999_us: 300.0,
            quantiles_us: vec![110.0; QUANTILES.len()],
            cpu_secs: 0.5,
            helpers_cpu_secs: 0.25,
            others_cpus: 0.0,
            rss_before_bytes: 1,
            rss_peak_bytes: 2,
            rss_anonymous_bytes: 1,
            helpers_rss_bytes: 3,
            disk_bytes: 4,
        }
    }

    fn who(peer: &str, ours: bool) -> Who {
        Who {
            peer: peer.to_owned(),
            how: "durably".to_owned(),
            ours,
            known_as: peer.to_owned(),
            flushes_per_ack: Some(1.0),
        }
    }

    /// Three entrants over two rounds; the last one failed in the second.
    pub fn example(name: &str) -> WorkFigures {
        let spec = work::named(name).expect("it is a workload");
        let course = |turns: &[(u64, usize)], failed: Option<&str>| Course {
            turns: turns
                .iter()
                .map(|&(records, look)| Taken { turn: turn(records), look })
                .collect(),
            failed: failed.map(str::to_owned),
        };
        let cells = spec.cells.len();
        let rounds = Rounds {
            courses: vec![
                course(&[(8_000, 0), (9_000, 1)], None),
                course(&[(4_000, 0), (5_000, 1)], None),
                course(&[(4_000, 0)], Some("it stopped")),
            ],
            looks: [10_000, 20_000].map(|ops| vec![device(ops, 4096); cells]).to_vec(),
            disturbed: 0,
        };
        let who = [who("Ringlog", true), who("SQLite", false), who("Redis Streams", false)];
        WorkFigures::of(&spec, name, &who, spec.cells, &rounds)
    }

    #[test]
    fn a_turn_is_held_against_the_look_before_it() {
        let one = example("one");
        let ours = one.entrants[0].ratio_to_device;
        assert!((ours.max - 0.8).abs() < 1e-9 && (ours.min - 0.45).abs() < 1e-9, "{ours:?}");
        // With more in flight the device is counted in records, of which a write holds four.
        let many = example("64").entrants[0].ratio_to_device;
        assert!((many.max - 0.2).abs() < 1e-9, "{many:?}");
    }

    #[test]
    fn what_is_too_far_below_what_is_known_is_said() {
        let one = example("one");
        // SQLite: 0.4 and 0.25 of the device, where 0.8 is known.
        let below = one.entrants[1].too_low_by().expect("it is far below");
        assert!((below - 0.8026 / 0.325).abs() < 0.01, "{below}");
        assert_eq!(one.entrants[0].too_low_by(), None, "of us nothing is known");
        let text = table(&[one]);
        assert!(text.contains("x below!") && text.contains("left out: Redis Streams"), "{text}");
        assert!(text.contains("it stopped"), "{text}");
    }

    #[test]
    fn costs_are_per_million_and_a_line_can_be_read_back() {
        let one = example("one");
        let cost = one.entrants[2].cpu_secs_per_million;
        assert!((cost.median - 125.0).abs() < 1e-9, "{cost:?}");
        assert!((one.entrants[2].server_cpu_secs_per_million.median - 62.5).abs() < 1e-9);
        let line = serde_json::to_string(&one).expect("it is encoded");
        let back: WorkFigures = serde_json::from_str(&line).expect("and decoded");
        assert_eq!(back.entrants, one.entrants);
        assert_eq!(back.left_out, one.left_out);
    }

    #[test]
    fn small_ratios_keep_figures_that_matter() {
        assert_eq!([0.8, 0.02, 0.0004, 0.0].map(small), ["0.80", "0.0200", "0.0004", "0"]);
    }
}
