//! The cells of the device's table: how a write or read is made, its size, and how many are in
//! flight.

use std::fmt;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// How a write or read is made, and what its completion proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// `O_DIRECT` with `RWF_DSYNC`: durable by itself.
    DirectDsync,
    /// Through the page cache, linked to an fdatasync: durable when that completes.
    BufferedFdatasync,
    /// `O_DIRECT` alone: handed to the device, not proven durable.
    Direct,
    /// A read with `O_DIRECT`.
    DirectRead,
}

impl How {
    /// Its short name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DirectDsync => "direct dsync",
            Self::BufferedFdatasync => "buffered fdatasync",
            Self::Direct => "direct",
            Self::DirectRead => "direct read",
        }
    }
}

/// One cell: `depth` writes of `block_bytes` in flight in a closed loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    /// How each write is made.
    pub how: How,
    /// Size of a write, or read.
    pub block_bytes: usize,
    /// How many are in flight.
    pub depth: usize,
}

impl Cell {
    const fn new(how: How, block_bytes: usize, depth: usize) -> Self {
        Self { how, block_bytes, depth }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = self.how.name();
        if self.block_bytes.is_multiple_of(MIB) {
            write!(f, "{how} {}M QD{}", self.block_bytes / MIB, self.depth)
        } else {
            write!(f, "{how} {}K QD{}", self.block_bytes / KIB, self.depth)
        }
    }
}

/// The device with 4 KiB in flight.
pub const ONE_BLOCK: &[Cell] = &[Cell::new(How::DirectDsync, 4 * KIB, 1)];

/// The device with 64 KiB in flight.
pub const DURABLE_64K: &[Cell] = &[
    Cell::new(How::DirectDsync, 64 * KIB, 1),
    Cell::new(How::DirectDsync, 16 * KIB, 4),
    Cell::new(How::DirectDsync, 4 * KIB, 16),
];

/// The device with 2 MiB in flight.
pub const DURABLE_2M: &[Cell] = &[
    Cell::new(How::DirectDsync, 2 * MIB, 1),
    Cell::new(How::DirectDsync, MIB, 2),
    Cell::new(How::DirectDsync, 256 * KIB, 8),
];

/// The device's bandwidth when nothing is proven.
pub const BANDWIDTH: &[Cell] = &[
    Cell::new(How::Direct, 256 * KIB, 4),
    Cell::new(How::Direct, 256 * KIB, 8),
    Cell::new(How::Direct, MIB, 2),
    Cell::new(How::Direct, MIB, 4),
];

/// The device's bandwidth of reading one stretch after another.
pub const READS: &[Cell] = &[
    Cell::new(How::DirectRead, 256 * KIB, 4),
    Cell::new(How::DirectRead, MIB, 2),
    Cell::new(How::DirectRead, MIB, 4),
];

/// The sizes in between, which no workload is measured against.
const OTHER_DURABLE: &[Cell] = &[
    Cell::new(How::DirectDsync, 64 * KIB, 4),
    Cell::new(How::DirectDsync, 256 * KIB, 4),
    Cell::new(How::DirectDsync, MIB, 1),
];

/// The usual way, for comparison.
const USUAL: &[Cell] = &[
    Cell::new(How::BufferedFdatasync, 4 * KIB, 1),
    Cell::new(How::BufferedFdatasync, 4 * KIB, 16),
    Cell::new(How::BufferedFdatasync, 64 * KIB, 1),
    Cell::new(How::BufferedFdatasync, 64 * KIB, 4),
    Cell::new(How::BufferedFdatasync, 256 * KIB, 4),
    Cell::new(How::BufferedFdatasync, MIB, 1),
    Cell::new(How::BufferedFdatasync, MIB, 2),
];

/// All cells of the table, in its order.
pub fn all() -> Vec<Cell> {
    let mut durable = [ONE_BLOCK, DURABLE_64K, OTHER_DURABLE, DURABLE_2M].concat();
    durable.sort_by_key(|cell| (cell.block_bytes, cell.depth));
    [&durable, USUAL, BANDWIDTH, READS].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cells_of_a_yardstick_have_the_same_bytes_in_flight() {
        for (cells, bytes) in [(DURABLE_64K, 64 * KIB), (DURABLE_2M, 2 * MIB)] {
            assert!(cells.iter().all(|cell| cell.block_bytes * cell.depth == bytes));
        }
    }

    #[test]
    fn a_cell_names_itself() {
        assert_eq!(ONE_BLOCK[0].to_string(), "direct dsync 4K QD1");
        assert_eq!(BANDWIDTH[2].to_string(), "direct 1M QD2");
    }
}
