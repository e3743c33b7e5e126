//! Both drivers on real files, and the lock, in this process and with children.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use tempfile::TempDir;

use super::*;
use crate::buf::{AlignedBuf, Slice};
use disk::{Disk, DiskFile, FileRef, OpenMode};
use op::{Completion, Op, Token};
use os::OsDisk;

const SOON: Duration = Duration::from_millis(60);
const LONG: Duration = Duration::from_secs(20);
const CHILD_ROLE: &str = "RINGLOG_TEST_ROLE";
const CHILD_DIR: &str = "RINGLOG_TEST_DIR";

/// Hides the direct descriptor, to get the path of filesystems without `O_DIRECT`.
#[derive(Debug)]
struct Buffered(std::fs::File, FileRef);

impl DiskFile for Buffered {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.1.read_at(buf, at)
    }
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.1.write_at(data, at)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.1.allocate(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.sync()
    }
    fn len_bytes(&self) -> io::Result<u64> {
        self.1.len_bytes()
    }
    fn link_count(&self) -> io::Result<u64> {
        self.1.link_count()
    }
    fn descriptors(&self) -> Option<disk::Descriptors<'_>> {
        let write = std::os::fd::AsFd::as_fd(&self.0);
        Some(disk::Descriptors { write, direct: false })
    }
}

fn disk(dir: &Path) -> OsDisk {
    OsDisk::open(dir, true).unwrap()
}

fn drivers(lock: &LockGuard, waker: &Waker) -> Vec<Box<dyn Driver>> {
    [DriverChoice::Plain, DriverChoice::Auto]
        .into_iter()
        .map(|choice| choose(choice, lock, waker.clone()).unwrap().driver)
        .collect()
}

fn filled(len: usize, byte: u8) -> Slice {
    let mut buf = AlignedBuf::zeroed(len);
    buf.as_mut_slice().fill(byte);
    Slice::private(Arc::new(buf), len)
}

fn write(file: &FileRef, at: u64, data: Slice, durable: bool) -> Op {
    Op::Write { file: Arc::clone(file), at, data, durable }
}

fn finish(driver: &mut dyn Driver) -> Vec<Completion> {
    let mut out = Vec::new();
    let started = Instant::now();
    while driver.in_flight() > 0 {
        assert!(started.elapsed() < LONG, "{} still in flight", driver.in_flight());
        driver.wait(Some(LONG), &mut out).unwrap();
    }
    out.sort_by_key(|completion| completion.token.0);
    out
}

#[test]
fn both_drivers_write_what_reads_back_durable_or_not_direct_or_not() {
    let dir = TempDir::new().unwrap();
    let disk = disk(dir.path());
    let lock = disk.lock(Duration::ZERO).unwrap();
    let waker = Waker::new().unwrap();
    for mut driver in drivers(&lock, &waker) {
        let driver = driver.as_mut();
        let name = driver.name();
        let direct = disk.open(name, OpenMode::Create).unwrap();
        let plain = std::fs::File::options().write(true).open(disk.root().join(name)).unwrap();
        let buffered: FileRef = Arc::new(Buffered(plain, Arc::clone(&direct)));
        direct.allocate(8 << 20).unwrap();
        let mut token = 0;
        for (round, file) in [&direct, &buffered].into_iter().enumerate() {
            for (i, durable) in [(0, true), (1, false), (2, true), (3, false)] {
                let at = (round as u64 * 4 + i) * 256 * 1024;
                driver
                    .submit(Token(token), write(file, at, filled(128 << 10, i as u8 + 1), durable));
                token += 1;
            }
            driver.submit(Token(token), Op::Flush { file: Arc::clone(file) });
            token += 1;
        }
        let ended = finish(driver);
        assert!(ended.iter().map(|c| c.token.0).eq(0..token), "{name}: {ended:?}");
        assert!(ended.iter().all(|c| c.result.is_ok()), "{name}: {ended:?}");
        let mut read = vec![0; 128 << 10];
        for i in 0..8 {
            direct.read_at(&mut read, i * 256 * 1024).unwrap();
            assert!(read.iter().all(|byte| u64::from(*byte) == i % 4 + 1), "{name}: {i}");
        }
    }
}

