//! `open`: how long a fresh process with a cold cache takes to open a cleanly closed log, by the
//! log's size. It should not depend on it.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ringlog::{Engine, Flush, Partition, Record, TopicSpec};
use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};

use crate::Bench;
use crate::cli::OpenArgs;
use crate::error::{Context, Error, Result};
use crate::progress::Progress;
use crate::report::{self, Table, number, spread};
use crate::stats::Spread;
use crate::usage;
use crate::values::Values;

const PARTITIONS: u32 = 100;
const VALUE_BYTES: usize = 1024;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// What one opening took, in the process that opened.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Opened {
    open_ms: f64,
    close_ms: f64,
}

/// Openings of one size.
#[derive(Clone, Debug, Serialize)]
struct OpenFigures {
    /// Bytes of values in the log.
    value_bytes: u64,
    /// Bytes allocated on disk.
    disk_bytes: u64,
    partitions: u32,
    repeats: usize,
    cold: bool,
    open_ms: Spread,
    close_ms: Spread,
    /// From starting the process to its end.
    process_ms: Spread,
}

/// Opens empty directories, then logs of 1 GB and, if asked, 20 GB.
pub fn run(bench: &mut Bench, args: OpenArgs) -> Result<()> {
    let sizes: &[u64] = match (bench.options.quick, args.large) {
        (true, _) => &[0, 100_000_000],
        (false, false) => &[0, 1_000_000_000],
        (false, true) => &[0, 1_000_000_000, 20_000_000_000],
    };
    let repeats = bench.options.repeats();
    let progress = Progress::new((sizes.len() * repeats) as u64);
    let scratch = bench.scratch()?;
    let mut table = Table::new(&["log", "on disk", "open ms", "close ms", "process ms"]);
    for &size in sizes {
        let dir = scratch.path().join(format!("log-{size}"));
        progress.doing(format!("{} MB: writing", size / 1_000_000));
        if size > 0 {
            fill(&dir, size, bench.seed)?;
        }
        let mut opened = Vec::new();
        let mut process_ms = Vec::new();
        for repeat in 0..repeats {
            progress.doing(format!("{} MB: opening", size / 1_000_000));
            // An empty directory is empty once.
            let dir = if size > 0 { dir.clone() } else { dir.join(repeat.to_string()) };
            fs::create_dir_all(&dir).context("creating a directory to open")?;
            drop_cache(&dir, args.drop_caches)?;
            let start = Instant::now();
            opened.push(open_in_a_fresh_process(&dir)?);
            process_ms.push(start.elapsed().as_secs_f64() * 1e3);
            progress.step();
        }
        let figures = OpenFigures {
            value_bytes: size,
            disk_bytes: usage::allocated_bytes(&dir)?,
            partitions: if size > 0 { PARTITIONS } else { 0 },
            repeats,
            cold: true,
            open_ms: Spread::of(opened.iter().map(|opened| opened.open_ms)),
            close_ms: Spread::of(opened.iter().map(|opened| opened.close_ms)),
            process_ms: Spread::of(process_ms),
        };
        bench.report.line("open", &figures)?;
        table.row(vec![
            if size > 0 { format!("{} MB", number(size as f64 / 1e6)) } else { "empty".into() },
            format!("{} MB", number(figures.disk_bytes as f64 / 1e6)),
            spread(figures.open_ms),
            spread(figures.close_ms),
            spread(figures.process_ms),
        ]);
        fs::remove_dir_all(&dir).context("removing a log")?;
    }
    drop(progress);
    report::print(&format!("\n{}\n", table.render()))
}

/// Writes `bytes` of values, one record at a time to one partition after another, and closes.
fn fill(dir: &Path, bytes: u64, seed: u64) -> Result<()> {
    let values = Values::new(seed, VALUE_BYTES);
    fs::create_dir(dir).context("creating a log's directory")?;
    let engine = Engine::options().open(dir).context("opening an empty directory")?;
    let spec = TopicSpec::new("bench").partitions(PARTITIONS).flush(Flush::Async);
    let topic = engine.create_topic(spec).context("creating a topic")?;
    let partitions: Vec<Partition> = (0..PARTITIONS)
        .map(|id| topic.partition(id))
        .collect::<ringlog::Result<_>>()
        .context("its partitions")?;
    for index in 0..(bytes / VALUE_BYTES as u64) as usize {
        let partition = &partitions[index % partitions.len()];
        partition.append(Record::new(values.get(index))).context("appending")?;
    }
    engine.close(CLOSE_TIMEOUT).context("closing a full log")
}

/// Writes back and drops the cached pages of every file below `dir`; names and inodes too, if all
/// caches of the machine may go.
fn drop_cache(dir: &Path, whole_machine: bool) -> Result<()> {
    for entry in fs::read_dir(dir).context("listing a log")? {
        let path = entry.context("listing a log")?.path();
        if path.is_dir() {
            drop_cache(&path, false)?;
        } else {
            let file = File::open(&path).context(format!("opening {}", path.display()))?;
            file.sync_all().context(format!("syncing {}", path.display()))?;
            fadvise(&file, 0, None, Advice::DontNeed).context("dropping cached pages")?;
        }
    }
    if whole_machine {
        fs::write("/proc/sys/vm/drop_caches", "3").context("dropping the machine's caches")?;
    }
    Ok(())
}

fn open_in_a_fresh_process(dir: &Path) -> Result<Opened> {
    let own = std::env::current_exe().context("finding this program")?;
    let output =
        Command::new(own).arg("open-once").arg(dir).output().context("starting a process")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("opening in a fresh process: {}", stderr.trim())));
    }
    serde_json::from_slice(&output.stdout).context("reading what the process printed")
}

/// Opens `dir`, closes it, and prints what that took: the other side of `open`.
pub fn once(dir: &Path) -> Result<()> {
    let start = Instant::now();
    let engine = Engine::options().open(dir).context("opening")?;
    let open = start.elapsed();
    let start = Instant::now();
    engine.close(CLOSE_TIMEOUT).context("closing")?;
    let opened =
        Opened { open_ms: open.as_secs_f64() * 1e3, close_ms: start.elapsed().as_secs_f64() * 1e3 };
    report::print(&serde_json::to_string(&opened).context("encoding")?)
}
