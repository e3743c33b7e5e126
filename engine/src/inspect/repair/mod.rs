//! Repairing a data directory: first a plan of what would be done and what is lost, then doing it.
//!
//! Owns LOCK meanwhile, so that nobody writes beside it; the engine that is opened in the end takes
//! it again. Must never destroy: what it replaces is kept aside as `*.damaged`, and damaged groups
//! stay where they are. It invents nothing, either: a log that can be appended to again goes on
//! behind what was lost, and readers that come to a lost place still hear of it.

mod act;
mod survey;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::info::{Finding, Severity};
use super::layout::log_dirs;
use super::names::Names;
#[cfg(feature = "sim")]
use crate::clock::Clock;
use crate::config::Options;
use crate::driver::disk::{DiskRef, LockGuard, full_path};
use crate::driver::os::OsDisk;
#[cfg(feature = "sim")]
use crate::driver::sim::SimDisk;
#[cfg(feature = "sim")]
use crate::engine::Engine;
use crate::engine::{META, open};
use crate::error::Result;
use crate::ids::{LogId, Offset, PartitionId};

use act::Action;
use survey::Survey;

/// A data directory that is being repaired; it is locked against writers as long as this lives.
///
/// ```
/// # fn main() -> Result<(), ringlog::Error> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let engine = ringlog::Engine::options().open(dir.path())?;
/// # engine.close(std::time::Duration::from_secs(9))?;
/// use ringlog::{Options, inspect::Repair};
/// let repair = Repair::open(dir.path(), Options::default())?;
/// let plan = repair.plan(&mut |_done_bytes, _total_bytes| {})?;
/// assert!(plan.steps.is_empty() && plan.losses.is_empty());
/// repair.run(plan)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Repair {
    disk: DiskRef,
    options: Options,
    lock: LockGuard,
    place: Place,
}

/// How an engine is opened there in the end.
#[derive(Debug)]
enum Place {
    Directory,
    #[cfg(feature = "sim")]
    Simulated(SimDisk, Clock),
}

/// Something that a repair does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// The file that is made, replaced or cut.
    pub path: PathBuf,
    /// What is done.
    pub what: String,
    /// Where what was there is kept.
    pub kept_as: Option<PathBuf>,
}

/// Records that are gone, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Loss {
    /// Number of the log.
    pub log: u32,
    /// The partition within the log.
    pub stream: u32,
    /// The topic, if the stream is still one's.
    pub topic: Option<String>,
    /// The partition of the topic.
    pub partition: Option<PartitionId>,
    /// The first offset that is lost.
    pub from: Offset,
    /// The first one behind that is not; `None`: nobody knows how many there were.
    pub to: Option<Offset>,
}

/// What a repair would do, and what is lost whatever it does.
#[derive(Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// What is done, in this order.
    pub steps: Vec<Step>,
    /// What is lost.
    pub losses: Vec<Loss>,
    /// What is beyond repair: restore it from a copy.
    pub beyond: Vec<Finding>,
    #[serde(skip)]
    actions: Vec<Action>,
}

/// A record batch that can be read of a damaged log.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Salvaged<'a> {
    /// Number of the log.
    pub log: u32,
    /// The partition within the log.
    pub stream: u32,
    /// The topic, if the stream is still one's.
    pub topic: Option<&'a str>,
    /// The partition of the topic.
    pub partition: Option<PartitionId>,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Kafka's `RecordBatch` v2, whole and checked.
    pub batch: &'a [u8],
}

