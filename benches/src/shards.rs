//! `shards`: the same appends to two partitions with one shard, which has both in one log, and with
//! two, which have a log each.

use crate::Bench;
use crate::cli::WorkloadArgs;
use crate::contest::{self, Contest, Entrant, Versus, enter};
use crate::error::Result;
use crate::workload::result::Mode;
use crate::workload::spec::{SHARDS, Spec};

/// Runs it beside the device.
pub fn run(bench: &mut Bench, args: &WorkloadArgs) -> Result<()> {
    let asked = SHARDS.iter().filter(|spec| args.asks_for(spec.name));
    let contests: Vec<Contest> = asked.map(|spec| contest(spec, args)).collect();
    if contests.is_empty() { Ok(()) } else { contest::run(bench, &contests) }
}

fn contest(spec: &Spec, args: &WorkloadArgs) -> Contest {
    let entrant = |name: &str, shards| -> Entrant {
        let args = WorkloadArgs { shards: Some(shards), ..args.clone() };
        enter::entrant(name, "ringlog", spec.name, Mode::Growth, &args)
    };
    Contest {
        name: spec.name.to_owned(),
        about: spec.about.to_owned(),
        entrants: vec![entrant("ringlog, 2 shards", 2), entrant("ringlog, 1 shard", 1)],
        cells: spec.cells,
        versus: vec![Versus { ours: 0, over: 1, at_least: None }],
    }
}
