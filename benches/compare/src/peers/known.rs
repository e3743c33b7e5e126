//! What is known of the peers: their rates over the device's of the same run, measured before with
//! another harness. One that comes out more than 1.5 times below has a wrong harness here.

/// A figure this much below what is known is not to be believed.
pub const BELIEVED: f64 = 1.5;

/// Of each peer, by name: its rate over the device's at one in flight, 64 in flight, batches of 256
/// with 8 in flight, and 1,000 streams with 64 in flight.
const KNOWN: &[(&str, [Option<f64>; 4])] = &[
    (
        "raft-engine",
        [
            Some(6_806.0 / 10_054.0),
            Some(162_056.0 / 517_379.0),
            Some(460_621.0 / 3_060_000.0),
            None,
        ],
    ),
    ("raft-engine, threads", [None, None, None, Some(68_179.0 / 517_379.0)]),
    (
        "SQLite",
        [
            Some(8_069.0 / 10_054.0),
            Some(114_808.0 / 517_379.0),
            Some(173_462.0 / 3_060_000.0),
            Some(52_669.0 / 517_379.0),
        ],
    ),
    (
        "LMDB",
        [Some(3_651.0 / 10_054.0), Some(89_149.0 / 517_379.0), Some(325_037.0 / 3_060_000.0), None],
    ),
    (
        "RocksDB",
        [
            Some(6_615.0 / 10_054.0),
            Some(114_753.0 / 517_379.0),
            Some(266_017.0 / 3_060_000.0),
            None,
        ],
    ),
    (
        "NATS JetStream",
        [
            Some(2_165.0 / 10_054.0),
            Some(4_559.0 / 517_379.0),
            Some(4_563.0 / 3_060_000.0),
            Some(8_974.0 / 517_379.0),
        ],
    ),
    (
        "RabbitMQ",
        [
            Some(1_683.0 / 10_054.0),
            Some(25_479.0 / 517_379.0),
            Some(34_370.0 / 3_060_000.0),
            Some(17_590.0 / 517_379.0),
        ],
    ),
    (
        "Redis Streams",
        [
            Some(3_755.0 / 10_054.0),
            Some(51_557.0 / 517_379.0),
            Some(55_504.0 / 3_060_000.0),
            Some(41_217.0 / 517_379.0),
        ],
    ),
    (
        "Kafka",
        [
            Some(329.0 / 4_700.0),
            Some(5_522.0 / 282_000.0),
            Some(102_676.0 / 1_700_000.0),
            Some(125.0 / 282_000.0),
        ],
    ),
];

/// The known ratio of a peer at a workload, both by name.
pub fn ratio(peer: &str, workload: &str) -> Option<f64> {
    let column = ["one", "64", "256x8", "1000"].iter().position(|&name| name == workload)?;
    KNOWN.iter().find(|(name, _)| *name == peer)?.1[column]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_found_by_peer_and_workload() {
        let sqlite = ratio("SQLite", "one").expect("it is known");
        assert!((sqlite - 0.8).abs() < 0.01);
        assert_eq!(ratio("SQLite", "async-1k"), None);
        assert_eq!(ratio("LMDB", "1000"), None);
        assert_eq!(ratio("redb", "one"), None);
    }
}
