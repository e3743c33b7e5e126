//! How a program becomes an entrant: the hidden command that a contest starts it again with.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{Options, WorkloadArgs};
use crate::contest::Entrant;
use crate::contest::turn::{Meter, serve};
use crate::error::{Error, Result};
use crate::reading::{self, Seen, Task};
use crate::stats::{Latencies, Run};
use crate::target::Target;
use crate::values::Values;
use crate::workload::course::Course;
use crate::workload::result::Mode;
use crate::workload::spec::Spec;

/// What an entrant is told.
#[derive(Clone, Debug, Args)]
pub struct EnterArgs {
    /// Which entrant.
    pub entrant: String,
    /// The workload.
    pub workload: String,
    /// Its directory, empty.
    #[arg(long)]
    pub entrant_dir: PathBuf,
    /// Options of the workloads.
    #[command(flatten)]
    pub args: WorkloadArgs,
}

/// An entrant that is this program, with the options of `args` that matter to it.
pub fn entrant(name: &str, id: &str, workload: &str, mode: Mode, args: &WorkloadArgs) -> Entrant {
    let mut entrant = Entrant::new(name, &["enter", id, workload, "--mode", mode.name()]);
    let mut option = |name: &str, value: Option<String>| {
        entrant.arguments.extend(value.map(|value| [name.to_owned(), value]).into_iter().flatten());
    };
    option("--secs", args.secs.map(|secs| secs.to_string()));
    option("--segment-bytes", args.segment_bytes.map(|bytes| bytes.to_string()));
    option("--ring-bytes", args.ring_bytes.map(|bytes| bytes.to_string()));
    option("--group-bytes", args.group_bytes.map(|bytes| bytes.to_string()));
    option("--shards", args.shards.map(|shards| shards.to_string()));
    option("--batch-bytes", args.batch_bytes.map(|bytes| bytes.to_string()));
    option("--groups-in-flight", args.groups_in_flight.map(|groups| groups.to_string()));
    entrant
}

/// Says that there is no such entrant.
pub fn unknown(enter: &EnterArgs) -> Error {
    Error::new(format!("{} does not take part in {}", enter.entrant, enter.workload))
}

/// Takes turns at appending.
pub fn append<T: Target>(options: &Options, enter: &EnterArgs, spec: &Spec) -> Result<()> {
    let values = Values::new(options.seed.unwrap_or(0), spec.value_bytes);
    let modes = enter.args.mode.modes();
    let course = Course { spec, mode: modes[0], args: &enter.args, options, values: &values };
    let meter = Meter::new(&enter.entrant_dir)?;
    let target = T::open(&enter.entrant_dir, &course.setup())?;
    course.prime(&target)?;
    let helpers = target.helpers();
    serve(|| meter.turn_with(&helpers, |clock_starts| course.run(&target, clock_starts)))?;
    target.close()
}

/// Takes turns at reading everything, again and again. `fill` writes it and gives the pass.
pub fn read<P>(
    options: &Options,
    enter: &EnterArgs,
    task: &Task,
    fill: impl FnOnce(&Values) -> Result<P>,
) -> Result<()>
where
    P: FnMut() -> Result<Seen>,
{
    let values = Values::new(options.seed.unwrap_or(0), task.value_bytes);
    let meter = Meter::new(&enter.entrant_dir)?;
    let expected = reading::expected(task, &values);
    let mut pass = fill(&values)?;
    let mut checked = || {
        let seen = pass()?;
        if seen == expected { Ok(seen) } else { Err(reading::differs(seen, expected)) }
    };
    checked()?;
    let time = enter.args.time(options);
    serve(|| {
        meter.turn(|clock_starts| {
            clock_starts();
            let start = std::time::Instant::now();
            let mut run =
                Run { ops: 0, bytes: 0, elapsed: start.elapsed(), latencies: Latencies::new() };
            while run.elapsed < time {
                let seen = checked()?;
                run.ops += seen.records;
                run.bytes += seen.bytes;
                run.elapsed = start.elapsed();
            }
            Ok(run)
        })
    })
}
