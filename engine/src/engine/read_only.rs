//! An engine that only reads: another process's directory, beside its writer or without one. Takes
//! no lock but a shared one on READERS, creates and repairs nothing, and keeps up with the catalog
//! by reading the metadata log as any other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::open::{Maker, load_catalog, not_a_directory, read_meta, refuse_strangers};
use super::runner::Runner;
use super::watch::Watch;
use super::{Engine, Inner, META};
use crate::buf::fork::{Birth, LeakedInChild};
use crate::config::{Flush, Options};
use crate::driver::disk::{DiskRef, ReadersGuard, full_path, io_error};
use crate::error::{Error, Result};
use crate::ids::{LogId, StreamId};
use crate::log::recovery::Placed;
use crate::log::{Log, Stop, follow};
use crate::topic::catalog::Catalog;

/// What an engine has that only reads.
pub(super) struct Reading {
    watch: Watch,
    /// Keeps the writer from recycling what is read here; `None` where READERS cannot be opened,
    /// and after the close.
    held: Mutex<Option<ReadersGuard>>,
}

/// Opens the directory for reading.
pub(super) fn open(disk: DiskRef, options: Options) -> Result<Engine> {
    let started = Instant::now();
    let Some(meta) = read_meta(&*disk)? else {
        refuse_strangers(&disk)?;
        return Err(not_a_directory(&*disk, "engine.meta is not there"));
    };
    // Before the first segment is opened.
    let held = disk.hold_readers().map_err(io_error(&*disk, "hold", "READERS"))?;
    let watch = Watch::new(&disk)?;
    let mut inner = Inner {
        birth: Birth::here(),
        maker: Maker::of_reader(disk, &options),
        options,
        uuid: meta.uuid,
        opened_in: Duration::ZERO,
        logs: LeakedInChild::new(RwLock::new(BTreeMap::new())),
        catalog: RwLock::default(),
        changing: Mutex::default(),
        runner: LeakedInChild::new(Runner::Threads(Vec::new(), Arc::default())),
        lock: Mutex::new(None),
        closed: AtomicBool::new(false),
        closing: Mutex::default(),
        reading: Some(Reading { watch, held: Mutex::new(held) }),
    };
    let meta_log = inner.follow(META, Flush::Sync)?;
    inner.logs.write().insert(META, meta_log);
    inner.refresh()?;
    inner.check_logs()?;
    inner.opened_in = started.elapsed();
    let inner = Arc::new(inner);
    inner.watch().start(&inner)?;
    Ok(Engine { inner })
}

impl Inner {
    pub(super) fn is_read_only(&self) -> bool {
        self.reading.is_some()
    }

    /// Refuses what would write.
    pub(super) fn check_writable(&self) -> Result<()> {
        if self.is_read_only() {
            return Err(Error::ReadOnly { path: self.maker.disk.root().to_path_buf() });
        }
        Ok(())
    }

    /// Only of an engine that reads.
    fn watch(&self) -> &Watch {
        &self.reading.as_ref().expect("only called by an engine that reads").watch
    }

    fn follow(&self, id: LogId, class: Flush) -> Result<Arc<Log>> {
        let options =
            if id == META { self.options.log.metadata() } else { self.options.log.clone() };
        let pins = Arc::clone(&self.maker.pins);
        follow::open(&self.maker.disk, id, class, &options, (self.watch().signal(), pins))
    }

    /// Takes in what has become of the topics; nothing in an engine that writes.
    pub(super) fn refresh(&self) -> Result<()> {
        if !self.is_read_only() || self.closed.load(Ordering::SeqCst) {
            return Ok(());
        }
        let _one_at_a_time = self.changing.lock();
        let meta = self.log(META)?;
        meta.catch_up()?;
        let (snapshot, changes) = meta.take_changes();
        if snapshot.is_none() && changes.is_empty() {
            return Ok(());
        }
        let known = || {
            let path = full_path(&*self.maker.disk, &META.dir());
            Placed { payload: self.catalog.read().snapshot(), path, at: 0 }
        };
        match load_catalog(snapshot.as_ref().unwrap_or(&known()), &changes) {
            Ok(catalog) => self.reconcile(catalog),
            Err(error) => {
                // Or who asks again would be shown the topics without these.
                meta.give_back_changes(snapshot, changes);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes logs and streams what `catalog` says.
    fn reconcile(&self, catalog: Catalog) {
        let before = self.catalog.read().clone();
        for (id, meta) in &catalog.logs {
            let there = self.logs.read().get(&LogId(*id)).cloned();
            let log = match there {
                Some(log) => log,
                // What cannot be opened is told to whoever asks for a topic of it.
                None => match self.follow(LogId(*id), meta.flush) {
                    Ok(log) => log,
                    Err(_) => continue,
                },
            };
            let (old, new) = (before.live_streams(*id), catalog.live_streams(*id));
            let ids = |streams: BTreeSet<u32>| streams.into_iter().map(StreamId).collect();
            log.match_streams(ids(&new - &old), ids(&old - &new));
            self.logs.write().insert(LogId(*id), log);
        }
        *self.catalog.write() = catalog;
    }

    /// Opens what could not be opened before. Damage in a log is told to whoever asks for a topic
    /// of it; any other failure is the answer.
    fn check_logs(&self) -> Result<()> {
        let catalog = self.catalog.read().clone();
        for (id, meta) in &catalog.logs {
            if !self.logs.read().contains_key(&LogId(*id)) {
                let (id, class) = (LogId(*id), meta.flush);
                let log = match self.follow(id, class) {
                    Err(error @ Error::Corrupt { .. }) => {
                        let why = (error, Arc::clone(&self.maker.pins));
                        let options = &self.options.log;
                        let log = follow::unreadable(&self.maker.disk, id, class, options, why)?;
                        self.logs.write().insert(id, log);
                        continue;
                    }
                    followed => followed?,
                };
                let id = &id.0;
                let live = catalog.live_streams(*id).into_iter().map(StreamId).collect();
                log.match_streams(live, BTreeSet::new());
                self.logs.write().insert(LogId(*id), log);
            }
        }
        Ok(())
    }

    /// Every log that readers may wait for.
    pub(super) fn followed(&self) -> Vec<Arc<Log>> {
        self.logs.read().values().filter(|log| log.id != META).cloned().collect()
    }

    /// The files of a log, or of the directory, have changed.
    pub(super) fn note_change(&self, id: Option<LogId>) {
        for log in self.logs.read().values().filter(|log| id.is_none_or(|id| id == log.id)) {
            if let Some(follow) = &log.follow {
                follow.note_change();
            }
        }
    }

    /// Closes an engine that reads: readers that sleep are woken, threads end.
    pub(super) fn close_reading(&self, reading: &Reading, timeout: Duration) -> Result<()> {
        if reading.watch.is_current() {
            let reason = "called by a waker on the engine's own thread, which cannot end itself";
            return Err(Error::invalid("close", reason));
        }
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let ended = self.end_reading(reading, timeout);
        if ended { Ok(()) } else { Err(Error::Timeout { after: timeout, outcome_unknown: false }) }
    }

    /// As far as it can be done on any thread; whether its threads have ended.
    pub(super) fn end_reading(&self, reading: &Reading, timeout: Duration) -> bool {
        let ended = reading.watch.end(timeout);
        for log in self.logs.read().values() {
            log.stop(Stop::Closed);
        }
        reading.held.lock().take();
        ended
    }
}
