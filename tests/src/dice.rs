//! Chance for scenarios: `SplitMix64`, so that a seed means the same run for ever; or a fuzzer's
//! bytes, so that each choice is one that it can change.

use std::collections::VecDeque;

/// A source of chance.
#[derive(Clone, Debug)]
pub struct Dice(Source);

#[derive(Clone, Debug)]
enum Source {
    Seed(u64),
    /// Zeros once there are no more.
    Bytes(VecDeque<u8>),
}

impl Dice {
    /// All that follows is decided by `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Source::Seed(seed ^ 0x5eed_0f10_6a11_0e55))
    }

    /// All that follows is decided by these bytes, as few for each choice as it needs.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Source::Bytes(bytes.iter().copied().collect()))
    }

    /// Whether nothing is left to decide by.
    pub fn is_used_up(&self) -> bool {
        matches!(&self.0, Source::Bytes(bytes) if bytes.is_empty())
    }

    /// All that follows is decided by `seed` and `step`: steps before it may be left out, and it
    /// does the same. Bytes go on.
    pub fn begin(&mut self, seed: u64, step: u64) {
        if let Source::Seed(_) = self.0 {
            *self = Self::new(Self::new(seed).word().wrapping_add(Self::new(!step).word()));
        }
    }

    /// 64 bits.
    pub fn word(&mut self) -> u64 {
        let state = match &mut self.0 {
            Source::Seed(state) => state,
            Source::Bytes(bytes) => return take(bytes, 8),
        };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is above zero.
    pub fn below(&mut self, end: u64) -> u64 {
        let word = match &mut self.0 {
            Source::Seed(_) => self.word(),
            Source::Bytes(bytes) => take(bytes, (64 - (end - 1).leading_zeros()).div_ceil(8)),
        };
        word % end
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

/// A number of so many bytes.
fn take(bytes: &mut VecDeque<u8>, count: u32) -> u64 {
    (0..count).fold(0, |word, _| word << 8 | u64::from(bytes.pop_front().unwrap_or(0)))
}
