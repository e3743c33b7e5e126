//! The flusher of one log, turned by its shard: closes groups, emits their writes and flushes, and
//! moves the durable end over a contiguous prefix of what has been proven.
//!
//! Two classes. A `sync` log closes its group as soon as the device is free and writes it DSYNC,
//! which proves that group alone. An `async` log writes full groups without DSYNC and proves them
//! by an `fdatasync` submitted after they have completed, when the window says so or someone waits.
//! No flush is ever repeated after a failure: the log is latched.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::segment::OpenSegment;
use super::writer::{ClosedGroup, GroupBytes, Writer};
use super::{Log, Stop};
use crate::config::{Ack, Flush};
use crate::driver::op::Op;
use crate::format::ring_control::DURABLE;
use crate::limits::{FOLLOWING_GROUP_BYTES, GROUP_ALIGN, GROWTH_TIME_MAX, RING_POPULATE_BYTES};
use crate::moment::{self, Moment};
use crate::sync::yield_now;

/// After this long without appends one empty group is written, whose `durable_upto` proves the
/// last ones.
const QUIET: Duration = Duration::from_secs(1);
/// After a failure the next segment is tried for no more often than this, unless an append
/// needs it.
const SEGMENT_RETRY: Duration = Duration::from_millis(100);
/// Armed with this the shard sleeps until a completion, a deadline or a kick.
const BY_KICK: u64 = u64::MAX - 1;
/// How often a group that could go is looked at for growth, and how many times the processor is
/// offered to others before each look: three microseconds on an idle machine.
const GATHER_LOOKS: u32 = 16;
const GATHER_YIELDS: u32 = 6;
/// An async log stops writing when this many windows wait for a flush.
const WINDOWS_UNPROVEN_MAX: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its write is in flight.
    Submitted,
    /// Written, not yet covered by a flush.
    Written,
    /// A flush that covers it is in flight.
    Flushing,
    Durable,
}

#[derive(Debug)]
struct Group {
    number: u64,
    base: u64,
    used_end: u64,
    next: u64,
    segment: OpenSegment,
    stage: Stage,
    large: bool,
    written_at: Duration,
    submitted_at: Duration,
}

#[derive(Clone, Copy, Debug)]
enum InFlight {
    Write(u64),
    /// Covers the groups in stage `Flushing`.
    Flush {
        submitted_at: Duration,
    },
}

/// What the shard shall do next for this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Turn again when something completes or wakes it, or at this time.
    Sleep(Option<Duration>),
    /// There is more to do at once.
    Again,
}

impl Next {
    /// What serves both.
    pub(crate) fn earlier(self, other: Self) -> Self {
        match (self, other) {
            (Self::Again, _) | (_, Self::Again) => Self::Again,
            (Self::Sleep(a), Self::Sleep(b)) => Self::Sleep(match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (at, None) | (None, at) => at,
            }),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Flusher {
    log: Arc<Log>,
    /// Groups submitted and not yet durable, in order.
    groups: VecDeque<Group>,
    /// How many of them, from the front, are released.
    released: usize,
    /// How far readers of other processes were told of.
    told: u64,
    writes_in_flight: usize,
    flush_in_flight: bool,
    ops: HashMap<u64, InFlight>,
    numbers: u64,
    /// When the oldest data of the open group came, as far as this thread saw.
    open_since: Option<Duration>,
    /// When the watermark group is due.
    quiet_at: Option<Duration>,
    populated: u64,
    /// When upkeep may be asked for the next segment again.
    segment_at: Duration,
}

impl Flusher {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self {
            log,
            groups: VecDeque::new(),
            released: 0,
            told: 0,
            writes_in_flight: 0,
            flush_in_flight: false,
            ops: HashMap::new(),
            numbers: 0,
            open_since: None,
            quiet_at: None,
            populated: 0,
            segment_at: Duration::ZERO,
        }
    }

    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Whether everything claimed is durable and nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        let writer = self.log.writer.lock();
        self.groups.is_empty() && writer.closed.is_empty() && !writer.has_data()
    }

    pub(crate) fn has_ops(&self) -> bool {
        !self.ops.is_empty()
    }

    /// Emits what can be emitted now. `submit` takes an op and names it.
    pub(crate) fn turn(&mut self, now: Duration, submit: &mut dyn FnMut(Op) -> u64) -> Next {
        if self.failed() {
            return Next::Sleep(None);
        }
        self.log.disarm();
        while self.room_for_write() {
            let Some(group) = self.next_group(now) else { break };
            self.submit_write(group, now, submit);
        }
        self.submit_flush(now, submit);
        self.populate(now);
        let wake_at = self.arm();
        if self.log.ring.committed() >= wake_at || self.more_to_do(now) {
            self.log.disarm();
            return Next::Again;
        }
        Next::Sleep(self.deadline())
    }

