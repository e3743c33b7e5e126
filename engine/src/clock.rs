//! Time: one source for deadlines (monotonic), one for record timestamps (wall), both replaceable
//! by a hand-turned clock in the simulator. Offsets and order never depend on either.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the engine takes its time from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { start: Instant },
    Manual(Arc<Hands>),
}

/// What a manual clock shows.
#[derive(Debug, Default)]
struct Hands {
    /// Monotonic time.
    nanos: AtomicU64,
    /// How far the wall is ahead of it, as somebody set it.
    wall_ahead_ms: AtomicI64,
}

impl Default for Clock {
    fn default() -> Self {
        Self(Source::System { start: Instant::now() })
    }
}

impl Clock {
    /// A clock that moves only by [`advance`](Self::advance); clones share it.
    pub fn manual() -> Self {
        Self(Source::Manual(Arc::default()))
    }

    /// Monotonic time since this clock was made.
    pub fn now(&self) -> Duration {
        match &self.0 {
            Source::System { start } => start.elapsed(),
            Source::Manual(hands) => Duration::from_nanos(hands.nanos.load(Ordering::Relaxed)),
        }
    }

    /// Milliseconds since the Unix epoch, for record timestamps.
    pub fn wall_ms(&self) -> i64 {
        match &self.0 {
            // The C library's clock, which whoever tests with another time replaces.
            Source::System { .. } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let secs = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
                secs.saturating_mul(1000).saturating_add(since.subsec_millis().into())
            }
            Source::Manual(hands) => {
                let millis = (hands.nanos.load(Ordering::Relaxed) / 1_000_000) as i64;
                millis.saturating_add(hands.wall_ahead_ms.load(Ordering::Relaxed)).max(0)
            }
        }
    }

    /// Moves a manual clock on; a system clock is left alone.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(hands) = &self.0 {
            hands.nanos.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// Sets the wall of a manual clock forwards or backwards, as people and NTP do; it is never
    /// before the epoch. Monotonic time does not notice. A system clock is left alone.
    pub fn jump_wall_ms(&self, by: i64) {
        if let Source::Manual(hands) = &self.0 {
            let before = hands.wall_ahead_ms.load(Ordering::Relaxed);
            hands.wall_ahead_ms.store(before.saturating_add(by), Ordering::Relaxed);
        }
    }
}
