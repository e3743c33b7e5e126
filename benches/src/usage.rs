//! What the process uses: processor time, resident memory, allocated disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::error::{Context, Result};

/// Processor time of all threads of this process so far, user and system: what `getrusage` adds
/// up, in nanoseconds instead of ticks.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Resident memory in bytes, now (`VmRSS`).
pub fn resident_bytes() -> Result<u64> {
    status_bytes("VmRSS:")
}

/// Largest resident memory in bytes since [`reset_peak`] (`VmHWM`).
pub fn peak_resident_bytes() -> Result<u64> {
    status_bytes("VmHWM:")
}

/// Resident memory in bytes that belongs to no file, now (`RssAnon`).
pub fn anonymous_bytes() -> Result<u64> {
    status_bytes("RssAnon:")
}

/// Lets the peak start again from what is resident now.
pub fn reset_peak() -> Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("resetting the peak of resident memory")
}

fn status_bytes(field: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("reading the process status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok());
    Ok(kib.unwrap_or(0) * 1024)
}

/// Bytes allocated on disk by all files below `dir`.
pub fn allocated_bytes(dir: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir).context(format!("listing {}", dir.display()))? {
        let entry = entry.context(format!("listing {}", dir.display()))?;
        // A file may be recycled or removed between the listing and this.
        let Ok(meta) = entry.metadata() else { continue };
        total += if meta.is_dir() { allocated_bytes(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(total)
}

/// Bytes of writes that the kernel has charged this process with so far: direct ones, and pages
/// made dirty. Zero where the kernel does not count.
pub fn kernel_write_bytes() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    bytes.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}

/// Context switches so far, voluntary and not, of each thread of this process but the calling one,
/// by thread.
pub fn context_switches() -> Result<BTreeMap<String, u64>> {
    let own = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut switches = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/task").context("listing the threads")? {
        let entry = entry.context("listing the threads")?;
        let thread = entry.file_name().to_string_lossy().into_owned();
        // A thread may end between the listing and this.
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        if thread != own {
            let counts = status
                .lines()
                .filter(|line| line.contains("voluntary_ctxt_switches:"))
                .filter_map(|line| line.rsplit_once(':')?.1.trim().parse::<u64>().ok());
            switches.insert(thread, counts.sum());
        }
    }
    Ok(switches)
}

/// Processor seconds in user mode so far: of the whole machine, and of this process. Kernel
/// threads have none, so the difference is what other programs took.
pub fn user_secs() -> (f64, f64) {
    let per_sec = rustix::param::clock_ticks_per_second() as f64;
    let field = |line: &str, at: usize| {
        line.split_ascii_whitespace().nth(at).and_then(|word| word.parse::<f64>().ok())
    };
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let machine = stat.lines().next().and_then(|line| Some(field(line, 1)? + field(line, 2)?));
    let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in brackets, may hold anything; the state follows it.
    let own = own.rsplit_once(')').and_then(|(_, rest)| field(rest, 11));
    (machine.unwrap_or(0.0) / per_sec, own.unwrap_or(0.0) / per_sec)
}

/// What other programs use, watched from its making on.
#[derive(Debug)]
pub struct Others {
    start: std::time::Instant,
    before: (f64, f64),
}

impl Others {
    /// Watches from now on.
    pub fn watch() -> Self {
        Self { start: std::time::Instant::now(), before: user_secs() }
    }

    /// Processors that other programs have used since, on average.
    pub fn cpus(&self) -> f64 {
        let now = user_secs();
        let used = (now.0 - self.before.0) - (now.1 - self.before.1);
        used.max(0.0) / self.start.elapsed().as_secs_f64()
    }
}
