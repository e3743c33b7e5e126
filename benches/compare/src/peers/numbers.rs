//! The number of the next record of each partition, for stores that have keys and no logs.

/// Counts the records of partitions.
#[derive(Debug)]
pub struct Numbers(Vec<u64>);

impl Numbers {
    /// Of so many partitions, all empty.
    pub fn new(partitions: u32) -> Self {
        Self(vec![0; partitions as usize])
    }

    /// The number of the partition's next record, which is then taken.
    pub fn next(&mut self, partition: u32) -> u64 {
        let place = &mut self.0[partition as usize];
        *place += 1;
        *place - 1
    }

    /// The same as a key that sorts by partition, then by number.
    pub fn next_key(&mut self, partition: u32) -> [u8; 12] {
        let mut key = [0; 12];
        key[..4].copy_from_slice(&partition.to_be_bytes());
        key[4..].copy_from_slice(&self.next(partition).to_be_bytes());
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_the_records_came() {
        let mut numbers = Numbers::new(2);
        let keys = [0, 0, 1].map(|partition| numbers.next_key(partition));
        assert!(keys.is_sorted() && keys[0] != keys[1]);
        assert_eq!([numbers.next(0), numbers.next(1)], [2, 1]);
    }
}
