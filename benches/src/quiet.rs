//! Waiting for moments in which other programs leave the processors alone.

use std::time::{Duration, Instant};

use crate::cli::{Options, seconds};
use crate::progress::settle;
use crate::usage::Others;

/// What ran while other programs used more processors than this was disturbed.
const DISTURBED_CPUS: f64 = 0.2;
/// How long the machine is looked at before it is called quiet.
const LOOK: Duration = Duration::from_millis(300);

/// The time that may be spent on waiting and on repeating, from its making on.
#[derive(Clone, Copy, Debug)]
pub struct Quiet(Option<Instant>);

impl Quiet {
    /// As `--quiet` asks.
    pub fn new(options: &Options) -> Self {
        Self(options.quiet.map(|secs| Instant::now() + seconds(secs)))
    }

    fn may_wait(self) -> bool {
        self.0.is_some_and(|end| Instant::now() < end)
    }

    /// Waits, within its time, until other programs leave the processors alone.
    pub fn wait(self) {
        while self.may_wait() {
            let others = Others::watch();
            settle(LOOK);
            if others.cpus() <= DISTURBED_CPUS / 2.0 {
                return;
            }
        }
    }

    /// Whether what ran beside other programs that used `cpus` is to be done again.
    pub fn again(self, cpus: f64) -> bool {
        cpus > DISTURBED_CPUS && self.may_wait()
    }
}
