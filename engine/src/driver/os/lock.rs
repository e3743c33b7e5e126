//! The writer's lock: an exclusive `flock` on the file `LOCK`, whose text is the holder's pid. Owns
//! the locked descriptor. Must never be unlocked while the kernel may still write for the holder.
//!
//! Why `flock` and not an OFD lock: both belong to the open file description, so both exclude two
//! engines of one process, both survive the death of the process while an io_uring holds the file
//! registered, and the dead-writer test sees both end with the last write. `flock` needs no write
//! permission on the file and no byte range, so it is the one with less to get wrong. The holder
//! adds an OFD lock all the same: it is what a reader may ask for without taking anything.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};

use crate::buf::fork::NotInChild;
use crate::buf::ofd;
use crate::driver::disk::LockGuard;
use crate::error::{Error, Result};

use super::{check_file_size_limit, open_or_make};

const LOCK_NAME: &str = "LOCK";
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// A pid has at most ten digits; filled up with blanks, and a line feed.
const PID_TEXT_BYTES: usize = 11;

/// A locked `LOCK` file; the last owner's drop releases it.
#[derive(Debug)]
pub struct LockFile {
    _in_child: NotInChild,
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
        // leave the lock to it; and never by that child, whose parent still writes.
        if getpid() == self.owner {
            let _ = ofd::unmark(&self.file);
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
        let file = open_or_make(dir, LOCK_NAME).map(File::from).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Whoever removed or replaced LOCK meanwhile has left us a lock that no one else will
            // meet; take the one that has the name.
            Ok(()) if is_current(dir, &file).map_err(failed)? => return held(file).map_err(failed),
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

/// Whether somebody holds the lock. It asks for the mark beside it, because to try the lock itself
/// could make a writer fail that opens at this moment.
pub(super) fn is_held(dir: &OwnedFd) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, LOCK_NAME, flags, Mode::empty()) {
        Ok(file) => ofd::is_marked(&file),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn is_current(dir: &OwnedFd, file: &File) -> io::Result<bool> {
    let ours = rustix::fs::fstat(file)?;
    match rustix::fs::statat(dir, LOCK_NAME, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn held(file: File) -> io::Result<LockGuard> {
    let in_child = NotInChild::descriptor(&file)?;
    let owner = getpid();
    // Readers ask for it; a filesystem without such locks leaves them to think that nobody writes.
    let _ = ofd::mark(&file);
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
    let file = LockFile { _in_child: in_child, file, owner };
    Ok(LockGuard { file: Some(Arc::new(file)), token: None })
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
