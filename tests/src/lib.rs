//! Ringlog's tests from outside: what they share. The tests themselves are in `tests/tests/`, filed
//! by risk; `tests/tidy/` checks the sources.
//!
//! [`Scenario`](scenario::Scenario) runs an engine on a simulated disk through a life that one seed
//! decides; the [`Oracle`](oracle::Oracle) remembers what was promised and holds every recovery
//! against it.

pub mod dice;
pub mod fuzz;
pub mod oracle;
pub mod scenario;
pub mod world;

/// Compiles and runs the Rust of the README.
#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
pub struct Readme;
