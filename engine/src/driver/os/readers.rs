//! The file `READERS`: a shared `flock` on it says that somebody outside the writer may still read
//! a segment that the writer retires. Owns the descriptor of one hold. Must never be created by
//! whoever only reads: the writer makes it when it opens.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::buf::ofd;
use crate::driver::disk::ReadersGuard;

use super::{open_or_make, refused};

const NAME: &str = "READERS";

/// Makes the file if it is not there.
pub(super) fn make(dir: &OwnedFd) -> io::Result<()> {
    open_or_make(dir, NAME).map(drop)
}

fn open(dir: &OwnedFd) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, NAME, flags, Mode::empty()) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(Errno::NOENT | Errno::ACCESS) => Ok(None),
        Err(errno) => Err(refused(errno)),
    }
}

/// Holds it together with other readers. Waits while the writer sets a segment aside, which takes
/// a rename.
pub(super) fn hold(dir: &OwnedFd) -> io::Result<Option<ReadersGuard>> {
    let Some(file) = open(dir)? else { return Ok(None) };
    loop {
        match rustix::fs::flock(&file, FlockOperation::LockShared) {
            Ok(()) => {
                // For the writer to ask for; where there are no such locks it thinks itself alone.
                let _ = ofd::mark_shared(&file);
                return Ok(Some(ReadersGuard::new(Arc::new(file))));
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Whether somebody holds it, without disturbing who is about to.
pub(super) fn is_held(dir: &OwnedFd) -> io::Result<bool> {
    open(dir)?.map_or(Ok(false), ofd::is_marked_at_all)
}

/// Keeps readers out for the moment; `None` if somebody holds it, or nobody can know.
pub(super) fn exclude(dir: &OwnedFd) -> io::Result<Option<ReadersGuard>> {
    let Some(file) = open(dir)? else { return Ok(None) };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(ReadersGuard::new(Arc::new(file)))),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
