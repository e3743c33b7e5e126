//! `durable` and `written`: the workloads, their repeats interleaved with the device's cells.

pub mod course;
mod drive;
mod futures;
pub mod result;
pub mod spec;
mod trimmer;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::cli::{TargetChoice, WorkloadArgs, seconds};
use crate::error::{Context, Result};
use crate::limit::device::Device;
use crate::progress::{Progress, settle};
use crate::quiet::Quiet;
use crate::stats::{Run, Spread};
use crate::target::Target;
use crate::target::null::Null;
use crate::values::Values;
use crate::workload::course::Course;
use crate::workload::result::{Account, Mode, TIMES_PREWRITTEN, WorkloadResult};
use crate::workload::spec::Spec;
use crate::{report, usage};

pub use spec::{DURABLE, WRITTEN};

/// Runs the workloads of `specs` that `args` asks for.
pub fn run(bench: &mut Bench, specs: &[Spec], args: &WorkloadArgs) -> Result<()> {
    match args.target {
        TargetChoice::Ringlog => {
            run_on::<crate::target::ringlog::Ringlog>(bench, specs, args, "ringlog")
        }
        TargetChoice::Null => run_on::<Null>(bench, specs, args, "null"),
    }
}

fn run_on<T: Target>(
    bench: &mut Bench,
    specs: &[Spec],
    args: &WorkloadArgs,
    target: &'static str,
) -> Result<()> {
    let modes = args.mode.modes();
    let asked = |spec: &&Spec| args.asks_for(spec.name);
    let specs: Vec<Spec> = specs
        .iter()
        .filter(asked)
        .map(|&spec| Spec { segment_bytes: args.segment_bytes.or(spec.segment_bytes), ..spec })
        .collect();
    if specs.is_empty() {
        return Ok(());
    }
    let steps = specs.len() * modes.len() * bench.options.repeats();
    let progress = Progress::new(steps as u64);
    progress.doing("pre-writing");
    let scratch = bench.scratch()?;
    let device = Device::prepare(scratch.path(), bench.options.device_bytes(), bench.seed)?;
    let mut results = Vec::new();
    for spec in &specs {
        let values = Values::new(bench.seed, spec.value_bytes);
        for &mode in modes {
            let dir = scratch.path().join(format!("{}-{}", spec.name, mode.name()));
            let options = &bench.options;
            let course = Course { spec, mode, args, options, values: &values };
            let session = Session { course, device: &device };
            let result = session.run::<T>(&dir, target, &progress)?;
            bench.report.line("workload", &result)?;
            results.push(result);
        }
    }
    drop(progress);
    report::print(&result::table(&results))
}

/// One workload in one mode.
struct Session<'a> {
    course: Course<'a>,
    device: &'a Device,
}

/// What the repeats add up to.
#[derive(Default)]
struct Repeats {
    runs: Vec<Run>,
    cells: Vec<Vec<Run>>,
    cpu_secs_per_million: Vec<f64>,
    rss_peak_bytes: u64,
    /// Processors that other programs used meanwhile.
    others_cpus: Vec<f64>,
    disturbed: usize,
}

impl Repeats {
    /// Forgets the last one: other programs disturbed it.
    fn drop_last(&mut self) {
        self.runs.pop();
        self.cells.iter_mut().for_each(|runs| {
            runs.pop();
        });
        self.cpu_secs_per_million.pop();
        self.others_cpus.pop();
        self.disturbed += 1;
    }
}