#[test]
fn as_many_linked_writes_as_allowed_all_complete() {
    let dir = TempDir::new().unwrap();
    let disk = disk(dir.path());
    let lock = disk.lock(Duration::ZERO).unwrap();
    let waker = Waker::new().unwrap();
    let file = disk.open("x", OpenMode::Create).unwrap();
    let plain = std::fs::File::options().write(true).open(disk.root().join("x")).unwrap();
    let buffered: FileRef = Arc::new(Buffered(plain, file));
    for mut driver in drivers(&lock, &waker) {
        let count = crate::limits::DRIVER_OPS_MAX as u64;
        for i in 0..count {
            driver.submit(Token(i), write(&buffered, i * 4096, filled(4096, 1), true));
        }
        assert_eq!(driver.in_flight() as u64, count);
        let ended = finish(driver.as_mut());
        assert!(ended.iter().map(|c| c.token.0).eq(0..count));
        assert!(ended.iter().all(|c| c.result.is_ok()));
    }
}

#[test]
fn a_file_opened_to_read_takes_no_write() {
    let dir = TempDir::new().unwrap();
    let disk = disk(dir.path());
    let lock = disk.lock(Duration::ZERO).unwrap();
    let waker = Waker::new().unwrap();
    disk.open("x", OpenMode::Create).unwrap();
    let file = disk.open("x", OpenMode::Read).unwrap();
    for mut driver in drivers(&lock, &waker) {
        driver.submit(Token(7), write(&file, 0, filled(4096, 1), true));
        let ended = finish(driver.as_mut());
        assert_eq!(ended.len(), 1);
        assert!(ended[0].result.is_err());
    }
}

#[test]
fn the_waker_ends_a_sleep_and_zero_does_not_sleep() {
    let dir = TempDir::new().unwrap();
    let lock = disk(dir.path()).lock(Duration::ZERO).unwrap();
    let waker = Waker::new().unwrap();
    for mut driver in drivers(&lock, &waker) {
        let mut out = Vec::new();
        let started = Instant::now();
        driver.wait(Some(Duration::ZERO), &mut out).unwrap();
        driver.wait(Some(Duration::ZERO), &mut out).unwrap();
        assert!(started.elapsed() < SOON, "{}: slept at zero", driver.name());
        driver.wait(Some(SOON), &mut out).unwrap();
        assert!(started.elapsed() >= SOON, "{}: did not sleep", driver.name());
        for _ in 0..3 {
            // A wake before the sleep, then one during it.
            waker.wake();
            let started = Instant::now();
            driver.wait(Some(LONG), &mut out).unwrap();
            assert!(started.elapsed() < LONG / 2, "{}: lost a wake", driver.name());
            let remote = waker.clone();
            let waking = std::thread::spawn(move || {
                std::thread::sleep(SOON);
                remote.wake();
            });
            driver.wait(Some(LONG), &mut out).unwrap();
            assert!(started.elapsed() < LONG / 2, "{}: not woken", driver.name());
            waking.join().unwrap();
        }
        let started = Instant::now();
        driver.wait(Some(SOON), &mut out).unwrap();
        assert!(started.elapsed() >= SOON, "{}: a wake was counted twice", driver.name());
        assert!(out.is_empty());
    }
}

#[test]
fn dropping_waits_for_the_kernel_and_gives_the_lock_back() {
    let dir = TempDir::new().unwrap();
    let disk = disk(dir.path());
    for _ in 0..5 {
        let lock = disk.lock(Duration::ZERO).unwrap();
        let Ok(mut driver) = Uring::new(Some(&lock), Waker::new().unwrap()) else { return };
        let file = disk.open("x", OpenMode::Create).unwrap();
        file.allocate(32 << 20).unwrap();
        let slice = filled(1 << 20, 5);
        for i in 0..32 {
            driver.submit(Token(i), write(&file, i << 20, slice.clone(), true));
        }
        driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        drop(lock);
        assert!(disk.lock(Duration::ZERO).is_err(), "the driver holds the lock too");
        drop(driver);
        let mut read = vec![0; 1 << 20];
        for i in 0..32 {
            file.read_at(&mut read, i << 20).unwrap();
            assert!(read.iter().all(|byte| *byte == 5), "written before the drop returned");
        }
        assert_eq!(uring::leaked_ops(), 0);
        disk.remove("x").unwrap();
    }
}

#[test]
fn a_driver_may_be_made_in_one_thread_and_used_in_another() {
    let dir = TempDir::new().unwrap();
    let disk = disk(dir.path());
    let lock = disk.lock(Duration::ZERO).unwrap();
    let file = disk.open("x", OpenMode::Create).unwrap();
    for mut driver in drivers(&lock, &Waker::new().unwrap()) {
        let file = Arc::clone(&file);
        let used = std::thread::spawn(move || {
            driver.submit(Token(1), write(&file, 0, filled(4096, 1), true));
            finish(driver.as_mut()).len()
        });
        assert_eq!(used.join().unwrap(), 1);
    }
}

