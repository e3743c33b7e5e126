//! A log: one append-only sequence of segments, flushed as one. [`Log`] is the handle that
//! appenders, readers, the shard and maintenance share; it owns the writer's lock, the ring and the
//! watermarks.
//!
//! Who does what: an appender claims and commits ([`writer`], [`ring`]); the shard closes groups
//! and turns them into ops ([`flusher`]); maintenance makes segments ahead of need, seals those
//! left behind and writes checkpoints ([`upkeep`]); a reader walks bytes from ring or segment
//! ([`reader`], [`lookup`], [`walk`], [`window`], [`lease`], [`extents`]), and [`scrub`] looks for
//! what has rotted; [`recovery`] turns a
//! directory into the state all this starts from. In a log that is another process's, [`follow`]
//! takes the place of all who write.

pub(crate) mod append;
pub(crate) mod checkpoints;
pub(crate) mod extents;
pub(crate) mod flusher;
pub(crate) mod follow;
mod growth;
pub(crate) mod lease;
pub(crate) mod lookup;
pub(crate) mod probe;
pub(crate) mod queue;
pub(crate) mod reader;
pub(crate) mod recovery;
pub(crate) mod replay;
mod reserve;
pub(crate) mod ring;
pub(crate) mod scan;
pub(crate) mod scrub;
pub(crate) mod segment;
mod tell;
pub(crate) mod times;
pub(crate) mod upkeep;
pub(crate) mod waiters;
pub(crate) mod walk;
pub(crate) mod window;
pub(crate) mod writer;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crossbeam::utils::CachePadded;
use uuid::Uuid;

use crate::buf::fork::Birth;
use crate::buf::{Page, Waker as ShardWaker};
use crate::config::{Ack, Flush, LogOptions};
use crate::driver::disk::DiskRef;
use crate::error::{Error, Result};
use crate::format::Seed;
use crate::format::ring_control::COMMITTED;
use crate::ids::{LogId, Offset, StreamId};
use crate::metrics::Counters;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};

use follow::Follow;
use lease::{Kept, Pins};
use ring::Ring;
use segment::Segment;
use waiters::Waiters;
use writer::{StreamState, Writer};

/// Wakes the maintenance thread.
pub(crate) type MaintenanceSignal = Arc<dyn Fn() + Send + Sync>;

/// Why a log takes no appends.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// A write or flush failed.
    Latched(Arc<str>),
    /// The engine was closed.
    Closed,
    /// Recovery found proven corruption.
    Damaged(Error),
}

/// See the module.
pub(crate) struct Log {
    /// A forked child's copy is never used.
    pub(crate) birth: Birth,
    pub(crate) id: LogId,
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    pub(crate) class: Flush,
    /// The shard that flushes it.
    pub(crate) shard: usize,
    pub(crate) seed: Seed,
    pub(crate) options: LogOptions,
    pub(crate) disk: DiskRef,
    pub(crate) ring: Ring,
    /// The ring is a file, so what is committed survives the process.
    pub(crate) ring_in_file: bool,
    pub(crate) writer: Mutex<Writer>,
    /// Everything below is in segments (written, not necessarily durable), its place in the ring
    /// free.
    released: CachePadded<AtomicU64>,
    pub(crate) written_waiters: Waiters,
    pub(crate) durable_waiters: Waiters,
    /// The highest position that someone waits to see written to its segment, and flushed.
    wanted_written: CachePadded<AtomicU64>,
    wanted_durable: AtomicU64,
    /// The shard sleeps until the committed end reaches this; `u64::MAX`: it is awake.
    wake_at: CachePadded<AtomicU64>,
    waker: ShardWaker,
    stop: OnceLock<Stop>,
    pub(crate) segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    pub(crate) upkeep: Mutex<upkeep::Upkeep>,
    /// Something was trimmed or deleted since upkeep last asked.
    trim_noted: AtomicBool,
    starving: AtomicBool,
    maintenance: MaintenanceSignal,
    pub(crate) metrics: Counters,
    /// What readers hold, of the whole engine.
    pub(crate) pins: Arc<Pins>,
    /// What they may hold again.
    pub(crate) kept: Kept,
    /// The metadata log's state, for its checkpoints.
    pub(crate) snapshot: Mutex<Vec<u8>>,
    /// What that becomes with the claim of the change that is under way.
    pub(crate) next_snapshot: Mutex<Option<Vec<u8>>>,
    /// Where readers of other processes say that they sleep.
    sleepers: Option<Page>,
    /// This log is another process's, and only read.
    pub(crate) follow: Option<Box<Follow>>,
    /// The damage because of which nobody knows what lies beyond the end; of a log without any
    /// stream, because of which nothing is known at all.
    beyond: Option<Error>,
}