    /// A latched or forcibly closed log emits nothing more; a damaged one never had anything.
    fn failed(&self) -> bool {
        self.log.stop_reason().is_some()
    }

    /// Bounded by operations, and for an async log by what no flush has covered yet.
    fn room_for_write(&self) -> bool {
        let unproven = self.log.released().saturating_sub(self.log.durable());
        self.writes_in_flight < self.log.options.groups_in_flight
            && unproven < WINDOWS_UNPROVEN_MAX * self.log.options.window_bytes
    }

    /// The next group to write, if it is complete.
    fn next_group(&mut self, now: Duration) -> Option<ClosedGroup> {
        let log = Arc::clone(&self.log);
        let mut writer = log.writer.lock();
        if writer.closed.is_empty() && self.closes(&writer, now) {
            if self.log.class == Flush::Sync && self.writes_in_flight == 0 {
                drop(writer);
                self.gather();
                writer = log.writer.lock();
            }
            // An appender may have found it full and closed it meanwhile.
            if writer.closed.is_empty() {
                writer.close(&log.ring, false);
            }
            self.open_since = None;
            drop(writer);
            if let Some(committed) = log.ring.advance() {
                log.committed_moved(committed);
            }
            writer = log.writer.lock();
        }
        let front = writer.closed.front()?;
        let complete = match &front.bytes {
            GroupBytes::Ring => log.ring.committed() >= front.used_end,
            GroupBytes::Awaited => false,
            GroupBytes::Private(_) => true,
        };
        if complete { writer.closed.pop_front() } else { None }
    }

    /// Lets those who are appending at this moment still join the group: what comes just after it
    /// was closed would wait for two writes. Goes on only while more has been committed at each
    /// look, so a lone append loses one look, a few microseconds.
    fn gather(&self) {
        let mut seen = self.log.ring.committed();
        for _ in 0..GATHER_LOOKS {
            for _ in 0..GATHER_YIELDS {
                yield_now();
            }
            let committed = self.log.ring.committed();
            if committed == seen {
                return;
            }
            seen = committed;
        }
    }

    /// Whether the open group shall be closed now.
    fn closes(&mut self, writer: &Writer, now: Duration) -> bool {
        if !writer.has_data() {
            self.open_since = None;
            return false;
        }
        if self.log.class == Flush::Sync {
            return self.writes_in_flight == 0
                || writer.head() - writer.open_base() >= FOLLOWING_GROUP_BYTES;
        }
        let since = *self.open_since.get_or_insert(now);
        writer.queue.front().is_some_and(|first| first.is_large)
            || self.log.wanted(Ack::Written) > writer.open_base()
            || now >= since + self.open_for()
    }

    /// How long a group of an async log stays open.
    fn open_for(&self) -> Duration {
        let options = &self.log.options;
        let grows = options.join_bytes(Flush::Async) > 0 && self.log.ring_in_file;
        if grows { options.window_time.min(GROWTH_TIME_MAX) } else { options.window_time }
    }

    fn submit_write(
        &mut self,
        group: ClosedGroup,
        now: Duration,
        submit: &mut dyn FnMut(Op) -> u64,
    ) {
        let len = (group.used_end - group.base).next_multiple_of(GROUP_ALIGN as u64);
        let (data, large) = match group.bytes {
            GroupBytes::Private(bytes) => (bytes, true),
            _ => (self.log.ring.slice(group.base, len as usize), false),
        };
        let token = submit(Op::Write {
            file: Arc::clone(&group.segment.file),
            at: group.base - group.segment.segment.base(),
            data,
            durable: self.log.class == Flush::Sync,
        });
        self.numbers += 1;
        self.ops.insert(token, InFlight::Write(self.numbers));
        self.writes_in_flight += 1;
        self.quiet_at = None;
        self.log.metrics.group(len, group.records);
        self.groups.push_back(Group {
            number: self.numbers,
            base: group.base,
            used_end: group.used_end,
            next: group.next,
            segment: group.segment,
            stage: Stage::Submitted,
            large,
            written_at: now,
            submitted_at: now,
        });
    }

