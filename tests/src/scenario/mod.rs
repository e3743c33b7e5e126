//! A life of an engine on a simulated disk, decided by one seed: actions, faults, the end (a close,
//! a drop, a kill or a power loss, at any operation), kills during recovery, and the next life.

mod actions;
mod setup;
mod tally;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringlog::sim::{Condition, Crash, SimDisk};
use ringlog::{AppendFuture, Clock, Engine, Error, Flush};

use crate::dice::Dice;
use crate::oracle::{Check, Level, Oracle};
use setup::Setup;
pub use tally::Tally;

/// Lives of one scenario.
const LIVES: u64 = 4;
/// Most actions of one life.
const ACTIONS_MAX: u64 = 60;
/// Close may take this long, in simulated time, before it gives up.
const CLOSE: Duration = Duration::from_secs(20);

/// What happened, for a report.
#[derive(Debug)]
pub struct Failure {
    /// Repeats it.
    pub seed: u64,
    /// What was wrong.
    pub what: String,
    /// What was done, line by line.
    pub script: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.script {
            writeln!(f, "    {line}")?;
        }
        write!(f, "{}\nrepeat with RINGLOG_SEED={}", self.what, self.seed)
    }
}

/// What a scenario that went well leaves.
#[derive(Debug)]
pub struct Outcome {
    /// What was met.
    pub tally: Tally,
    /// Hash of the disk at the end.
    pub digest: u64,
}

/// An append that nobody has heard of yet.
#[derive(Debug)]
struct Flight {
    topic: String,
    partition: u32,
    future: AppendFuture,
    level: Level,
    count: u64,
    bytes: Vec<u8>,
    /// Offset, once claimed.
    first: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub struct Scenario {
    dice: Dice,
    setup: Setup,
    clock: Clock,
    disk: SimDisk,
    engine: Option<Engine>,
    oracle: Oracle,
    flights: Vec<Flight>,
    script: Arc<Mutex<Vec<String>>>,
    /// The weakest level that what has happened since the last successful open spares.
    spared: Level,
    /// A write or flush was made to fail: written is no longer promised.
    faulty: bool,
    /// A fault may still be to come on this disk.
    armed: bool,
    frozen: bool,
    serial: u64,
    names: u64,
    tally: Tally,
}

/// Runs the scenario of a seed.
///
/// # Errors
/// The broken promise, with what led to it; a panic of the engine counts as one.
pub fn run(seed: u64) -> Result<Outcome, Box<Failure>> {
    run_with(seed, Dice::new(seed))
}

/// Runs the scenario whose choices these bytes are, as a fuzzer makes them; the first eight are the
/// seed of the disk.
///
/// # Errors
/// As [`run`].
pub fn run_chosen(bytes: &[u8]) -> Result<Outcome, Box<Failure>> {
    let (seed, choices) = bytes.split_first_chunk().unwrap_or((&[0; 8], &[]));
    run_with(u64::from_le_bytes(*seed), Dice::of_bytes(choices))
}

fn run_with(seed: u64, dice: Dice) -> Result<Outcome, Box<Failure>> {
    let script = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&script);
    let outcome = catch_unwind(AssertUnwindSafe(|| Scenario::new(seed, dice, shared).live()));
    let what = match outcome {
        Ok(Ok(outcome)) => return Ok(outcome),
        Ok(Err(what)) => what,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            format!("panic: {}", text.unwrap_or_default())
        }
    };
    let script = script.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Err(Box::new(Failure { seed, what, script }))
}

impl Scenario {
    fn new(seed: u64, mut dice: Dice, script: Arc<Mutex<Vec<String>>>) -> Self {
        let clock = Clock::manual();
        let setup = Setup::new(&mut dice);
        let disk = SimDisk::new(setup.config(seed, &clock, &mut dice));
        let mut scenario = Self {
            dice,
            setup,
            clock,
            disk,
            engine: None,
            oracle: Oracle::default(),
            flights: Vec::new(),
            script,
            spared: Level::Written,
            faulty: false,
            armed: false,
            frozen: false,
            serial: 0,
            names: 0,
            tally: Tally::default(),
        };
        scenario.note(format!("{:?}", scenario.setup));
        scenario
    }

