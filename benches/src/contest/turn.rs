//! One side of a contest: the process of an entrant, which makes itself ready, says so, and takes
//! a turn whenever it is told to, so that processor time and memory are its own.

use std::fs::File;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::stats::Run;
use crate::{report, usage};

/// Where the distribution of latencies is looked at.
pub const QUANTILES: [f64; 19] = [
    0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999,
    0.9995, 0.9999,
];

/// What one turn came to, in the entrant's own process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Records in the time.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// The time.
    pub secs: f64,
    /// Median latency of an acknowledgement, in microseconds; zero where there is none.
    pub p50_us: f64,
    /// Its 99th percentile.
    pub p99_us: f64,
    /// Its 99.9th percentile.
    pub p999_us: f64,
    /// The latencies at [`QUANTILES`], in microseconds.
    pub quantiles_us: Vec<f64>,
    /// Processor seconds of all threads of the process, and of those that help it.
    pub cpu_secs: f64,
    /// Of them, those of processes that help it: a server.
    pub helpers_cpu_secs: f64,
    /// Processors that other programs used meanwhile.
    pub others_cpus: f64,
    /// Resident memory before anything was opened.
    pub rss_before_bytes: u64,
    /// Largest resident memory while the clock ran, mapped files included.
    pub rss_peak_bytes: u64,
    /// Of it, when the clock stopped, what belongs to no file.
    pub rss_anonymous_bytes: u64,
    /// Resident memory of the processes that help it, when the clock stopped.
    pub helpers_rss_bytes: u64,
    /// Allocated on disk afterwards.
    pub disk_bytes: u64,
}

/// Measures the turns of this process.
#[derive(Debug)]
pub struct Meter {
    dir: PathBuf,
    rss_before_bytes: u64,
}

impl Meter {
    /// To be made before anything is opened in `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        Ok(Self { dir: dir.to_path_buf(), rss_before_bytes: usage::resident_bytes()? })
    }

    /// Measures a turn; `work` calls what it is given when its clock starts. What it leaves in the
    /// page cache is written back before the return, so that it does not fall on the next one.
    pub fn turn(&self, work: impl FnOnce(&mut dyn FnMut()) -> Result<Run>) -> Result<Turn> {
        self.turn_with(&[], work)
    }

    /// The same, of this process and of others that help it.
    pub fn turn_with(
        &self,
        helpers: &[u32],
        work: impl FnOnce(&mut dyn FnMut()) -> Result<Run>,
    ) -> Result<Turn> {
        let others = usage::Others::watch_beside(helpers);
        let used = || (usage::cpu_time(), usage::family_times(helpers).1);
        let mut before = used();
        usage::reset_peak()?;
        let run = work(&mut || before = used())?;
        let after = used();
        let helpers_cpu = after.1.saturating_sub(before.1);
        let cpu = after.0.saturating_sub(before.0) + helpers_cpu;
        let turn = Turn {
            records: run.ops,
            bytes: run.bytes,
            secs: run.elapsed.as_secs_f64(),
            p50_us: run.latencies.quantile_us(0.5),
            p99_us: run.latencies.quantile_us(0.99),
            p999_us: run.latencies.quantile_us(0.999),
            quantiles_us: QUANTILES.map(|at| run.latencies.quantile_us(at)).to_vec(),
            cpu_secs: cpu.as_secs_f64(),
            helpers_cpu_secs: helpers_cpu.as_secs_f64(),
            others_cpus: others.cpus(),
            rss_before_bytes: self.rss_before_bytes,
            rss_peak_bytes: usage::peak_resident_bytes()?,
            rss_anonymous_bytes: usage::anonymous_bytes()?,
            helpers_rss_bytes: usage::family_resident_bytes(helpers),
            disk_bytes: usage::allocated_bytes(&self.dir)?,
        };
        let dir = File::open(&self.dir).context("opening the entrant's directory")?;
        rustix::fs::syncfs(&dir).context("writing back")?;
        Ok(turn)
    }
}

/// Says that the entrant is ready, and takes a turn for every line of standard input.
pub fn serve(mut turn: impl FnMut() -> Result<Turn>) -> Result<()> {
    report::print("ready")?;
    for line in io::stdin().lock().lines() {
        line.context("waiting for a turn")?;
        report::print(&serde_json::to_string(&turn()?).context("encoding a turn")?)?;
    }
    Ok(())
}
