//! A life of an engine: the scenario of the crash tests, with every choice taken from the input, so
//! that a fuzzer can look for the choices that matter.

use crate::scenario;

/// The seed of the disk's luck, eight bytes; then the choices.
pub fn life(data: &[u8]) {
    if let Err(failure) = scenario::run_chosen(data) {
        panic!("{failure}");
    }
}
