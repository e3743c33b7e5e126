//! Chance for scenarios: `SplitMix64`, so that a seed means the same run for ever.

/// A seeded source of chance.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// All that follows is decided by `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5eed_0f10_6a11_0e55)
    }

    /// All that follows is decided by `seed` and `step`: steps before it may be left out, and it
    /// does the same.
    pub fn of_step(seed: u64, step: u64) -> Self {
        Self::new(Self::new(seed).word().wrapping_add(Self::new(!step).word()))
    }

    /// 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is above zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.word() % end
    }

    /// A number within `from..=to`.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
