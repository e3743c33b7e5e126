//! `durable` and `written`: the workloads, their repeats interleaved with the device's cells.

mod drive;
mod futures;
mod result;
mod spec;
mod trimmer;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::cli::{ModeChoice, Options, TargetChoice, WorkloadArgs, seconds};
use crate::error::{Context, Error, Result};
use crate::limit::device::Device;
use crate::progress::{Progress, settle};
use crate::stats::{Run, Spread};
use crate::target::null::Null;
use crate::target::{Setup, Target};
use crate::values::Values;
use crate::workload::drive::{Times, drive};
use crate::workload::result::{Account, Mode, TIMES_PREWRITTEN, WorkloadResult};
use crate::workload::spec::Spec;
use crate::workload::trimmer::{Trimming, trimmed};
use crate::{report, usage};

pub use spec::{DURABLE, WRITTEN};

/// Segments' worth that are written and trimmed before a steady run's clock starts.
const PRIME_SEGMENTS: u64 = 4;
/// The segment size to reckon with where the target chooses it.
const SEGMENT_BYTES_GUESS: u64 = 128 << 20;
/// Records of a batch when priming.
const PRIME_BATCH: usize = 256;

/// A repeat during which other programs used more processors than this was disturbed.
const DISTURBED_CPUS: f64 = 0.2;
/// How long the machine is looked at before it is called quiet.
const QUIET_LOOK: Duration = Duration::from_millis(300);

/// Runs the workloads of `specs` that `args` asks for.
pub fn run(bench: &mut Bench, specs: &[Spec], args: &WorkloadArgs) -> Result<()> {
    let known = |name: &String| DURABLE.iter().chain(WRITTEN).any(|spec| spec.name == name);
    if let Some(name) = args.only.iter().find(|name| !known(name)) {
        return Err(Error::new(format!("no workload is named {name}")));
    }
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
    let modes: &[Mode] = match args.mode {
        ModeChoice::Growth => &[Mode::Growth],
        ModeChoice::Steady => &[Mode::Steady],
        ModeChoice::Both => &[Mode::Growth, Mode::Steady],
    };
    let asked = |spec: &&Spec| args.only.is_empty() || args.only.iter().any(|n| n == spec.name);
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
            let session = Session { spec, mode, args, options, values: &values, device: &device };
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
    spec: &'a Spec,
    mode: Mode,
    args: &'a WorkloadArgs,
    options: &'a Options,
    values: &'a Values,
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
        let spec = self.spec;
        fs::create_dir(dir).context(format!("creating {}", dir.display()))?;
        let rss_before_bytes = usage::resident_bytes()?;
        let target = T::open(dir, &self.setup())?;
        progress.doing(format!("{} {}: warming up", spec.about, self.mode.name()));
        self.prime(&target)?;
        let prewritten_bytes = usage::allocated_bytes(dir)?;
        let log_before = self.log_bytes(&target);
        let kernel_before = usage::kernel_write_bytes();
        let mut repeats =
            Repeats { cells: vec![Vec::new(); spec.cells.len()], ..Repeats::default() };
        let mut device_written = 0;
        let started = Instant::now();
        loop {
            progress.doing(format!("{}, {}", spec.about, self.mode.name()));
            if self.options.quiet.is_some() {
                self.await_quiet(started);
            }
            device_written += self.repeat(&target, &mut repeats)?;
            let disturbed = repeats.others_cpus.last().is_some_and(|&cpus| cpus > DISTURBED_CPUS);
            if disturbed && self.may_wait(started) {
                repeats.drop_last();
                continue;
            }
            progress.step();
            let log_bytes = self.log_bytes(&target) - log_before;
            if self.is_enough(repeats.runs.len(), log_bytes, prewritten_bytes, started) {
                break;
            }
            if repeats.runs.len() >= self.options.repeats() {
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
        Ok(WorkloadResult::of(spec, self.mode, name, &repeats.runs, &repeats.cells, account))
    }

    fn may_wait(&self, started: Instant) -> bool {
        self.options.quiet.is_some_and(|secs| started.elapsed() < seconds(secs))
    }

    /// Waits, within its time, until other programs leave the processors alone.
    fn await_quiet(&self, started: Instant) {
        while self.may_wait(started) {
            let others = usage::Others::watch();
            settle(QUIET_LOOK);
            if others.cpus() <= DISTURBED_CPUS / 2.0 {
                return;
            }
        }
    }

    /// The device's cells, then the workload, once each. Returns what the cells wrote.
    fn repeat<T: Target>(&self, target: &T, repeats: &mut Repeats) -> Result<u64> {
        let rest = if self.options.quick { 50 } else { 300 };
        let others = usage::Others::watch();
        let kernel_before = usage::kernel_write_bytes();
        for (&cell, runs) in self.spec.cells.iter().zip(&mut repeats.cells) {
            runs.push(self.device.run(cell, self.options.cell_time())?);
        }
        let device_written = usage::kernel_write_bytes() - kernel_before;
        let measure = self.args.time(self.options);
        let times = Times { warm_up: measure / 10, measure };
        let mut cpu_before = Duration::ZERO;
        usage::reset_peak()?;
        let run = trimmed(target, self.trimming(), || {
            drive(self.spec, target, self.values, times, || cpu_before = usage::cpu_time())
        })?;
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
        let grown = self.mode == Mode::Growth && bytes as f64 >= self.args.max_growth_gb * 1e9;
        let late = started.elapsed() >= seconds(self.args.max_secs);
        late || grown || repeats >= self.options.repeats() && (long || self.options.quick)
    }

    /// Steady runs start with segments that were used before; growing ones with what the target
    /// pre-writes by itself.
    fn prime<T: Target>(&self, target: &T) -> Result<()> {
        if self.mode == Mode::Steady {
            let records = PRIME_SEGMENTS * self.segment_bytes() / self.record_bytes();
            let records = if self.options.quick { records / 2 } else { records };
            trimmed(target, self.trimming(), || {
                let mut batch = Vec::with_capacity(PRIME_BATCH);
                for index in (0..records as usize).step_by(PRIME_BATCH) {
                    self.values.fill(index, PRIME_BATCH, &mut batch);
                    target.append(&batch)?;
                }
                Ok(())
            })?;
        }
        settle(Duration::from_millis(500));
        Ok(())
    }

    fn setup(&self) -> Setup {
        Setup {
            level: self.spec.level,
            segment_bytes: self.spec.segment_bytes,
            ring_bytes: self.args.ring_bytes,
            group_bytes: self.args.group_bytes,
            groups_in_flight: self.args.groups_in_flight,
            backend: self.args.backend,
        }
    }

    fn segment_bytes(&self) -> u64 {
        self.spec.segment_bytes.unwrap_or(SEGMENT_BYTES_GUESS)
    }

    /// Log bytes of a record when batches are large: the value and little else.
    fn record_bytes(&self) -> u64 {
        self.spec.value_bytes as u64 + 16
    }

    /// Half a segment's worth at a time, and all but the latest thousand records.
    fn trimming(&self) -> Option<Trimming> {
        let every_records = (self.segment_bytes() / self.spec.log_bytes_per_record / 2).max(1);
        (self.mode == Mode::Steady).then_some(Trimming { every_records, keep_records: 1000 })
    }

    fn log_bytes<T: Target>(&self, target: &T) -> u64 {
        let reckoned = || target.end() * self.spec.log_bytes_per_record;
        target.log_bytes().unwrap_or_else(reckoned)
    }
}
