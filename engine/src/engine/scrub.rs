//! When sealed segments are read again: a piece, then a pause as long as the rate says; pass after
//! pass through all logs. Owns the pace and where a pass is. Nothing here runs by itself: upkeep
//! asks when the next piece is due, and does it when nothing else is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::config::Options;
use crate::log::scrub::Scrubbing;
use crate::log::{Log, Stop};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    /// `None`: it was not asked for.
    pace: Option<Pace>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Pace {
    bytes_per_second: u64,
    every: Duration,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    /// When the next piece is due; `None`: there is nothing to read.
    due: Option<Duration>,
    /// When the last pass began.
    began: Option<Duration>,
    pass: Option<Pass>,
    ended: bool,
}

#[derive(Debug)]
struct Pass {
    began: Duration,
    left: VecDeque<Arc<Log>>,
    scrubbing: Scrubbing,
}

impl Scrub {
    /// As the options say, for one of `parts` that share the rate.
    pub(crate) fn new(options: &Options, clock: &Clock, parts: usize) -> Self {
        let rate = options.scrub_bytes_per_second;
        let pace = (rate > 0).then(|| Pace {
            bytes_per_second: (rate / parts as u64).max(1),
            every: options.scrub_every,
            clock: clock.clone(),
        });
        Self { pace, state: Mutex::default() }
    }

    /// When the next piece is due, and how long that is from now.
    pub(crate) fn due(&self) -> Option<(Duration, Duration)> {
        let pace = self.pace.as_ref()?;
        let at = self.state.lock().due?;
        Some((at, at.saturating_sub(pace.clock.now())))
    }

    pub(crate) fn is_due(&self) -> bool {
        self.due().is_some_and(|(_, left)| left.is_zero())
    }

    /// Looks whether there is something to read by now.
    pub(crate) fn look(&self, logs: &Mutex<Vec<Arc<Log>>>) {
        let Some(pace) = &self.pace else { return };
        if self.state.lock().due.is_none() && logs.lock().iter().any(|log| log.has_sealed()) {
            let mut state = self.state.lock();
            let next = state.began.map_or(Duration::ZERO, |began| began.saturating_add(pace.every));
            state.due = Some(next.max(pace.clock.now())).filter(|_| !state.ended);
        }
    }

    /// Reads the piece that is due.
    pub(crate) fn piece(&self, logs: &Mutex<Vec<Arc<Log>>>) {
        let Some(pace) = &self.pace else { return };
        // Not under the lock: the disk may take its time, and a close shall not wait for it here.
        let going = self.state.lock().pass.take();
        let mut pass = going.unwrap_or_else(|| Pass {
            began: pace.clock.now(),
            left: logs.lock().iter().cloned().collect(),
            scrubbing: Scrubbing::default(),
        });
        let read = pass.piece(&pace.clock);
        let now = pace.clock.now();
        let mut state = self.state.lock();
        state.began = Some(pass.began);
        let next = match read {
            Some(bytes) => Some(now.saturating_add(pace.takes(bytes))),
            None if logs.lock().iter().any(|log| log.has_sealed()) => {
                Some(pass.began.saturating_add(pace.every).max(now))
            }
            None => None,
        };
        state.due = next.filter(|_| !state.ended);
        state.pass = Some(pass).filter(|_| read.is_some() && !state.ended);
    }

    /// Reads nothing more, and lets go of the logs.
    pub(crate) fn end(&self) {
        *self.state.lock() = State { ended: true, ..State::default() };
    }
}

impl Pace {
    fn takes(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64)
    }
}

impl Pass {
    /// How many bytes were read; `None` at the end.
    fn piece(&mut self, clock: &Clock) -> Option<u64> {
        while let Some(log) = self.left.front() {
            if !matches!(log.stop_reason(), Some(Stop::Closed)) {
                if let Some(bytes) = log.scrub(&mut self.scrubbing) {
                    return Some(bytes);
                }
                log.scrub_done(&self.scrubbing, clock.wall_ms());
            }
            self.scrubbing = Scrubbing::default();
            self.left.pop_front();
        }
        None
    }
}
