//! Ringlog's tests from outside: what they share. The tests themselves are in `tests/tests/`, filed
//! by risk; `tests/tidy/` checks the sources.

/// Compiles and runs the Rust of the README.
#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
pub struct Readme;