    fn note(&mut self, line: impl Into<String>) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).push(line.into());
    }

    fn live(mut self) -> Check<Outcome> {
        let lives = self.dice.within(1, LIVES);
        for life in 0..lives {
            self.note(format!("life {life}"));
            self.open()?;
            self.act()?;
            self.end()?;
        }
        self.open()?;
        self.append_after_all()?;
        self.finish(true)?;
        let stats = self.disk.stats();
        if stats.changed_in_flight > 0 {
            return Err("bytes of a write changed while it was in flight".to_owned());
        }
        self.tally.sim += stats;
        self.tally.scenarios += 1;
        Ok(Outcome { tally: self.tally, digest: self.disk.digest() })
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("an engine is open")
    }

    /// Opens, through any number of kills during recovery, and holds the result against the oracle.
    fn open(&mut self) -> Check {
        let shards = self.setup.shards;
        self.setup.vary(&mut self.dice);
        self.note(format!("  {} shards", self.setup.shards));
        self.tally.resharded += u64::from(shards != self.setup.shards);
        let mut kills = if self.dice.chance(50) { self.dice.within(1, 3) } else { 0 };
        loop {
            if kills > 0 {
                let ops = self.dice.pick(&[5, 20, 60, 120]);
                let after = self.dice.below(ops);
                self.note(format!("  killed {after} operations into the open"));
                self.disk.kill_after(after);
            }
            let opened =
                Engine::open_simulated(&self.disk, self.setup.options(), self.clock.clone());
            match opened {
                Ok(engine) if kills == 0 => {
                    self.engine = Some(engine);
                    break;
                }
                Ok(engine) => {
                    // The kill comes later than recovery: let it come to nothing.
                    drop(engine);
                    self.tally.kills_after_open += 1;
                }
                Err(error) if kills == 0 && self.armed => {
                    self.note(format!("  open: {error}"));
                    self.crash();
                    kills = 1;
                }
                Err(error) if kills == 0 => return Err(format!("open: {error}")),
                Err(_) => self.tally.kills_in_recovery += 1,
            }
            kills -= 1;
            self.crash();
        }
        self.check_lost()?;
        let spared = if self.faulty { Level::Durable } else { self.spared };
        let engine = self.engine.clone().expect("just opened");
        self.oracle.recovered(&engine, spared)?;
        self.tally.spread += self.oracle.spread();
        self.spared = Level::Written;
        self.faulty = self.armed;
        self.setup.troubled = self.armed;
        self.frozen = false;
        self.tally.recoveries += 1;
        Ok(())
    }

    /// After nothing but kills the rings hold everything that was committed.
    fn check_lost(&mut self) -> Check {
        for log in self.engine().metrics().logs {
            self.tally.note_recovery(&log.recovery);
            let lost = log.recovery.lost_bytes;
            if lost > 0 && self.spared == Level::Written && !self.faulty {
                return Err(format!("{}: {lost} bytes lost by a process kill", log.log));
            }
        }
        Ok(())
    }

    /// Ends the process, or the power.
    fn crash(&mut self) {
        let kind = self.dice.pick(&[Crash::Process, Crash::Power]);
        self.note(format!("  crash: {kind:?}"));
        if kind == Crash::Power {
            self.spared = Level::Durable;
        }
        let old =
            std::mem::replace(&mut self.disk, SimDisk::new(ringlog::sim::SimConfig::default()));
        self.disk = old.crash(kind);
        self.disk.set_condition(Condition::Normal);
        self.flights.clear();
        self.engine = None;
        self.armed = false;
        self.tally.crashes += 1;
    }

    fn act(&mut self) -> Check {
        if self.dice.chance(60) {
            let range = self.dice.pick(&[20, 100, 400, 1000]);
            let after = self.dice.below(range);
            self.note(format!("  to be killed in {after} operations"));
            self.disk.kill_after(after);
        }
        for _ in 0..self.dice.within(1, ACTIONS_MAX) {
            if self.disk.is_killed() || self.dice.is_used_up() {
                break;
            }
            self.action()?;
        }
        Ok(())
    }

    /// The end of a life.
    fn end(&mut self) -> Check {
        for log in self.engine().metrics().logs {
            self.tally.recycled += log.segments_recycled;
            self.tally.removed += log.segments_removed;
        }
        if self.disk.is_killed() || self.dice.chance(60) {
            self.crash();
            return Ok(());
        }
        let close = self.dice.chance(60);
        self.finish(close)?;
        if self.disk.is_killed() || self.dice.chance(30) {
            // What a clean close left is durable, directory entries included.
            self.crash();
        }
        Ok(())
    }

    /// Closes, or just drops, an engine on a disk that works.
    fn finish(&mut self, close: bool) -> Check {
        self.thaw();
        self.disk.set_condition(Condition::Normal);
        self.note(if close { "  close" } else { "  drop" });
        let engine = self.engine.take().expect("an engine is open");
        if close {
            match engine.close(CLOSE) {
                Ok(()) => {
                    self.settle_all()?;
                    self.oracle.closed();
                    self.tally.closes += 1;
                }
                Err(error) if self.explained(&error) => {}
                Err(error) => return Err(format!("close: {error}")),
            }
        }
        self.flights.clear();
        drop(engine);
        // A kill that has not come by now comes to nothing.
        if !self.disk.is_killed() {
            self.disk.kill_after(u64::MAX >> 1);
        }
        Ok(())
    }

    /// Looks at every append in flight; after a clean close each must be answered.
    fn settle_all(&mut self) -> Check {
        for at in (0..self.flights.len()).rev() {
            self.poll(at)?;
        }
        if self.flights.iter().any(|flight| flight.first.is_some()) {
            return Err("an append that was claimed is not answered after a close".to_owned());
        }
        Ok(())
    }

    fn thaw(&mut self) {
        if std::mem::take(&mut self.frozen) {
            self.disk.thaw();
        }
    }

    /// A recovered engine takes appends and closes.
    fn append_after_all(&mut self) -> Check {
        if self.oracle.topics.is_empty() {
            self.create_topic(Flush::Sync)?;
        }
        for name in self.usable() {
            self.append_one(&name)?;
        }
        Ok(())
    }

    /// Whether this error is one that the faults of this life explain; others are bugs.
    fn explained(&self, error: &Error) -> bool {
        self.disk.is_killed()
            || self.faulty
            || match error {
                Error::Timeout { .. } => self.frozen || !self.flights.is_empty(),
                Error::Busy { .. } => true,
                Error::NoSpace { .. } | Error::ReadOnly { .. } | Error::Io { .. } => {
                    self.setup.troubled
                }
                _ => false,
            }
    }
}
