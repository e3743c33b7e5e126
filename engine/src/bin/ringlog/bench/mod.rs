//! `ringlog bench`: what the device does alone, and what Ringlog makes of it, in one run. Works in
//! a scratch directory, which is gone at the end, after ^C too; never touches a data directory.

mod device;
mod load;
mod run;
mod tell;

use std::path::PathBuf;

use serde::Serialize;

use crate::args::{Bench, Place};
use crate::doctor::scratch::{Scratch, nearest};
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::Output;

use run::{Cell, Run};

/// No phase writes more than this, or than this part of what is free.
const PHASE_BYTES_MAX: u64 = 1 << 30;
const FREE_DIVISOR: u64 = 8;
const PHASE_BYTES_MIN: u64 = 32 << 20;

/// What came out.
#[derive(Debug, Serialize)]
struct Summary {
    directory: PathBuf,
    record_bytes: usize,
    in_flight: usize,
    driver: String,
    filesystem: String,
    /// The device was written around the page cache.
    direct_io: bool,
    cells: Vec<Cell>,
}

pub fn run(place: &Place, args: &Bench, interrupt: &Interrupt) -> Result<(), Failure> {
    let data = place.data()?;
    let base = nearest(data)?;
    if base.join("engine.meta").exists() {
        let what = "is a data directory; name another one on the same disk";
        return Err(Failure::new(Exit::Usage, format_args!("{}: {what}", base.display())));
    }
    let scratch = Scratch::make(&base, "bench")?;
    let mut run = Run::new(args, phase_bytes(&base)?, interrupt);
    let mut summary = Summary {
        directory: base,
        record_bytes: args.record_bytes,
        in_flight: args.in_flight,
        driver: String::new(),
        filesystem: String::new(),
        direct_io: device::measure(&mut run, &scratch.0)?,
        cells: Vec::new(),
    };
    let chosen = load::measure(&mut run, place, args, &scratch.0)?;
    summary.driver = chosen.driver;
    summary.filesystem = chosen.filesystem;
    summary.cells = run.finish();
    drop(scratch);
    let mut output = Output::new();
    if args.json {
        output.json(&summary)?;
    } else {
        tell::tell(&summary, &mut output)?;
    }
    output.flush()
}

fn phase_bytes(base: &std::path::Path) -> Result<u64, Failure> {
    let stat = rustix::fs::statvfs(base)
        .map_err(|error| Failure::new(Exit::Failed, format_args!("{}: {error}", base.display())))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let most = (free / FREE_DIVISOR).min(PHASE_BYTES_MAX);
    if most < PHASE_BYTES_MIN {
        let what = format_args!("{}: {free} bytes are free, too few to measure", base.display());
        return Err(Failure::new(Exit::Unwritable, what));
    }
    Ok(most)
}
