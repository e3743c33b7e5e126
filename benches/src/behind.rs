//! `behind`: R2, a consumer that stays a given distance behind the tail while producers append as
//! fast as they can. It must not slow them down, and must read at a good part of the speed at
//! which the device alone reads one stretch after another, or all that comes. Two loads take all of
//! the device for themselves; the third waits for it, group by group.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringlog::{Offset, Start};
use serde::Serialize;

use crate::Bench;
use crate::cli::WorkloadArgs;
use crate::error::{Context, Error, Result};
use crate::limit::CellFigures;
use crate::limit::cell::{BANDWIDTH, READS};
use crate::limit::device::Device;
use crate::progress::{Progress, settle};
use crate::quiet::Quiet;
use crate::reading::Seen;
use crate::report::{self, Table, number, spread};
use crate::stats::{Run, Spread};
use crate::target::Target;
use crate::target::ringlog::Ringlog;
use crate::usage;
use crate::values::Values;
use crate::workload::course::Course;
use crate::workload::result::Mode;
use crate::workload::spec::{A1_1K, D2A, D3, Spec};

/// The ring, where no other size is asked for: the engine's default.
const RING_BYTES: u64 = 4 << 20;
/// How far behind, in rings.
const DISTANCES: [f64; 2] = [0.5, 4.0];
/// What appends keep of their rate without a consumer, at least.
const APPENDS_AT_LEAST: f64 = 0.8;
/// What reads reach of the device's rate, at least.
const READS_AT_LEAST: f64 = 0.5;
/// A consumer that reads this part of what is appended keeps in step: there is no more to read.
const IN_STEP: f64 = 0.98;
/// How long the consumer sleeps when it is nearer than it should be.
const NAP: Duration = Duration::from_micros(50);

/// One load with the consumer at one distance.
#[derive(Clone, Debug, Serialize)]
struct BehindFigures {
    load: &'static str,
    about: &'static str,
    /// How far behind the consumer was to stay, in rings.
    behind_rings: f64,
    /// How far behind it was, in rings; the median of its looks.
    lag_rings: Spread,
    alone_per_sec: Spread,
    appends_per_sec: Spread,
    /// Appends with the consumer over appends without, repeat by repeat.
    appends_kept: Spread,
    reads_mb_per_sec: Spread,
    /// Values read over the device's best cell, repeat by repeat.
    reads_to_device: Spread,
    device: CellFigures,
    cpu_secs_per_million: Spread,
    others_cpus: Spread,
    rss_before_bytes: u64,
    rss_peak_bytes: u64,
    /// What the device moves while it reads and writes at once, both added up.
    device_both_mb_per_sec: Spread,
    /// Appended and read over that, repeat by repeat; above 1 where the ring serves reads.
    both_to_device: Spread,
    appends_reached: bool,
    reads_reached: bool,
}

/// What the consumer did while the clock ran.
#[derive(Clone, Copy, Debug)]
struct Consumed {
    bytes: u64,
    secs: f64,
    /// Median of how many records it was behind.
    lag_records: f64,
}

/// One repeat of one part: without a consumer, or with it at a distance.
#[derive(Clone, Debug)]
struct Part {
    appended: Run,
    consumed: Option<Consumed>,
    cpu_secs: f64,
    others_cpus: f64,
    rss_peak_bytes: u64,
}

/// Runs each load at both distances.
pub fn run(bench: &mut Bench, args: &WorkloadArgs) -> Result<()> {
    let repeats = bench.options.repeats();
    let loads: Vec<Spec> =
        [A1_1K, D3, D2A].into_iter().filter(|spec| args.asks_for(spec.name)).collect();
    let progress = Progress::new((loads.len() * repeats) as u64);
    let scratch = bench.scratch()?;
    progress.doing("pre-writing");
    let device = Device::prepare(scratch.path(), bench.options.device_bytes(), bench.seed)?;
    let mut all = Vec::new();
    for spec in &loads {
        let dir = scratch.path().join(spec.name);
        fs::create_dir(&dir).context(format!("creating {}", dir.display()))?;
        all.extend(load(bench, args, spec, &device, &dir, &progress)?);
        fs::remove_dir_all(&dir).context(format!("removing {}", dir.display()))?;
    }
    drop(progress);
    for figures in &all {
        bench.report.line("behind", figures)?;
    }
    report::print(&table(&all))
}

