//! The writer's lock: an exclusive `flock` on the file `LOCK`, whose text is the holder's pid. Owns
//! the locked descriptor. Must never be unlocked while the kernel may still write for the holder.
//! And the readers': a shared one on `READERS`, which keeps segments from being recycled.
//!
//! Why `flock` and not an OFD lock: both belong to the open file description, so both exclude two
//! engines of one process, both survive the death of the process while an io_uring holds the file
//! registered, and the dead-writer test sees both end with the last write. `flock` needs no write
//! permission on the file and no byte range, so it is the one with less to get wrong.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, FlockOperation, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};

use crate::driver::disk::{LockGuard, ReadersHold};
use crate::error::{Error, Result};

use super::{FILE_MODE, check_file_size_limit};

const LOCK_NAME: &str = "LOCK";
const READERS_NAME: &str = "READERS";
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// A pid has at most ten digits; filled up with blanks, and a line feed.
const PID_TEXT_BYTES: usize = 11;

/// A locked `LOCK` file; the last owner's drop releases it.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    owner: Pid,
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Unlocked by hand, because a forked child may share the description and closing ours would
        // leave the lock to it; and never by that child, whose parent still writes. (That the child
        // closes its copy at the fork is another issue's work.)
        if getpid() == self.owner {
            let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
        }
    }
}

/// Takes the lock of the directory `dir` at `root`, trying until `wait` has passed.
pub(super) fn acquire(dir: &OwnedFd, root: &Path, wait: Duration) -> Result<LockGuard> {
    let path = root.join(LOCK_NAME);
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            Error::ReadOnly { path: root.to_path_buf() }
        }
        _ => Error::io("lock data directory", &path, source),
    };
    // LOCK itself may be writable in a directory that is not; recovery needs the directory.
    rustix::fs::accessat(dir, c".", Access::WRITE_OK, AtFlags::EACCESS)
        .map_err(|errno| failed(errno.into()))?;
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let file = open(dir, LOCK_NAME).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Whoever removed or replaced LOCK meanwhile has left us a lock that no one else will
            // meet; take the one that has the name.
            Ok(()) if is_current(dir, LOCK_NAME, &file).map_err(failed)? => return Ok(held(file)),
            Ok(()) | Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if started.elapsed() >= wait => return Err(locked(path, &file)),
            Err(Errno::WOULDBLOCK) => {
                std::thread::sleep(pause.min(wait.saturating_sub(started.elapsed())));
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(errno) => return Err(failed(errno.into())),
        }
    }
}

/// Holds READERS shared, waiting for whoever excludes it.
pub(super) fn hold_readers(dir: &OwnedFd) -> io::Result<ReadersHold> {
    loop {
        let file = open(dir, READERS_NAME)?;
        match rustix::fs::flock(&file, FlockOperation::LockShared) {
            Ok(()) if is_current(dir, READERS_NAME, &file)? => return Ok(readers(file)),
            Ok(()) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Holds READERS exclusively; `None` if anyone holds it.
pub(super) fn exclude_readers(dir: &OwnedFd) -> io::Result<Option<ReadersHold>> {
    loop {
        let file = open(dir, READERS_NAME)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_current(dir, READERS_NAME, &file)? => return Ok(Some(readers(file))),
            Ok(()) | Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn readers(file: File) -> ReadersHold {
    ReadersHold { file: Some(LockFile { file, owner: getpid() }) }
}

fn open(dir: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(dir, name, flags, FILE_MODE)?))
}

fn is_current(dir: &OwnedFd, name: &str, file: &File) -> io::Result<bool> {
    let ours = rustix::fs::fstat(file)?;
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn held(file: File) -> LockGuard {
    let owner = getpid();
    // Always the same length and never truncated first: ext4 writes a truncated and rewritten file
    // out when it is closed, and a truncation would then wait for that page of a killed holder,
    // behind all its other writes (measured: 2.9 s on a throttled device).
    let text = format!("{:<width$}\n", owner.as_raw_nonzero(), width = PID_TEXT_BYTES - 1);
    let written = check_file_size_limit(text.len() as u64)
        .and_then(|()| file.write_all_at(text.as_bytes(), 0));
    if written.is_err() {
        // The text is for messages only, so a full disk keeps no one from opening; but the pid of
        // a dead holder must not stay.
        let _ = file.set_len(0);
    }
    LockGuard { file: Some(Arc::new(LockFile { file, owner })), token: None }
}

fn locked(path: PathBuf, file: &File) -> Error {
    let pid = holder(file);
    Error::Locked { path, pid, alive: pid.is_none_or(is_alive) }
}

fn holder(file: &File) -> Option<u32> {
    let mut text = [0; PID_TEXT_BYTES];
    let len = file.read_at(&mut text, 0).ok()?;
    str::from_utf8(&text[..len]).ok()?.trim().parse().ok()
}

/// Whether the process runs. A killed one that waits for its parent does not.
fn is_alive(pid: u32) -> bool {
    let known = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match known.map(test_kill_process) {
        None | Some(Err(Errno::SRCH)) => return false,
        Some(_) => {}
    }
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    // The state follows the command's name, which is in parentheses and may hold any of them.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X'))
}
