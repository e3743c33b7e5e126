//! Opening a directory: is it ours, is it free, what does it hold; then its logs, metadata first.
//! A directory that is refused has not been written to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::caller::Caller;
use super::maintenance::Maintenance;
use super::placement;
use super::runner::Runner;
use super::scrub::Scrub;
use super::seat::{Seat, SeatParts};
use super::{Engine, Inner, META};
use crate::buf::fork::{Birth, LeakedInChild};
use crate::buf::{RingMap, Waker};
use crate::clock::Clock;
use crate::config::{Backend, Flush, LogOptions, Options};
use crate::driver::disk::{DirEntry, Disk, DiskRef, LockGuard, full_path, io_error};
#[cfg(feature = "sim")]
use crate::driver::op::Driver;
use crate::driver::{Chosen, DriverChoice, choose};
use crate::error::{Error, Result};
use crate::format::engine_meta::{EngineMeta, MetaError};
use crate::format::ring_control::{self, Identity};
use crate::format::{FORMAT_VERSION, Seed};
use crate::ids::{LogId, StreamId};
use crate::limits::RINGS_MEMORY_DIVISOR;
use crate::log::lease::Pins;
use crate::log::recovery::{self, Placed, Recovered};
use crate::log::ring::Ring;
use crate::log::writer::{Start, Writer};
use crate::log::{Log, MaintenanceSignal, Parts, Stop, checkpoints};
use crate::metrics::Counters;
use crate::shard::{self, Control, spawn};
use crate::topic::catalog::Catalog;

pub(crate) const META_FILE: &str = "engine.meta";
/// What a directory may hold before its first creation has finished.
const OWN_NAMES: [&str; 5] = ["LOCK", "READERS", "engine.meta.tmp", "log-000", "lost+found"];

/// What the shards run on.
pub(crate) enum Drivers {
    /// The kernel's, as the options say.
    Chosen,
    /// One of these each, turned by whoever calls.
    #[cfg(feature = "sim")]
    Simulated(Vec<Box<dyn Driver>>),
}

impl Drivers {
    /// Whether callers turn the shards.
    fn by_callers(&self, options: &Options) -> bool {
        options.caller_driven || !matches!(self, Self::Chosen)
    }
}

/// What it takes to make a log's shared state.
pub(crate) struct Maker {
    pub(crate) disk: DiskRef,
    pub(crate) clock: Clock,
    /// By shard.
    wakers: Vec<Waker>,
    signals: Vec<MaintenanceSignal>,
    file_ring: bool,
    pub(crate) pins: Arc<Pins>,
}

pub(crate) fn open(
    disk: DiskRef,
    options: Options,
    clock: Clock,
    drivers: Drivers,
) -> Result<Engine> {
    let started = Instant::now();
    let found = read_meta(&*disk)?;
    if found.is_none() {
        refuse_strangers(&disk)?;
        if !options.create {
            let reason = "engine.meta is not there, and creating was not asked for";
            return Err(not_a_directory(&*disk, reason));
        }
    }
    check_facts(&*disk, &options)?;
    let lock = disk.lock(options.lock_timeout)?;
    disk.make_readers().map_err(io_error(&*disk, "make", "READERS"))?;
    // Another process may have made it before this one had the lock.
    let meta = match read_meta(&*disk)? {
        Some(meta) => {
            // Whoever made it may have died before its name was durable; what follows relies on it.
            disk.sync_dir("").map_err(io_error(&*disk, "flush", ""))?;
            meta
        }
        None => initialise(&disk, &options, &clock)?,
    };
    let controls = (0..options.shards).map(|_| Control::new().map(Arc::new));
    let controls: Vec<Arc<Control>> = controls
        .collect::<std::io::Result<_>>()
        .map_err(|error| Error::io("make an eventfd for", disk.root(), error))?;
    let upkeeps = upkeeps(drivers.by_callers(&options), &controls, &options, &clock);
    let of_shard = |shard: usize| &upkeeps[shard.min(upkeeps.len() - 1)];
    let maker = Maker {
        file_ring: options.log.ring_in_file && disk.facts().no_file_ring.is_none(),
        wakers: controls.iter().map(|control| control.waker.clone()).collect(),
        signals: (0..options.shards).map(|at| Maintenance::signal(of_shard(at))).collect(),
        pins: Pins::new(options.pinned_bytes_max),
        disk,
        clock,
    };
    refuse_newer(&maker.disk)?;
    let (logs, catalog) = open_logs(&maker, &options)?;
    let runner = start(drivers, &options, controls, upkeeps, &lock, &maker.clock)?;
    let inner = Inner {
        birth: Birth::here(),
        maker,
        options,
        uuid: meta.uuid,
        opened_in: started.elapsed(),
        logs: LeakedInChild::new(RwLock::new(BTreeMap::new())),
        catalog: RwLock::new(catalog),
        changing: Mutex::default(),
        runner: LeakedInChild::new(runner),
        lock: Mutex::new(Some(lock)),
        closed: AtomicBool::new(false),
        closing: Mutex::default(),
        reading: None,
    };
    for log in logs {
        inner.adopt(&log);
    }
    inner.tell_opened();
    Ok(Engine { inner: Arc::new(inner) })
}

