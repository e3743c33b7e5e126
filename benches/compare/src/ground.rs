//! The directory that everything is measured in: made by this run, and removed at its end, also
//! when it ends by a signal. What it started ends first: entrants are tied to this process, and
//! servers to theirs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::Duration;

use ringlog_benches::error::{Context, Result};
use ringlog_benches::usage;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

use crate::peers::server::die_with_parent;

/// How often removing is tried again: a server that was just killed may still be writing.
const TRIES: usize = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);
/// What a shell makes of a program that a signal ended.
const ENDED_BY_SIGNAL: i32 = 128;

/// The directory; removed when dropped.
#[derive(Debug)]
pub struct Ground(TempDir);

impl Ground {
    /// Makes it in `parent`, and watches for signals from now on.
    pub fn prepare(parent: &Path) -> Result<Self> {
        fs::create_dir_all(parent).context(format!("creating {}", parent.display()))?;
        let dir = tempfile::Builder::new()
            .prefix("compare-")
            .tempdir_in(parent)
            .context(format!("making a directory in {}", parent.display()))?;
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP]).context("watching for signals")?;
        let path = dir.path().to_owned();
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                clear(&path);
                process::exit(ENDED_BY_SIGNAL + signal);
            }
        });
        Ok(Self(dir))
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        self.0.path()
    }
}

/// Ends all that this process started and removes the directory.
fn clear(dir: &PathBuf) {
    for _ in 0..TRIES {
        let own = process::id();
        for pid in usage::family(&[own]).into_iter().filter(|&pid| pid != own) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if fs::remove_dir_all(dir).is_ok() || !dir.exists() {
            return;
        }
        thread::sleep(BETWEEN_TRIES);
    }
    eprintln!("compare: {} could not be removed", dir.display());
}

/// Lets this process end with the one that started it.
pub fn end_with_parent() -> Result<()> {
    let parent = rustix::process::getppid();
    let parent = parent.map_or(0, |pid| pid.as_raw_nonzero().get().cast_unsigned());
    die_with_parent(parent)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn clearing_ends_what_was_started_and_removes_all() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("a")).expect("a directory in it");
        fs::write(dir.path().join("a/b"), "c").expect("a file in that");
        let mut child = Command::new("sleep").arg("60").spawn().expect("it starts");
        clear(&dir.path().to_owned());
        assert!(!dir.path().exists());
        assert!(!child.wait().expect("it ended").success());
    }
}
