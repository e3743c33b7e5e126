//! `spread`: F1, durable appends that go to 1,000 partitions in turn, beside the same appends to
//! one partition. All partitions share a log and its flushes, so it should cost next to nothing.

use crate::Bench;
use crate::cli::WorkloadArgs;
use crate::contest::{self, Contest, Entrant, Versus, enter};
use crate::error::Result;
use crate::workload::result::Mode;
use crate::workload::spec::{D2A, F1, Spec};

/// Least part of what one partition reaches.
const AT_LEAST: f64 = 0.8;

/// Ours, spread and not.
pub fn entrants(args: &WorkloadArgs) -> Vec<Entrant> {
    let entrant =
        |name: &str, spec: &Spec| enter::entrant(name, "ringlog", spec.name, Mode::Growth, args);
    vec![entrant("ringlog, 1,000 partitions", &F1), entrant("ringlog, 1 partition", &D2A)]
}

/// What is held against what, of these.
pub const VERSUS: Versus = Versus { ours: 0, over: 1, at_least: Some(AT_LEAST) };

/// Runs it beside the device.
pub fn run(bench: &mut Bench, args: &WorkloadArgs) -> Result<()> {
    if !args.asks_for(F1.name) {
        return Ok(());
    }
    let contest = Contest {
        name: F1.name.to_owned(),
        about: F1.about.to_owned(),
        entrants: entrants(args),
        cells: F1.cells,
        versus: vec![VERSUS],
    };
    contest::run(bench, &[contest])
}