impl Repair {
    /// Locks the directory. `options` say how long to wait for that, and how the engine is opened
    /// in the end.
    ///
    /// # Errors
    /// [`Error::Locked`](crate::Error::Locked) beside a writer;
    /// [`Error::Corrupt`](crate::Error::Corrupt) if both copies of engine.meta are damaged, which
    /// is beyond repair; [`Error::NotADataDirectory`](crate::Error::NotADataDirectory),
    /// [`Error::UnsupportedFormat`](crate::Error::UnsupportedFormat),
    /// [`Error::Io`](crate::Error::Io).
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let disk: DiskRef = Arc::new(OsDisk::open(path.as_ref(), false)?);
        Self::locked(disk, options, Place::Directory)
    }

    /// The same on a simulated disk, whose clock is `clock`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[cfg(feature = "sim")]
    pub fn open_simulated(disk: &SimDisk, options: Options, clock: Clock) -> Result<Self> {
        Self::locked(Arc::new(disk.clone()), options, Place::Simulated(disk.clone(), clock))
    }

    fn locked(disk: DiskRef, options: Options, place: Place) -> Result<Self> {
        options.validate()?;
        if open::read_meta(&*disk)?.is_none() {
            open::refuse_strangers(&disk)?;
            return Err(open::not_a_directory(&*disk, "engine.meta is not there"));
        }
        let lock = disk.lock(options.lock_timeout)?;
        open::refuse_newer(&disk)?;
        Ok(Self { disk, options, lock, place })
    }

    /// Reads the whole directory and says what a repair would do. Changes nothing. `progress` hears
    /// how many bytes of how many are done.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if a directory cannot be listed.
    pub fn plan(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Plan> {
        let names = Names::load(&self.disk)?;
        let mut plan = Plan::default();
        act::plan_meta(&self.disk, &mut plan)?;
        let logs = self.logs(&names)?;
        let surveys = self.survey(&names, &logs, progress)?;
        if names.catalog.is_none() {
            plan.beyond(full_path(&*self.disk, &META.dir()), "the topics cannot be read");
        }
        let known = are_known(&names, &surveys);
        for survey in &surveys {
            survey.losses(&names, &mut plan.losses);
            // Nothing opens before the metadata log is restored from a copy, which may say more of
            // the others than what is left.
            if known || survey.layout.id == META {
                act::plan_log(&self.disk, survey, &mut plan)?;
            }
        }
        Ok(plan)
    }

    /// Does what the plan says; then opens the engine, which cuts torn tails and takes what rings
    /// have, and closes it. Interrupted anywhere, it may be planned and run again.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::NoSpace`](crate::Error::NoSpace): what was done
    /// stays done; as [`Options::open`](crate::Options::open); and
    /// [`Error::Corrupt`](crate::Error::Corrupt) if a log still takes no appends, because something
    /// is beyond repair.
    pub fn run(self, plan: Plan) -> Result<()> {
        let Self { disk, options, lock, place } = self;
        if plan.actions.is_empty() {
            return Ok(());
        }
        for action in plan.actions {
            action.run(&disk)?;
        }
        // The engine takes it again, for its own drivers.
        drop(lock);
        let close_timeout = options.close_timeout;
        let options = options.create(false);
        let engine = match place {
            Place::Directory => options.open(disk.root())?,
            #[cfg(feature = "sim")]
            Place::Simulated(disk, clock) => Engine::open_simulated(&disk, options, clock)?,
        };
        let damage = engine.first_damage();
        engine.close(close_timeout)?;
        damage.map_or(Ok(()), Err)
    }

    /// Gives every record batch that can be read of the logs that are damaged, log by log in the
    /// order of positions; of all logs, if nobody knows the topics any more.
    ///
    /// # Errors
    /// What `visit` fails with; [`Error::Io`](crate::Error::Io).
    pub fn salvage(&self, visit: &mut dyn FnMut(Salvaged<'_>) -> Result<()>) -> Result<()> {
        let names = Names::load(&self.disk)?;
        let logs = self.logs(&names)?;
        let surveys = self.survey(&names, &logs, &mut |_, _| {})?;
        let known = are_known(&names, &surveys);
        for survey in surveys {
            if (survey.is_damaged() || !known) && survey.layout.id != META {
                survey.salvage(&self.disk, &names, visit)?;
            }
        }
        Ok(())
    }

    /// The logs that are there, without what an interrupted creation left.
    fn logs(&self, names: &Names) -> Result<Vec<LogId>> {
        let known: Option<BTreeSet<u32>> =
            names.catalog.as_ref().map(|catalog| catalog.logs.keys().copied().collect());
        let mut logs = log_dirs(&*self.disk)?;
        logs.retain(|id| *id == META || known.as_ref().is_none_or(|known| known.contains(&id.0)));
        Ok(logs)
    }

    fn survey(
        &self,
        names: &Names,
        logs: &[LogId],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<Survey>> {
        let mut surveys = Vec::new();
        for id in logs {
            surveys.push(Survey::begin(&self.disk, *id)?);
        }
        let total = surveys.iter().map(|survey| survey.layout.total_bytes).sum();
        let mut done = 0;
        // The metadata log comes first.
        let mut whole = names.catalog.is_some();
        for survey in &mut surveys {
            let mut done_here = |bytes| progress(done + bytes, total);
            survey.read(&self.disk, (names, whole), &mut done_here)?;
            whole &= survey.layout.id != META || !survey.is_damaged();
            done += survey.layout.total_bytes;
            progress(done, total);
        }
        Ok(surveys)
    }
}

impl Plan {
    /// Whether there is nothing to do and nothing lost.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.losses.is_empty() && self.beyond.is_empty()
    }

    fn beyond(&mut self, path: PathBuf, what: impl Into<String>) {
        let finding = Finding { path, at: 0, what: what.into(), severity: Severity::Damage };
        self.beyond.push(finding);
    }

    fn step(&mut self, path: PathBuf, what: impl Into<String>, kept_as: Option<PathBuf>) {
        self.steps.push(Step { path, what: what.into(), kept_as });
    }
}

/// Whether the metadata log still says which topics there are.
fn are_known(names: &Names, surveys: &[Survey]) -> bool {
    let met = |survey: &Survey| survey.layout.id == META && survey.is_met;
    names.catalog.is_some() && !surveys.iter().any(met)
}

/// A name of its own for what is kept aside of `name`.
fn aside(disk: &DiskRef, name: &str) -> Result<String> {
    let (dir, file) = name.rsplit_once('/').unwrap_or(("", name));
    let entries = disk.list(dir);
    let entries = entries.map_err(crate::driver::disk::io_error(&**disk, "list", dir))?;
    let taken = |candidate: &str| entries.iter().any(|entry| entry.name == candidate);
    let mut kept = format!("{file}.damaged");
    let mut number = 1;
    while taken(&kept) {
        number += 1;
        kept = format!("{file}.damaged-{number}");
    }
    Ok(if dir.is_empty() { kept } else { format!("{dir}/{kept}") })
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.topic, self.partition) {
            (Some(topic), Some(partition)) => write!(f, "{topic}/{partition}")?,
            _ => write!(f, "stream {} of log-{:03}, no topic's", self.stream, self.log)?,
        }
        match self.to {
            Some(to) => write!(f, ": offsets {} to {}", self.from, to.0 - 1),
            None => write!(f, ": offsets from {} on; nobody knows how many", self.from),
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)?;
        match &self.kept_as {
            Some(kept) => write!(f, "; what was there is kept as {}", kept.display()),
            None => Ok(()),
        }
    }
}