/// What a log is made from, once recovered.
pub(crate) struct Parts {
    pub(crate) id: LogId,
    pub(crate) uuid: Uuid,
    pub(crate) class: Flush,
    pub(crate) shard: usize,
    pub(crate) options: LogOptions,
    pub(crate) disk: DiskRef,
    pub(crate) ring: Ring,
    pub(crate) ring_in_file: bool,
    pub(crate) writer: Writer,
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    pub(crate) upkeep: upkeep::Upkeep,
    pub(crate) waker: ShardWaker,
    pub(crate) maintenance: MaintenanceSignal,
    pub(crate) stop: Option<Stop>,
    pub(crate) snapshot: Vec<u8>,
    pub(crate) metrics: Counters,
    pub(crate) sleepers: Option<Page>,
    pub(crate) follow: Option<Box<Follow>>,
    pub(crate) pins: Arc<Pins>,
    pub(crate) beyond: Option<Error>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("name", &self.name)
            .field("class", &self.class)
            .finish_non_exhaustive()
    }
}

impl Log {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let released = parts.ring.committed();
        let stop = OnceLock::new();
        if let Some(reason) = parts.stop {
            let _ = stop.set(reason);
        }
        let mut writer = parts.writer;
        writer.stopped = stop.get().is_some() || parts.follow.is_some();
        Arc::new(Self {
            birth: Birth::here(),
            id: parts.id,
            uuid: parts.uuid,
            name: parts.id.dir(),
            class: parts.class,
            shard: parts.shard,
            seed: Seed::of(parts.uuid),
            options: parts.options,
            disk: parts.disk,
            ring: parts.ring,
            ring_in_file: parts.ring_in_file,
            writer: Mutex::new(writer),
            released: CachePadded::new(AtomicU64::new(released)),
            written_waiters: Waiters::default(),
            durable_waiters: Waiters::default(),
            wanted_written: CachePadded::new(AtomicU64::new(0)),
            wanted_durable: AtomicU64::new(0),
            wake_at: CachePadded::new(AtomicU64::new(u64::MAX)),
            waker: parts.waker,
            stop,
            segments: RwLock::new(parts.segments),
            upkeep: Mutex::new(parts.upkeep),
            trim_noted: AtomicBool::new(false),
            starving: AtomicBool::new(false),
            maintenance: parts.maintenance,
            metrics: parts.metrics,
            pins: parts.pins,
            kept: Kept::default(),
            snapshot: Mutex::new(parts.snapshot),
            next_snapshot: Mutex::default(),
            sleepers: parts.sleepers,
            follow: parts.follow,
            beyond: parts.beyond,
        })
    }

    /// Refuses a forked child, in which locks may be held for ever and the ring is not mapped.
    pub(crate) fn check_fork(&self) -> Result<()> {
        if self.birth.is_inherited() { Err(Error::Forked) } else { Ok(()) }
    }

    /// Everything below survives the process.
    pub(crate) fn written(&self) -> u64 {
        if self.ring_in_file { self.ring.committed() } else { self.released() }
    }

    /// Everything below survives a power loss.
    pub(crate) fn durable(&self) -> u64 {
        self.ring.durable()
    }

    /// Everything below can be read from segments.
    pub(crate) fn released(&self) -> u64 {
        self.released.load(Ordering::SeqCst)
    }

    /// What a reader may see: nothing that this log's class lets vanish.
    ///
    /// Takes the writer's lock if a batch may still grow there, which then does not any more: all
    /// that is below are whole frames.
    pub(crate) fn visible(&self) -> u64 {
        let visible = self.reached(self.class.ack());
        if self.ring.grows_below(visible) {
            self.writer.lock().settle(&self.ring);
        }
        visible
    }

    pub(crate) fn reached(&self, level: Ack) -> u64 {
        match level {
            Ack::Written => self.written(),
            Ack::Durable => self.durable(),
        }
    }

    pub(crate) fn waiters(&self, level: Ack) -> &Waiters {
        match level {
            Ack::Written => &self.written_waiters,
            Ack::Durable => &self.durable_waiters,
        }
    }

    /// Called by whoever moved the committed end.
    pub(crate) fn committed_moved(&self, committed: u64) {
        if committed >= self.wake_at.load(Ordering::SeqCst) {
            self.kick();
        }
        if self.ring_in_file {
            self.written_waiters.fire(committed);
            if self.class == Flush::Async {
                self.wake_sleepers(COMMITTED);
            }
        }
    }

    /// Called after a watermark was moved: wakes readers of other processes, if any sleeps. They
    /// leave their mark first and then look at the watermark once more, so one side sees the other;
    /// and they sleep only as long as their mark is there, since who moved the watermark before may
    /// come here late, and take the mark for what they have seen by then.
    pub(crate) fn wake_sleepers(&self, word: usize) {
        let Some(page) = &self.sleepers else { return };
        if page.mark().load(Ordering::SeqCst) != 0 {
            page.mark().store(0, Ordering::SeqCst);
            self.ring.wake_others(word);
        }
    }

    /// Called by the flusher, under the writer's lock: groups below are in their segments.
    pub(crate) fn set_released(&self, position: u64) {
        self.released.store(position, Ordering::SeqCst);
    }

    /// Called by the flusher after that: lets in those who waited for it.
    pub(crate) fn fire_released(&self, position: u64) {
        if !self.ring_in_file {
            self.written_waiters.fire(position);
        }
        self.admit();
    }

    /// Called with a claim of a change of topics, before anything else is claimed: a checkpoint
    /// above the change's place must have it, as recovery reads no frame below.
    fn take_next_snapshot(&self) {
        if let Some(next) = self.next_snapshot.lock().take() {
            *self.snapshot.lock() = next;
        }
    }

    /// Asks the shard to bring everything up to `position` to this level now, rather than when the
    /// group is full or the window says so.
    pub(crate) fn want(&self, level: Ack, position: u64) {
        let mut raised = self.wanted_written.fetch_max(position, Ordering::SeqCst) < position;
        if level == Ack::Durable {
            raised |= self.wanted_durable.fetch_max(position, Ordering::SeqCst) < position;
        }
        if raised {
            self.kick();
        }
    }

    /// How far someone waits for this level.
    pub(crate) fn wanted(&self, level: Ack) -> u64 {
        match level {
            Ack::Written => self.wanted_written.load(Ordering::SeqCst),
            Ack::Durable => self.wanted_durable.load(Ordering::SeqCst),
        }
    }

    /// Wakes the shard if it sleeps.
    pub(crate) fn kick(&self) {
        if self.wake_at.swap(u64::MAX, Ordering::SeqCst) != u64::MAX {
            self.waker.wake();
        }
    }

    /// Says, from an appender, that the group ending at `used_end` was closed.
    pub(crate) fn closed_group(&self, used_end: u64) {
        let lower = |at: u64| (at != u64::MAX && at > used_end).then_some(used_end);
        let _ = self.wake_at.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lower);
        if self.ring.committed() >= self.wake_at.load(Ordering::SeqCst) {
            self.kick();
        }
    }

    /// Before the shard sleeps: what shall wake it. It looks once more afterwards.
    pub(crate) fn arm(&self, position: u64) {
        self.wake_at.store(position, Ordering::SeqCst);
    }

    pub(crate) fn disarm(&self) {
        self.wake_at.store(u64::MAX, Ordering::SeqCst);
    }

    /// The first reason given stays.
    pub(crate) fn stop(&self, reason: Stop) {
        let first = {
            let mut writer = self.writer.lock();
            writer.stopped = true;
            self.stop.set(reason).is_ok()
        };
        if first {
            self.tell_stop();
        }
        self.admit();
        self.written_waiters.fire_all();
        self.durable_waiters.fire_all();
        self.wake_followers();
        self.kept.close();
        self.kick();
    }

    /// Takes no further claims; what is in flight goes on.
    pub(crate) fn stop_claims(&self) {
        self.writer.lock().stopped = true;
        self.admit();
        self.wake_followers();
    }

    fn wake_followers(&self) {
        let mut followers: Vec<(u64, std::task::Waker)> = Vec::new();
        {
            let mut writer = self.writer.lock();
            for state in writer.streams.iter_mut().flatten() {
                followers.append(&mut state.followers);
            }
        }
        waiters::wake_all(followers.into_iter().map(|(_, waker)| waker));
    }

    pub(crate) fn stop_reason(&self) -> Option<&Stop> {
        self.stop.get()
    }

    /// The error for a call that meets a stopped log.
    pub(crate) fn stop_error(&self, outcome_unknown: bool) -> Error {
        match self.stop.get() {
            Some(Stop::Latched(cause)) => {
                Error::Latched { log: self.name.clone(), cause: Arc::clone(cause), outcome_unknown }
            }
            Some(Stop::Damaged(_)) | None if self.follow.is_some() => {
                Error::ReadOnly { path: self.disk.root().to_path_buf() }
            }
            Some(Stop::Damaged(error)) => error.clone(),
            Some(Stop::Closed) | None => Error::Closed { outcome_unknown },
        }
    }

    /// Refuses to say where a partition ends if damage hides it.
    pub(crate) fn check_end(&self) -> Result<()> {
        self.beyond.clone().map_or(Ok(()), Err)
    }

    /// The error for a call that finds no stream: its topic was deleted, or nothing is known of
    /// the whole log.
    pub(crate) fn no_stream(&self, label: &str) -> Error {
        self.check_end().err().unwrap_or_else(|| Error::UnknownTopic { topic: label.to_owned() })
    }

    /// Whether it is damaged, and how first.
    pub(crate) fn damage(&self) -> Option<&Error> {
        match self.stop.get() {
            Some(Stop::Damaged(error)) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn call_maintenance(&self) {
        (self.maintenance)();
    }

    pub(crate) fn set_starving(&self, starving: bool) {
        self.starving.store(starving, Ordering::SeqCst);
    }

    pub(crate) fn is_starving(&self) -> bool {
        self.starving.load(Ordering::SeqCst)
    }

    /// Adds a stream; its id must be new to this log or left over from a crash.
    pub(crate) fn add_stream(&self, id: StreamId, state: StreamState) {
        let mut writer = self.writer.lock();
        let at = id.0 as usize;
        if writer.streams.len() <= at {
            writer.streams.resize_with(at + 1, || None);
        }
        writer.streams[at] = Some(Box::new(state));
    }

    /// Readers start here from now on; the trim is durable.
    pub(crate) fn set_log_start(&self, id: StreamId, offset: Offset) {
        if let Some(state) = self.writer.lock().stream(id) {
            state.log_start = state.log_start.max(offset.0);
        }
    }

    /// Takes a stream out; its frames are dead from now on.
    pub(crate) fn remove_stream(&self, id: StreamId) {
        let removed = {
            let mut writer = self.writer.lock();
            writer.settle(&self.ring);
            writer.streams.get_mut(id.0 as usize).and_then(Option::take)
        };
        if let Some(mut state) = removed {
            waiters::wake_all(state.followers.drain(..).map(|(_, waker)| waker));
        }
    }
}
