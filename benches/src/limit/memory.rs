//! What memory and processor do: copying and checksumming, in cache and past it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::stats::Spread;
use crate::values::random_bytes;

/// Fits the second-level caches, source and destination together.
const IN_CACHE_BYTES: usize = 256 << 10;
/// Past every cache of the machines this was made on.
const PAST_CACHE_BYTES: usize = 256 << 20;

/// One figure of memory.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryFigure {
    /// What was done.
    pub what: &'static str,
    /// Bytes that each pass goes through.
    pub buffer_bytes: usize,
    /// Gigabytes (10^9) a second.
    pub gb_per_sec: Spread,
}

/// Measures all figures, each for `time`, `repeats` times.
pub fn measure(time: Duration, repeats: usize, seed: u64) -> Vec<MemoryFigure> {
    let mut figures = Vec::new();
    let source = random_bytes(seed, PAST_CACHE_BYTES);
    let mut target = vec![1_u8; PAST_CACHE_BYTES];
    for buffer_bytes in [IN_CACHE_BYTES, PAST_CACHE_BYTES] {
        let source = &source[..buffer_bytes];
        let target = &mut target[..buffer_bytes];
        let rates = (0..repeats).map(|_| {
            passes(time, buffer_bytes, || {
                black_box(&mut *target).copy_from_slice(black_box(source));
            })
        });
        let gb_per_sec = Spread::of(rates);
        figures.push(MemoryFigure { what: "memcpy", buffer_bytes, gb_per_sec });
        let rates = (0..repeats).map(|_| {
            passes(time, buffer_bytes, || {
                black_box(crc_fast::crc32_iscsi(black_box(source)));
            })
        });
        let gb_per_sec = Spread::of(rates);
        figures.push(MemoryFigure { what: "crc32c", buffer_bytes, gb_per_sec });
    }
    figures
}

/// Gigabytes a second of `pass`, done again and again for `time`.
fn passes(time: Duration, bytes: usize, mut pass: impl FnMut()) -> f64 {
    pass();
    let per_look = (1 << 20) / bytes.min(1 << 20);
    let start = Instant::now();
    let mut total = 0_u64;
    while start.elapsed() < time {
        for _ in 0..per_look {
            pass();
        }
        total += (per_look * bytes) as u64;
    }
    total as f64 / 1e9 / start.elapsed().as_secs_f64()
}
