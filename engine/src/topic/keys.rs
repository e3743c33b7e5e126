//! Which partition a key belongs to: as Kafka's default partitioner has it, so that a producer of
//! either kind puts a key where the other does.

use murmur2::{KAFKA_SEED, murmur2};

/// The partition, of `partitions`, that all records with this key go to.
pub(crate) fn partition_of(key: &[u8], partitions: u32) -> u32 {
    // Kafka takes the sign off before it divides.
    (murmur2(key, KAFKA_SEED) & i32::MAX as u32) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Kafka's own test of its hash.
    const KNOWN: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];

    #[test]
    fn keys_hash_as_kafkas_do() {
        for (key, hash) in KNOWN {
            assert_eq!(murmur2(key.as_bytes(), KAFKA_SEED) as i32, hash, "{key}");
            for partitions in [1, 2, 7, 1000, 100_000] {
                let wanted = (hash & i32::MAX) as u32 % partitions;
                assert_eq!(partition_of(key.as_bytes(), partitions), wanted, "{key}");
            }
        }
    }
}