/// One for each shard where callers turn them, else one for all.
fn upkeeps(
    by_callers: bool,
    controls: &[Arc<Control>],
    options: &Options,
    clock: &Clock,
) -> Vec<Arc<Maintenance>> {
    let parts = if by_callers { controls.len() } else { 1 };
    let wakers = controls.iter().map(|control| by_callers.then(|| control.waker.clone()));
    let upkeep = |waker| Arc::new(Maintenance::new(Scrub::new(options, clock, parts), waker));
    wakers.take(parts).map(upkeep).collect()
}

/// Starts whoever turns shards and upkeep.
#[cfg_attr(
    not(feature = "sim"),
    expect(clippy::needless_pass_by_value, reason = "simulated ones are taken over")
)]
fn start(
    drivers: Drivers,
    options: &Options,
    controls: Vec<Arc<Control>>,
    upkeeps: Vec<Arc<Maintenance>>,
    lock: &LockGuard,
    clock: &Clock,
) -> Result<Runner> {
    let choice = match options.backend {
        Backend::Auto => DriverChoice::Auto,
        Backend::Uring => DriverChoice::Uring,
        Backend::Plain => DriverChoice::Plain,
    };
    let by_callers = drivers.by_callers(options);
    let drivers: Vec<(Chosen, Option<LockGuard>)> = match drivers {
        Drivers::Chosen if by_callers => {
            let chosen = |control: &Arc<Control>| {
                let chosen = choose(choice, lock, control.waker.clone())?;
                Ok((chosen, Some(lock.clone())))
            };
            controls.iter().map(chosen).collect::<Result<_>>()?
        }
        #[cfg(feature = "sim")]
        Drivers::Simulated(drivers) => {
            let chosen = |driver| (Chosen { driver, reason: "asked for".to_owned() }, None);
            drivers.into_iter().map(chosen).collect()
        }
        Drivers::Chosen => return start_threads(options, choice, controls, &upkeeps, lock, clock),
    };
    let mut seats = Vec::new();
    let simulated = drivers.iter().all(|(_, lock)| lock.is_none());
    for ((control, upkeep), (chosen, lock)) in controls.into_iter().zip(upkeeps).zip(drivers) {
        seats.push(Seat::new(SeatParts { control, upkeep, chosen, lock }, clock.clone())?);
    }
    Ok(Runner::Caller(Caller::new(seats, clock.clone(), simulated)))
}

