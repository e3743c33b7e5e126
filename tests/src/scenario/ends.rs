//! How a life begins and ends: opens that fail, are killed, or are held against the oracle; closes,
//! drops, kills and power losses.

use std::time::Duration;

use ringlog::sim::{Condition, Crash, FaultError, FaultOp, Moment, SimConfig, SimDisk};
use ringlog::{Engine, Error, Flush};

use super::{Scenario, Shape};
use crate::evidence::verify;
use crate::oracle::{Check, Level, Oracle};
use crate::plan::Step;

/// Close may take this long, in simulated time, before it gives up.
const CLOSE: Duration = Duration::from_secs(20);
/// Moments that a life seldom comes past.
const RARE: [Moment; 3] = [Moment::LargeClaimed, Moment::SegmentDead, Moment::SegmentLeft];
/// Moments that an open comes past.
const OF_RECOVERY: [Moment; 9] = [
    Moment::WrittenBack,
    Moment::BeforeBump,
    Moment::Bumped,
    Moment::RingReset,
    Moment::SegmentFlushed,
    Moment::SegmentNamed,
    Moment::FileWritten,
    Moment::FileNamed,
    Moment::FileStored,
];

impl Scenario {
    /// Opens, through a fault and any number of kills during recovery, and holds the result against
    /// the oracle.
    pub(super) fn open(&mut self, life: u8, shape: Shape) -> Check {
        let shards = self.setup.shards;
        self.setup.vary(&mut self.dice);
        self.note(format!("  {} shards", self.setup.shards));
        self.tally.resharded += u64::from(shards != self.setup.shards);
        self.troubled = false;
        self.before = self.disk.stats();
        if shape.fault && self.begin(Step::OpenFault(life)) {
            self.faulty_open()?;
        }
        for at in 0..shape.kills {
            if self.begin(Step::OpenKill(life, at)) {
                self.killed_open();
            }
        }
        self.disk.mend();
        self.before = self.disk.stats();
        let engine = self.try_open().map_err(|error| format!("open: {error}"))?;
        self.hold(&engine)?;
        self.engine = Some(engine);
        if shape.again && self.begin(Step::Again(life)) {
            self.look_again()?;
        }
        Ok(())
    }

    fn try_open(&self) -> Result<Engine, Error> {
        Engine::open_simulated(&self.disk, self.setup.options(), self.clock.clone())
    }

    /// Holds an engine that has just been opened on a disk that works against the oracle.
    fn hold(&mut self, engine: &Engine) -> Check {
        self.note_doubtful();
        for log in engine.metrics().logs {
            self.tally.note_recovery(&log.recovery);
            let lost = log.recovery.lost_bytes;
            // After nothing but kills the rings hold everything that was committed.
            if lost > 0 && self.spared == Level::Written && !self.doubtful.contains(&log.log) {
                return Err(format!("{}: {lost} bytes lost by a process kill", log.log));
            }
        }
        self.oracle.recovered(engine, self.spared, &self.doubtful)?;
        self.tally.spread += self.oracle.spread();
        self.spared = Level::Written;
        self.doubtful.clear();
        self.latched.clear();
        self.frozen = false;
        self.stuck = false;
        self.tally.recoveries += 1;
        Ok(())
    }

    /// The device fails during the open, which says so, and the next one, in this process or after
    /// a crash, finds everything.
    fn faulty_open(&mut self) -> Check {
        let nth = self.dice.pick(&[10, 30, 80, 200]);
        let nth = self.dice.within(1, nth);
        match self.dice.below(10) {
            0..7 => {
                let errors = [FaultError::Io, FaultError::NoSpace, FaultError::Descriptors];
                let error = self.dice.pick(&errors);
                self.note(format!("  open meets {error:?} at operation {nth}"));
                self.disk.fail_nth(FaultOp::Any, nth, error);
            }
            7 => {
                self.note("  open on a full disk");
                self.disk.set_condition(Condition::Full);
            }
            8 => {
                self.note("  open on a disk that is read-only");
                self.disk.set_condition(Condition::ReadOnly);
            }
            _ => {
                self.note(format!("  the disk breaks {nth} operations into the open"));
                self.disk.break_after(nth);
            }
        }
        let opened = self.try_open();
        self.disk.mend();
        match opened {
            Ok(engine) => {
                self.hold(&engine)?;
                drop(engine);
            }
            Err(error) => {
                self.note(format!("  open: {error}"));
                if !self.explained(&error) {
                    return Err(format!("open: {error}"));
                }
                self.tally.failed_opens += 1;
            }
        }
        if self.dice.chance(50) {
            self.crash();
        }
        Ok(())
    }

