//! The facts about the machine without which no figure means anything.

use std::fs;
use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde::Serialize;

/// What a report says about where it was made.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Kernel release.
    pub kernel: String,
    /// Processors this process may use.
    pub cpus: usize,
    /// The processor's name, where the kernel tells.
    pub cpu: Option<String>,
    /// Physical memory in MiB.
    pub memory_mib: u64,
    /// The filesystem of the benchmark's directory.
    pub filesystem: Option<String>,
    /// Its mount options.
    pub mount_options: Option<String>,
    /// What the block device below says about itself.
    pub device: Option<Device>,
    /// Commit of the working directory; `+` if it has changes.
    pub git_commit: Option<String>,
    /// Nanoseconds that reading the clock takes, part of every latency below.
    pub clock_ns: f64,
    /// Seconds since 1970, at the start.
    pub unix_time: u64,
}

/// A block device's own words.
#[derive(Clone, Debug, Serialize)]
pub struct Device {
    /// `write back`: a flush costs something; `write through`: it does not.
    pub write_cache: String,
    /// Whether a single write can go to stable storage alone.
    pub fua: bool,
    /// Logical sector in bytes.
    pub logical_bytes: u64,
    /// Physical sector in bytes.
    pub physical_bytes: u64,
}

impl Machine {
    /// Looks at the machine and at the filesystem that holds `dir`.
    pub fn look(dir: &Path) -> Self {
        let mount = mount_of(dir);
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cpu: proc_field("/proc/cpuinfo", "model name"),
            memory_mib: proc_field("/proc/meminfo", "MemTotal")
                .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
                .unwrap_or(0)
                / 1024,
            filesystem: mount.as_ref().map(|mount| mount.0.clone()),
            mount_options: mount.map(|mount| mount.1),
            device: device_of(dir),
            git_commit: git_commit(),
            clock_ns: clock_ns(),
            unix_time: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |time| time.as_secs()),
        }
    }

    /// The facts in a few lines for people.
    pub fn describe(&self) -> String {
        let unknown = || "unknown".to_owned();
        let device = self.device.as_ref().map_or_else(unknown, |device| {
            format!(
                "{}, {}FUA, sectors {}/{}",
                device.write_cache,
                if device.fua { "" } else { "no " },
                device.logical_bytes,
                device.physical_bytes
            )
        });
        format!(
            "kernel {}, {} cpus ({}), {} MiB memory\n{} ({}); device: {device}\ncommit {}, \
             reading the clock takes {:.0} ns",
            self.kernel,
            self.cpus,
            self.cpu.clone().unwrap_or_else(unknown),
            self.memory_mib,
            self.filesystem.clone().unwrap_or_else(unknown),
            self.mount_options.clone().unwrap_or_else(unknown),
            self.git_commit.clone().unwrap_or_else(unknown),
            self.clock_ns,
        )
    }
}

fn proc_field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Type and options of the mount that holds `dir`: the one with its device number, and of several
/// with it the last.
fn mount_of(dir: &Path) -> Option<(String, String)> {
    let id = device_id(dir)?;
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = table.lines().rfind(|line| line.split(' ').nth(2) == Some(id.as_str()))?;
    let (mount, below) = line.split_once(" - ")?;
    let mut below = below.split(' ');
    let kind = below.next()?.to_owned();
    Some((kind, format!("{}; {}", mount.split(' ').nth(5)?, below.nth(1)?)))
}

fn device_id(dir: &Path) -> Option<String> {
    let id = fs::metadata(dir).ok()?.dev();
    Some(format!("{}:{}", rustix::fs::major(id), rustix::fs::minor(id)))
}

fn device_of(dir: &Path) -> Option<Device> {
    let block = Path::new("/sys/dev/block").join(device_id(dir)?);
    // A partition has no queue of its own; its disk, one directory above, has.
    let block = block.canonicalize().ok()?;
    let queue = [block.join("queue"), block.parent()?.join("queue")];
    let queue = queue.iter().find(|queue| queue.is_dir())?;
    let read =
        |name: &str| fs::read_to_string(queue.join(name)).ok().map(|text| text.trim().to_owned());
    Some(Device {
        write_cache: read("write_cache")?,
        fua: read("fua")? == "1",
        logical_bytes: read("logical_block_size")?.parse().ok()?,
        physical_bytes: read("physical_block_size")?.parse().ok()?,
    })
}

fn git_commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain"]).is_some_and(|text| !text.is_empty());
    Some(format!("{commit}{}", if changed { "+" } else { "" }))
}

fn clock_ns() -> f64 {
    const READS: u32 = 100_000;
    let start = Instant::now();
    for _ in 0..READS {
        black_box(Instant::now());
    }
    start.elapsed().as_nanos() as f64 / f64::from(READS)
}
