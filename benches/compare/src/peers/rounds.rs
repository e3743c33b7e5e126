//! Holds the rounds: the device's cells, then a few entrants, then the cells again, so that no turn
//! is far from the figure of the device that it is held against. Each entrant is a process of its
//! own. One that fails is left out from then on, with what it said; the others go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ringlog_benches::Bench;
use ringlog_benches::contest::process::Process;
use ringlog_benches::contest::turn::Turn;
use ringlog_benches::contest::{Entrant, started_in};
use ringlog_benches::error::{Context, Result};
use ringlog_benches::limit::cell::Cell;
use ringlog_benches::limit::device::Device;
use ringlog_benches::progress::Progress;
use ringlog_benches::quiet::Quiet;
use ringlog_benches::stats::Run;
use rustix::process::{Pid, Signal, kill_process};

use super::environment;

/// Turns between two looks at the device.
const TURNS_A_LOOK: usize = 3;
/// An entrant whose directory holds more than this begins again in an empty one.
const DISK_BYTES_MAX: u64 = 2 << 30;

/// Longest time of a turn: a server that hangs is not to hold up all others.
const TURN_TIMEOUT: Duration = Duration::from_secs(180);

/// A turn, and the number of the look at the device before it.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What it came to.
    pub turn: Turn,
    /// Which look.
    pub look: usize,
}

/// What one entrant did.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// Its turns.
    pub turns: Vec<Taken>,
    /// Why it was left out.
    pub failed: Option<String>,
}

/// What the rounds came to.
#[derive(Debug, Default)]
pub struct Rounds {
    /// Of each entrant.
    pub courses: Vec<Course>,
    /// Each look: a run of every cell.
    pub looks: Vec<Vec<Run>>,
    /// Rounds that were dropped, because other programs disturbed them.
    pub disturbed: usize,
}

struct Place {
    entrant: Entrant,
    dir: PathBuf,
    process: Option<Process>,
    failed: Option<String>,
}

impl Place {
    fn start(entrant: &Entrant, dir: PathBuf, bench: &Bench) -> Result<Self> {
        let mut entrant = started_in(entrant, &dir, bench);
        let id = entrant.arguments.get(1).map_or("", String::as_str);
        entrant.environment = environment(id, &dir);
        let mut place = Self { entrant, dir, process: None, failed: None };
        place.restart()?;
        Ok(place)
    }

    /// Begins in an empty directory.
    fn restart(&mut self) -> Result<()> {
        let dir = &self.dir;
        if let Some(process) = self.process.take() {
            self.failed = process.finish().err().map(|error| error.to_string());
        }
        if dir.exists() {
            fs::remove_dir_all(dir).context(format!("emptying {}", dir.display()))?;
        }
        fs::create_dir(dir).context(format!("creating {}", dir.display()))?;
        if self.failed.is_none() {
            match Process::start(&self.entrant) {
                Ok(process) => self.process = Some(process),
                Err(error) => self.failed = Some(error.to_string()),
            }
        }
        Ok(())
    }

    /// Takes a turn, if it is still with us.
    fn turn(&mut self) -> Result<Option<Turn>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        let watch = watch(process.id());
        let turn = process.turn();
        drop(watch);
        match turn {
            Ok(turn) => {
                if turn.disk_bytes > DISK_BYTES_MAX {
                    self.restart()?;
                }
                Ok(Some(turn))
            }
            Err(error) => {
                self.failed = Some(error.to_string());
                self.process = None;
                Ok(None)
            }
        }
    }
}

/// Ends a process that takes too long, unless what this gives is dropped before.
fn watch(pid: u32) -> mpsc::Sender<()> {
    let (watching, over) = mpsc::channel();
    thread::spawn(move || {
        if over.recv_timeout(TURN_TIMEOUT) == Err(RecvTimeoutError::Timeout)
            && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
        {
            // It is not waited for before this returns, so the number is still its own.
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    watching
}

/// Holds the rounds of `entrants` in `dir`, which is there and empty.
pub fn hold(
    bench: &Bench,
    entrants: &[Entrant],
    cells: &[Cell],
    device: &Device,
    dir: &Path,
    progress: &Progress,
) -> Result<Rounds> {
    let mut places = Vec::new();
    for (number, entrant) in entrants.iter().enumerate() {
        progress.doing(format!("{} gets ready", entrant.name));
        places.push(Place::start(entrant, dir.join(number.to_string()), bench)?);
    }
    let mut rounds = Rounds { courses: vec![Course::default(); places.len()], ..Rounds::default() };
    let quiet = Quiet::new(&bench.options);
    let mut held = 0;
    while held < bench.options.repeats() {
        quiet.wait();
        let mut turns = Vec::new();
        for at in 0..places.len() {
            if at % TURNS_A_LOOK == 0 {
                progress.doing("the device");
                let look = cells.iter().map(|&cell| device.run(cell, bench.options.cell_time()));
                rounds.looks.push(look.collect::<Result<_>>()?);
            }
            // Beginning with another one each round.
            let number = (at + held) % places.len();
            progress.doing(entrants[number].name.clone());
            let look = rounds.looks.len() - 1;
            turns.extend(places[number].turn()?.map(|turn| (number, Taken { turn, look })));
        }
        if turns.iter().any(|(_, taken)| quiet.again(taken.turn.others_cpus)) {
            rounds.disturbed += 1;
            continue;
        }
        for (number, taken) in turns {
            rounds.courses[number].turns.push(taken);
        }
        held += 1;
        progress.step();
    }
    for (course, place) in rounds.courses.iter_mut().zip(places) {
        let ended = place.process.map(Process::finish).transpose();
        course.failed = place.failed.or_else(|| ended.err().map(|error| error.to_string()));
    }
    Ok(rounds)
}
