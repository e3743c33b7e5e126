//! A progress bar on standard error, for what takes longer than two seconds and somebody to see it.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const PATIENCE: Duration = Duration::from_secs(2);
const TEMPLATE: &str = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";

pub struct Progress {
    started: Instant,
    done_bytes: u64,
    total_bytes: u64,
    shown: Option<ProgressBar>,
    wanted: bool,
}

impl Progress {
    /// Of `total_bytes`; `None` where nobody knows how much there is, and then nothing is shown.
    pub fn new(total_bytes: Option<u64>) -> Self {
        Self {
            started: Instant::now(),
            done_bytes: 0,
            total_bytes: total_bytes.unwrap_or(0),
            shown: None,
            wanted: total_bytes.is_some() && io::stderr().is_terminal(),
        }
    }

    pub fn advance(&mut self, by_bytes: u64) {
        self.set(self.done_bytes + by_bytes, self.total_bytes);
    }

    pub fn set(&mut self, done_bytes: u64, total_bytes: u64) {
        self.done_bytes = done_bytes;
        self.total_bytes = total_bytes;
        if !self.wanted {
            return;
        }
        if self.shown.is_none() && self.started.elapsed() > PATIENCE {
            let style = ProgressStyle::with_template(TEMPLATE).expect("the template is constant");
            self.shown = Some(ProgressBar::new(total_bytes).with_style(style));
        }
        if let Some(bar) = &self.shown {
            bar.set_length(total_bytes);
            bar.set_position(done_bytes);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