fn load(
    bench: &Bench,
    args: &WorkloadArgs,
    spec: &Spec,
    device: &Device,
    dir: &Path,
    progress: &Progress,
) -> Result<Vec<BehindFigures>> {
    let options = &bench.options;
    let values = Values::new(bench.seed, spec.value_bytes);
    // Segments are recycled behind the consumer: what grows without end fills the disk.
    let course = Course { spec, mode: Mode::Steady, args, options, values: &values };
    let rss_before_bytes = usage::resident_bytes()?;
    let target = Ringlog::open(dir, &course.setup())?;
    progress.doing(format!("{}: warming up", spec.about));
    course.prime(&target)?;
    let ring_bytes = args.ring_bytes.map_or(RING_BYTES, |bytes| bytes as u64);
    let ring_records = ring_bytes as f64 / spec.log_bytes_per_record as f64;
    let quiet = Quiet::new(options);
    let mut cells: Vec<Vec<Run>> = vec![Vec::new(); READS.len()];
    let mut both: Vec<f64> = Vec::new();
    let mut rounds: Vec<Vec<Part>> = Vec::new();
    while rounds.len() < options.repeats() {
        quiet.wait();
        progress.doing(format!("{}: the device", spec.about));
        let runs: Vec<Run> = READS
            .iter()
            .map(|&cell| device.run(cell, options.cell_time()))
            .collect::<Result<_>>()?;
        let device_both = reading_and_writing(device, options.cell_time())?;
        let mut parts = vec![part(&course, &target, None)?];
        for rings in DISTANCES {
            progress.doing(format!("{}: {rings} rings behind", spec.about));
            parts.push(part(&course, &target, Some((rings * ring_records) as u64))?);
        }
        if parts.iter().any(|part| quiet.again(part.others_cpus)) {
            continue;
        }
        cells.iter_mut().zip(runs).for_each(|(all, run)| all.push(run));
        both.push(device_both);
        rounds.push(parts);
        progress.step();
    }
    target.close()?;
    let figures =
        |at: usize| Figures { spec, rounds: &rounds, cells: &cells, both: &both, ring_records, at };
    Ok((0..DISTANCES.len()).map(|at| figures(at).sum_up(rss_before_bytes)).collect())
}

/// Megabytes a second of the device while it reads one stretch and writes another, both added up.
fn reading_and_writing(device: &Device, time: Duration) -> Result<f64> {
    let [.., write] = BANDWIDTH else { return Ok(0.0) };
    let [.., read] = READS else { return Ok(0.0) };
    thread::scope(|scope| {
        let writing = scope.spawn(|| device.run(*write, time));
        let read = device.run(*read, time)?;
        let write = writing.join().map_err(|_| Error::new("the writing thread panicked"))??;
        Ok(read.mb_per_sec() + write.mb_per_sec())
    })
}

fn part(course: &Course<'_>, target: &Ringlog, distance: Option<u64>) -> Result<Part> {
    let others = usage::Others::watch();
    usage::reset_peak()?;
    let mut cpu_before = Duration::ZERO;
    let (appended, consumed) = match distance {
        None => (course.run(target, || cpu_before = usage::cpu_time())?, None),
        Some(distance) => {
            let start = || cpu_before = usage::cpu_time();
            let (run, consumed) = beside_a_consumer(course, target, distance, start)?;
            (run, Some(consumed))
        }
    };
    let cpu = usage::cpu_time().saturating_sub(cpu_before);
    let part = Part {
        appended,
        consumed,
        cpu_secs: cpu.as_secs_f64(),
        others_cpus: others.cpus(),
        rss_peak_bytes: usage::peak_resident_bytes()?,
    };
    settle(Duration::from_millis(if course.options.quick { 50 } else { 300 }));
    Ok(part)
}

fn beside_a_consumer(
    course: &Course<'_>,
    target: &Ringlog,
    distance: u64,
    clock_starts: impl FnOnce(),
) -> Result<(Run, Consumed)> {
    let over = AtomicBool::new(false);
    let bytes = AtomicU64::new(0);
    target.keep_from(target.end());
    let done = thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(target, distance, &bytes, &over));
        let mut began = (0, Instant::now());
        let run = course.run(target, || {
            began = (bytes.load(Ordering::Relaxed), Instant::now());
            clock_starts();
        });
        let (bytes, secs) = (bytes.load(Ordering::Relaxed) - began.0, began.1.elapsed());
        over.store(true, Ordering::Relaxed);
        let lags = consumer.join().map_err(|_| Error::new("the consumer panicked"))??;
        let lag_records = Spread::of(lags.into_iter().map(|lag| lag as f64)).median;
        Ok((run?, Consumed { bytes, secs: secs.as_secs_f64(), lag_records }))
    });
    target.keep_from(u64::MAX);
    done
}

/// Reads whatever is farther than `distance` behind the end, adding up every byte, and says how far
/// behind it was, look by look.
fn consume(
    target: &Ringlog,
    distance: u64,
    bytes: &AtomicU64,
    over: &AtomicBool,
) -> Result<Vec<u64>> {
    let start = Start::Offset(Offset(target.end()));
    let mut reader = target.partition().reader(start).context("a reader")?;
    let mut seen = Seen::default();
    let mut lags = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let lag = target.end() - reader.next_offset().0;
        if lag < distance {
            thread::sleep(NAP);
            continue;
        }
        lags.push(lag);
        let until = reader.next_offset().0 + lag - distance;
        while reader.next_offset().0 <= until && !over.load(Ordering::Relaxed) {
            let Some(batch) = reader.next_batch().context("reading")? else { break };
            for record in &batch {
                seen.add(record.context("reading a record")?.value().unwrap_or_default());
            }
            bytes.store(seen.bytes, Ordering::Relaxed);
        }
        target.keep_from(reader.next_offset().0);
    }
    std::hint::black_box(seen.sum);
    Ok(lags)
}

