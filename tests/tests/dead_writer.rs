//! A writer is killed while the kernel still holds its queued writes. Whoever takes the lock next
//! must find that none of them lands any more; and to prove that the test would see one, the same
//! writer without the lock in its ring must be caught.
//!
//! The writes are slowed by a throttle of the block device, in a control group of the child alone,
//! which is removed whatever happens. Where that cannot be had the test says `SKIP dead_writer`.
#![allow(clippy::unwrap_used, reason = "a failed unwrap here is a failed test")]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringlog::raw::{AlignedBuf, Disk, Driver, Op, OpenMode, OsDisk, Slice, Token, Uring, Waker};
use rustix::fs::{OFlags, major, minor};

const GROUPS: &str = "/sys/fs/cgroup/blkio";
const GROUP_PREFIX: &str = "ringlog-dead-writer-";
const THROTTLE: &str = "blkio.throttle.write_bps_device";
const BYTES_PER_SECOND: u64 = 2 << 20;
const WRITE_BYTES: usize = 64 << 10;
const WRITES: u64 = 96;
const READY: &str = "queued";
const ZERO: u8 = 0;
const WRITTEN: u8 = 0xee;
/// How long the throttled device needs for everything, with room.
const SETTLE: Duration = Duration::from_secs(5);
const LOCK_DEADLINE: Duration = Duration::from_secs(30);
const DIR: &str = "RINGLOG_DEAD_WRITER_DIR";
const GROUP: &str = "RINGLOG_DEAD_WRITER_GROUP";
const FENCED: &str = "RINGLOG_DEAD_WRITER_FENCED";

/// A control group that throttles writes to one device; gone when dropped.
struct Throttle {
    group: PathBuf,
    device: String,
}

impl Throttle {
    fn new(dir: &Path) -> io::Result<Self> {
        remove_stale_groups();
        let device = disk_of(dir)?;
        let group = Path::new(GROUPS).join(format!("{GROUP_PREFIX}{}", std::process::id()));
        fs::create_dir(&group)?;
        let throttle = Self { group, device };
        throttle.set(BYTES_PER_SECOND)?;
        Ok(throttle)
    }

