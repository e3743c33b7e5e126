//! Trims behind the tail while a workload runs, so that segments come back to be recycled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::target::Target;

/// How often the end is looked at. Far below the time that a segment takes at any rate seen.
const LOOK: Duration = Duration::from_millis(5);

/// When and what to trim.
#[derive(Clone, Copy, Debug)]
pub struct Trimming {
    /// Trims whenever this many records have come since the last time.
    pub every_records: u64,
    /// Records that stay behind the end.
    pub keep_records: u64,
}

/// Runs `work` while another thread trims `target`; without `trimming`, just runs it.
pub fn trimmed<T: Target, R>(
    target: &T,
    trimming: Option<Trimming>,
    work: impl FnOnce() -> Result<R>,
) -> Result<R> {
    let Some(trimming) = trimming else { return work() };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let trimmer = scope.spawn(|| {
            let mut trimmed = target.end();
            while !over.load(Ordering::Relaxed) {
                thread::sleep(LOOK);
                let end = target.end();
                if end - trimmed >= trimming.every_records {
                    target.trim(end.saturating_sub(trimming.keep_records))?;
                    trimmed = end;
                }
            }
            Ok(())
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        trimmer.join().map_err(|_| Error::new("the trimming thread panicked"))??;
        result
    })
}
