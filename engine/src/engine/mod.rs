//! An engine: an open data directory, its logs, the shards that flush them and the thread that
//! does the slow work. Opening recovers; closing, or dropping, flushes and leaves a clean end.

mod caller;
mod changes;
mod close;
mod info;
mod maintenance;
pub(crate) mod open;
mod placement;
mod read_only;
mod runner;
mod scrub;
mod seat;
mod tell;
#[cfg(all(test, feature = "sim"))]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use crate::buf::fork::{Birth, LeakedInChild};
use crate::clock::Clock;
use crate::config::{Ack, Options};
use crate::driver::disk::LockGuard;
#[cfg(feature = "sim")]
use crate::driver::op::Driver;
use crate::error::{Error, Result};
use crate::ids::LogId;
use crate::log::{Log, Stop};
use crate::topic::catalog::{Catalog, Change, TopicMeta};
use crate::topic::completion::CompletionQueue;
use crate::topic::{Host, Topic, TopicInfo, TopicSpec};

use changes::Unsettled;
pub use info::{Capabilities, LogCapabilities, Stat};
use open::Maker;
use read_only::Reading;
use runner::Runner;

/// The metadata log.
pub(crate) const META: LogId = LogId(0);

/// An open data directory: cheap to clone, usable from any thread. Several may be open in one
/// process, each on a directory of its own.
///
/// The last handle that goes (engine, topic, partition or reader) closes it; see
/// [`close`](Self::close) to do so with a deadline and an answer.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    birth: Birth,
    maker: Maker,
    options: Options,
    uuid: Uuid,
    opened_in: Duration,
    logs: LeakedInChild<RwLock<BTreeMap<LogId, Arc<Log>>>>,
    catalog: RwLock<Catalog>,
    /// Changes of the catalog, one at a time; those whose outcome is still unknown.
    changing: Mutex<Vec<Unsettled>>,
    runner: LeakedInChild<Runner>,
    lock: Mutex<Option<LockGuard>>,
    closed: AtomicBool,
    closing: Mutex<()>,
    /// It only reads.
    reading: Option<Reading>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Engine").field(&self.inner.maker.disk.root()).finish()
    }
}

