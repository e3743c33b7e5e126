//! One op on its way through the kernel: which entries it takes, and what their results mean. Owns
//! the op's bytes and file, so it must not be dropped while the kernel owes a completion for it.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::{opcode, squeue, types};
use rustix::io::Errno;

use crate::buf::Slice;
use crate::driver::blocking::{descriptor, usable};
use crate::driver::disk::FileRef;
use crate::driver::op::{Op, Token};

/// How often one op may be answered with EINTR or EAGAIN before that is its error.
const RETRIES_MAX: u32 = 1000;

/// Which entry of an op a completion belongs to; the low bit of its user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Write,
    Flush,
}

/// The entries of one round, one linked to the other where there are two.
pub(super) struct Round {
    pub(super) first: squeue::Entry,
    pub(super) second: Option<squeue::Entry>,
}

/// What to do after a completion.
#[derive(Debug)]
pub(super) enum Step {
    /// The kernel owes another one.
    Owed,
    /// Another round: the rest, or the same again.
    Again,
    /// The op has ended.
    Done(io::Result<()>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) token: Token,
    file: FileRef,
    work: Work,
    /// A durable write by write and flush, because one alone is not to be had.
    linked: bool,
    /// The link may not have reached the kernel whole, so the flush may have overtaken the write.
    split: bool,
    owed: u8,
    retries: u32,
    // Of this round.
    wrote: Option<i32>,
    flushed: Option<i32>,
}

#[derive(Debug)]
enum Work {
    Write { at: u64, data: Slice, done: usize, durable: bool },
    Flush,
}

impl Flight {
    pub(super) fn new(token: Token, op: Op) -> Self {
        let (file, work) = match op {
            Op::Write { file, at, data, durable } => {
                (file, Work::Write { at, data, done: 0, durable })
            }
            Op::Flush { file } => (file, Work::Flush),
        };
        Self {
            token,
            file,
            work,
            linked: false,
            split: false,
            owed: 0,
            retries: 0,
            wrote: None,
            flushed: None,
        }
    }

    /// Whether this is a durable write up to `max_bytes` of which the kernel knows nothing yet.
    pub(super) fn is_fresh_durable_write(&self, max_bytes: usize) -> bool {
        let fresh = self.owed == 0 && self.retries == 0 && !self.linked;
        matches!(&self.work, Work::Write { data, done: 0, durable: true, .. }
            if fresh && data.len() <= max_bytes)
    }

    /// The op again, of a flight that never began.
    pub(super) fn into_op(self) -> Op {
        debug_assert!(!self.is_owed(), "the kernel has nothing of it");
        match self.work {
            Work::Write { at, data, durable, .. } => {
                Op::Write { file: self.file, at, data, durable }
            }
            Work::Flush => Op::Flush { file: self.file },
        }
    }

    /// Called when the kernel took fewer entries than it was offered: it ends a link there.
    pub(super) fn distrust_link(&mut self) {
        self.split |= self.linked && self.is_owed();
    }

    /// Whether the kernel may still touch the bytes or the file.
    pub(super) fn is_owed(&self) -> bool {
        self.owed > 0
    }

    /// The entries of the next round, as submitted under `index`.
    pub(super) fn begin(&mut self, index: usize) -> io::Result<Round> {
        debug_assert!(!self.is_owed(), "one round at a time");
        let (fd, direct) = descriptor(&self.file)?;
        let fd = types::Fd(fd.as_raw_fd());
        let flush = opcode::Fsync::new(fd)
            .flags(types::FsyncFlags::DATASYNC)
            .build()
            .user_data(user_data(index, Part::Flush));
        (self.wrote, self.flushed) = (None, None);
        let round = match &self.work {
            Work::Flush => Round { first: flush, second: None },
            Work::Write { at, data, done, durable } => {
                self.linked |= *durable && !direct;
                let rest = &data.as_bytes()[*done..];
                let dsync = if *durable && !self.linked { libc::RWF_DSYNC } else { 0 };
                let write = opcode::Write::new(fd, rest.as_ptr(), rest.len() as u32)
                    .offset(*at + *done as u64)
                    .rw_flags(dsync)
                    .build()
                    .user_data(user_data(index, Part::Write));
                if self.linked {
                    let write = write.flags(squeue::Flags::IO_LINK);
                    Round { first: write, second: Some(flush) }
                } else {
                    Round { first: write, second: None }
                }
            }
        };
        self.owed = 1 + u8::from(round.second.is_some());
        Ok(round)
    }

    /// Takes in a result; negative ones are error numbers.
    pub(super) fn complete(&mut self, part: Part, result: i32) -> Step {
        self.owed -= 1;
        match part {
            Part::Write => self.wrote = Some(result),
            Part::Flush => self.flushed = Some(result),
        }
        if self.is_owed() {
            return Step::Owed;
        }
        match self.verdict() {
            Ok(true) => Step::Done(Ok(())),
            Ok(false) => Step::Again,
            Err(error) => Step::Done(Err(error)),
        }
    }

    /// Of a whole round: whether the op has ended, or needs another.
    fn verdict(&mut self) -> io::Result<bool> {
        let direct = descriptor(&self.file)?.1;
        // A flush that was cancelled never ran: the write before it was short or failed, and that
        // result decides. One that ran and failed is final, whatever the write says: a second one
        // would report success over lost data.
        if let Some(code) = self.flushed
            && code < 0
            && !is(code, Errno::CANCELED)
        {
            return Err(io::Error::from_raw_os_error(-code));
        }
        let Work::Write { data, done, durable, .. } = &mut self.work else {
            return self.flushed.map_or(Ok(false), outcome);
        };
        let code = self.wrote.unwrap_or(0);
        if is(code, Errno::INTR) || is(code, Errno::AGAIN) {
            self.retries += 1;
            return if self.retries > RETRIES_MAX { outcome(code) } else { Ok(false) };
        }
        if is(code, Errno::OPNOTSUPP) && *durable && !self.linked {
            // Durable writes are refused here; nothing was written.
            self.linked = true;
            return Ok(false);
        }
        outcome(code)?;
        *done += usable(code as usize, data.len() - *done, direct)?;
        if *done < data.len() {
            // The next round is durable by itself, and its flush covers what this one wrote.
            return Ok(false);
        }
        if self.split {
            // None that failed is repeated here: that was ruled out above.
            self.work = Work::Flush;
            return Ok(false);
        }
        // The write is whole, so a cancelled flush was cancelled by something else: not durable.
        self.flushed.map_or(Ok(true), outcome)
    }
}

fn is(code: i32, errno: Errno) -> bool {
    code == -errno.raw_os_error()
}

fn outcome(code: i32) -> io::Result<bool> {
    if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(true) }
}

fn user_data(index: usize, part: Part) -> u64 {
    (index as u64) << 1 | u64::from(part == Part::Flush)
}

/// The flight and the entry that a completion belongs to.
pub(super) fn of_user_data(data: u64) -> (usize, Part) {
    let part = if data & 1 == 0 { Part::Write } else { Part::Flush };
    ((data >> 1) as usize, part)
}

#[cfg(test)]
mod tests;
