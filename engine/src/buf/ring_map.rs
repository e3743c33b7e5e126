//! The ring's mapping: a control page, then the tail mapped twice, adjacent, so that a range that
//! wraps needs no case. Shared with other threads and processes, therefore written and copied in
//! relaxed atomic words; only ranges that no one writes any more are handed out as bytes.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::MemfdFlags;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::fork::NotInChild;
use super::{check_file_size_limit, futex};
use crate::limits::RING_CONTROL_BYTES;
#[cfg(ringlog_shuttle)]
use crate::sync;

/// A mapped ring.
#[derive(Debug)]
pub struct RingMap {
    /// Where it was mapped a forked child has private zeros.
    in_child: Option<NotInChild>,
    control: NonNull<u8>,
    tail: NonNull<u8>,
    len: usize,
    /// The words of the control page, where a model checker has its own.
    #[cfg(ringlog_shuttle)]
    model: Box<[sync::atomic::AtomicU64]>,
}

// SAFETY: all shared access goes through atomics, or through ranges documented as stable.
unsafe impl Send for RingMap {}
// SAFETY: as above.
unsafe impl Sync for RingMap {}

const WORD: usize = size_of::<u64>();

impl RingMap {
    /// A ring in private memory, for logs without a ring file.
    pub fn private(len: usize) -> io::Result<Self> {
        let total = (RING_CONTROL_BYTES + len) as u64;
        check_file_size_limit(total)?;
        let fd = rustix::fs::memfd_create("ringlog-ring", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&fd, total)?;
        Self::map(fd, len)
    }

    /// Maps a file of a control page and `len` bytes; its blocks must be allocated already, so that
    /// no store can fault on a full disk. `len` is a power of two.
    pub fn map(fd: impl AsFd, len: usize) -> io::Result<Self> {
        Self::map_as(fd, len, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// As [`map`](Self::map), of another process's ring: only to load from. A store into it, or
    /// into its control page, is a fault.
    pub fn map_read_only(fd: impl AsFd, len: usize) -> io::Result<Self> {
        Self::map_as(fd, len, ProtFlags::READ)
    }

    fn map_as(fd: impl AsFd, len: usize, access: ProtFlags) -> io::Result<Self> {
        let valid = len.is_power_of_two() && len.is_multiple_of(RING_CONTROL_BYTES);
        if !valid {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "length of the ring"));
        }
        let total = RING_CONTROL_BYTES + 2 * len;
        // SAFETY: a fresh anonymous reservation at an address of the kernel's choice.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                total,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        let base = NonNull::new(base.cast::<u8>()).expect("mmap never returns null");
        // From here on Drop unmaps the whole reservation.
        // SAFETY: the control page is within the reservation.
        let tail = unsafe { base.add(RING_CONTROL_BYTES) };
        let mut map = Self {
            in_child: None,
            control: base,
            tail,
            len,
            #[cfg(ringlog_shuttle)]
            model: (0..RING_CONTROL_BYTES / WORD).map(|_| Default::default()).collect(),
        };
        map.place(&fd, 0, RING_CONTROL_BYTES + len, 0, access)?;
        map.place(&fd, RING_CONTROL_BYTES + len, len, RING_CONTROL_BYTES as u64, access)?;
        // SAFETY: the range is this mapping's own.
        unsafe { rustix::mm::madvise(base.as_ptr().cast(), total, Advice::LinuxDontFork) }?;
        map.in_child = Some(NotInChild::mapping(base, total)?);
        Ok(map)
    }

    fn place(
        &self,
        fd: &impl AsFd,
        start: usize,
        len: usize,
        offset: u64,
        access: ProtFlags,
    ) -> io::Result<()> {
        // SAFETY: replaces a part of this mapping's own reservation, to which nothing points yet.
        let placed = unsafe {
            rustix::mm::mmap(
                self.control.as_ptr().add(start).cast(),
                len,
                access,
                MapFlags::SHARED | MapFlags::FIXED,
                fd,
                offset,
            )
        }?;
        debug_assert_eq!(placed.cast::<u8>(), self.control.as_ptr().wrapping_add(start));
        Ok(())
    }

    /// Length of the tail in bytes, a power of two.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where a log position lies in the tail.
    pub fn index(&self, position: u64) -> usize {
        position as usize & (self.len - 1)
    }

    /// The `index`-th word of the control page.
    #[cfg(ringlog_shuttle)]
    pub fn control(&self, index: usize) -> &sync::atomic::AtomicU64 {
        &self.model[index]
    }

    /// The `index`-th word of the control page.
    #[cfg(not(ringlog_shuttle))]
    pub fn control(&self, index: usize) -> &AtomicU64 {
        assert!(index < RING_CONTROL_BYTES / WORD, "word within the control page");
        // SAFETY: within the control page, aligned, alive as long as self, and only ever accessed
        // as an atomic.
        unsafe { AtomicU64::from_ptr(self.control.as_ptr().cast::<u64>().add(index)) }
    }

