//! Random lives and crashes on the simulated disk: every acknowledged record survives what its
//! level promises, and nothing else appears. See `ringlog_tests::scenario`.
//!
//! `RINGLOG_SEEDS=n` runs so many scenarios, `RINGLOG_FIRST=n` begins there, `RINGLOG_SEED=n` runs
//! this one.

use std::time::{Duration, Instant};

use ringlog_tests::scenario::{Tally, run};

/// Without a number asked for, the run ends here, seeds left or not.
const TIME_MAX: Duration = Duration::from_secs(75);

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[test]
fn every_promise_is_kept_through_random_crashes() {
    if let Some(seed) = number("RINGLOG_SEED") {
        match run(seed) {
            Ok(outcome) => println!("seed {seed}: kept, digest {:016x}", outcome.digest),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let first = number("RINGLOG_FIRST").unwrap_or(0);
    let asked = number("RINGLOG_SEEDS");
    let seeds = asked.unwrap_or(if cfg!(feature = "long") { 100_000 } else { 3_000 });
    let bounded = asked.is_none() && !cfg!(feature = "long");
    let started = Instant::now();
    let mut tally = Tally::default();
    for seed in first..first + seeds {
        match run(seed) {
            Ok(outcome) => tally.add(&outcome.tally),
            Err(failure) => panic!("{failure}"),
        }
        if bounded && started.elapsed() > TIME_MAX {
            break;
        }
    }
    report(&tally, started.elapsed());
    if seeds >= 500 {
        let never: Vec<_> = tally.rows().into_iter().filter(|(_, count)| *count == 0).collect();
        assert!(never.is_empty(), "never met: {never:?}");
    }
}

fn report(tally: &Tally, took: Duration) {
    let rate = tally.crashes as f64 / took.as_secs_f64();
    println!("{} scenarios, {} crash points in {took:.1?}", tally.scenarios, tally.crashes);
    println!("{rate:.0} crash points a second");
    for (name, count) in tally.rows() {
        println!("{name:<22} {count}");
    }
}