impl Host for Inner {
    fn block_on(
        &self,
        timeout: Duration,
        poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> bool {
        self.runner.block_on(timeout, poll)
    }

    fn is_caller_driven(&self) -> bool {
        self.runner.is_caller_driven()
    }

    fn wake_shards(&self) {
        self.runner.wake();
    }

    fn append_timeout(&self) -> Duration {
        self.options.append_timeout
    }

    fn now_ms(&self) -> i64 {
        self.maker.clock.wall_ms()
    }
}

impl Engine {
    /// How to open one.
    pub fn options() -> Options {
        Options::default()
    }

    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.inner) as Arc<dyn Host>
    }

    /// Makes a topic, durably, its partitions spread over the shards, and the first log of its
    /// flush class on a shard that has none yet. Blocks.
    ///
    /// # Errors
    /// [`Error::TopicExists`], [`Error::InvalidArgument`] for a name or count out of range,
    /// [`Error::Closed`], and what an append can meet.
    pub fn create_topic(&self, spec: TopicSpec) -> Result<Topic> {
        self.inner.check_open()?;
        let mut changing = self.inner.begin_change()?;
        self.create_locked(spec, &mut changing)
    }

    fn create_locked(&self, spec: TopicSpec, changing: &mut Vec<Unsettled>) -> Result<Topic> {
        spec.validate()?;
        if self.inner.catalog.read().topic(&spec.name).is_some() {
            return Err(Error::TopicExists { topic: spec.name });
        }
        let placement = self.inner.place(spec.partitions, spec.flush, changing)?;
        let meta = TopicMeta {
            name: spec.name,
            uuid: self.inner.maker.disk.fresh_uuid(),
            flush: spec.flush,
            compression: spec.compression,
            timestamps: spec.timestamps,
            partitions: spec.partitions,
            placement,
        };
        let name = meta.name.clone();
        self.inner.change(Change::TopicCreated(meta), changing)?;
        self.topic(&name)
    }

    /// The topic of this name.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`].
    pub fn topic(&self, name: &str) -> Result<Topic> {
        self.inner.check_fork()?;
        self.inner.refresh()?;
        let catalog = self.inner.catalog.read();
        let unknown = || Error::UnknownTopic { topic: name.to_owned() };
        let meta = catalog.topic(name).ok_or_else(unknown)?;
        let logs = self.inner.logs_of(meta)?;
        Ok(Topic::new(Arc::clone(meta), logs, self.host()))
    }

    /// The topic of this name, made if it is not there. One that is there stays as it is, whatever
    /// `spec` says of partitions and flush class.
    ///
    /// # Errors
    /// As [`create_topic`](Self::create_topic).
    pub fn open_or_create_topic(&self, spec: TopicSpec) -> Result<Topic> {
        self.inner.check_open()?;
        if self.inner.is_read_only() {
            let found = self.topic(&spec.name);
            let missing = matches!(found, Err(Error::UnknownTopic { .. }));
            return if missing { self.inner.check_writable().and(found) } else { found };
        }
        let mut changing = self.inner.begin_change()?;
        match self.topic(&spec.name) {
            Err(Error::UnknownTopic { .. }) => self.create_locked(spec, &mut changing),
            found => found,
        }
    }

    /// Every topic, by name.
    pub fn topics(&self) -> Vec<TopicInfo> {
        if self.inner.check_fork().is_err() {
            return Vec::new();
        }
        // What is known is told, even if what is new cannot be read.
        let _ = self.inner.refresh();
        let names: Vec<String> =
            self.inner.catalog.read().topics().map(|topic| topic.name.clone()).collect();
        // One deleted meanwhile is left out.
        names.iter().filter_map(|name| self.topic(name).ok()?.describe().ok()).collect()
    }

    /// Deletes a topic and all its records, durably. Handles to it, and its readers, get
    /// [`Error::UnknownTopic`] from then on. Blocks.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], and what an append can meet.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        self.inner.check_open()?;
        let mut changing = self.inner.begin_change()?;
        let unknown = || Error::UnknownTopic { topic: name.to_owned() };
        let meta = self.inner.catalog.read().topic(name).cloned().ok_or_else(unknown)?;
        self.inner.logs_of(&meta)?;
        self.inner.change(Change::TopicDeleted { uuid: meta.uuid }, &mut changing)
    }

    /// A queue in which appends, reads and flushes end up, for event loops and bindings; it takes
    /// up to `capacity` submissions at once.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a capacity out of range; [`Error::Io`] without descriptors.
    pub fn completion_queue(&self, capacity: usize) -> Result<CompletionQueue> {
        CompletionQueue::new(self.host(), capacity)
    }

    /// Makes durable whatever has been appended up to now, in topics of either class. Blocks, up to
    /// `timeout`.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Latched`] if a log has failed; [`Error::Closed`].
    pub fn flush(&self, timeout: Duration) -> Result<()> {
        let mut targets = self.inner.appended()?;
        let mut tickets = vec![None; targets.len()];
        let mut outcome = Ok(());
        for (log, end) in &targets {
            log.want(Ack::Durable, *end);
        }
        let done = self.inner.runner.block_on(timeout, &mut |context| {
            while let (Some((log, end)), Some(ticket)) = (targets.last(), tickets.last_mut()) {
                match log.poll_reached(Ack::Durable, *end, ticket, context.waker()) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {
                        targets.pop();
                        tickets.pop();
                    }
                    Poll::Ready(Err(error)) => {
                        outcome = Err(error);
                        return Poll::Ready(());
                    }
                }
            }
            Poll::Ready(())
        });
        for ((log, _), ticket) in targets.iter().zip(tickets) {
            if let Some(ticket) = ticket {
                log.durable_waiters.forget(ticket);
            }
        }
        if done { outcome } else { Err(Error::Timeout { after: timeout, outcome_unknown: true }) }
    }

    /// As [`flush`](Self::flush), but without waiting: `queue` gives the outcome under `tag`.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::Closed`]: there will be no completion.
    pub fn submit_flush(&self, queue: &CompletionQueue, tag: u64) -> Result<()> {
        queue.put_flush(&self.inner.appended()?, tag)
    }

    /// Flushes everything and leaves a clean end, so that the next open scans nothing. Appends,
    /// reads and waits of other handles get [`Error::Closed`]; closing again does nothing. Blocks,
    /// up to `timeout`.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the device did not finish in time: what was acknowledged is safe all
    /// the same, and the next open recovers. [`Error::Latched`] if a log had failed.
    /// [`Error::NoSpace`], [`Error::ReadOnly`] or [`Error::Io`] if all is flushed and only the
    /// clean end could not be stored: the next open scans. [`Error::InvalidArgument`] from within a
    /// waker on the engine's own thread.
    ///
    /// In caller-driven mode it turns the shards of this thread to their end, and waits for the
    /// owners of others to turn theirs: theirs to do until [`run_once`](Self::run_once) says
    /// [`Error::Closed`]. A drop waits for nobody: what it cannot turn, the next open recovers.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        self.inner.check_fork()?;
        self.inner.close(timeout, false)
    }

    /// How many shards flush its logs.
    pub fn shards(&self) -> usize {
        self.inner.runner.shards()
    }

    /// In caller-driven mode: turns one shard once on this thread, which owns it from then on.
    /// Takes in what has completed, wakes who waited for it, hands new writes to the kernel, and
    /// does a piece of due upkeep: a megabyte of the next segment at most, or the index and
    /// checkpoint of one. Sleeps up to `timeout` first if there is nothing to do; with a timeout of
    /// zero it waits for nothing. Without io_uring the writes themselves are made in it, one a
    /// call, and wait for the device.
    ///
    /// ```
    /// # fn main() -> Result<(), ringlog::Error> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use std::time::Duration;
    /// use ringlog::{Engine, Record, TopicSpec};
    /// let engine = Engine::options().caller_driven(true).open(dir.path())?;
    /// let topic = engine.create_topic(TopicSpec::new("orders"))?;
    /// let mut append = topic.partition(0)?.append_async(Record::new(b"one espresso"));
    /// while !append.is_done() {
    ///     engine.run_once(0, Duration::from_secs(1))?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongThread`]; [`Error::Closed`] once the shard has ended;
    /// [`Error::InvalidArgument`] for a shard that is not there, from within a waker that this very
    /// call runs, and on an engine with threads of its own.
    pub fn run_once(&self, shard: usize, timeout: Duration) -> Result<()> {
        self.inner.check_fork()?;
        self.inner.runner.caller("run_once")?.run_once(shard, timeout)
    }

    /// In caller-driven mode: a descriptor for an event loop, readable (level-triggered) when
    /// [`run_once`](Self::run_once) has something to do for this shard. One is enough; it lives as
    /// long as the engine.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a shard that is not there, on an engine with threads of its
    /// own, and in a simulation.
    pub fn poll_fd(&self, shard: usize) -> Result<BorrowedFd<'_>> {
        self.inner.check_fork()?;
        let seat = self.inner.runner.caller("poll_fd")?.seat(shard)?;
        seat.descriptor().ok_or_else(|| Error::invalid("poll_fd", "nothing sleeps in a simulation"))
    }

    /// How a log is damaged, if one is.
    pub(crate) fn first_damage(&self) -> Option<Error> {
        self.inner.logs.read().values().find_map(|log| log.damage().cloned())
    }

    /// Turns every shard, and upkeep, once, where no thread does.
    #[cfg(feature = "sim")]
    pub fn turn(&self) {
        self.inner.runner.turn();
    }

    /// Opens on a simulated disk: nothing runs but when a call, or [`turn`](Self::turn), turns it.
    /// `clock` is the disk's.
    ///
    /// # Errors
    /// As [`Options::open`].
    #[cfg(feature = "sim")]
    pub fn open_simulated(
        disk: &crate::driver::sim::SimDisk,
        options: Options,
        clock: Clock,
    ) -> Result<Self> {
        options.validate()?;
        let driver = || Box::new(crate::driver::sim::SimDriver::new(disk)) as Box<dyn Driver>;
        let drivers = (0..options.shards).map(|_| driver()).collect();
        open::open(Arc::new(disk.clone()), options, clock, open::Drivers::Simulated(drivers))
    }
}