fn start_threads(
    options: &Options,
    choice: DriverChoice,
    controls: Vec<Arc<Control>>,
    upkeeps: &[Arc<Maintenance>],
    lock: &LockGuard,
    clock: &Clock,
) -> Result<Runner> {
    let all = controls.clone();
    let threads = controls.into_iter().enumerate().map(|(shard, control)| {
        let (lock, clock) = (lock.clone(), clock.clone());
        spawn(control, shard::Start { shard, choice, lock, clock, pin: options.pin_shards })
    });
    let upkeep = Arc::clone(&upkeeps[0]);
    let threads = threads.collect::<Result<Vec<_>>>();
    let started =
        threads.and_then(|threads| Maintenance::spawn(&upkeep, lock.clone()).map(|()| threads));
    // Without its mates a shard would run, and keep the lock, for ever.
    started
        .map(|threads| Runner::Threads(threads, upkeep))
        .inspect_err(|_| all.iter().for_each(|control| control.close()))
}

pub(crate) fn not_a_directory(disk: &dyn Disk, reason: &str) -> Error {
    Error::NotADataDirectory { path: disk.root().to_path_buf(), reason: reason.to_owned() }
}

/// `None`: no engine.meta is there.
pub(crate) fn read_meta(disk: &dyn Disk) -> Result<Option<EngineMeta>> {
    let path = || full_path(disk, META_FILE);
    let bytes = match checkpoints::read_all(disk, META_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(disk, "read", META_FILE)(error)),
    };
    EngineMeta::decode(&bytes).map(Some).map_err(|error| match error {
        MetaError::NotOurs => Error::NotADataDirectory {
            path: disk.root().to_path_buf(),
            reason: "its engine.meta is another program's".to_owned(),
        },
        MetaError::Version(found) => {
            Error::UnsupportedFormat { path: path(), found, supported: FORMAT_VERSION }
        }
        MetaError::Damaged => Error::corrupt(path(), 0, "both copies are damaged"),
    })
}

/// A directory without engine.meta is ours to use only if nothing else is in it.
pub(crate) fn refuse_strangers(disk: &DiskRef) -> Result<()> {
    let refuse =
        |reason: String| Err(Error::NotADataDirectory { path: disk.root().to_path_buf(), reason });
    let entries = match disk.list("") {
        Ok(entries) => entries,
        Err(error) => return Err(io_error(&**disk, "list", "")(error)),
    };
    for entry in &entries {
        if !OWN_NAMES.contains(&entry.name.as_str()) {
            return refuse(format!("no engine.meta, but \"{}\" is there", entry.name));
        }
    }
    if entries.iter().any(|entry| entry.name == META.dir()) && recovery::has_groups(disk, META)? {
        return refuse("engine.meta is missing, but its metadata log holds data".to_owned());
    }
    Ok(())
}

fn check_facts(disk: &dyn Disk, options: &Options) -> Result<()> {
    if let (Some(reason), false) = (&disk.facts().volatile, options.allow_volatile) {
        return Err(Error::NotDurable { path: disk.root().to_path_buf(), reason: reason.clone() });
    }
    // A log of each class for each shard, or what is there, if that is more. Whose directory is
    // not there yet has none.
    let entries = disk.list("").unwrap_or_default();
    let there = entries.iter().filter(|entry| log_of(entry).is_some_and(|id| id != META)).count();
    check_rings(options, there.max(2 * options.shards))
}

/// So many rings must not take too much of the memory there is.
pub(super) fn check_rings(options: &Options, rings: usize) -> Result<()> {
    let bytes = rings as u64 * options.log.ring_bytes as u64;
    let memory = crate::driver::os::memory_bytes();
    if bytes > memory / RINGS_MEMORY_DIVISOR {
        let reason =
            format!("{rings} rings of this size are over a sixteenth of {memory} bytes of memory");
        return Err(Error::invalid("ring_bytes", reason));
    }
    Ok(())
}

/// The log whose directory this entry is.
fn log_of(entry: &DirEntry) -> Option<LogId> {
    let id = entry.name.strip_prefix("log-").and_then(|id| id.parse().ok()).map(LogId);
    id.filter(|id| entry.is_dir && id.dir() == entry.name)
}

