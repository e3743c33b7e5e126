//! Ringlog's tests from outside: what they share. The tests themselves are in `tests/tests/`, filed
//! by risk; `tests/tidy/` checks the sources.
//!
//! A [`Scenario`](scenario::Scenario) runs an engine on a simulated disk through lives that one
//! seed decides, step by step ([`plan`]); the [`Oracle`](oracle::Oracle) remembers what was
//! promised and holds every recovery against it, [`evidence`] what was ever seen on the disk.
//! [`bulk`] runs many, [`shrink`] makes the one that fails small.

pub mod bulk;
pub mod dice;
pub mod evidence;
pub mod fuzz;
pub mod oracle;
pub mod plan;
pub mod scenario;
pub mod shrink;
pub mod world;

/// Compiles and runs the Rust of the README.
#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
pub struct Readme;
