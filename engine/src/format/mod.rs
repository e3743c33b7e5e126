//! The bytes on disk, one file per object, each with its layout as a table in its module docs and
//! in `docs/format.md`. Pure: slices in, values out; hostile bytes give an error, never a panic.
//!
//! Integers are little-endian, except inside a record batch, where Kafka's are big-endian.
//! Checksums are CRC32C.

pub mod checkpoint;
pub(crate) mod compression;
pub mod engine_meta;
pub mod frame;
#[cfg(test)]
mod golden;
pub mod group;
pub mod index;
pub mod record;
pub mod record_batch;
pub mod ring_control;
pub mod segment_header;

use uuid::Uuid;

use crate::checksum;

/// Version of the disk format. 0 is provisional: any build may change it.
pub const FORMAT_VERSION: u32 = 0;

/// What every checksum of a log starts from, so that bytes of another log never verify.
#[derive(Clone, Copy, Debug)]
pub struct Seed(u32);

impl Seed {
    /// The seed of the log with this uuid.
    pub fn of(log: Uuid) -> Self {
        Self(checksum::crc32c(log.as_bytes()))
    }

    /// CRC32C over the log's uuid and `bytes`.
    pub fn checksum(self, bytes: &[u8]) -> u32 {
        checksum::crc32c_append(self.0, bytes)
    }
}
