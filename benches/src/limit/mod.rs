//! `limit`: what device and memory do without an engine, so that a report carries its baseline.

pub mod cell;
pub mod device;
mod lane;
pub mod mapped;
mod memory;

use std::time::Duration;

use serde::Serialize;

use crate::Bench;
use crate::error::Result;
use crate::limit::cell::Cell;
use crate::limit::device::Device;
use crate::limit::memory::MemoryFigure;
use crate::progress::Progress;
use crate::report::{self, Table, number, spread};
use crate::stats::{Run, Summary};

/// The figures of one cell.
#[derive(Clone, Debug, Serialize)]
pub struct CellFigures {
    /// Which cell, in words.
    pub cell: String,
    /// How a write is made.
    pub how: &'static str,
    /// Size of a write.
    pub block_bytes: usize,
    /// Writes in flight.
    pub depth: usize,
    /// Rates and latencies of one write.
    #[serde(flatten)]
    pub summary: Summary,
}

impl CellFigures {
    /// Sums up the repeats of `cell`.
    pub fn of(cell: Cell, runs: &[Run]) -> Self {
        Self {
            cell: cell.to_string(),
            how: cell.how.name(),
            block_bytes: cell.block_bytes,
            depth: cell.depth,
            summary: Summary::of(runs),
        }
    }
}

/// Runs every cell once a round, so that the drift of an hour falls on all alike.
pub fn run(bench: &mut Bench) -> Result<()> {
    let cells = cell::all();
    let repeats = bench.options.repeats();
    let progress = Progress::new((cells.len() * repeats) as u64);
    progress.doing("pre-writing");
    let dir = bench.scratch()?;
    let device = Device::prepare(dir.path(), bench.options.device_bytes(), bench.seed)?;
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); cells.len()];
    for _ in 0..repeats {
        for (&cell, runs) in cells.iter().zip(&mut runs) {
            progress.doing(cell.to_string());
            runs.push(device.run(cell, bench.options.cell_time())?);
            progress.step();
        }
    }
    progress.doing("memory");
    let memory = memory::measure(bench.options.cell_time() / 4, repeats, bench.seed);
    drop(progress);
    let figures: Vec<CellFigures> =
        cells.iter().zip(&runs).map(|(&cell, runs)| CellFigures::of(cell, runs)).collect();
    for figures in &figures {
        bench.report.line("cell", figures)?;
    }
    for figure in &memory {
        bench.report.line("memory", figure)?;
    }
    let time = bench.options.cell_time();
    report::print(&device_table(&figures, repeats, time))?;
    report::print(&memory_table(&memory))
}

fn device_table(figures: &[CellFigures], repeats: usize, time: Duration) -> String {
    let mut table =
        Table::new(&["device, onto written blocks", "writes/s", "MB/s", "p50 µs", "p99", "p99.9"]);
    for CellFigures { cell, summary, .. } in figures {
        table.row(vec![
            cell.clone(),
            spread(summary.per_sec),
            spread(summary.mb_per_sec),
            spread(summary.p50_us),
            spread(summary.p99_us),
            spread(summary.p999_us),
        ]);
    }
    let secs = number(time.as_secs_f64());
    format!("\n{}\nmedian (min–max) of {repeats} repeats of {secs} s\n", table.render())
}

fn memory_table(figures: &[MemoryFigure]) -> String {
    let mut table = Table::new(&["memory", "buffer KiB", "GB/s"]);
    for figure in figures {
        table.row(vec![
            figure.what.to_owned(),
            number((figure.buffer_bytes >> 10) as f64),
            spread(figure.gb_per_sec),
        ]);
    }
    format!("{}\n", table.render())
}