/// What the figures of one distance are made of.
struct Figures<'a> {
    spec: &'a Spec,
    rounds: &'a [Vec<Part>],
    cells: &'a [Vec<Run>],
    /// Of the device doing both, round by round.
    both: &'a [f64],
    ring_records: f64,
    at: usize,
}

impl Figures<'_> {
    fn sum_up(&self, rss_before_bytes: u64) -> BehindFigures {
        let (device, device_runs) = READS
            .iter()
            .zip(self.cells)
            .map(|(&cell, runs)| (CellFigures::of(cell, runs), runs))
            .max_by(|(a, _), (b, _)| {
                a.summary.mb_per_sec.median.total_cmp(&b.summary.mb_per_sec.median)
            })
            .expect("there are cells");
        let behind = |round: &Vec<Part>| round[self.at + 1].clone();
        let parts: Vec<Part> = self.rounds.iter().map(behind).collect();
        let consumed: Vec<Consumed> = parts.iter().filter_map(|part| part.consumed).collect();
        let mb_per_sec = |read: &Consumed| read.bytes as f64 / 1e6 / read.secs;
        let alone = || self.rounds.iter().map(|round| round[0].appended.ops_per_sec());
        let appends = || parts.iter().map(|part| part.appended.ops_per_sec());
        let appends_kept = Spread::of(appends().zip(alone()).map(|(with, alone)| with / alone));
        let to_device = consumed.iter().zip(device_runs);
        let to_device = to_device.map(|(read, cell)| mb_per_sec(read) / cell.mb_per_sec());
        let reads_to_device = Spread::of(to_device);
        let moved = parts.iter().zip(&consumed);
        let moved = moved.map(|(part, read)| part.appended.mb_per_sec() + mb_per_sec(read));
        let in_step = parts.iter().zip(&consumed);
        let in_step = in_step.map(|(part, read)| mb_per_sec(read) / part.appended.mb_per_sec());
        let keeps_in_step = Spread::of(in_step).median >= IN_STEP;
        let both_to_device = Spread::of(moved.zip(self.both).map(|(ours, both)| ours / both));
        let millions = |part: &Part| part.appended.ops.max(1) as f64 / 1e6;
        BehindFigures {
            load: self.spec.name,
            about: self.spec.about,
            behind_rings: DISTANCES[self.at],
            lag_rings: Spread::of(consumed.iter().map(|read| read.lag_records / self.ring_records)),
            alone_per_sec: Spread::of(alone()),
            appends_per_sec: Spread::of(appends()),
            appends_kept,
            reads_mb_per_sec: Spread::of(consumed.iter().map(mb_per_sec)),
            reads_to_device,
            device,
            device_both_mb_per_sec: Spread::of(self.both.iter().copied()),
            both_to_device,
            cpu_secs_per_million: Spread::of(
                parts.iter().map(|part| part.cpu_secs / millions(part)),
            ),
            others_cpus: Spread::of(parts.iter().map(|part| part.others_cpus)),
            rss_before_bytes,
            rss_peak_bytes: parts.iter().map(|part| part.rss_peak_bytes).max().unwrap_or(0),
            appends_reached: appends_kept.median >= APPENDS_AT_LEAST,
            reads_reached: reads_to_device.median >= READS_AT_LEAST || keeps_in_step,
        }
    }
}

fn table(all: &[BehindFigures]) -> String {
    let mut speeds = Table::new(&[
        "load, the consumer behind by",
        "was behind, rings",
        "appends/s alone",
        "with it",
        "kept",
        "≥ 0.8",
        "reads MB/s",
        "x device",
        "≥ 0.5, or in step",
    ]);
    let mut costs = Table::new(&[
        "load, the consumer behind by",
        "cpu-s/M",
        "others' cpus",
        "peak MiB",
        "(before)",
        "device's best cell",
        "MB/s",
        "reading and writing",
        "x that",
    ]);
    let yes = |reached: bool| if reached { "yes" } else { "NO" }.to_owned();
    let mib = |bytes: u64| number(bytes as f64 / f64::from(1 << 20));
    for figures in all {
        let name = format!("{}, {} x the ring", figures.load, figures.behind_rings);
        speeds.row(vec![
            name.clone(),
            spread(figures.lag_rings),
            spread(figures.alone_per_sec),
            spread(figures.appends_per_sec),
            spread(figures.appends_kept),
            yes(figures.appends_reached),
            spread(figures.reads_mb_per_sec),
            spread(figures.reads_to_device),
            yes(figures.reads_reached),
        ]);
        costs.row(vec![
            name,
            spread(figures.cpu_secs_per_million),
            spread(figures.others_cpus),
            mib(figures.rss_peak_bytes),
            mib(figures.rss_before_bytes),
            figures.device.cell.clone(),
            spread(figures.device.summary.mb_per_sec),
            spread(figures.device_both_mb_per_sec),
            spread(figures.both_to_device),
        ]);
    }
    format!("\n{}\n\n{}\n", speeds.render(), costs.render())
}
