//! The plain driver, for where io_uring is denied: `pwritev2` and `fdatasync` on the thread that
//! waits. Owns the ops until they are done. Must never execute in `submit`, and never call a write
//! durable that the kernel has not synced.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags};

use crate::buf::Waker;
use crate::driver::disk::FileRef;
use crate::driver::op::{Completion, Driver, Op, Token};
use crate::driver::os::check_file_size_limit;
use crate::limits::GROUP_ALIGN;

/// See the module.
#[derive(Debug)]
pub struct Blocking {
    waker: Waker,
    queue: VecDeque<(Token, Op)>,
    // Remembered, so that a kernel without RWF_DSYNC is asked once.
    dsync_refused: bool,
}

impl Blocking {
    /// A driver that `waker` wakes.
    pub fn new(waker: Waker) -> Self {
        Self { waker, queue: VecDeque::new(), dsync_refused: false }
    }

    pub(super) fn execute(&mut self, op: Op) -> io::Result<()> {
        match op {
            Op::Write { file, at, data, durable } => {
                self.write(&file, at, data.as_bytes(), durable)
            }
            // Never retried, not even after EINTR: what failed once may be reported as done by a
            // second call although it is gone.
            Op::Flush { file } => Ok(rustix::fs::fdatasync(descriptor(&file)?.0)?),
        }
    }

    fn write(&mut self, file: &FileRef, at: u64, data: &[u8], durable: bool) -> io::Result<()> {
        let (fd, direct) = descriptor(file)?;
        check_file_size_limit(at.checked_add(data.len() as u64).ok_or(Errno::FBIG)?)?;
        let mut done = 0;
        while done < data.len() {
            let dsync = durable && direct && !self.dsync_refused;
            let flags = if dsync { ReadWriteFlags::DSYNC } else { ReadWriteFlags::empty() };
            let rest = &data[done..];
            let wrote = if dsync {
                rustix::io::pwritev2(fd, &[IoSlice::new(rest)], at + done as u64, flags)
            } else {
                rustix::io::pwrite(fd, rest, at + done as u64)
            };
            match wrote {
                Ok(n) => done += usable(n, rest.len(), direct)?,
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) if dsync => self.dsync_refused = true,
                Err(errno) => return Err(errno.into()),
            }
        }
        if durable && (!direct || self.dsync_refused) {
            rustix::fs::fdatasync(fd)?;
        }
        Ok(())
    }
}

/// The data path's descriptor of a file, and whether it is direct.
pub(super) fn descriptor(file: &FileRef) -> io::Result<(BorrowedFd<'_>, bool)> {
    let found = file.descriptors().ok_or(Errno::BADF)?;
    Ok((found.write, found.direct))
}

/// How much of a write of `len` bytes that took `written` counts: a direct write goes on at the
/// block boundary below, and one that makes no progress never will.
pub(super) fn usable(written: usize, len: usize, direct: bool) -> io::Result<usize> {
    let counted = if direct && written < len { written & !(GROUP_ALIGN - 1) } else { written };
    if counted == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(counted)
}

impl Driver for Blocking {
    fn submit(&mut self, token: Token, op: Op) {
        self.queue.push_back((token, op));
    }

    fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    // One op a call: its completion reaches the log before the next op holds the thread.
    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        if let Some((token, op)) = self.queue.pop_front() {
            out.push(Completion { token, result: self.execute(op) });
            return Ok(());
        }
        let timeout = timeout.map(timespec);
        let fd = self.waker.as_fd();
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(()),
            Ok(_) => {
                self.waker.clear();
                Ok(())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn in_flight(&self) -> usize {
        self.queue.len()
    }

    fn name(&self) -> &'static str {
        "pwritev2"
    }
}

/// Longer than any process lives is the same as that long.
fn timespec(timeout: Duration) -> Timespec {
    let seconds = timeout.as_secs().min(i32::MAX as u64);
    Timespec { tv_sec: seconds as i64, tv_nsec: timeout.subsec_nanos().into() }
}