/// Makes the metadata log, then engine.meta, whose presence says that the directory is whole.
fn initialise(disk: &DiskRef, options: &Options, clock: &Clock) -> Result<EngineMeta> {
    recovery::create(disk, META, &options.log.metadata())?;
    let meta = EngineMeta { uuid: disk.fresh_uuid(), created_ms: clock.wall_ms() };
    checkpoints::write_all(&**disk, META_FILE, &meta.encode(), true)?;
    Ok(meta)
}

/// Before the first byte is written to any log.
pub(crate) fn refuse_newer(disk: &DiskRef) -> Result<()> {
    for entry in disk.list("").map_err(io_error(&**disk, "list", ""))? {
        if let Some(id) = log_of(&entry) {
            recovery::refuse_newer(disk, id)?;
        }
    }
    Ok(())
}

fn open_logs(maker: &Maker, options: &Options) -> Result<(Vec<Arc<Log>>, Catalog)> {
    let meta_options = options.log.metadata();
    let found = recovery::look(&maker.disk, META, &meta_options, BTreeSet::new())?;
    if let Some(error) = found.damage_of_files() {
        // Nobody knows which topics and logs there are.
        return Err(error.clone());
    }
    // Before a byte is written: whoever comes with a build that can read them finds all as it was.
    let catalog = load_catalog(&found.snapshot(), found.changes())?;
    let mut recovered = found.settle()?;
    recovered.snapshot = catalog.snapshot();
    // Its checkpoints hold all it says, so whatever is below one is dead.
    recovered.upkeep.trimmed = true;
    recovered.streams = vec![Some(Box::new(recovery::fresh_stream()))];
    let whole = recovered.damage.is_none();
    let mut logs = vec![maker.make(META, Flush::Sync, 0, &meta_options, recovered)?];
    let mut hosted = Vec::new();
    for (id, log) in &catalog.logs {
        let shard = placement::shard_for(log.flush, hosted.iter().copied(), options.shards);
        hosted.push((log.flush, shard));

        // With damage among the topics a deleted one may seem to be there.
        let live = if whole { catalog.live_streams(*id) } else { BTreeSet::new() };
        let mut recovered = recover_data(&maker.disk, LogId(*id), options, live)?;
        restore_live(&mut recovered, &catalog, *id, whole);
        logs.push(maker.make(LogId(*id), log.flush, shard, &options.log, recovered)?);
    }
    Ok((logs, catalog))
}

/// The topics there are; the error says where it is that cannot be read.
pub(super) fn load_catalog(snapshot: &Placed, changes: &[Placed]) -> Result<Catalog> {
    Catalog::load(&snapshot.payload, changes).map_err(|error| {
        let place = error.change.map_or(snapshot, |at| &changes[at]);
        let reason = format!("the topics cannot be read: {}", error.reason);
        Error::corrupt(&place.path, place.at, reason)
    })
}

/// Damage in a log of topics is that log's alone: however bad it is, the others open.
pub(super) fn recover_data(
    disk: &DiskRef,
    id: LogId,
    options: &Options,
    live: BTreeSet<u32>,
) -> Result<Recovered> {
    match recovery::recover(disk, id, &options.log, live) {
        Err(error @ Error::Corrupt { .. }) => Ok(recovery::unreadable(id, error)),
        recovered => recovered,
    }
}

/// Streams of deleted topics go, those that were never appended to come. Unless the catalog is
/// `whole`, a stream without a topic may be one whose topic was damaged: it stays.
fn restore_live(recovered: &mut Recovered, catalog: &Catalog, id: u32, whole: bool) {
    if recovered.segments.is_empty() {
        // Unreadable: that it has no streams says so.
        return;
    }
    let live = catalog.live_streams(id);
    let is_live = |stream: StreamId| live.contains(&stream.0);
    let trimmed = whole && recovery::keep_only(&mut recovered.streams, &is_live);
    for &stream in &live {
        let at = stream as usize;
        if recovered.streams.len() <= at {
            recovered.streams.resize_with(at + 1, || None);
        }
        recovered.streams[at].get_or_insert_with(|| Box::new(recovery::fresh_stream()));
    }
    // A crash may have kept segments that a trim or a deletion had emptied.
    recovered.upkeep.trimmed = trimmed;
    recovered.upkeep.look_for_dead = trimmed;
}