    /// The low half of a word of the control page, which is what a process can sleep on.
    pub fn low_half(&self, index: usize) -> &AtomicU32 {
        assert!(index < RING_CONTROL_BYTES / WORD, "word within the control page");
        let low = 2 * index + usize::from(cfg!(target_endian = "big"));
        // SAFETY: one half of a word of the control page, which outlives the borrow; aligned, and
        // only loaded: by the kernel, and atomically.
        unsafe { AtomicU32::from_ptr(self.control.as_ptr().cast::<u32>().add(low)) }
    }

    /// Wakes everyone who sleeps on a word of the control page, in whatever process.
    pub fn wake(&self, index: usize) {
        futex::wake_all(self.low_half(index));
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        debug_assert!(index.is_multiple_of(WORD) && index + WORD <= 2 * self.len);
        // SAFETY: callers stay within the double mapping (checked by `range`), 8-aligned.
        unsafe { AtomicU64::from_ptr(self.tail.as_ptr().add(index).cast::<u64>()) }
    }

    fn range(&self, position: u64, len: usize) -> usize {
        assert!(len <= self.len && position.is_multiple_of(WORD as u64), "range within the ring");
        self.index(position)
    }

    /// Stores `bytes` at `position` (a multiple of 8); a last partial word is filled with zeros.
    pub fn store(&self, position: u64, bytes: &[u8]) {
        let start = self.range(position, bytes.len().next_multiple_of(WORD));
        let (words, rest) = bytes.as_chunks::<WORD>();
        for (i, word) in words.iter().enumerate() {
            self.word(start + i * WORD).store(u64::from_le_bytes(*word).to_le(), Ordering::Relaxed);
        }
        if !rest.is_empty() {
            let mut last = [0; WORD];
            last[..rest.len()].copy_from_slice(rest);
            let word = u64::from_le_bytes(last).to_le();
            self.word(start + words.len() * WORD).store(word, Ordering::Relaxed);
        }
    }

    /// Stores zeros.
    pub fn zero(&self, position: u64, len: usize) {
        let start = self.range(position, len);
        for at in (start..start + len).step_by(WORD) {
            self.word(at).store(0, Ordering::Relaxed);
        }
    }

    /// Copies from `position` (a multiple of 8) on; what was overwritten meanwhile comes out mixed,
    /// so the caller checks afterwards that it was still whole.
    pub fn load(&self, position: u64, out: &mut [u8]) {
        let start = self.range(position, out.len().next_multiple_of(WORD));
        let (words, rest) = out.as_chunks_mut::<WORD>();
        let count = words.len();
        for (i, word) in words.iter_mut().enumerate() {
            let value = self.word(start + i * WORD).load(Ordering::Relaxed);
            *word = u64::from_le(value).to_le_bytes();
        }
        if !rest.is_empty() {
            let value = self.word(start + count * WORD).load(Ordering::Relaxed);
            rest.copy_from_slice(&u64::from_le(value).to_le_bytes()[..rest.len()]);
        }
    }

    /// Bytes that no one writes any more: a closed, committed group until its place is given back.
    pub(super) fn stable_bytes(&self, start: usize, len: usize) -> &[u8] {
        assert!(start < self.len && len <= self.len, "range within the ring");
        // SAFETY: within the double mapping; the log keeps the range unchanged while a Slice of it
        // lives (its place is given back only after the op that owns the slice has completed).
        unsafe { std::slice::from_raw_parts(self.tail.as_ptr().add(start), len) }
    }

    /// Faults the pages of a range in for writing, so that appenders meet no fault. Errors (a full
    /// disk, a lost device) surface here, typed, instead of as a signal.
    pub fn populate(&self, position: u64, len: usize) -> io::Result<()> {
        let from = self.index(position) & !(RING_CONTROL_BYTES - 1);
        let len = len.min(self.len).next_multiple_of(RING_CONTROL_BYTES);
        // SAFETY: madvise on a page-aligned part of this mapping.
        unsafe {
            let at = self.tail.as_ptr().add(from).cast();
            rustix::mm::madvise(at, len, Advice::LinuxPopulateWrite)?;
            let at = self.control.as_ptr().cast();
            rustix::mm::madvise(at, RING_CONTROL_BYTES, Advice::LinuxPopulateWrite)?;
        }
        Ok(())
    }
}

impl Drop for RingMap {
    fn drop(&mut self) {
        let total = RING_CONTROL_BYTES + 2 * self.len;
        drop(self.in_child.take());
        // SAFETY: the whole reservation made in `map`, unmapped once.
        let unmapped = unsafe { rustix::mm::munmap(self.control.as_ptr().cast(), total) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_wraps_reads_back_in_one_piece() {
        let ring = RingMap::private(64 << 10).unwrap();
        let position = (64 << 10) * 7 - 16;
        let bytes: Vec<u8> = (0..100).collect();
        ring.store(position, &bytes);
        let mut out = vec![0; 100];
        ring.load(position, &mut out);
        assert_eq!(out, bytes);
        assert_eq!(&ring.stable_bytes(ring.index(position), 100), &bytes);
        ring.zero(position, 104);
        ring.load(position, &mut out);
        assert!(out.iter().all(|byte| *byte == 0));
    }
}
