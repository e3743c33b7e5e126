//! A segment file mapped for reading: what zero-copy batches point into. Owns the mapping. Never
//! writable, and never touched before [`populate`](SegmentMap::populate) has faulted the range in,
//! so that a damaged medium or a file cut short is an error and not a signal.
//!
//! What it cannot do: keep the kernel from dropping a clean page under memory pressure and reading
//! it again on the next touch. A device that fails at that moment, or a stranger who truncates the
//! file under a live mapping, is SIGBUS. Who cannot accept that reads by copy.

use std::io;
use std::os::fd::BorrowedFd;

use memmap2::{Advice, Mmap, MmapOptions};

/// The first bytes of a file, mapped read-only.
#[derive(Debug)]
pub struct SegmentMap {
    map: Mmap,
}

impl SegmentMap {
    /// Maps the first `len` bytes, which the file must have.
    pub fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // SAFETY: the mapping is private to this type, which hands out only populated ranges that
        // its callers know to be written and immutable for as long as the mapping lives: a segment
        // below the log's released end, in a file that is not recycled while anyone maps it.
        let map = unsafe { MmapOptions::new().len(len).map(&fd) }?;
        Ok(Self { map })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Faults a range in, waiting for the device.
    ///
    /// # Errors
    /// `EFAULT` if a page cannot be had: the file ends before it, or the device fails; `EINVAL`
    /// before Linux 5.14, which knows no such advice.
    pub fn populate(&self, from: usize, len: usize) -> io::Result<()> {
        self.map.advise_range(Advice::PopulateRead, from, len)
    }

    /// The bytes of a range that has been populated.
    pub fn bytes(&self, from: usize, len: usize) -> &[u8] {
        &self.map[from..from + len]
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_is_not_there_is_an_error_and_no_signal() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 8192]).unwrap();
        let map = SegmentMap::map(file.as_fd(), 8192).unwrap();
        map.populate(0, 8192).unwrap();
        assert!(map.bytes(4096, 4096).iter().all(|byte| *byte == 7));
        file.set_len(4096).unwrap();
        let refused = map.populate(0, 8192).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::FAULT.raw_os_error()));
        map.populate(0, 4096).unwrap();
    }
}
