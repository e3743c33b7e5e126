//! A scenario: lives of an engine on a simulated disk, decided by one seed. Each life is an open
//! (with faults, and kills during recovery, several in a row), actions with faults among them, and
//! an end: a close, a drop, a kill or a power loss, at any operation or moment between two.
//!
//! Steps have names and dice of their own ([`Step`]), so that a failing scenario can do without
//! those that do not matter. What the dead are told nobody hears: an answer counts only if the
//! process lives when it comes.

mod actions;
mod appends;
mod ends;
mod readers;
mod setup;
mod tally;
mod trouble;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::{Context, Poll, Waker};

use ringlog::sim::{SimDisk, SimStats};
use ringlog::{AppendFuture, Batch, Clock, Engine, Error, Reader};

use crate::dice::Dice;
use crate::evidence::{Evidence, verify};
use crate::oracle::{Check, Level, Oracle};
use crate::plan::{Plan, Step};
use setup::Setup;
pub use tally::Tally;

/// Lives of one scenario.
const LIVES: u64 = 4;
/// Most actions of one life.
const ACTIONS_MAX: u64 = 60;

/// What happened, for a report.
#[derive(Debug)]
pub struct Failure {
    /// Repeats it, with the plan.
    pub seed: u64,
    /// The steps to take.
    pub plan: Plan,
    /// What was wrong.
    pub what: String,
    /// What was done, line by line.
    pub script: Vec<String>,
    /// The steps that were taken, in order.
    pub taken: Vec<Step>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.script {
            writeln!(f, "    {line}")?;
        }
        write!(f, "{}\nrepeat with RINGLOG_SEED={}", self.what, self.seed)?;
        if self.plan != Plan::default() {
            write!(f, " RINGLOG_STEPS={}", self.plan)?;
        }
        Ok(())
    }
}

/// What a scenario that went well leaves.
#[derive(Debug)]
pub struct Outcome {
    /// What was met.
    pub tally: Tally,
    /// Hash of the disk at the end.
    pub digest: u64,
    /// What was done, line by line.
    pub script: Vec<String>,
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
    /// Offset, once it is known to be claimed.
    first: Option<u64>,
}

impl Flight {
    /// Whether it waits no more, and is not claimed.
    fn is_refused(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        // Only who is done: looking at another would ask for more than its caller has asked for.
        self.future.is_done()
            && matches!(
                Pin::new(&mut self.future).poll(&mut context),
                Poll::Ready(Err(error)) if !error.outcome_is_unknown()
            )
    }
}

/// A reader that stays, while other things go on.
#[derive(Debug)]
struct Follower {
    topic: String,
    partition: u32,
    reader: Reader,
    next: u64,
}

/// How a life goes.
#[derive(Clone, Copy, Debug)]
struct Shape {
    fault: bool,
    kills: u8,
    again: bool,
    kill: bool,
    actions: u8,
}

impl Shape {
    fn new(dice: &mut Dice) -> Self {
        Self {
            fault: dice.chance(15),
            kills: if dice.chance(50) { dice.within(1, 3) as u8 } else { 0 },
            again: dice.chance(10),
            kill: dice.chance(70),
            actions: dice.within(1, ACTIONS_MAX) as u8,
        }
    }
}

/// What is shared with whoever survives a panic.
#[derive(Debug, Default)]
struct Record {
    script: Vec<String>,
    taken: Vec<Step>,
}

/// See the module.
#[derive(Debug)]
pub struct Scenario {
    seed: u64,
    plan: Plan,
    dice: Dice,
    setup: Setup,
    clock: Clock,
    disk: SimDisk,
    engine: Option<Engine>,
    oracle: Oracle,
    evidence: Evidence,
    flights: Vec<Flight>,
    followers: Vec<Follower>,
    leases: Vec<(Batch, Vec<u8>)>,
    record: Arc<Mutex<Record>>,
    /// The weakest level that what has happened since the last successful open spares.
    spared: Level,
    /// Logs of which a write or flush has failed since then: written is no longer promised there.
    doubtful: BTreeSet<String>,
    /// Logs that have said that they are latched.
    latched: BTreeSet<String>,
    /// What the disk had met when this life began.
    before: SimStats,
    /// Space or permission was taken away in this life.
    troubled: bool,
    frozen: bool,
    stuck: bool,
    serial: u64,
    names: u64,
    tally: Tally,
}

/// Runs the scenario of a seed.
///
/// # Errors
/// The broken promise, with what led to it; a panic of the engine counts as one.
pub fn run(seed: u64) -> Result<Outcome, Box<Failure>> {
    run_plan(seed, &Plan::default())
}

/// As [`run`], taking only some of its steps.
///
/// # Errors
/// As [`run`].
pub fn run_plan(seed: u64, plan: &Plan) -> Result<Outcome, Box<Failure>> {
    run_with(seed, Dice::new(seed), plan)
}

/// Runs the scenario whose choices these bytes are, as a fuzzer makes them; the first eight are the
/// seed of the disk.
///
/// # Errors
/// As [`run`].
pub fn run_chosen(bytes: &[u8]) -> Result<Outcome, Box<Failure>> {
    let (seed, choices) = bytes.split_first_chunk().unwrap_or((&[0; 8], &[]));
    run_with(u64::from_le_bytes(*seed), Dice::of_bytes(choices), &Plan::default())
}

fn run_with(seed: u64, dice: Dice, plan: &Plan) -> Result<Outcome, Box<Failure>> {
    let record = Arc::new(Mutex::new(Record::default()));
    let shared = Arc::clone(&record);
    let outcome = quietly(|| Scenario::new(seed, dice, plan.clone(), shared).live());
    let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
    let record = std::mem::take(&mut *record);
    match outcome {
        Ok((tally, digest)) => Ok(Outcome { tally, digest, script: record.script }),
        Err(what) => {
            let Record { script, taken } = record;
            Err(Box::new(Failure { seed, plan: plan.clone(), what, script, taken }))
        }
    }
}

