//! Memory that the kernel or other processes touch: aligned buffers, the mappings of rings and
//! segments, and [`Slice`], the refcounted piece of buffer or ring that an op owns. The only place,
//! with the io_uring driver, where `unsafe` is allowed.
#![expect(unsafe_code, reason = "mappings, aligned memory and raw system calls live here")]
#![allow(
    clippy::len_without_is_empty,
    clippy::missing_panics_doc,
    clippy::cast_ptr_alignment,
    reason = "internal types, never empty; mappings and allocations are aligned to a page"
)]

mod aligned;
pub mod extents;
mod file_size;
pub mod fork;
pub mod futex;
pub mod ofd;
mod page;
mod ring_map;
mod segment_map;
mod sigpipe;
pub mod thread;
mod waker;

use std::fmt;
use std::sync::Arc;

pub use aligned::AlignedBuf;
pub use file_size::check_file_size_limit;
pub use page::Page;
pub use ring_map::RingMap;
pub use segment_map::SegmentMap;
pub use sigpipe::SigpipeBlocked;
pub use waker::Waker;

/// A refcounted range of an [`AlignedBuf`] or of the ring, for the kernel to read from. Whoever
/// makes one sees to it that the bytes do not change while it lives.
#[derive(Clone)]
pub struct Slice {
    owner: Owner,
    start: usize,
    len: usize,
}

#[derive(Clone)]
enum Owner {
    Private(Arc<AlignedBuf>),
    Ring(Arc<RingMap>),
}

impl Slice {
    /// The first `len` bytes of a private buffer.
    pub fn private(buf: Arc<AlignedBuf>, len: usize) -> Self {
        assert!(len <= buf.len(), "slice within its buffer");
        Self { owner: Owner::Private(buf), start: 0, len }
    }

    /// `len` bytes of the ring from log position `position` on; wraps by the double mapping.
    pub fn ring(ring: Arc<RingMap>, position: u64, len: usize) -> Self {
        assert!(len <= ring.len(), "slice within the ring");
        let start = ring.index(position);
        Self { owner: Owner::Ring(ring), start, len }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.owner {
            Owner::Private(buf) => &buf.as_slice()[self.start..self.start + self.len],
            Owner::Ring(ring) => ring.stable_bytes(self.start, self.len),
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({} bytes)", self.len)
    }
}