impl Maker {
    /// For an engine that makes nothing.
    pub(super) fn of_reader(disk: DiskRef, options: &Options) -> Self {
        let pins = Pins::new(options.pinned_bytes_max);
        let (wakers, signals) = (Vec::new(), Vec::new());
        Self { disk, clock: Clock::default(), wakers, signals, file_ring: false, pins }
    }

    /// The shared state of a recovered log.
    pub(crate) fn make(
        &self,
        id: LogId,
        class: Flush,
        shard: usize,
        options: &LogOptions,
        recovered: Recovered,
    ) -> Result<Arc<Log>> {
        let damaged = recovered.damage.places.first().cloned();
        let in_file = self.file_ring && options.ring_in_file && damaged.is_none();
        let fail = |error| Error::io("make the ring of", full_path(&*self.disk, &id.dir()), error);
        let map = if in_file {
            self.ring_file(id, recovered.uuid, options.ring_bytes).map_err(fail)?
        } else {
            RingMap::private(options.ring_bytes).map_err(fail)?
        };
        let sleepers = if in_file {
            // Opening must not need space; without it readers of other processes poll.
            self.disk.make_waiters(&format!("{}/WAITERS", id.dir())).ok()
        } else {
            if damaged.is_none() && id != META {
                // What is in it is in segments now; readers shall not take it for this writer's.
                let _ = self.disk.remove(&format!("{}/ring", id.dir()));
            }
            None
        };
        let ring = Ring::new(map, in_file, recovered.position, recovered.epoch);
        let writer = Writer::new(Start {
            seed: Seed::of(recovered.uuid),
            log_uuid: recovered.uuid,
            epoch: recovered.epoch,
            group_bytes: options.group_bytes.min(options.ring_bytes / 2),
            batch_bytes: options.join_bytes(class),
            position: recovered.position,
            segment: recovered.segment,
            next: recovered.next,
            streams: recovered.streams,
            rolled: recovered.rolled,
        });
        let log = Log::new(Parts {
            id,
            uuid: recovered.uuid,
            class,
            shard,
            options: options.clone(),
            disk: Arc::clone(&self.disk),
            ring,
            ring_in_file: in_file,
            writer,
            segments: recovered.segments,
            upkeep: recovered.upkeep,
            waker: self.wakers[shard].clone(),
            maintenance: Arc::clone(&self.signals[shard]),
            stop: damaged.map(Stop::Damaged),
            snapshot: recovered.snapshot,
            metrics: Counters::new(recovered.report),
            sleepers,
            follow: None,
            pins: Arc::clone(&self.pins),
            beyond: recovered.damage.beyond,
        });
        log.tell_recovery(&recovered.damage.places);
        Ok(log)
    }

    /// The log's ring file: the one that is there if it fits, else a new one in its place.
    fn ring_file(&self, id: LogId, log: Uuid, len: usize) -> std::io::Result<RingMap> {
        let path = format!("{}/ring", id.dir());
        if let Ok(Some(ring)) = self.disk.open_ring(&path) {
            if ring.len() == len && ring_control::identify(&ring, log) == Identity::Ours {
                return Ok(ring);
            }
            ring_control::retire(&ring);
        }
        let ring = match self.disk.create_ring(&path, len) {
            // What is there is of no use to anybody, and may be the very space that is missing.
            Err(full) if full.kind() == std::io::ErrorKind::StorageFull => {
                self.disk.remove(&path).map_err(|_| full)?;
                self.disk.create_ring(&path, len)?
            }
            ring => ring?,
        };
        ring_control::initialise(&ring, log);
        Ok(ring)
    }
}
