//! Reading beside a writer, or without one, from elsewhere: other engines of this process, and
//! other processes, which are this test binary itself.
#![allow(clippy::unwrap_used, reason = "a failed unwrap here is a failed test")]

mod holds;

use std::time::Duration;

use ringlog::{Engine, Options};

/// Long enough for the slowest machine; no test waits for it unless it fails.
const DEADLINE: Duration = Duration::from_secs(60);
const KIB: usize = 1 << 10;

/// Small enough that rings wrap and segments roll.
fn small() -> Options {
    Engine::options()
        .segment_bytes(64 << 10)
        .ring_bytes(64 * KIB)
        .group_bytes(16 * KIB)
        .max_payload_bytes(32 * KIB)
        .append_timeout(DEADLINE)
}

/// Sleeps until `done`, and fails if that takes for ever.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !done() {
        assert!(started.elapsed() < DEADLINE, "{what} never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}
