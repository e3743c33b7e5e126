//! Benchmarks of Ringlog beside the device and the memory they run on: what each figure is worth
//! is told by the ratio to `limit`, measured in the same run.
//!
//! A library, so that the package that compares us with other engines measures in the same way and
//! nobody has to build those engines who does not run it.

mod behind;
pub mod cli;
pub mod contest;
pub mod demo;
pub mod error;
mod follow;
mod idle;
pub mod limit;
pub mod machine;
mod open;
pub mod progress;
pub mod quiet;
pub mod reading;
pub mod report;
mod send;
mod shards;
pub mod spread;
pub mod stats;
pub mod target;
pub mod usage;
pub mod values;
pub mod workload;

use std::fs;

use serde::Serialize;
use tempfile::TempDir;

use crate::cli::{Cli, Command, Options, WorkloadArgs};
use crate::contest::enter::EnterArgs;
use crate::error::{Context, Error, Result};
use crate::machine::Machine;
use crate::reading::Task;
use crate::report::Report;
use crate::workload::spec::Spec;

/// What every command needs.
#[derive(Debug)]
pub struct Bench {
    /// The options.
    pub options: Options,
    /// Seed of values and content.
    pub seed: u64,
    /// Where results go.
    pub report: Report,
}

impl Bench {
    /// A scratch directory on the filesystem to measure, removed when dropped.
    pub fn scratch(&self) -> Result<TempDir> {
        let parent = &self.options.dir;
        tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(parent)
            .context(format!("making a scratch directory in {}", parent.display()))
    }
}

/// Looks at the machine and begins the report.
pub fn start(options: Options) -> Result<Bench> {
    #[derive(Serialize)]
    struct Start<'a> {
        #[serde(flatten)]
        machine: &'a Machine,
        seed: u64,
        quick: bool,
        repeats: usize,
    }
    let dir = &options.dir;
    fs::create_dir_all(dir).context(format!("creating {}", dir.display()))?;
    let machine = Machine::look(dir);
    let seed = options.seed.unwrap_or_else(values::fresh_seed);
    let mut report = Report::new(options.json.as_deref())?;
    let (quick, repeats) = (options.quick, options.repeats());
    report.line("machine", &Start { machine: &machine, seed, quick, repeats })?;
    report::print(&format!("{}\nseed {seed}", machine.describe()))?;
    Ok(Bench { options, seed, report })
}

/// An error if a workload is asked for that is none.
fn known(options: &Options, args: &WorkloadArgs) -> Result<()> {
    let is_known = |name: &str| Spec::named(name).is_some() || Task::named(options, name).is_some();
    match args.only.iter().find(|name| !is_known(name)) {
        Some(name) => Err(Error::new(format!("no workload is named {name}"))),
        None => Ok(()),
    }
}

/// Becomes an entrant of ours.
pub fn enter(options: &Options, args: &EnterArgs) -> Result<()> {
    let name = args.workload.as_str();
    let done = match (Task::named(options, name), Spec::named(name)) {
        (Some(task), _) => reading::enter(options, args, &task),
        (None, Some(spec)) if args.entrant == "ringlog" => {
            Some(contest::enter::append::<target::ringlog::Ringlog>(options, args, &spec))
        }
        _ => None,
    };
    done.unwrap_or_else(|| Err(contest::enter::unknown(args)))
}

/// Runs what the command line asks for.
pub fn run(cli: Cli) -> Result<()> {
    if let Some(args) = cli.command.workloads() {
        known(&cli.options, args)?;
    }
    match cli.command {
        Command::Limit => limit::run(&mut start(cli.options)?),
        Command::Send => send::run(&mut start(cli.options)?),
        Command::Durable(args) => workload::run(&mut start(cli.options)?, workload::DURABLE, &args),
        Command::Written(args) => workload::run(&mut start(cli.options)?, workload::WRITTEN, &args),
        Command::Spread(args) => spread::run(&mut start(cli.options)?, &args),
        Command::Behind(args) => behind::run(&mut start(cli.options)?, &args),
        Command::Shards(args) => shards::run(&mut start(cli.options)?, &args),
        Command::Follow => follow::run(&mut start(cli.options)?),
        Command::FollowOnce { count, data } => follow::once(data.as_deref(), count),
        Command::Read(args) => reading::run(&mut start(cli.options)?, &args),
        Command::Enter(args) => enter(&cli.options, &args),
        Command::Open(args) => open::run(&mut start(cli.options)?, args),
        Command::OpenOnce { dir } => open::once(&dir),
        Command::Demo(args) => {
            demo::title()?;
            demo::run(&start(cli.options)?, &args)
        }
        Command::Idle => idle::run(&mut start(cli.options)?),
        Command::IdleOnce { dir, secs } => idle::once(&dir, secs),
        Command::All(args) => {
            let mut bench = start(cli.options)?;
            limit::run(&mut bench)?;
            let all = [workload::DURABLE, workload::WRITTEN].concat();
            workload::run(&mut bench, &all, &args)?;
            spread::run(&mut bench, &args)?;
            shards::run(&mut bench, &args)?;
            behind::run(&mut bench, &args)?;
            follow::run(&mut bench)?;
            reading::run(&mut bench, &args)?;
            open::run(&mut bench, cli::OpenArgs { large: false, drop_caches: false })?;
            idle::run(&mut bench)
        }
    }
}
