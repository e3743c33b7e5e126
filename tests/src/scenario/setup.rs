//! The disk and the options of a scenario.

use std::time::Duration;

use ringlog::sim::{Order, SimConfig};
use ringlog::{Clock, Engine, Options};

use crate::dice::Dice;
use crate::plan::Step;

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
    /// What is other than the simplest.
    vary: Vec<Step>,
}

impl Setup {
    pub(super) fn new(dice: &mut Dice, vary: &[Step]) -> Self {
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
            vary: vary.to_vec(),
        };
        setup.vary(dice);
        setup
    }

    /// Whether this of [`VARIATIONS`](crate::plan::VARIATIONS) is there.
    fn varies(&self, at: u8) -> bool {
        self.vary.contains(&Step::Vary(at))
    }

    /// Every open may be with other options.
    pub(super) fn vary(&mut self, dice: &mut Dice) {
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

    /// What single records join: nothing, a few, as many as by default. No dice are thrown for it,
    /// so that seeds mean what they meant before.
    fn batch_bytes(&self) -> usize {
        let sizes = [0, 400, 16 * KIB as usize];
        sizes[(self.group / 8192 + self.spares + self.in_flight) % sizes.len()]
    }

    pub(super) fn options(&self) -> Options {
        Engine::options()
            .segment_bytes(self.segment)
            .ring_bytes(self.ring)
            .group_bytes(self.group)
            .batch_bytes(self.batch_bytes())
            .groups_in_flight(if self.varies(3) { self.in_flight } else { 1 })
            .async_window(self.window_bytes, Duration::from_millis(self.window_ms))
            .max_payload_bytes(self.max_payload)
            .spare_segments(if self.varies(4) { self.spares } else { 0 })
            .shards(if self.varies(0) { self.shards } else { 1 })
            .append_timeout(Duration::from_millis(500))
            .close_timeout(Duration::from_millis(50))
    }

    pub(super) fn config(&self, seed: u64, clock: &Clock, dice: &mut Dice) -> SimConfig {
        let order = dice.pick(&[Order::Any, Order::Any, Order::Submitted]);
        let latency_us = dice.pick(&[0, 200, 5000]);
        SimConfig {
            sector: dice.pick(&[512, 512, 4096]),
            fua: dice.chance(75),
            order: if self.varies(2) { order } else { Order::Submitted },
            latency_max: Duration::from_micros(if self.varies(1) { latency_us } else { 0 }),
            clock: clock.clone(),
            no_file_ring: (!self.file_ring).then(|| "asked for".to_owned()),
            ring_snapshot_every: dice.pick(&[16, 64, 256]),
            ..SimConfig::seeded(seed)
        }
    }
}