    /// Zero: no limit, which also lets go what is queued.
    fn set(&self, bytes_per_second: u64) -> io::Result<()> {
        fs::write(self.group.join(THROTTLE), format!("{} {bytes_per_second}", self.device))
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        let _ = self.set(0);
        let deadline = Instant::now() + SETTLE;
        // Busy until the last dead member has been reaped.
        while fs::remove_dir(&self.group).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Those of earlier runs that were killed themselves.
fn remove_stale_groups() {
    for entry in fs::read_dir(GROUPS).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(GROUP_PREFIX) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The whole disk below a directory, as `major:minor`: a partition cannot be throttled.
fn disk_of(dir: &Path) -> io::Result<String> {
    let device = fs::metadata(dir)?.dev();
    let node = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let node = fs::canonicalize(node)?;
    let whole = if node.join("partition").exists() { node.join("..") } else { node };
    Ok(fs::read_to_string(whole.join("dev"))?.trim().to_owned())
}

/// The child, dead and reaped when dropped.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_writer(dir: &Path, throttle: &Throttle, fenced: bool) -> Writer {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["entry_of_the_writer", "--exact", "--nocapture"])
        .env(DIR, dir)
        .env(GROUP, &throttle.group)
        .env(FENCED, fenced.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let writer = Writer(child);
    let ready = out.lines().any(|line| line.is_ok_and(|line| line.contains(READY)));
    assert!(ready, "the writer queued its writes");
    writer
}

/// Which of the writes have landed, read past the page cache.
fn landed(path: &Path) -> Vec<bool> {
    let flags = OFlags::DIRECT.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).unwrap();
    let mut buf = AlignedBuf::zeroed(WRITE_BYTES);
    (0..WRITES)
        .map(|i| {
            file.read_exact_at(buf.as_mut_slice(), i * WRITE_BYTES as u64).unwrap();
            buf.as_slice().contains(&WRITTEN)
        })
        .collect()
}

struct Seen {
    reaped_after: Duration,
    locked_after: Duration,
    at_lock: usize,
    late: usize,
}

fn kill_a_writer(dir: &Path, throttle: &Throttle, fenced: bool) -> Seen {
    let disk = OsDisk::open(dir, true).unwrap();
    let path = dir.join("segment");
    let zeros = AlignedBuf::zeroed(WRITE_BYTES);
    {
        let file = disk.open("segment", OpenMode::Create).unwrap();
        for i in 0..WRITES {
            file.write_at(zeros.as_slice(), i * WRITE_BYTES as u64).unwrap();
        }
        file.sync().unwrap();
    }
    assert!(landed(&path).iter().all(|landed| !landed), "starts with {ZERO}");
    let mut writer = start_writer(dir, throttle, fenced);
    let killed = Instant::now();
    writer.0.kill().unwrap();
    writer.0.wait().unwrap();
    let reaped_after = killed.elapsed();
    let lock = disk.lock(LOCK_DEADLINE).unwrap();
    let locked_after = killed.elapsed();
    let at_lock = landed(&path);
    std::thread::sleep(SETTLE);
    let settled = landed(&path);
    drop(lock);
    disk.remove("segment").unwrap();
    let late = at_lock.iter().zip(&settled).filter(|(before, after)| before != after).count();
    let at_lock = at_lock.iter().filter(|landed| **landed).count();
    Seen { reaped_after, locked_after, at_lock, late }
}

#[test]
fn no_write_of_a_dead_writer_lands_after_its_lock_came_free() {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let disk = OsDisk::open(dir.path(), true).unwrap();
    if let Err(unavailable) = Uring::new(None, Waker::new().unwrap()) {
        println!("SKIP dead_writer: {unavailable}");
        return;
    }
    if !disk.facts().direct_io {
        println!("SKIP dead_writer: no O_DIRECT on {}", disk.facts().filesystem);
        return;
    }
    let throttle = match Throttle::new(dir.path()) {
        Ok(throttle) => throttle,
        Err(error) => {
            println!("SKIP dead_writer: cannot throttle the device: {error}");
            return;
        }
    };
    let broken = kill_a_writer(dir.path(), &throttle, false);
    report("without the lock in the ring", &broken);
    let fenced = kill_a_writer(dir.path(), &throttle, true);
    report("with the lock in the ring", &fenced);
    assert!(broken.late > 0, "the unfenced writer was not caught: this test proves nothing");
    assert!(fenced.at_lock < WRITES as usize || fenced.locked_after > fenced.reaped_after);
    assert_eq!(fenced.late, 0, "writes landed after the lock was taken");
}

fn report(what: &str, seen: &Seen) {
    println!(
        "{what}: reaped after {:?}, locked after {:?}, {} of {WRITES} landed by then, {} later",
        seen.reaped_after, seen.locked_after, seen.at_lock, seen.late
    );
}

/// In the child: queues everything, says so, and waits for its end.
#[test]
fn entry_of_the_writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let group = PathBuf::from(std::env::var_os(GROUP).unwrap());
    let fenced = std::env::var(FENCED).unwrap() == "true";
    fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let disk = OsDisk::open(Path::new(&dir), false).unwrap();
    let lock = disk.lock(Duration::ZERO).unwrap();
    let mut driver = Uring::new(fenced.then_some(&lock), Waker::new().unwrap()).unwrap();
    let file = disk.open("segment", OpenMode::Write).unwrap();
    let mut buf = AlignedBuf::zeroed(WRITE_BYTES);
    buf.as_mut_slice().fill(WRITTEN);
    let data = Slice::private(Arc::new(buf), WRITE_BYTES);
    for i in 0..WRITES {
        let at = i * WRITE_BYTES as u64;
        let (file, data) = (Arc::clone(&file), data.clone());
        driver.submit(Token(i), Op::Write { file, at, data, durable: false });
    }
    let mut out = Vec::new();
    driver.wait(Some(Duration::ZERO), &mut out).unwrap();
    println!("{READY}");
    loop {
        driver.wait(Some(LOCK_DEADLINE), &mut out).unwrap();
    }
}
