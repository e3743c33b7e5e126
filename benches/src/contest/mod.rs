//! Contests: the same work by several entrants, each in a process of its own, taking turns with
//! each other and with the device's cells, so that an hour's drift falls on all alike.

pub mod enter;
pub mod process;
mod result;
pub mod turn;

use std::fs;
use std::path::Path;

use crate::Bench;
use crate::contest::process::Process;
use crate::contest::result::ContestResult;
use crate::contest::turn::Turn;
use crate::error::{Context, Result};
use crate::limit::cell::Cell;
use crate::limit::device::Device;
use crate::progress::Progress;
use crate::quiet::Quiet;
use crate::report;
use crate::stats::Run;

/// Who takes part.
#[derive(Clone, Debug)]
pub struct Entrant {
    /// Its name in the tables.
    pub name: String,
    /// What this program is started with again to be it; its directory and the seed are added.
    pub arguments: Vec<String>,
    /// What is added to its environment.
    pub environment: Vec<(String, String)>,
}

impl Entrant {
    /// An entrant called `name`, started with `arguments`.
    pub fn new(name: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { name: name.to_owned(), arguments, environment: Vec::new() }
    }
}

/// Two entrants held against each other, by records a second.
#[derive(Clone, Copy, Debug)]
pub struct Versus {
    /// Number of the entrant above the line.
    pub ours: usize,
    /// Number of the one below.
    pub over: usize,
    /// The ratio that has to be reached, if any.
    pub at_least: Option<f64>,
}

/// One contest.
#[derive(Clone, Debug)]
pub struct Contest {
    /// The workload's name.
    pub name: String,
    /// What it is, in a few words.
    pub about: String,
    /// Who takes part.
    pub entrants: Vec<Entrant>,
    /// The device's cells beside them.
    pub cells: &'static [Cell],
    /// What is compared.
    pub versus: Vec<Versus>,
}

/// Rounds of a contest: of each round all turns, in the order of the entrants, and all cells.
#[derive(Debug, Default)]
struct Rounds {
    turns: Vec<Vec<Turn>>,
    cells: Vec<Vec<Run>>,
    disturbed: usize,
}

/// Holds the contests, one after another.
pub fn run(bench: &mut Bench, contests: &[Contest]) -> Result<()> {
    let progress = Progress::new((contests.len() * bench.options.repeats()) as u64);
    let scratch = bench.scratch()?;
    progress.doing("pre-writing");
    let needs_device = contests.iter().any(|contest| !contest.cells.is_empty());
    let device = needs_device
        .then(|| Device::prepare(scratch.path(), bench.options.device_bytes(), bench.seed))
        .transpose()?;
    let mut results = Vec::new();
    for contest in contests {
        let dir = scratch.path().join("entrants");
        fs::create_dir(&dir).context(format!("creating {}", dir.display()))?;
        let rounds = hold(bench, contest, device.as_ref(), &dir, &progress)?;
        fs::remove_dir_all(&dir).context(format!("removing {}", dir.display()))?;
        let result = ContestResult::of(contest, &rounds);
        bench.report.line("contest", &result)?;
        results.push(result);
    }
    drop(progress);
    report::print(&result::table(&results))
}

fn hold(
    bench: &Bench,
    contest: &Contest,
    device: Option<&Device>,
    dir: &Path,
    progress: &Progress,
) -> Result<Rounds> {
    let mut processes = Vec::new();
    for (number, entrant) in contest.entrants.iter().enumerate() {
        progress.doing(format!("{}: {} gets ready", contest.about, entrant.name));
        let dir = dir.join(number.to_string());
        fs::create_dir(&dir).context(format!("creating {}", dir.display()))?;
        processes.push(Process::start(&started_in(entrant, &dir, bench))?);
    }
    let mut rounds = Rounds::default();
    let quiet = Quiet::new(&bench.options);
    while rounds.turns.len() < bench.options.repeats() {
        quiet.wait();
        let mut cells = Vec::new();
        for &cell in contest.cells {
            progress.doing(format!("{}: the device", contest.about));
            let device = device.expect("it was prepared for the cells");
            cells.push(device.run(cell, bench.options.cell_time())?);
        }
        let turns = round(contest, &mut processes, rounds.turns.len(), progress)?;
        if turns.iter().any(|turn| quiet.again(turn.others_cpus)) {
            rounds.disturbed += 1;
            continue;
        }
        rounds.turns.push(turns);
        rounds.cells.push(cells);
        progress.step();
    }
    processes.into_iter().try_for_each(Process::finish)?;
    Ok(rounds)
}

/// A turn of each, beginning with another one each time.
fn round(
    contest: &Contest,
    processes: &mut [Process],
    number: usize,
    progress: &Progress,
) -> Result<Vec<Turn>> {
    let mut turns: Vec<Option<Turn>> = vec![None; processes.len()];
    for at in 0..processes.len() {
        let entrant = (at + number) % processes.len();
        progress.doing(format!("{}: {}", contest.about, contest.entrants[entrant].name));
        turns[entrant] = Some(processes[entrant].turn()?);
    }
    Ok(turns.into_iter().flatten().collect())
}

/// The entrant, with what it is to be told of its directory and of this run.
pub fn started_in(entrant: &Entrant, dir: &Path, bench: &Bench) -> Entrant {
    let mut entrant = entrant.clone();
    let dir = dir.to_string_lossy().into_owned();
    entrant.arguments.extend(["--entrant-dir".to_owned(), dir]);
    entrant.arguments.extend(["--seed".to_owned(), bench.seed.to_string()]);
    entrant.arguments.extend(bench.options.quick.then(|| "--quick".to_owned()));
    entrant
}
