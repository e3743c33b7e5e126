//! The simulator's only source of chance: `ChaCha8` keyed with the plain seed, and arithmetic of
//! our own on its words, because a seed in a bug report must mean the same run with every later
//! version of rand.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

#[derive(Clone, Debug)]
pub(super) struct Rng(ChaCha8Rng);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    pub(super) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`; 0 if `end` is 0. The bias of the remainder does not matter here.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.word() % end.max(1)
    }

    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub(super) fn coin(&mut self) -> bool {
        self.word() & 1 == 0
    }

    /// Any subset of `len` things is possible; all, none, prefixes, suffixes and single holes are
    /// likely, because those are where recoveries go wrong.
    pub(super) fn subset(&mut self, len: usize) -> Vec<bool> {
        match self.below(8) {
            0 => vec![true; len],
            1 => vec![false; len],
            2 => {
                let end = self.index(len + 1);
                (0..len).map(|i| i < end).collect()
            }
            3 => {
                let start = self.index(len + 1);
                (0..len).map(|i| i >= start).collect()
            }
            4 => {
                let hole = self.index(len);
                (0..len).map(|i| i != hole).collect()
            }
            _ => {
                let eighths = [1, 4, 7][self.index(3)];
                (0..len).map(|_| self.below(8) < eighths).collect()
            }
        }
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.index(i + 1);
            items.swap(i, j);
        }
    }
}