    fn killed_open(&mut self) {
        if self.dice.chance(40) {
            let moment = self.dice.pick(&OF_RECOVERY);
            let nth = self.dice.within(1, 3);
            self.note(format!("  killed in the open at moment {nth} of \"{}\"", moment.name()));
            self.disk.kill_at(moment, nth);
        } else {
            let ops = self.dice.pick(&[5, 20, 60, 120]);
            let after = self.dice.below(ops);
            self.note(format!("  killed {after} operations into the open"));
            self.disk.kill_after(after);
        }
        match self.try_open() {
            // The kill comes later than recovery: let it come to nothing.
            Ok(engine) if !self.is_dead() => {
                drop(engine);
                self.tally.kills_after_open += 1;
            }
            _ => self.tally.kills_in_recovery += 1,
        }
        self.crash();
    }

    /// Another reopening, and nothing is another.
    fn look_again(&mut self) -> Check {
        let engine = self.engine.take().expect("just opened");
        let before = Oracle::found(&engine)?;
        verify(&self.disk)?;
        if self.dice.chance(50) {
            self.note("  opened again after a drop");
            drop(engine);
        } else {
            self.note("  opened again after a crash");
            self.crash();
        }
        let engine = self.try_open().map_err(|error| format!("open again: {error}"))?;
        if Oracle::found(&engine)? != before {
            return Err("a second reopening found something else".to_owned());
        }
        self.hold(&engine)?;
        self.engine = Some(engine);
        self.tally.identical += 1;
        Ok(())
    }

    pub(super) fn plan_kill(&mut self) {
        if self.dice.chance(50) {
            let rare = self.dice.chance(25);
            let moment = self.dice.pick(if rare { &RARE } else { Moment::ALL });
            let range = if rare { 1 } else { self.dice.pick(&[1, 4, 20, 60]) };
            let nth = self.dice.within(1, range);
            self.note(format!("  to be killed at moment {nth} of \"{}\"", moment.name()));
            self.disk.kill_at(moment, nth);
        } else {
            let range = self.dice.pick(&[20, 100, 400, 1000]);
            let after = self.dice.below(range);
            self.note(format!("  to be killed in {after} operations"));
            self.disk.kill_after(after);
        }
    }

    /// Ends the process, or the power.
    pub(super) fn crash(&mut self) {
        let kind = self.dice.pick(&[Crash::Process, Crash::Power]);
        self.note(format!("  crash: {kind:?}"));
        if kind == Crash::Power {
            self.spared = Level::Durable;
        }
        self.note_doubtful();
        self.tally.note_kill(self.disk.killed_at());
        let old = std::mem::replace(&mut self.disk, SimDisk::new(SimConfig::default()));
        self.disk = old.crash(kind);
        self.disk.mend();
        self.flights.clear();
        self.followers.clear();
        self.engine = None;
        self.frozen = false;
        self.tally.crashes += 1;
    }

    /// The end of a life.
    pub(super) fn end(&mut self) -> Check {
        self.let_in()?;
        for log in self.engine().metrics().logs {
            self.tally.recycled += log.segments_recycled;
            self.tally.removed += log.segments_removed;
        }
        if self.dice.chance(10) {
            self.evidence.look(&self.disk)?;
        }
        if self.is_dead() || self.dice.chance(60) {
            self.crash();
        } else {
            let close = self.dice.chance(60);
            self.finish(close)?;
            if self.is_dead() || self.dice.chance(30) {
                // What a clean close left is durable, directory entries included.
                self.crash();
            }
        }
        if self.dice.chance(10) {
            self.evidence.look(&self.disk)?;
        }
        for (batch, bytes) in self.leases.drain(..) {
            if batch.bytes()[..] != bytes[..] {
                return Err("a batch that was held has changed".to_owned());
            }
        }
        Ok(())
    }

    /// Closes, or just drops, an engine on a disk that works.
    pub(super) fn finish(&mut self, close: bool) -> Check {
        self.let_in()?;
        self.thaw();
        self.disk.set_condition(Condition::Normal);
        self.note(if close { "  close" } else { "  drop" });
        let engine = self.engine.take().expect("an engine is open");
        if close {
            match engine.close(CLOSE) {
                _ if self.is_dead() => {}
                Ok(()) => {
                    self.settle_all()?;
                    self.oracle.all_durable();
                    self.tally.closes += 1;
                }
                Err(error) if self.explained(&error) => {}
                Err(error) => return Err(format!("close: {error}")),
            }
        }
        self.give_up(|_| true);
        self.followers.clear();
        drop(engine);
        self.note_doubtful();
        // A kill that has not come by now comes to nothing.
        if !self.is_dead() {
            self.disk.kill_never();
            self.disk.mend();
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

    pub(super) fn thaw(&mut self) {
        if std::mem::take(&mut self.frozen) {
            self.disk.thaw();
        }
    }

    /// A recovered engine takes appends and closes.
    pub(super) fn append_after_all(&mut self) -> Check {
        if self.oracle.topics.is_empty() {
            self.create_topic(Flush::Sync)?;
        }
        for name in self.usable() {
            self.append_one(&name)?;
        }
        Ok(())
    }
}
