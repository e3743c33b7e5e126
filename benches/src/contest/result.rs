//! What a contest came to: as a JSON line, and as rows of the tables.

use serde::Serialize;

use crate::contest::turn::Turn;
use crate::contest::{Contest, Rounds};
use crate::limit::CellFigures;
use crate::report::{Table, number, spread};
use crate::stats::{Run, Spread};

/// One entrant's figures.
#[derive(Clone, Debug, Serialize)]
struct EntrantFigures {
    name: String,
    per_sec: Spread,
    mb_per_sec: Spread,
    p50_us: Spread,
    p99_us: Spread,
    p999_us: Spread,
    cpu_secs_per_million: Spread,
    others_cpus: Spread,
    rss_before_bytes: u64,
    rss_peak_bytes: u64,
    rss_anonymous_bytes: u64,
    disk_bytes: u64,
    /// Its bytes of values a second over those of the device's best cell, round by round.
    ratio_to_device: Option<Spread>,
}

/// Two entrants held against each other.
#[derive(Clone, Debug, Serialize)]
struct VersusFigures {
    ours: String,
    over: String,
    ratio: Spread,
    at_least: Option<f64>,
    reached: Option<bool>,
}

/// One contest.
#[derive(Clone, Debug, Serialize)]
pub struct ContestResult {
    workload: String,
    about: String,
    rounds: usize,
    rounds_disturbed: usize,
    entrants: Vec<EntrantFigures>,
    versus: Vec<VersusFigures>,
    /// The device's best cell.
    device: Option<CellFigures>,
}

fn rate(turn: &Turn) -> f64 {
    turn.records as f64 / turn.secs
}

fn mb_rate(turn: &Turn) -> f64 {
    turn.bytes as f64 / 1e6 / turn.secs
}

impl ContestResult {
    /// Puts the figures together.
    pub(super) fn of(contest: &Contest, rounds: &Rounds) -> Self {
        let best = (0..contest.cells.len())
            .map(|cell| rounds.cells.iter().map(|runs| runs[cell].clone()).collect::<Vec<Run>>())
            .zip(contest.cells)
            .map(|(runs, &cell)| (CellFigures::of(cell, &runs), runs))
            .max_by(|(a, _), (b, _)| {
                let rate = |figures: &CellFigures| figures.summary.mb_per_sec.median;
                rate(a).total_cmp(&rate(b))
            });
        let of_all = |entrant: usize, what: fn(&Turn) -> f64| {
            Spread::of(rounds.turns.iter().map(|turns| what(&turns[entrant])))
        };
        let most = |entrant: usize, what: fn(&Turn) -> u64| {
            rounds.turns.iter().map(|turns| what(&turns[entrant])).max().unwrap_or(0)
        };
        let figures = |entrant: usize, name: &str| EntrantFigures {
            name: name.to_owned(),
            per_sec: of_all(entrant, rate),
            mb_per_sec: of_all(entrant, mb_rate),
            p50_us: of_all(entrant, |turn| turn.p50_us),
            p99_us: of_all(entrant, |turn| turn.p99_us),
            p999_us: of_all(entrant, |turn| turn.p999_us),
            cpu_secs_per_million: of_all(entrant, |turn| {
                turn.cpu_secs / (turn.records.max(1) as f64 / 1e6)
            }),
            others_cpus: of_all(entrant, |turn| turn.others_cpus),
            rss_before_bytes: most(entrant, |turn| turn.rss_before_bytes),
            rss_peak_bytes: most(entrant, |turn| turn.rss_peak_bytes),
            rss_anonymous_bytes: most(entrant, |turn| turn.rss_anonymous_bytes),
            disk_bytes: most(entrant, |turn| turn.disk_bytes),
            ratio_to_device: best.as_ref().map(|(_, runs)| {
                let rounds = rounds.turns.iter().zip(runs);
                Spread::of(rounds.map(|(turns, run)| mb_rate(&turns[entrant]) / run.mb_per_sec()))
            }),
        };
        let names = || contest.entrants.iter().map(|entrant| entrant.name.as_str());
        let versus = contest.versus.iter().map(|versus| {
            let ratios = rounds.turns.iter();
            let ratios = ratios.map(|turns| rate(&turns[versus.ours]) / rate(&turns[versus.over]));
            let ratio = Spread::of(ratios);
            VersusFigures {
                ours: contest.entrants[versus.ours].name.clone(),
                over: contest.entrants[versus.over].name.clone(),
                ratio,
                at_least: versus.at_least,
                reached: versus.at_least.map(|least| ratio.median >= least),
            }
        });
        Self {
            workload: contest.name.clone(),
            about: contest.about.clone(),
            rounds: rounds.turns.len(),
            rounds_disturbed: rounds.disturbed,
            entrants: names().enumerate().map(|(at, name)| figures(at, name)).collect(),
            versus: versus.collect(),
            device: best.map(|(figures, _)| figures),
        }
    }
}

/// The tables of all results: speeds, costs, and what is held against what.
pub fn table(results: &[ContestResult]) -> String {
    let mut speeds =
        Table::new(&["workload", "records/s", "MB/s", "p50 µs", "p99", "p99.9", "x device"]);
    let mut costs = Table::new(&[
        "workload",
        "cpu-s/M",
        "others' cpus",
        "peak MiB",
        "(anon)",
        "(before)",
        "disk MB",
    ]);
    let mut versus = Table::new(&["workload", "ratio of records/s", "at least", "reached"]);
    for result in results {
        for entrant in &result.entrants {
            let name = || vec![format!("{}  {}", result.workload, entrant.name)];
            let latency = |us: Spread| if us.max > 0.0 { spread(us) } else { "–".to_owned() };
            speeds.row([name(), speed_cells(entrant, latency)].concat());
            costs.row([name(), cost_cells(entrant)].concat());
        }
        if let Some(device) = &result.device {
            let rates = [device.summary.per_sec, device.summary.mb_per_sec].map(spread);
            let name = vec![format!("{}  the device: {}", result.workload, device.cell)];
            speeds.row([name, rates.to_vec()].concat());
        }
        for figures in &result.versus {
            versus.row(vec![
                format!("{}  {} / {}", result.workload, figures.ours, figures.over),
                spread(figures.ratio),
                figures.at_least.map_or_else(String::new, number),
                figures.reached.map_or("", |yes| if yes { "yes" } else { "NO" }).to_owned(),
            ]);
        }
    }
    let legend: Vec<String> =
        results.iter().map(|result| format!("{}: {}", result.workload, result.about)).collect();
    let tables = [speeds, costs, versus].map(|table| table.render());
    format!("\n{}\n\n{}\n", tables.join("\n\n"), legend.join("\n"))
}

fn speed_cells(entrant: &EntrantFigures, latency: impl Fn(Spread) -> String) -> Vec<String> {
    vec![
        spread(entrant.per_sec),
        spread(entrant.mb_per_sec),
        latency(entrant.p50_us),
        latency(entrant.p99_us),
        latency(entrant.p999_us),
        entrant.ratio_to_device.map_or_else(String::new, spread),
    ]
}

fn cost_cells(entrant: &EntrantFigures) -> Vec<String> {
    let mib = |bytes: u64| number(bytes as f64 / f64::from(1 << 20));
    vec![
        spread(entrant.cpu_secs_per_million),
        spread(entrant.others_cpus),
        mib(entrant.rss_peak_bytes),
        mib(entrant.rss_anonymous_bytes),
        mib(entrant.rss_before_bytes),
        number(entrant.disk_bytes as f64 / 1e6),
    ]
}