#[test]
fn a_second_engine_of_the_process_is_locked_out_until_the_first_lets_go() {
    let dir = TempDir::new().unwrap();
    let (one, two) = (disk(dir.path()), disk(dir.path()));
    let lock = one.lock(Duration::ZERO).unwrap();
    let started = Instant::now();
    let error = two.lock(SOON).unwrap_err();
    assert!(started.elapsed() >= SOON);
    let Error::Locked { pid, alive, .. } = error else { panic!("{error}") };
    assert_eq!((pid, alive), (Some(std::process::id()), true));
    let waiter = std::thread::spawn(move || two.lock(LONG).map(drop));
    std::thread::sleep(SOON);
    drop(lock);
    waiter.join().unwrap().unwrap();
}

#[test]
fn a_replaced_lock_file_is_not_taken_for_the_lock() {
    let dir = TempDir::new().unwrap();
    let disk = disk(dir.path());
    let old = disk.lock(Duration::ZERO).unwrap();
    disk.remove("LOCK").unwrap();
    let new = disk.lock(Duration::ZERO).unwrap();
    drop(old);
    assert!(disk.lock(Duration::ZERO).is_err());
    drop(new);
    disk.lock(Duration::ZERO).unwrap();
}

fn child(role: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["driver::tests::entry_of_a_child", "--exact", "--nocapture"])
        .env(CHILD_ROLE, role)
        .env(CHILD_DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_process_is_locked_out_by_another_and_takes_over_when_that_is_killed() {
    let dir = TempDir::new().unwrap();
    let disk = disk(dir.path());
    let mut holder = child("hold the lock", dir.path());
    let started = Instant::now();
    let error = loop {
        assert!(started.elapsed() < LONG);
        match disk.lock(Duration::ZERO) {
            Err(error) => break error,
            // Given back before the pause, or the child would never find it free.
            Ok(lock) => drop(lock),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // The pid is written right after the lock is taken.
    std::thread::sleep(SOON);
    drop(error);
    let Err(Error::Locked { pid, alive, .. }) = disk.lock(Duration::ZERO) else { panic!("free") };
    assert_eq!((pid, alive), (Some(holder.id()), true));
    holder.kill().unwrap();
    disk.lock(LONG).unwrap();
    holder.wait().unwrap();
    disk.lock(Duration::ZERO).unwrap();
}

#[test]
fn the_file_size_limit_is_an_error_and_no_signal() {
    let dir = TempDir::new().unwrap();
    assert!(child("meet the limit", dir.path()).wait().unwrap().success());
}

#[test]
fn entry_of_a_child() {
    let (Ok(role), Ok(dir)) = (std::env::var(CHILD_ROLE), std::env::var(CHILD_DIR)) else { return };
    let disk = OsDisk::open(Path::new(&dir), true).unwrap();
    match role.as_str() {
        "hold the lock" => {
            let _lock = disk.lock(LONG).unwrap();
            std::thread::sleep(LONG);
        }
        _ => meet_the_limit(&disk),
    }
}

fn meet_the_limit(disk: &OsDisk) {
    let limit = Rlimit { current: Some(64 << 10), maximum: None };
    let file = disk.open("x", OpenMode::Create).unwrap();
    file.allocate(128 << 10).unwrap();
    setrlimit(Resource::Fsize, limit).unwrap();
    let is_limit = |result: io::Result<()>| {
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    };
    is_limit(file.allocate(256 << 10));
    is_limit(file.write_at(&[1; 100], (64 << 10) - 50));
    is_limit(disk.create_ring("ring", 64 << 10).map(drop));
    file.write_at(&[1; 100], (64 << 10) - 100).unwrap();
    let lock = disk.lock(Duration::ZERO).unwrap();
    for mut driver in drivers(&lock, &Waker::new().unwrap()) {
        driver.submit(Token(0), write(&file, 60 << 10, filled(8192, 1), true));
        driver.submit(Token(1), write(&file, 56 << 10, filled(8192, 1), true));
        for completion in finish(driver.as_mut()) {
            match completion.token.0 {
                0 => is_limit(completion.result),
                _ => completion.result.unwrap(),
            }
        }
    }
}