    /// Starts the next `fdatasync` of an async log, if one is due and none is in flight.
    fn submit_flush(&mut self, now: Duration, submit: &mut dyn FnMut(Op) -> u64) {
        if self.flush_in_flight || !self.flush_due(now) {
            return;
        }
        // The oldest unproven file first: the durable end moves over a contiguous prefix.
        let Some(oldest) = self.groups.iter().find(|group| group.stage == Stage::Written) else {
            return;
        };
        let file = Arc::clone(&oldest.segment.file);
        let base = oldest.segment.segment.base();
        for group in &mut self.groups {
            if group.stage == Stage::Written && group.segment.segment.base() == base {
                group.stage = Stage::Flushing;
            }
        }
        let token = submit(Op::Flush { file });
        self.ops.insert(token, InFlight::Flush { submitted_at: now });
        self.flush_in_flight = true;
    }

    fn flush_due(&self, now: Duration) -> bool {
        let Some(oldest) = self.groups.front() else { return false };
        if oldest.stage != Stage::Written {
            return false;
        }
        let written = self.groups.iter().take_while(|group| group.stage == Stage::Written);
        let written_end = written.last().map_or(oldest.base, |group| group.used_end);
        written_end - oldest.base >= self.log.options.window_bytes
            || self.log.wanted(Ack::Durable) > self.log.durable()
            || now >= oldest.written_at + self.log.options.window_time
            || oldest.segment.segment.is_sealed()
    }

    /// Sets what wakes the shard: the next commit that matters.
    fn arm(&mut self) -> u64 {
        let writer = self.log.writer.lock();
        let wake_at = match writer.closed.front() {
            // Only a completion makes room.
            _ if !self.room_for_write() => BY_KICK,
            Some(ClosedGroup { bytes: GroupBytes::Ring, used_end, .. }) => *used_end,
            // Its owner kicks when it hands the bytes over.
            Some(_) => BY_KICK,
            None if self.log.class == Flush::Sync && self.writes_in_flight > 0 => {
                writer.open_base() + FOLLOWING_GROUP_BYTES
            }
            None if writer.has_data() => BY_KICK,
            None => writer.head() + 1 + first_frame_gap(&writer),
        };
        self.log.arm(wake_at);
        wake_at
    }

    /// Looks once more after arming.
    fn more_to_do(&mut self, now: Duration) -> bool {
        let room = self.room_for_write();
        let log = Arc::clone(&self.log);
        let writer = log.writer.lock();
        let closes = room && writer.closed.is_empty() && self.closes(&writer, now);
        let front = writer.closed.front().map(|group| &group.bytes);
        let delivered = matches!(front, Some(GroupBytes::Private(_)));
        closes || (room && delivered) || (!self.flush_in_flight && self.flush_due(now))
    }

