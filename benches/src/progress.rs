//! Progress on standard error, where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A spinner with a message and, where the number of steps is known, a bar.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Shows `steps` steps to come. Draws nothing where standard error is no terminal.
    pub fn new(steps: u64) -> Self {
        let bar = ProgressBar::new(steps);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {elapsed} {wide_msg}")
        {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Says what is done now. Draws at once: nothing redraws in the background, which would take
    /// processor time from what is measured.
    pub fn doing(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
        self.0.tick();
    }

    /// One step is done.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// One more step than was thought.
    pub fn more(&self) {
        self.0.inc_length(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Lets the device and the background work of what came before come to rest.
pub fn settle(time: Duration) {
    std::thread::sleep(time);
}