impl Session<'_> {
    fn run<T: Target>(
        &self,
        dir: &Path,
        name: &'static str,
        progress: &Progress,
    ) -> Result<WorkloadResult> {
        let Course { spec, mode, .. } = self.course;
        fs::create_dir(dir).context(format!("creating {}", dir.display()))?;
        let rss_before_bytes = usage::resident_bytes()?;
        let target = T::open(dir, &self.course.setup())?;
        progress.doing(format!("{} {}: warming up", spec.about, mode.name()));
        self.course.prime(&target)?;
        let prewritten_bytes = usage::allocated_bytes(dir)?;
        let log_before = self.log_bytes(&target);
        let kernel_before = usage::kernel_write_bytes();
        let mut repeats =
            Repeats { cells: vec![Vec::new(); spec.cells.len()], ..Repeats::default() };
        let mut device_written = 0;
        let started = Instant::now();
        let quiet = Quiet::new(self.course.options);
        loop {
            progress.doing(format!("{}, {}", spec.about, mode.name()));
            quiet.wait();
            device_written += self.repeat(&target, &mut repeats)?;
            if repeats.others_cpus.last().is_some_and(|&cpus| quiet.again(cpus)) {
                repeats.drop_last();
                continue;
            }
            progress.step();
            let log_bytes = self.log_bytes(&target) - log_before;
            if self.is_enough(repeats.runs.len(), log_bytes, prewritten_bytes, started) {
                break;
            }
            if repeats.runs.len() >= self.course.options.repeats() {
                progress.more();
            }
        }
        let kernel_now = usage::kernel_write_bytes();
        let log_bytes = self.log_bytes(&target) - log_before;
        let log_bytes_counted = target.log_bytes().is_some();
        let closing = Instant::now();
        target.close()?;
        let close_ms = closing.elapsed().as_secs_f64() * 1e3;
        fs::remove_dir_all(dir).context(format!("removing {}", dir.display()))?;
        let account = Account {
            cpu_secs_per_million: Spread::of(repeats.cpu_secs_per_million),
            rss_before_bytes,
            rss_peak_bytes: repeats.rss_peak_bytes,
            prewritten_bytes,
            log_bytes,
            log_bytes_counted,
            others_cpus: Spread::of(repeats.others_cpus),
            repeats_disturbed: repeats.disturbed,
            kernel_write_bytes: (kernel_now - kernel_before).saturating_sub(device_written),
            close_ms,
        };
        Ok(WorkloadResult::of(spec, mode, name, &repeats.runs, &repeats.cells, account))
    }

    /// The device's cells, then the workload, once each. Returns what the cells wrote.
    fn repeat<T: Target>(&self, target: &T, repeats: &mut Repeats) -> Result<u64> {
        let rest = if self.course.options.quick { 50 } else { 300 };
        let others = usage::Others::watch();
        let kernel_before = usage::kernel_write_bytes();
        for (&cell, runs) in self.course.spec.cells.iter().zip(&mut repeats.cells) {
            runs.push(self.device.run(cell, self.course.options.cell_time())?);
        }
        let device_written = usage::kernel_write_bytes() - kernel_before;
        let mut cpu_before = Duration::ZERO;
        usage::reset_peak()?;
        let run = self.course.run(target, || cpu_before = usage::cpu_time())?;
        let cpu = usage::cpu_time().saturating_sub(cpu_before);
        repeats.rss_peak_bytes = repeats.rss_peak_bytes.max(usage::peak_resident_bytes()?);
        repeats.cpu_secs_per_million.push(cpu.as_secs_f64() / (run.ops.max(1) as f64 / 1e6));
        repeats.runs.push(run);
        repeats.others_cpus.push(others.cpus());
        // What was acknowledged when written still goes to the device, and segments are made
        // ready: neither is to fall on the cells of the next repeat.
        settle(Duration::from_millis(rest));
        Ok(device_written)
    }

    fn is_enough(&self, repeats: usize, bytes: u64, prewritten: u64, started: Instant) -> bool {
        let long = bytes as f64 >= TIMES_PREWRITTEN * prewritten as f64;
        let grown = self.course.mode == Mode::Growth
            && bytes as f64 >= self.course.args.max_growth_gb * 1e9;
        let late = started.elapsed() >= seconds(self.course.args.max_secs);
        late || grown
            || repeats >= self.course.options.repeats() && (long || self.course.options.quick)
    }

    fn log_bytes<T: Target>(&self, target: &T) -> u64 {
        let reckoned = || target.end() * self.course.spec.log_bytes_per_record;
        target.log_bytes().unwrap_or_else(reckoned)
    }
}
