//! Record values: seeded pseudo-random bytes, made before the clock starts.

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// Distinct bytes that values are cut from; larger than a second-level cache.
const POOL_BYTES: usize = 4 << 20;

/// A pool of bytes, out of which values of one size are cut, one after another.
#[derive(Debug)]
pub struct Values {
    pool: Vec<u8>,
    value_bytes: usize,
    count: usize,
}

impl Values {
    /// Values of `value_bytes` each; the same `seed` gives the same values.
    pub fn new(seed: u64, value_bytes: usize) -> Self {
        let count = (POOL_BYTES / value_bytes.max(1)).max(1);
        Self { pool: random_bytes(seed, count * value_bytes), value_bytes, count }
    }

    /// The value number `index`; they repeat after a few thousand.
    pub fn get(&self, index: usize) -> &[u8] {
        let at = (index % self.count) * self.value_bytes;
        &self.pool[at..at + self.value_bytes]
    }

    /// Replaces the content of `batch` by `len` values from number `index` on.
    pub fn fill<'a>(&'a self, index: usize, len: usize, batch: &mut Vec<&'a [u8]>) {
        batch.clear();
        batch.extend((index..index + len).map(|index| self.get(index)));
    }
}

/// `len` pseudo-random bytes.
pub fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// A seed for those who gave none; printed, so that a run can be repeated.
pub fn fresh_seed() -> u64 {
    rand::rng().random()
}
