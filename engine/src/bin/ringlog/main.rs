//! The `ringlog` command line. It sees of the engine what every program sees: the public API.

mod append;
mod args;
mod bench;
mod create_topic;
mod doctor;
mod dump;
mod exit;
mod input;
mod interrupt;
mod output;
mod progress;
mod read;
mod record;
mod session;
mod stat;
mod topics;
mod trim;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use exit::{Exit, Failure};
use interrupt::Interrupt;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => failure.report(),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    let place = &cli.place;
    match &cli.command {
        Command::CreateTopic(args) => create_topic::run(place, args),
        Command::Topics(args) => topics::run(place, args),
        Command::Stat(args) => stat::run(place, args),
        Command::Trim(args) => trim::run(place, args),
        Command::Append(args) => append::run(place, args, &interrupt),
        Command::Read(args) => read::run(place, args, &interrupt),
        Command::Dump(args) => dump::run(place, args, &interrupt),
        Command::Verify(args) => verify::run(place, args),
        Command::Bench(args) => bench::run(place, args, &interrupt),
        Command::Doctor(args) => doctor::run(place, args),
    }
}