impl Options {
    /// Opens the directory, recovering what its last writer left; makes it if it is not there.
    /// Blocks: for a few milliseconds, after a crash for as long as the tail takes to read.
    ///
    /// # Errors
    /// [`Error::Locked`] names the holder; [`Error::NotADataDirectory`],
    /// [`Error::UnsupportedFormat`], [`Error::ReadOnly`] and [`Error::Corrupt`] (of engine.meta or
    /// both checkpoints) leave everything as it was; [`Error::NotDurable`] unless
    /// [`allow_volatile`](Self::allow_volatile). A damaged log does not keep the engine from
    /// opening: appends to it fail, reads outside the damage go on.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Engine> {
        self.validate()?;
        if self.read_only {
            let disk = crate::driver::os::OsDisk::open_to_read(path.as_ref())?;
            return read_only::open(Arc::new(disk), self);
        }
        let disk = crate::driver::os::OsDisk::open(path.as_ref(), self.create)?;
        open::open(Arc::new(disk), self, Clock::default(), open::Drivers::Chosen)
    }
}

impl Inner {
    fn check_open(&self) -> Result<()> {
        self.check_fork()?;
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::Closed { outcome_unknown: false });
        }
        Ok(())
    }

    /// Refuses a forked child: threads are gone, and locks may be held for ever.
    fn check_fork(&self) -> Result<()> {
        if self.birth.is_inherited() { Err(Error::Forked) } else { Ok(()) }
    }

    /// The logs that hold appends of this engine, and where these end.
    fn appended(&self) -> Result<Vec<(Arc<Log>, u64)>> {
        self.check_open()?;
        let logs = self.logs.read();
        let end = |log: &Arc<Log>| log.writer.lock().claimed_end();
        Ok(logs.values().map(|log| (Arc::clone(log), end(log))).collect())
    }

    fn log(&self, id: LogId) -> Result<Arc<Log>> {
        let found = self.logs.read().get(&id).cloned();
        found.ok_or_else(|| {
            let path = self.maker.disk.root().join(id.dir());
            Error::corrupt(path, 0, "the log of this topic is missing")
        })
    }

    /// The logs of a topic's placement, run by run.
    fn logs_of(&self, topic: &TopicMeta) -> Result<Arc<[Arc<Log>]>> {
        topic.placement.iter().map(|run| self.log(LogId(run.log))).collect()
    }

    /// Hands a log to its shard and to maintenance.
    fn adopt(&self, log: &Arc<Log>) {
        self.runner.add(Arc::clone(log));
        self.logs.write().insert(log.id, Arc::clone(log));
        if self.closed.load(Ordering::SeqCst) {
            // A close that did not wait for the change which made it.
            log.stop(Stop::Closed);
        }
    }
}