thread_local! {
    /// What the panic of this thread's scenario said, and where.
    static PANIC: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
    static IN_SCENARIO: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs it; a panic is an error, and prints nothing: it is told with its script, if it is told.
fn quietly<T>(run: impl FnOnce() -> Check<T>) -> Check<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IN_SCENARIO.get() {
                PANIC.set(Some(info.to_string()));
            } else {
                usual(info);
            }
        }));
    });
    IN_SCENARIO.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    IN_SCENARIO.set(false);
    outcome.unwrap_or_else(|_| Err(PANIC.take().unwrap_or_else(|| "a panic".to_owned())))
}

impl Scenario {
    fn new(seed: u64, mut dice: Dice, plan: Plan, record: Arc<Mutex<Record>>) -> Self {
        let clock = Clock::manual();
        let vary = (0..crate::plan::VARIATIONS.len() as u8).map(Step::Vary);
        let vary: Vec<Step> = vary.filter(|step| plan.has(*step)).collect();
        let setup = Setup::new(&mut dice, &vary);
        let disk = SimDisk::new(setup.config(seed, &clock, &mut dice));
        record.lock().unwrap_or_else(PoisonError::into_inner).taken = vary;
        let mut scenario = Self {
            seed,
            plan,
            dice,
            setup,
            clock,
            disk,
            engine: None,
            oracle: Oracle::default(),
            evidence: Evidence::default(),
            flights: Vec::new(),
            followers: Vec::new(),
            leases: Vec::new(),
            record,
            spared: Level::Written,
            doubtful: BTreeSet::new(),
            latched: BTreeSet::new(),
            before: SimStats::default(),
            troubled: false,
            frozen: false,
            stuck: false,
            serial: 0,
            names: 0,
            tally: Tally::default(),
        };
        scenario.note(format!("{:?}", scenario.setup));
        scenario
    }

    fn note(&mut self, line: impl Into<String>) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.script.push(line.into());
    }

    /// Whether the plan has this step; if so, chance is the step's from now on.
    fn begin(&mut self, step: Step) -> bool {
        if !self.plan.has(step) {
            return false;
        }
        self.record.lock().unwrap_or_else(PoisonError::into_inner).taken.push(step);
        self.dice.begin(self.seed, step.number());
        true
    }

    fn live(mut self) -> Check<(Tally, u64)> {
        let lives = self.dice.within(1, LIVES) as u8;
        for life in 0..lives {
            if !self.begin(Step::Life(life)) {
                continue;
            }
            let shape = Shape::new(&mut self.dice);
            self.note(format!("life {life}"));
            self.open(life, shape)?;
            self.act(life, shape)?;
            self.dice.begin(self.seed, u64::from(life) << 32 | 1);
            self.end()?;
        }
        self.dice.begin(self.seed, u64::from(lives) << 32 | 1);
        let shape = Shape::new(&mut self.dice);
        self.note("the last life");
        self.open(lives, shape)?;
        self.dice.begin(self.seed, u64::from(lives) << 32 | 2);
        self.append_after_all()?;
        self.finish(true)?;
        verify(&self.disk)?;
        self.evidence.look(&self.disk)?;
        let stats = self.disk.stats();
        if stats.changed_in_flight > 0 {
            return Err("bytes of a write changed while it was in flight".to_owned());
        }
        self.tally.sim += stats;
        self.tally.scenarios += 1;
        Ok((self.tally, self.disk.digest()))
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("an engine is open")
    }

    /// Whether nobody hears what the engine says any more.
    fn is_dead(&self) -> bool {
        self.disk.is_killed()
    }

    fn act(&mut self, life: u8, shape: Shape) -> Check {
        if shape.kill && self.begin(Step::Kill(life)) {
            self.plan_kill();
        }
        for at in 0..shape.actions {
            if self.is_dead() || self.dice.is_used_up() {
                break;
            }
            if self.begin(Step::Act(life, at)) {
                self.action()?;
            }
        }
        Ok(())
    }

    /// Which logs' data a failure of the device has left in doubt.
    fn note_doubtful(&mut self) {
        for path in self.disk.take_doubtful() {
            if let Some((log, _)) = path.split_once('/')
                && std::path::Path::new(&path).extension().is_some_and(|end| end == "log")
            {
                self.doubtful.insert(log.to_owned());
            }
        }
    }

    /// Whether this error is of the class that what this life has met explains; others are bugs.
    fn explained(&mut self, error: &Error) -> bool {
        self.note_doubtful();
        if let Error::Latched { log, .. } = error {
            self.latched.insert(log.clone());
        }
        let (now, before) = (self.disk.stats(), self.before);
        let failed = now.failed_eio > before.failed_eio || now.failed_emfile > before.failed_emfile;
        self.is_dead()
            || match error {
                Error::Timeout { .. } => {
                    self.frozen || self.stuck || self.troubled || !self.flights.is_empty()
                }
                Error::Busy { .. } => true,
                Error::Latched { log, .. } => self.doubtful.contains(log),
                Error::NoSpace { .. } => now.failed_enospc > before.failed_enospc,
                Error::ReadOnly { .. } => now.failed_erofs > before.failed_erofs,
                Error::Io { .. } => failed,
                Error::PartlyAppended { parts, .. } => {
                    let errors: Vec<Error> = parts
                        .iter()
                        .filter_map(|part| part.result.as_ref().err().cloned())
                        .collect();
                    errors.iter().all(|error| self.explained(error))
                }
                _ => false,
            }
    }
}
