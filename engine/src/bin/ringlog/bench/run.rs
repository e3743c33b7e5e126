//! One phase after another: a clock, a histogram, a bar.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::super::args::Bench;
use super::super::exit::{Exit, Failure};
use super::super::interrupt::Interrupt;

/// Phases there are, for the bar.
const PHASES: u64 = 7;
const TEMPLATE: &str = "{bar:40} {percent:>3} %  {msg}";

/// A phase's figures.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cell {
    pub(super) name: &'static str,
    /// Operations, or records, a second.
    pub(super) per_second: f64,
    pub(super) bytes_per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    /// What of the device's own figure this is, and which.
    pub(super) of_device: Option<f64>,
    pub(super) compared_with: Option<&'static str>,
}

pub(super) struct Run<'a> {
    duration: Duration,
    bytes_max: u64,
    interrupt: &'a Interrupt,
    bar: ProgressBar,
    cells: Vec<Cell>,
}

/// What a step did.
pub(super) struct Step {
    pub(super) took: Duration,
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(args: &Bench, bytes_max: u64, interrupt: &'a Interrupt) -> Self {
        let duration = Duration::from_secs(args.seconds);
        // Hidden by itself where standard error is no terminal.
        let bar = ProgressBar::new(PHASES * duration.as_millis() as u64);
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is constant");
        Self { duration, bytes_max, interrupt, bar: bar.with_style(style), cells: Vec::new() }
    }

    /// Repeats `step` until the time is over, enough was moved, or it has nothing more to do.
    pub(super) fn phase(
        &mut self,
        name: &'static str,
        mut step: impl FnMut() -> Result<Option<Step>, Failure>,
    ) -> Result<(), Failure> {
        self.bar.set_message(name);
        let before = self.bar.position();
        let mut took: Histogram<u64> =
            Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are constant");
        let started = Instant::now();
        let (mut count, mut bytes, mut shown) = (0, 0, Duration::ZERO);
        let mut elapsed = Duration::ZERO;
        while elapsed < self.duration && bytes < self.bytes_max {
            if self.interrupt.is_asked() {
                return Err(Failure::quiet(Exit::Interrupted));
            }
            let Some(done) = step()? else { break };
            took.saturating_record(done.took.as_nanos() as u64);
            count += done.count;
            bytes += done.bytes;
            elapsed = started.elapsed();
            if elapsed > shown + Duration::from_millis(100) {
                shown = elapsed;
                self.bar.set_position(before + elapsed.as_millis() as u64);
            }
        }
        self.bar.set_position(before + self.duration.as_millis() as u64);
        let seconds = started.elapsed().as_secs_f64().max(1e-9);
        let at = |quantile| took.value_at_quantile(quantile) as f64 / 1e3;
        self.cells.push(Cell {
            name,
            per_second: count as f64 / seconds,
            bytes_per_second: bytes as f64 / seconds,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            of_device: None,
            compared_with: None,
        });
        Ok(())
    }

    /// Holds the last phase against one of the device: `figure` is what is compared.
    pub(super) fn compare(&mut self, with: &'static str, figure: fn(&Cell) -> f64) {
        let device = self.cells.iter().find(|cell| cell.name == with).map(figure);
        if let (Some(device), Some(cell)) = (device, self.cells.last_mut())
            && device > 0.0
        {
            cell.of_device = Some(figure(cell) / device);
            cell.compared_with = Some(with);
        }
    }

    pub(super) fn finish(self) -> Vec<Cell> {
        self.bar.finish_and_clear();
        self.cells
    }
}
