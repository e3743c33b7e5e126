//! Writes and reads in flight on one ring of the kernel: slots with a buffer each, used again and
//! again. The only file of the benchmarks with `unsafe`: the kernel reads the buffers, or writes
//! into them, while they are in flight, so a slot's buffer is neither touched nor freed between
//! submission and completion.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::types::{Fixed, FsyncFlags};
use io_uring::{IoUring, opcode, squeue};
use memmap2::MmapMut;
use rustix::io::ReadWriteFlags;

use crate::error::{Context, Error, Result};
use crate::limit::cell::{Cell, How};

/// The file is the only registered one.
const FILE: Fixed = Fixed(0);
/// Marks the completion of a write that an fdatasync is linked to; only failures are reported.
const LINKED_WRITE: u64 = 1 << 32;

struct Slot {
    buffer: MmapMut,
    started: Instant,
    in_flight: bool,
}

/// The slots of one cell on one file.
pub struct Lane {
    // Dropped before the slots: nothing is in flight by then.
    ring: IoUring,
    slots: Vec<Slot>,
    how: How,
}

impl Lane {
    /// Slots for `cell` on `file`, their buffers filled from `content`.
    pub fn new(file: &File, cell: Cell, content: &[u8]) -> Result<Self> {
        let entries = u32::try_from(2 * cell.depth).unwrap_or(u32::MAX).next_power_of_two();
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(entries)
            .context("setting up io_uring")?;
        ring.submitter().register_files(&[file.as_raw_fd()]).context("registering the file")?;
        let mut slots = Vec::with_capacity(cell.depth);
        for _ in 0..cell.depth {
            let mut buffer = MmapMut::map_anon(cell.block_bytes).context("mapping a buffer")?;
            for (byte, value) in buffer.iter_mut().zip(content.iter().cycle()) {
                *byte = *value;
            }
            slots.push(Slot { buffer, started: Instant::now(), in_flight: false });
        }
        Ok(Self { ring, slots, how: cell.how })
    }

    /// Queues a write, or read, of slot `index` at `offset` in the file; it goes with the next
    /// [`wait`].
    ///
    /// [`wait`]: Self::wait
    #[expect(unsafe_code, reason = "the kernel is told the address of a slot's buffer")]
    pub fn submit(&mut self, index: usize, offset: u64, now: Instant) -> Result<()> {
        let slot = &mut self.slots[index];
        assert!(!slot.in_flight, "a slot is submitted again only after its completion");
        let len = slot.buffer.len() as u32;
        let write = opcode::Write::new(FILE, slot.buffer.as_ptr(), len).offset(offset);
        let tag = index as u64;
        let sync = opcode::Fsync::new(FILE).flags(FsyncFlags::DATASYNC).build().user_data(tag);
        let (write, entries) = match self.how {
            How::Direct => (write.build().user_data(tag), 1),
            How::DirectRead => {
                let into = slot.buffer.as_mut_ptr();
                let read = opcode::Read::new(FILE, into, len).offset(offset);
                (read.build().user_data(tag), 1)
            }
            How::DirectDsync => {
                let flags = ReadWriteFlags::DSYNC.bits().cast_signed();
                (write.rw_flags(flags).build().user_data(tag), 1)
            }
            How::BufferedFdatasync => {
                let link = squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS;
                (write.build().flags(link).user_data(tag | LINKED_WRITE), 2)
            }
        };
        // SAFETY: the entries point into an anonymous mapping that this slot owns. It is touched
        // by nobody but the kernel while `in_flight`, and unmapped only after the last completion:
        // `drop` waits for it, or leaks the buffers.
        unsafe { self.ring.submission().push_multiple(&[write, sync][..entries]) }
            .context("queueing a write: the ring has room for every slot")?;
        slot.in_flight = true;
        slot.started = now;
        Ok(())
    }

    /// Submits what is queued, waits for one completion or more, and tells of each the slot and
    /// the time since it was queued.
    pub fn wait(&mut self, mut done: impl FnMut(usize, Instant, Duration)) -> Result<()> {
        match self.ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("waiting for io_uring"),
        }
        let now = Instant::now();
        let mut failed = None;
        for completion in self.ring.completion() {
            let tag = completion.user_data();
            let slot = &mut self.slots[(tag & (LINKED_WRITE - 1)) as usize];
            let is_sync = self.how == How::BufferedFdatasync && tag & LINKED_WRITE == 0;
            let expected = if is_sync { 0 } else { slot.buffer.len() as i32 };
            if completion.result() < 0 {
                let error = io::Error::from_raw_os_error(-completion.result());
                failed.get_or_insert(Error::new(format!("a write failed: {error}")));
            } else if completion.result() != expected {
                failed.get_or_insert(Error::new("a write was short"));
            }
            if tag & LINKED_WRITE == 0 {
                slot.in_flight = false;
                done(tag as usize, now, now - slot.started);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// How many slots there are.
    pub fn depth(&self) -> usize {
        self.slots.len()
    }

    /// Waits until nothing is in flight.
    pub fn drain(&mut self) -> Result<()> {
        while self.slots.iter().any(|slot| slot.in_flight) {
            self.wait(|_, _, _| {})?;
        }
        Ok(())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // A failed write ends `drain` early; the completions still to come do not end.
        for _ in 0..=2 * self.slots.len() {
            if self.drain().is_ok() {
                return;
            }
        }
        std::mem::forget(std::mem::take(&mut self.slots));
    }
}
