//! What the peers are measured at, and the points of our own scaling.

use ringlog_benches::limit::cell;
use ringlog_benches::target::Level;
use ringlog_benches::workload::spec::{A2, D2A, D3, F1, Producers, Spec};

/// One record after another.
const ONE: Spec = Spec {
    name: "one",
    about: "durable, one in flight, 1 KiB",
    in_flight: 1,
    producers: Producers::Threads,
    cells: cell::ONE_BLOCK,
    segment_bytes: None,
    ..D2A
};

const IN_FLIGHT_64: Spec =
    Spec { name: "64", about: "durable, 64 in flight, 1 KiB", segment_bytes: None, ..D2A };

const BATCHES: Spec =
    Spec { name: "256x8", about: "durable, batches of 256, 8 in flight, 1 KiB", ..D3 };

const STREAMS: Spec = Spec {
    name: "1000",
    about: "durable, 1,000 streams in turn, 64 in flight, 1 KiB",
    segment_bytes: None,
    ..F1
};

const ASYNC_1K: Spec = Spec {
    name: "async-1k",
    about: "written, one producer, batches of 256, 1 KiB",
    value_bytes: 1024,
    log_bytes_per_record: 1040,
    ..A2
};

const ASYNC_100: Spec =
    Spec { name: "async-100", about: "written, one producer, batches of 256, 100 B", ..A2 };

/// As the first, but written: what `syncs` looks at, too.
pub const WRITTEN_ONE: Spec = Spec {
    name: "written-one",
    about: "written, one in flight, 1 KiB",
    level: Level::Written,
    ..ONE
};

/// What the peers are measured at.
pub const WORKS: &[Spec] = &[ONE, IN_FLIGHT_64, BATCHES, STREAMS, ASYNC_1K, ASYNC_100];

/// Added to a workload's name where blocking threads take the place of futures.
pub const THREADS: &str = "-threads";

/// The points of one line of the scaling chart.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// What grows.
    pub name: &'static str,
    /// In words.
    pub about: &'static str,
    /// Its values.
    pub points: &'static [u32],
    /// The workload at a value.
    at: fn(u32) -> Spec,
}

/// What our own throughput is measured against.
pub const SCALES: &[Scale] = &[
    Scale {
        name: "producers",
        about: "durable, blocking threads, 1 KiB",
        points: &[1, 2, 4, 8, 16, 32, 64],
        at: |threads| Spec {
            in_flight: threads as usize,
            producers: Producers::Threads,
            ..IN_FLIGHT_64
        },
    },
    Scale {
        name: "partitions",
        about: "durable, 64 in flight over partitions in turn, 1 KiB",
        points: &[1, 10, 100, 1_000, 10_000],
        at: |partitions| Spec { partitions, ..IN_FLIGHT_64 },
    },
    Scale {
        name: "bytes",
        about: "durable, 64 in flight, by size of a record",
        points: &[100, 256, 1_024, 4_096, 16_384, 65_536],
        at: |bytes| Spec {
            value_bytes: bytes as usize,
            log_bytes_per_record: u64::from(bytes) + 136,
            cells: if bytes < 8_192 { cell::DURABLE_64K } else { cell::DURABLE_2M },
            ..IN_FLIGHT_64
        },
    },
];

impl Scale {
    /// The name of the workload at `point`.
    pub fn workload(&self, point: u32) -> String {
        format!("{}-{point}", self.name)
    }

    /// The device's cells beside all its points.
    pub fn cells(&self) -> &'static [cell::Cell] {
        (self.at)(self.points[self.points.len() - 1]).cells
    }
}

/// The workload of this name.
pub fn named(name: &str) -> Option<Spec> {
    let all = || WORKS.iter().chain([&WRITTEN_ONE]).copied();
    let work = |name: &str| all().find(|spec| spec.name == name);
    if let Some(spec) = name.strip_suffix(THREADS).and_then(work) {
        return Some(Spec { producers: Producers::Threads, ..spec });
    }
    let point = || {
        let (series, point) = name.rsplit_once('-')?;
        let scale = SCALES.iter().find(|scale| scale.name == series)?;
        let point = point.parse().ok()?;
        scale.points.contains(&point).then(|| (scale.at)(point))
    };
    work(name).or_else(point)
}

/// Whether a workload's acknowledgements mean durable.
pub fn is_durable(spec: &Spec) -> bool {
    spec.level == Level::Durable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_workload() {
        for spec in WORKS {
            assert_eq!(named(spec.name).map(|found| found.about), Some(spec.about));
        }
        let threads = named("64-threads").expect("there are threads for it");
        assert_eq!((threads.producers, threads.in_flight), (Producers::Threads, 64));
        for scale in SCALES {
            for &point in scale.points {
                assert!(named(&scale.workload(point)).is_some(), "{} {point}", scale.name);
            }
        }
        assert_eq!(named("partitions-1000").expect("a point").partitions, 1000);
        assert!(named("bytes-7").is_none() && named("65").is_none());
    }
}
