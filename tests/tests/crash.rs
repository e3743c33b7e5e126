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

/// What failed once, cut down to what it takes.
#[test]
fn what_failed_once_is_mended() {
    for (seed, steps) in [
        // A page of the ring kept as it was before later records joined a batch.
        (
            50_009_487,
            "v0,v1,v2,v3,l0,l1,f1,o1.0,k0,a0.0,a0.1,a0.2,a0.3,a0.4,a0.7,a0.8,a0.9,a0.10,a0.11,\
             a0.12,a0.13,a0.14,a0.17",
        ),
        // Zeros where a failed flush lost bytes, before the head of a group that is not whole.
        (
            50_155_148,
            "v0,v1,v2,l0,l1,a0.0,a0.2,a0.3,a0.6,a0.16,a0.22,a0.31,a0.32,a1.1,a1.9,a1.11,a1.12,\
             a1.14,a1.15,a1.18,a1.19,a1.22,a1.23,a1.24",
        ),
    ] {
        let plan = steps.parse().unwrap_or_else(|wrong| panic!("{wrong}"));
        if let Err(failure) = run_plan(seed, &plan) {
            panic!("{failure}");
        }
    }
}
