//! Random lives and crashes on the simulated disk: every acknowledged record survives what its
//! level promises, and nothing else appears. See `ringlog_tests::scenario`.

use std::time::{Duration, Instant};

use ringlog_tests::scenario::{Tally, run};

fn seeds() -> u64 {
    let asked = std::env::var("RINGLOG_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    asked.unwrap_or(if cfg!(feature = "long") { 40_000 } else { 1_500 })
}

#[test]
fn every_promise_is_kept_through_random_crashes() {
    if let Ok(seed) = std::env::var("RINGLOG_SEED") {
        let seed = seed.parse().expect("RINGLOG_SEED is a number");
        match run(seed) {
            Ok(outcome) => println!("seed {seed}: kept, digest {:016x}", outcome.digest),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let first: u64 = std::env::var("RINGLOG_FIRST").map_or(0, |s| s.parse().expect("a number"));
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    let fail_max: usize =
        std::env::var("RINGLOG_FAILS").map_or(1, |s| s.parse().expect("a number"));
    for seed in first..first + seeds() {
        match run(seed) {
            Ok(outcome) => tally.add(&outcome.tally),
            Err(failure) => {
                failures.push(failure);
                if failures.len() >= fail_max {
                    break;
                }
            }
        }
    }
    report(&tally, started.elapsed());
    if fail_max > 1 {
        for failure in &failures {
            println!("FAIL seed {}: {}", failure.seed, failure.what);
        }
    }
    if let Some(failure) = failures.first() {
        panic!("{failure}");
    }
}

fn report(tally: &Tally, took: Duration) {
    println!("{took:?}");
    for (name, count) in tally.rows() {
        println!("{name:<20} {count}");
    }
    println!("{:#?}", tally.sim);
}
