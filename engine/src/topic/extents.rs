//! Extents: where whole record batches lie, for a host that sends them by itself.

use std::os::fd::BorrowedFd;

use bytes::Bytes;

use super::send::Sender;
use crate::ids::Offset;
use crate::log::extents::{Gathered, Piece};

/// Whole record batches of one partition, in order, as ranges of files and pieces of memory: one
/// after the other they are Kafka `RecordBatch`es v2, byte for byte, as a fetch response carries
/// them. What the ring still holds comes as memory, so that a reader that keeps up never touches
/// the disk; the rest as file ranges, to be spliced or sent without passing through this process.
///
/// As long as it lives the files stay open and are used for nothing else, beyond trims, close and
/// engine; that counts under [`Options::pinned_bytes_max`](crate::Options::pinned_bytes_max).
/// Headers have been verified; the records' checksums are for whoever reads them.
#[derive(Debug)]
pub struct Extents {
    gathered: Gathered,
    partition: std::sync::Arc<str>,
}

/// One piece of [`Extents`].
#[derive(Clone, Debug)]
pub enum Extent<'a> {
    /// `len` bytes at `offset` of a file that is open for reading only. Lent: do not close it, and
    /// do not use it beyond the extents.
    File {
        /// The segment's file.
        fd: BorrowedFd<'a>,
        /// First byte in it.
        offset: u64,
        /// Length in bytes.
        len: u64,
    },
    /// These bytes.
    Memory(Bytes),
}

impl Extents {
    pub(crate) fn new(gathered: Gathered, partition: std::sync::Arc<str>) -> Self {
        Self { gathered, partition }
    }

    /// Offset of the first record, which may lie before the one asked for, for batches are whole;
    /// the offset asked for if there is nothing.
    pub fn first_offset(&self) -> Offset {
        self.gathered.first
    }

    /// The offset after the last record: where to go on.
    pub fn next_offset(&self) -> Offset {
        self.gathered.next
    }

    /// Bytes of all extents together.
    pub fn len_bytes(&self) -> u64 {
        self.gathered.len
    }

    /// How many extents there are.
    pub fn len(&self) -> usize {
        self.gathered.pieces.len()
    }

    /// Whether there is nothing: the partition ended at the offset asked for.
    pub fn is_empty(&self) -> bool {
        self.gathered.pieces.is_empty()
    }

    /// The extents, in order.
    pub fn iter(&self) -> impl Iterator<Item = Extent<'_>> {
        self.gathered.pieces.iter().filter_map(|piece| match piece {
            Piece::File { given, at, len } => {
                // Gathered only where there is one.
                let fd = given.file.read_descriptor()?;
                Some(Extent::File { fd, offset: *at, len: *len })
            }
            Piece::Memory(bytes) => Some(Extent::Memory(bytes.clone())),
        })
    }

    /// To send exactly these, which may take several calls.
    pub fn into_sender(self) -> Sender {
        Sender::of(self.gathered, self.partition)
    }
}
