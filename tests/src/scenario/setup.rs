//! The disk and the options of a scenario.

use std::time::Duration;

use ringlog::sim::{Order, SimConfig};
use ringlog::{Clock, Engine, Options};

use crate::dice::Dice;

const KIB: u64 = 1 << 10;

/// Sizes small enough that every boundary is met often.
#[derive(Clone, Debug)]
pub struct Setup {
    pub(super) max_payload: usize,
    ring: usize,
    segment: u64,
    group: usize,
    in_flight: usize,
    window_bytes: u64,
    window_ms: u64,
    spares: usize,
    pub(super) shards: usize,
    file_ring: bool,
    /// Space or permission was taken away in this life.
    pub(super) troubled: bool,
}

impl Setup {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let mut setup = Self {
            max_payload: 24 * KIB as usize,
            ring: 64 * KIB as usize,
            segment: 0,
            group: 0,
            in_flight: 0,
            window_bytes: 0,
            window_ms: 0,
            spares: 0,
            shards: 1,
            file_ring: dice.chance(80),
            troubled: false,
        };
        setup.vary(dice);
        setup
    }

    /// Every open may be with other options.
    pub(super) fn vary(&mut self, dice: &mut Dice) {
        self.troubled = false;
        self.shards = dice.pick(&[1, 1, 2, 3]);
        if self.segment > 0 && dice.chance(70) {
            return;
        }
        self.segment = dice.pick(&[64 * KIB, 64 * KIB, 128 * KIB, 256 * KIB]);
        self.group = dice.pick(&[8 * KIB, 16 * KIB, 32 * KIB]) as usize;
        self.in_flight = dice.pick(&[1, 2, 4, 8]);
        self.window_bytes = dice.pick(&[16 * KIB, 64 * KIB, 256 * KIB]);
        self.window_ms = dice.pick(&[1, 20, 200]);
        self.spares = dice.pick(&[0, 1, 2]);
        self.ring = dice.pick(&[64 * KIB, 64 * KIB, 64 * KIB, 128 * KIB]) as usize;
    }

    pub(super) fn options(&self) -> Options {
        Engine::options()
            .segment_bytes(self.segment)
            .ring_bytes(self.ring)
            .group_bytes(self.group)
            .groups_in_flight(self.in_flight)
            .async_window(self.window_bytes, Duration::from_millis(self.window_ms))
            .max_payload_bytes(self.max_payload)
            .spare_segments(self.spares)
            .shards(self.shards)
            .append_timeout(Duration::from_millis(500))
            .close_timeout(Duration::from_millis(50))
    }

    pub(super) fn config(&self, seed: u64, clock: &Clock, dice: &mut Dice) -> SimConfig {
        SimConfig {
            sector: dice.pick(&[512, 512, 4096]),
            fua: dice.chance(75),
            order: dice.pick(&[Order::Any, Order::Any, Order::Submitted]),
            latency_max: Duration::from_micros(dice.pick(&[0, 200, 5000])),
            clock: clock.clone(),
            no_file_ring: (!self.file_ring).then(|| "asked for".to_owned()),
            ring_snapshot_every: dice.pick(&[16, 64, 256]),
            ..SimConfig::seeded(seed)
        }
    }
}
