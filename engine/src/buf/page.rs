//! One page of a file, mapped shared: words by which processes leave each other marks.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::fork::NotInChild;
use crate::limits::RING_CONTROL_BYTES;

/// A mapped page.
#[derive(Debug)]
pub struct Page {
    in_child: Option<NotInChild>,
    at: NonNull<u8>,
}

// SAFETY: all access goes through atomics.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// Maps the first page of a file that is open for writing, and whose block is allocated, so
    /// that no store can fault on a full disk.
    pub fn map(fd: impl AsFd) -> io::Result<Self> {
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let at = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                RING_CONTROL_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )
        }?;
        let start = NonNull::new(at.cast::<u8>()).expect("mmap never returns null");
        let mut page = Self { in_child: None, at: start };
        // SAFETY: the range is this mapping's own.
        unsafe { rustix::mm::madvise(at, RING_CONTROL_BYTES, Advice::LinuxDontFork) }?;
        page.in_child = Some(NotInChild::mapping(start, RING_CONTROL_BYTES)?);
        Ok(page)
    }

    /// Its first word, of a size that a process can sleep on.
    pub fn mark(&self) -> &AtomicU32 {
        // SAFETY: the start of the page, aligned, alive as long as self, only used as an atomic.
        unsafe { AtomicU32::from_ptr(self.at.as_ptr().cast::<u32>()) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        drop(self.in_child.take());
        // SAFETY: the mapping made in `map`, unmapped once.
        let unmapped = unsafe { rustix::mm::munmap(self.at.as_ptr().cast(), RING_CONTROL_BYTES) };
        debug_assert!(unmapped.is_ok());
    }
}
