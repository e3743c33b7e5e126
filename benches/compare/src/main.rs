//! Ringlog beside other embedded engines: the same work on the same machine in turn, each engine in
//! a process of its own, with the settings that promise the same.

mod charts;
mod cli;
mod ground;
mod lmdb;
mod peers;
mod raft;
mod syncs;

use std::process::ExitCode;

use clap::Parser;
use ringlog_benches::cli::{Options, WorkloadArgs};
use ringlog_benches::contest::enter::{self, EnterArgs};
use ringlog_benches::contest::{self, Contest, Versus};
use ringlog_benches::error::Result;
use ringlog_benches::reading::{self, Task};
use ringlog_benches::workload::result::Mode;
use ringlog_benches::workload::spec::{A2, F1, Producers, Spec};
use ringlog_benches::{Bench, spread, start};

use crate::cli::{Cli, Command};
use crate::ground::Ground;
use crate::lmdb::{Lmdb, WriteMapped};
use crate::raft::RaftEngine;

/// What A2 has to reach of raft-engine's rate.
const A2_AT_LEAST: f64 = 1.5;
/// What R1 has to reach of the rate of LMDB's cursor, with checksums verified and without.
const R1_AT_LEAST: [f64; 2] = [1.0, 1.5];

/// F1 as engines run it that have no futures: as many blocking threads.
const F1_THREADS: Spec = Spec { name: "f1-threads", producers: Producers::Threads, ..F1 };

/// A2, beside the device and whoever can.
fn written(bench: &mut Bench, args: &WorkloadArgs) -> Result<()> {
    if !args.asks_for(A2.name) {
        return Ok(());
    }
    let contest = |&mode: &Mode| {
        let entrant = |name: &str, id: &str| enter::entrant(name, id, A2.name, mode, args);
        Contest {
            name: format!("{} {}", A2.name, mode.name()),
            about: A2.about.to_owned(),
            entrants: vec![
                entrant("ringlog", "ringlog"),
                entrant("raft-engine, sync = false", "raft-engine"),
                entrant("LMDB, NOSYNC", "lmdb"),
                entrant("LMDB, NOSYNC + WRITEMAP", "lmdb-writemap"),
            ],
            cells: A2.cells,
            versus: vec![
                Versus { ours: 0, over: 1, at_least: Some(A2_AT_LEAST) },
                Versus { ours: 0, over: 2, at_least: None },
                Versus { ours: 0, over: 3, at_least: None },
            ],
        }
    };
    let contests: Vec<Contest> = args.mode.modes().iter().map(contest).collect();
    contest::run(bench, &contests)
}

/// F1, beside the device, one partition, and whoever can.
fn spread_over_many(bench: &mut Bench, args: &WorkloadArgs) -> Result<()> {
    if !args.asks_for(F1.name) {
        return Ok(());
    }
    let entrant =
        |name: &str, id: &str| enter::entrant(name, id, F1_THREADS.name, Mode::Growth, args);
    let mut entrants = spread::entrants(args);
    entrants.push(entrant("ringlog, 1,000 partitions, 64 threads", "ringlog"));
    entrants.push(entrant("raft-engine, 1,000 groups, 64 threads", "raft-engine"));
    entrants.push(entrant("LMDB, 64 threads", "lmdb"));
    let contest = Contest {
        name: F1.name.to_owned(),
        about: F1.about.to_owned(),
        entrants,
        cells: F1.cells,
        versus: vec![
            spread::VERSUS,
            Versus { ours: 0, over: 3, at_least: None },
            Versus { ours: 2, over: 3, at_least: None },
            Versus { ours: 0, over: 4, at_least: None },
        ],
    };
    contest::run(bench, &[contest])
}

/// R1, beside plain memory and LMDB's cursor.
fn read(bench: &mut Bench, args: &WorkloadArgs) -> Result<()> {
    let contest = |task: Task| {
        let mut entrants = reading::entrants(&task, args);
        entrants.push(enter::entrant("LMDB's cursor", "lmdb", task.name, Mode::Growth, args));
        let versus =
            |(ours, at_least): (usize, f64)| Versus { ours, over: 3, at_least: Some(at_least) };
        Contest {
            name: task.name.to_owned(),
            about: task.about.to_owned(),
            entrants,
            cells: &[],
            versus: R1_AT_LEAST.into_iter().enumerate().map(versus).collect(),
        }
    };
    let tasks = Task::all(&bench.options).into_iter().filter(|task| args.asks_for(task.name));
    let contests: Vec<Contest> = tasks.map(contest).collect();
    contest::run(bench, &contests)
}

/// Becomes an entrant, of theirs or of ours, that ends with the process that asks for it.
fn become_entrant(options: &Options, args: &EnterArgs) -> Result<()> {
    ground::end_with_parent()?;
    if let Some(spec) = peers::work::named(&args.workload) {
        return peers::enter(options, args, &spec);
    }
    let spec = match args.workload.as_str() {
        "f1-threads" => Some(F1_THREADS),
        name => Spec::named(name),
    };
    let task = Task::named(options, &args.workload);
    match (args.entrant.as_str(), spec, task) {
        ("ringlog", Some(spec), _) => {
            enter::append::<ringlog_benches::target::ringlog::Ringlog>(options, args, &spec)
        }
        ("raft-engine", Some(spec), _) => enter::append::<RaftEngine>(options, args, &spec),
        ("lmdb", Some(spec), _) => enter::append::<Lmdb>(options, args, &spec),
        ("lmdb-writemap", Some(spec), _) => enter::append::<WriteMapped>(options, args, &spec),
        ("lmdb", _, Some(task)) => {
            enter::read(options, args, &task, |values| lmdb::fill(&args.entrant_dir, &task, values))
        }
        _ => ringlog_benches::enter(options, args),
    }
}

/// What measures, on ground that is cleared whatever happens.
fn measure(mut options: Options, command: &Command) -> Result<()> {
    let ground = Ground::prepare(&options.dir)?;
    ground.dir().clone_into(&mut options.dir);
    let bench = &mut start(options)?;
    match command {
        Command::Written(args) => written(bench, args),
        Command::Spread(args) => spread_over_many(bench, args),
        Command::Read(args) => read(bench, args),
        Command::Peers(args) => peers::run::run(bench, args),
        Command::Scale(args) => peers::run::scale(bench, args),
        Command::Syncs => syncs::run(bench, |_| true).map(drop),
        Command::All(args) => {
            peers::run::run(bench, args)?;
            peers::run::scale(bench, &args.workloads)?;
            written(bench, &args.workloads)?;
            spread_over_many(bench, &args.workloads)?;
            read(bench, &args.workloads)
        }
        Command::Charts(_) | Command::Enter(_) | Command::SyncsOnce(_) | Command::Guarded(_) => {
            Ok(())
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match &cli.command {
        Command::Charts(args) => charts::run(args),
        Command::Enter(args) => become_entrant(&cli.options, args),
        Command::SyncsOnce(args) => syncs::once(&cli.options, args),
        Command::Guarded(args) => peers::server::become_guarded(args),
        measuring => measure(cli.options, measuring),
    }
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}
