//! SIGKILL: at the Nth call of each system call that touches the disk (strace injects it), in
//! appends and in the recovery of what the kill before left; and at random moments.

use std::time::Duration;

use rand::Rng as _;

use super::program::{Place, Program, Until};
use super::{LONG, no_strace, scratch, skip};

/// How many values each writer gets.
const VALUES: usize = if LONG { 400 } else { 150 };

/// What a writer calls on its way to the disk.
const OF_BOTH: &[&str] = if LONG {
    &["openat", "pwrite64", "fdatasync", "fsync", "renameat", "unlinkat", "fallocate"]
} else {
    &["openat", "pwrite64", "fdatasync", "renameat"]
};
const OF_URING: [&str; 2] = ["io_uring_enter", "io_uring_register"];
const OF_PLAIN: [&str; 1] = ["pwritev2"];

/// At which of its calls a process dies.
fn moments(call: &str) -> Vec<usize> {
    match (LONG, call) {
        (true, "openat") => (1..=60).collect(),
        (true, _) => (1..=40).collect(),
        (false, "io_uring_enter" | "pwritev2") => vec![1, 2, 4, 9],
        (false, "pwrite64" | "fdatasync") => vec![1, 3, 7],
        (false, "openat") => vec![20, 33],
        (false, _) => vec![1, 2],
    }
}

/// A directory that lives through one kill after another; how many of them came about.
fn sweep(place: &mut Place, call: &str) -> Result<usize, String> {
    let mut kills = 0;
    for (round, moment) in moments(call).into_iter().enumerate() {
        let only = format!("trace={call}");
        let inject = format!("inject={call}:signal=SIGKILL:when={moment}");
        let under = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &only, "-e", &inject];
        let ended = place.append(VALUES, &under, Until::ItsEnd);
        kills += usize::from(ended.killed());
        if !ended.killed() && !ended.status.success() {
            return Err(format!("not killed at {call} {moment}: {ended:?}"));
        }
        // Every other time the next writer, which may die, is the first to recover.
        let recover = round % 2 == 1;
        place.check(recover).map_err(|lost| format!("killed at {call} {moment}: {lost}"))?;
    }
    place.check(true).map(|()| kills)
}

#[test]
fn a_liar_that_is_killed_is_caught() {
    if let Some(reason) = no_strace() {
        return skip("kills::a_liar_that_is_killed_is_caught", &reason);
    }
    let dir = scratch();
    let caught = sweep(&mut Place::new(Program::Liar, dir.path(), &[]), "pwritev2");
    let lie = caught.unwrap_err();
    assert!(lie.contains("and is gone"), "{lie}");
    let dir = scratch();
    let mut place = Place::new(Program::Liar, dir.path(), &[]);
    place.append(20_003, &[], Until::Heard(83, Duration::ZERO));
    assert!(place.check(true).is_err(), "a lie at a random moment");
}

fn killed_at(backend: &'static str, calls: &[&str]) {
    for call in calls {
        let mut kills = 0;
        for flush in ["sync", "async"] {
            let dir = scratch();
            let mut place = Place::not_yet(Program::Ringlog, dir.path(), &["--backend", backend]);
            place.run(&["create-topic", "t", "--flush", flush]).unwrap();
            kills += sweep(&mut place, call).unwrap_or_else(|lost| panic!("{flush}: {lost}"));
        }
        println!("{backend}: killed {kills} times at {call}");
        assert!(kills > 0, "{backend}: {call} is never called");
    }
}

#[test]
fn killed_at_the_nth_call_with_io_uring() {
    if let Some(reason) = no_strace() {
        return skip("kills::killed_at_the_nth_call_with_io_uring", &reason);
    }
    killed_at("io_uring", &[&OF_URING[..], OF_BOTH].concat());
}

#[test]
fn killed_at_the_nth_call_with_the_plain_driver() {
    if let Some(reason) = no_strace() {
        return skip("kills::killed_at_the_nth_call_with_the_plain_driver", &reason);
    }
    killed_at("plain", &[&OF_PLAIN[..], OF_BOTH].concat());
}

#[test]
fn killed_at_random_moments() {
    let mut dice = rand::rng();
    for backend in ["auto", "plain"] {
        for flush in ["sync", "async"] {
            let dir = scratch();
            let mut place = Place::not_yet(Program::Ringlog, dir.path(), &["--backend", backend]);
            place.run(&["create-topic", "t", "--flush", flush]).unwrap();
            for round in 0..if LONG { 25 } else { 4 } {
                let pause = dice.random_range(Duration::ZERO..Duration::from_millis(20));
                let until = Until::Heard(dice.random_range(1..400), pause);
                let ended = place.append(20_000, &[], until);
                assert!(ended.killed(), "{ended:?}");
                let checked = place.check(round % 2 == 1);
                checked.unwrap_or_else(|lost| panic!("{backend} {flush} {until:?}: {lost}"));
            }
        }
    }
}
