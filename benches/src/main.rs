//! The benchmarks' command.

use std::process::ExitCode;

use clap::Parser;
use ringlog_benches::cli::Cli;

fn main() -> ExitCode {
    match ringlog_benches::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
