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
    Ok(status_field(&status, field))
}

fn status_field(status: &str, field: &str) -> u64 {
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
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
    helpers: Vec<u32>,
    helpers_before: f64,
}

impl Others {
    /// Watches from now on.
    pub fn watch() -> Self {
        Self::watch_beside(&[])
    }

    /// Watches from now on, without these processes and what they started.
    pub fn watch_beside(helpers: &[u32]) -> Self {
        let start = std::time::Instant::now();
        let helpers_before = family_times(helpers).0.as_secs_f64();
        Self { start, before: user_secs(), helpers: helpers.to_vec(), helpers_before }
    }

    /// Processors that other programs have used since, on average.
    pub fn cpus(&self) -> f64 {
        let now = user_secs();
        let helpers = family_times(&self.helpers).0.as_secs_f64() - self.helpers_before;
        let used = (now.0 - self.before.0) - (now.1 - self.before.1) - helpers;
        used.max(0.0) / self.start.elapsed().as_secs_f64()
    }
}

/// These processes and all that descend from them, as far as they are there.
pub fn family(roots: &[u32]) -> Vec<u32> {
    let mut all: Vec<u32> = roots.to_vec();
    let mut at = 0;
    while let Some(&parent) = all.get(at) {
        let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    all
}

/// Processor time so far of other processes, those they started and those of these that ended: in
/// user mode, and in all. In ticks, of which there are a hundred a second.
pub fn family_times(roots: &[u32]) -> (Duration, Duration) {
    let per_sec = rustix::param::clock_ticks_per_second() as f64;
    let (mut user, mut all) = (0, 0);
    for pid in family(roots) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let times = stat_times(&stat);
        user += times[0] + times[2];
        all += times.iter().sum::<u64>();
    }
    let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / per_sec);
    (time(user), time(all))
}

/// Ticks of a line of `/proc/PID/stat`: user and system, then the same of children that ended.
fn stat_times(stat: &str) -> [u64; 4] {
    // The name, in brackets, may hold anything; the state follows it.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    [11, 12, 13, 14].map(|at| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(0))
}

/// Resident memory in bytes of other processes and all that descend from them, now.
pub fn family_resident_bytes(roots: &[u32]) -> u64 {
    let resident = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status_field(&status, "VmRSS:")
    };
    family(roots).into_iter().map(resident).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_that_holds_brackets() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 2 3 4 50 60 7 8 20 0 1 0 5 6 7";
        assert_eq!(stat_times(stat), [50, 60, 7, 8]);
        assert_eq!(stat_times(""), [0; 4]);
    }

    #[test]
    fn a_child_belongs_to_the_family_and_its_memory_counts() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it starts");
        let own = std::process::id();
        assert!(family(&[own]).contains(&child.id()));
        assert!(family_resident_bytes(&[child.id()]) > 0);
        child.kill().expect("it is there");
        child.wait().expect("it ends");
        assert!(!family(&[own]).contains(&child.id()));
    }
}
