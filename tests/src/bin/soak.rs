//! Runs scenarios in bulk: `soak [SEEDS] [--first SEED] [--threads N]`, or `make soak SEEDS=...`.
//!
//! Shows how far it is, how fast, and at the end how often each kind of fault was met. Fails with a
//! scenario that broke a promise, made small, and if some kind was never met.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringlog_tests::bulk::Bulk;
use ringlog_tests::scenario::Tally;

/// Where there is no terminal a line is printed this often.
const LINE_EVERY: Duration = Duration::from_secs(60);
/// So many scenarios meet everything there is.
const MEETS_ALL: u64 = 3_000;

/// Runs scenarios in bulk and shows what they met.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(default_value_t = 100_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// On how many threads; 0: one for each processor.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn main() -> ExitCode {
    let Arguments { seeds, first, threads } = Arguments::parse();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores } else { threads };
    let bar = ProgressBar::with_draw_target(Some(seeds), ProgressDrawTarget::stderr());
    let template = "{elapsed_precise} {wide_bar} {human_pos}/{human_len} seeds, {msg}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let started = Instant::now();
    let mut lines = 0;
    let outcome = Bulk { first, seeds, threads, until: None }.run(&mut |tally| {
        bar.set_position(tally.scenarios);
        let so_far = rate(tally, started.elapsed());
        if bar.is_hidden() && started.elapsed() >= LINE_EVERY * (lines + 1) {
            lines += 1;
            say(&format!("{} of {seeds} seeds, {so_far}", tally.scenarios));
        }
        bar.set_message(so_far);
    });
    bar.finish_and_clear();
    match outcome {
        Ok(tally) => report(&tally, started.elapsed()),
        Err(failure) => {
            say(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

fn rate(tally: &Tally, took: Duration) -> String {
    let per_second = tally.crashes as f64 / took.as_secs_f64().max(0.001);
    format!("{} crash points, {per_second:.0}/s", tally.crashes)
}

fn report(tally: &Tally, took: Duration) -> ExitCode {
    let parts = [
        ("what the engines did and met", tally.rows()),
        ("what the disks did to them", tally.faults()),
        ("killed between operations, at", tally.moments()),
    ];
    for (title, rows) in parts {
        say(&format!("{title}:"));
        for (name, count) in rows {
            say(&format!("{count:>14}  {}", name.replace('_', " ")));
        }
    }
    let per_minute = tally.scenarios as f64 * 60.0 / took.as_secs_f64().max(0.001);
    say(&format!("{} seeds in {took:.0?}, {per_minute:.0} a minute", tally.scenarios));
    say(&format!("{}; every promise was kept", rate(tally, took)));
    let never = tally.never();
    if tally.scenarios >= MEETS_ALL && !never.is_empty() {
        say(&format!("never met, so nothing is known of it: {}", never.join("; ")));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn say(line: &str) {
    // Whoever closed the pipe wants no more.
    let _ = writeln!(std::io::stdout(), "{line}");
}
