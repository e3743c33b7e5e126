//! The workloads by name: what is appended, how it is acknowledged, and what it is compared with.

use serde::Serialize;

use crate::limit::cell::{self, Cell};
use crate::target::Level;

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Producers {
    /// Blocking threads, one batch in flight each.
    Threads,
    /// Futures, all of them polled by one thread.
    Futures,
}

/// How a workload is compared with the device's best cell of the same bytes in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yardstick {
    /// Median latency of an acknowledgement over that of a write: smaller is better.
    Latency,
    /// Value bytes a second over the cell's bytes a second: larger is better.
    Bytes,
}

/// The floor that a workload has to reach in `steady` mode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Floor {
    /// At most these multiples of the device's p50 and p99.
    Latencies {
        /// Largest ratio of the medians.
        p50: f64,
        /// Largest ratio of the 99th percentiles.
        p99: f64,
    },
    /// At least this part of the device's rate.
    Ratio(f64),
    /// At least this many records a second.
    PerSec(f64),
}

/// One workload.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name on the command line and in results.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Acknowledgement level.
    pub level: Level,
    /// Size of a value.
    pub value_bytes: usize,
    /// Records of each append, which is one batch.
    pub batch: usize,
    /// Partitions, to which the batches go in turn.
    pub partitions: u32,
    /// Batches in flight.
    pub in_flight: usize,
    /// Who appends.
    pub producers: Producers,
    /// Its device cells.
    pub cells: &'static [Cell],
    /// How they are compared.
    pub yardstick: Yardstick,
    /// What it has to reach.
    pub floor: Floor,
    /// Size of a segment, where the default is too large to be written ten times in a minute.
    pub segment_bytes: Option<u64>,
    /// Guess of the log bytes per record, for targets that do not count them.
    pub log_bytes_per_record: u64,
}

impl Spec {
    /// The workload of this name.
    pub fn named(name: &str) -> Option<Self> {
        let all = DURABLE.iter().chain(WRITTEN).chain([&F1]).chain(SHARDS);
        all.copied().find(|spec| spec.name == name)
    }

    /// The partition of the batch that begins with value number `index`.
    pub const fn partition(&self, index: usize) -> u32 {
        ((index / self.batch) % self.partitions as usize) as u32
    }
}

const D1: Spec = Spec {
    name: "d1",
    about: "durable, one blocking producer",
    level: Level::Durable,
    value_bytes: 1024,
    batch: 1,
    partitions: 1,
    in_flight: 1,
    producers: Producers::Threads,
    cells: cell::ONE_BLOCK,
    yardstick: Yardstick::Latency,
    floor: Floor::Latencies { p50: 1.3, p99: 1.5 },
    segment_bytes: Some(32 << 20),
    log_bytes_per_record: 4096,
};

/// Durable, 64 futures of one thread, one partition.
pub const D2A: Spec = Spec {
    name: "d2a",
    about: "durable, 64 futures of one thread",
    in_flight: 64,
    producers: Producers::Futures,
    cells: cell::DURABLE_64K,
    yardstick: Yardstick::Bytes,
    floor: Floor::Ratio(0.4),
    log_bytes_per_record: 1160,
    ..D1
};

const D2B: Spec = Spec {
    name: "d2b",
    about: "durable, 64 blocking threads",
    producers: Producers::Threads,
    floor: Floor::PerSec(100_000.0),
    ..D2A
};

/// As [`D2A`], the appends going to 1,000 partitions in turn. What it is held against is [`D2A`].
pub const F1: Spec = Spec {
    name: "f1",
    about: "durable, 64 futures of one thread, 1,000 partitions in turn",
    partitions: 1000,
    ..D2A
};

/// Durable, batches of 256.
pub const D3: Spec = Spec {
    name: "d3",
    about: "durable, batches of 256, 8 in flight",
    batch: 256,
    in_flight: 8,
    cells: cell::DURABLE_2M,
    floor: Floor::Ratio(0.5),
    segment_bytes: None,
    log_bytes_per_record: 1040,
    ..D2A
};

/// Written, one at a time, 1 KiB.
pub const A1_1K: Spec = Spec {
    name: "a1-1k",
    about: "written, one blocking producer, 1 KiB",
    level: Level::Written,
    in_flight: 1,
    producers: Producers::Threads,
    batch: 1,
    cells: cell::BANDWIDTH,
    floor: Floor::Ratio(0.6),
    log_bytes_per_record: 1128,
    ..D3
};

const A1_100: Spec = Spec {
    name: "a1-100",
    about: "written, one blocking producer, 100 B",
    value_bytes: 100,
    floor: Floor::PerSec(2_000_000.0),
    log_bytes_per_record: 208,
    ..A1_1K
};

/// What two shards may share: appends to two partitions.
pub const SHARDS: &[Spec] = &[
    Spec {
        name: "sh-d2a",
        about: "durable, 64 futures of one thread, two partitions",
        partitions: 2,
        ..D2A
    },
    Spec {
        name: "sh-a1-100",
        about: "written, two blocking producers, 100 B, two partitions",
        partitions: 2,
        in_flight: 2,
        ..A1_100
    },
];

/// Written, batches of 256, 100 B.
pub const A2: Spec = Spec {
    name: "a2",
    about: "written, one blocking producer, batches of 256, 100 B",
    batch: 256,
    floor: Floor::PerSec(5_000_000.0),
    log_bytes_per_record: 108,
    ..A1_100
};

/// The durable workloads.
pub const DURABLE: &[Spec] = &[D1, D2A, D2B, D3];

/// The written workloads.
pub const WRITTEN: &[Spec] = &[A1_100, A1_1K, A2];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_go_to_all_partitions_in_turn() {
        let at = |index| F1.partition(index);
        assert_eq!([at(0), at(1), at(999), at(1000)], [0, 1, 999, 0]);
        let spec = Spec { batch: 8, partitions: 2, ..D3 };
        assert_eq!([0, 7, 8, 15, 16].map(|index| spec.partition(index)), [0, 0, 1, 1, 0]);
    }

    #[test]
    fn a_durable_workload_has_as_many_value_bytes_in_flight_as_its_cells_hold() {
        for spec in &DURABLE[1..] {
            let bytes = spec.value_bytes * spec.batch * spec.in_flight;
            assert!(spec.cells.iter().all(|cell| cell.block_bytes * cell.depth == bytes));
        }
    }
}