    fn deadline(&self) -> Option<Duration> {
        let window = self.log.options.window_time;
        // A group that cannot be closed yet is no reason to wake: a completion, or the commit that
        // the group before it waits for, is.
        let closable = self.log.class == Flush::Async
            && self.room_for_write()
            && self.log.writer.lock().closed.is_empty();
        let open = self.open_since.filter(|_| closable).map(|at| at + self.open_for());
        let oldest = self.groups.front().filter(|group| group.stage == Stage::Written);
        [open, oldest.map(|group| group.written_at + window), self.quiet_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes in the end of an op that `turn` emitted.
    pub(crate) fn complete(&mut self, token: u64, result: std::io::Result<()>, now: Duration) {
        let Some(op) = self.ops.remove(&token) else { return };
        match op {
            InFlight::Write(number) => self.complete_write(number, result, now),
            InFlight::Flush { submitted_at } => self.complete_flush(result, now, submitted_at),
        }
    }

    fn complete_write(&mut self, number: u64, result: std::io::Result<()>, now: Duration) {
        self.writes_in_flight -= 1;
        let sync = self.log.class == Flush::Sync;
        let Some(at) = self.groups.iter().position(|group| group.number == number) else { return };
        if let Err(error) = result {
            let group = &self.groups[at];
            let path = self.log.disk.root().join(group.segment.segment.path());
            let offset = group.base - group.segment.segment.base();
            self.latch(format!("{}: write at byte {offset}: {error}", path.display()));
            return;
        }
        let group = &mut self.groups[at];
        group.stage = if sync { Stage::Durable } else { Stage::Written };
        group.written_at = now;
        if sync {
            self.log.metrics.flush(now.saturating_sub(group.submitted_at));
        }
        moment::pass(Moment::WriteCompleted);
        self.release();
        if sync {
            self.advance_durable(now);
        }
    }

    fn complete_flush(&mut self, result: std::io::Result<()>, now: Duration, since: Duration) {
        self.flush_in_flight = false;
        if let Err(error) = result {
            let cause = match self.groups.front() {
                Some(group) => {
                    let path = self.log.disk.root().join(group.segment.segment.path());
                    format!("{}: flush: {error}", path.display())
                }
                None => format!("flush: {error}"),
            };
            self.latch(cause);
            return;
        }
        self.log.metrics.flush(now.saturating_sub(since));
        for group in &mut self.groups {
            if group.stage == Stage::Flushing {
                group.stage = Stage::Durable;
            }
        }
        self.advance_durable(now);
    }

    fn latch(&self, cause: String) {
        self.log.stop(Stop::Latched(cause.into()));
    }

    /// Gives back the places of the groups that are in their segments, in order.
    fn release(&mut self) {
        let first = self.released;
        let written = self.groups.iter().skip(first);
        let count = written.take_while(|group| group.stage != Stage::Submitted).count();
        self.released += count;
        let Some(upto) = self.groups.range(first..self.released).next_back().map(|g| g.next) else {
            return;
        };
        let ring = &self.log.ring;
        let moved = {
            // No claim may come in between. A place is given away only when the committed end has
            // passed it, or the seal of its next owner would be taken for the one it still waits
            // for; and what the committed end passes is in ring or segment for a reader to find.
            let mut writer = self.log.writer.lock();
            let moved = ring.advance();
            self.log.set_released(upto);
            for group in self.groups.range(first..self.released).filter(|group| group.large) {
                ring.seal(first_frame(group.base), group.next);
            }
            writer.outstanding -= count;
            ring.advance().or(moved)
        };
        if let Some(committed) = moved {
            self.log.committed_moved(committed);
        }
        self.log.fire_released(upto);
    }

    /// Moves the durable end over the durable prefix; [`fire`](Self::fire) wakes who waits for it.
    fn advance_durable(&mut self, now: Duration) {
        let mut upto = None;
        let mut rolled = false;
        while self.released > 0 && self.groups.front().is_some_and(|g| g.stage == Stage::Durable) {
            let Some(group) = self.groups.pop_front() else { break };
            self.released -= 1;
            upto = Some(group.next);
            rolled |= group.next == group.segment.segment.end();
            if group.used_end > first_frame(group.base) {
                self.quiet_at = Some(now + QUIET);
            }
        }
        if let Some(upto) = upto {
            moment::pass(Moment::Released);
            self.log.ring.set_durable(upto);
            moment::pass(Moment::DurableMoved);
        }
        if rolled {
            self.log.call_maintenance();
        }
    }

    /// Wakes those whose level has been reached.
    pub(crate) fn fire(&mut self) {
        let durable = self.log.durable();
        self.log.durable_waiters.fire(durable);
        if self.log.class == Flush::Sync && durable != self.told {
            self.told = durable;
            self.log.wake_sleepers(DURABLE);
        }
    }

    /// Work that is due by time alone: the watermark group, and a segment ahead of need.
    pub(crate) fn tick(&mut self, now: Duration) {
        if self.quiet_at.is_some_and(|at| now >= at) && !self.failed() {
            self.quiet_at = None;
            if self.groups.is_empty() {
                self.log.writer.lock().close_empty(&self.log.ring, self.log.released());
                if let Some(committed) = self.log.ring.advance() {
                    // It may have been an appender's claim that was waited for.
                    self.log.committed_moved(committed);
                }
                let end = self.log.writer.lock().open_base();
                self.log.want(Ack::Durable, end);
            }
        }
    }

    /// Faults in the ring ahead of the appenders, after the writes have gone out.
    fn populate(&mut self, now: Duration) {
        let (head, wants_next, failed) = {
            let writer = self.log.writer.lock();
            (writer.head(), writer.wants_next(), writer.segment_error.is_some())
        };
        if wants_next && (!failed || now >= self.segment_at) {
            self.segment_at = now + SEGMENT_RETRY;
            self.log.call_maintenance();
        }
        let ahead = head + RING_POPULATE_BYTES as u64;
        if ahead < self.populated + (RING_POPULATE_BYTES / 2) as u64 {
            return;
        }
        let from = self.populated.max(head);
        if let Err(error) = self.log.ring.populate(from, (ahead - from) as usize) {
            self.latch(format!("{}/ring: {error}", self.log.name));
        }
        self.populated = ahead;
    }
}

fn first_frame(base: u64) -> u64 {
    base + crate::limits::GROUP_HEADER_BYTES as u64
}

/// With no group open the next claim commits a group header first, which is no data yet.
fn first_frame_gap(writer: &Writer) -> u64 {
    if writer.head() == writer.open_base() { crate::limits::GROUP_HEADER_BYTES as u64 } else { 0 }
}
