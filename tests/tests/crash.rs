//! Random lives and crashes on the simulated disk: every acknowledged record survives what its
//! level promises, and nothing else appears. See `ringlog_tests::scenario`.
//!
//! `RINGLOG_SEEDS=n` runs so many scenarios, `RINGLOG_FIRST=n` begins there, `RINGLOG_SEED=n` runs
//! this one, `RINGLOG_STEPS=...` only these of its steps. `make soak` runs many, and shows what was
//! met.

use std::time::{Duration, Instant};

use ringlog_tests::bulk::Bulk;
use ringlog_tests::scenario::{Tally, run_plan};

/// Without a number asked for, the run ends here, seeds left or not.
const TIME_MAX: Duration = Duration::from_secs(75);
/// So many scenarios meet everything there is.
const MEETS_ALL: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[test]
fn every_promise_is_kept_through_random_crashes() {
    if let Some(seed) = number("RINGLOG_SEED") {
        let steps = std::env::var("RINGLOG_STEPS").ok();
        let plan = steps.map(|steps| steps.parse().unwrap_or_else(|wrong| panic!("{wrong}")));
        match run_plan(seed, &plan.unwrap_or_default()) {
            Ok(outcome) => println!("seed {seed}: kept, digest {:016x}", outcome.digest),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let asked = number("RINGLOG_SEEDS");
    let bounded = asked.is_none() && !cfg!(feature = "long");
    let started = Instant::now();
    let bulk = Bulk {
        first: number("RINGLOG_FIRST").unwrap_or(0),
        seeds: asked.unwrap_or(if cfg!(feature = "long") { 100_000 } else { 3_000 }),
        threads: 2,
        until: bounded.then(|| started + TIME_MAX),
    };
    let tally = bulk.run(&mut |_| ()).unwrap_or_else(|failure| panic!("{failure}"));
    report(&tally, started.elapsed());
    if tally.scenarios >= MEETS_ALL {
        assert!(tally.never().is_empty(), "never met: {:?}", tally.never());
    }
}

fn report(tally: &Tally, took: Duration) {
    let rate = tally.crashes as f64 / took.as_secs_f64();
    println!("{} scenarios, {} crash points in {took:.1?}", tally.scenarios, tally.crashes);
    println!("{rate:.0} crash points a second");
    for (name, count) in [tally.rows(), tally.faults(), tally.moments()].concat() {
        println!("{count:>12} {name}");
    }
}
