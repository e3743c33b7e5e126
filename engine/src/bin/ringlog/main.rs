//! The `ringlog` command line. It sees of the engine what every program sees: the public API.
//!
//! The Python package compiles this file as a module of its own, for `python -m ringlog`: so the
//! modules here name each other by `super::`, never by `crate::`.

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
mod repair;
mod session;
mod stat;
mod topics;
mod trim;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use exit::{Exit, Failure};
use interrupt::Interrupt;

#[allow(dead_code, reason = "the Python package enters by `main_with`")]
fn main() -> ExitCode {
    ExitCode::from(main_with(std::env::args_os()))
}

/// Runs the command line with these arguments, the program's name first; gives the exit code.
pub(crate) fn main_with(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(refused) => {
            // Help and version are no failure, and nobody is left to hear of one in printing them.
            let _ = refused.print();
            return refused.exit_code() as u8;
        }
    };
    let exit = run(&cli).map_or_else(Failure::report, |()| Exit::Done);
    exit as u8
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
        Command::Repair(args) => repair::run(place, args),
        Command::Bench(args) => bench::run(place, args, &interrupt),
        Command::Doctor(args) => doctor::run(place, args),
    }
}
