//! The completion queue: appends, reads and flushes are submitted from any thread, their outcomes
//! taken in by one poller, which may be an event loop that watches a descriptor. What the bindings
//! are made of. No thread of its own, no allocation per append: what waits for a level of a log
//! stands in the order of positions, and the poller looks how far the log has come.

mod lane;
mod signal;

use std::collections::{HashMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Host;
use super::read::{Batch, Reader};
use super::read_all::TopicReader;
use crate::buf::fork::Birth;
use crate::config::Ack;
use crate::error::{Error, Result};
use crate::ids::{Appended, PartitionId};
use crate::limits::COMPLETIONS_MAX;
use crate::log::Log;

use lane::{FlushState, Lane, What};
use signal::{ReaderWaker, Signal};

/// What came of a submission.
#[derive(Debug)]
pub struct Completion {
    /// As it was submitted.
    pub tag: u64,
    /// What happened.
    pub outcome: Outcome,
}

/// See [`Completion`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// An append has its acknowledgement, or failed.
    Append {
        /// The partition appended to.
        partition: PartitionId,
        /// As of [`Partition::append`](crate::Partition::append).
        result: Result<Appended>,
    },
    /// A reader has a batch, or failed; here it is back.
    Read {
        /// The reader that was submitted, behind the batch.
        reader: Box<Reader>,
        /// As of [`Reader::next_batch`].
        result: Result<Batch>,
    },
    /// A reader of a topic has a batch of one of its partitions, or failed; here it is back.
    TopicRead {
        /// The reader that was submitted, behind the batch.
        reader: Box<TopicReader>,
        /// As of [`TopicReader::next_batch`]; the batch names its partition.
        result: Result<Batch>,
    },
    /// Everything that had been appended when the flush was submitted is durable, or a log failed.
    Flush(Result<()>),
}

/// A reader that a full queue, or a forked child's, did not take; here it is back, where it was.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct RefusedRead<R: std::fmt::Debug = Reader> {
    /// The reader.
    pub reader: Box<R>,
    /// Why.
    pub error: Error,
}

impl<R: std::fmt::Debug> From<RefusedRead<R>> for Error {
    fn from(refused: RefusedRead<R>) -> Self {
        refused.error
    }
}

/// Where submissions end up: many threads submit, one polls. Made by
/// [`Engine::completion_queue`](crate::Engine::completion_queue), and keeps its engine open.
///
/// Each submission that was accepted gives exactly one completion: at the latest, with an error,
/// when the log fails or the engine closes. Dropping the queue takes nothing back: what was
/// submitted is appended all the same, and nobody hears of it.
///
/// ```
/// # fn main() -> Result<(), ringlog::Error> {
/// # let dir = tempfile::tempdir().unwrap();
/// use std::time::Duration;
/// use ringlog::{AppendOptions, Engine, Outcome, Record, TopicSpec};
/// let engine = Engine::options().open(dir.path())?;
/// let orders = engine.open_or_create_topic(TopicSpec::new("orders"))?.partition(0)?;
/// let queue = engine.completion_queue(1024)?;
/// for tag in 0..3 {
///     orders.submit_append(&queue, &[Record::new(b"tea")], AppendOptions::default(), tag)?;
/// }
/// let mut done = Vec::new();
/// while done.len() < 3 {
///     queue.poll(&mut done, 64, Duration::from_secs(30))?;
/// }
/// for completion in done {
///     let Outcome::Append { result, .. } = completion.outcome else { unreachable!() };
///     assert_eq!(result?.first.0, completion.tag);
/// }
/// # Ok(()) }
/// ```
pub struct CompletionQueue {
    state: Mutex<State>,
    signal: Arc<Signal>,
    host: Arc<dyn Host>,
    /// Submitted and not yet given out.
    outstanding: AtomicUsize,
    capacity: usize,
    birth: Birth,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Completion>,
    lanes: Vec<Lane>,
    /// Readers that wait for more, by a number that is never used again: wakers may go off late.
    readers: HashMap<u64, Place>,
    numbers: u64,
}

/// Of a reader that waits.
enum Place {
    /// It is being registered.
    Kept,
    /// Its waker went off before it was here.
    Fired,
    Taken(Waiting),
}

struct Waiting {
    tag: u64,
    reading: Reading,
}

/// A reader of either kind.
enum Reading {
    Partition(Box<Reader>),
    Topic(Box<TopicReader>),
}

impl Reading {
    fn next_batch(&mut self) -> Result<Option<Batch>> {
        match self {
            Self::Partition(reader) => reader.next_batch(),
            Self::Topic(reader) => Ok(reader.next_batch()?.map(|(_, batch)| batch)),
        }
    }

    /// Registers `waker` for when there may be more than the last look found; false: look again.
    fn follow_with(&mut self, waker: &Waker) -> Result<bool> {
        match self {
            Self::Partition(reader) => reader.follow_with(waker),
            Self::Topic(reader) => reader.follow_with(waker),
        }
    }

    fn outcome(self, result: Result<Batch>) -> Outcome {
        match self {
            Self::Partition(reader) => Outcome::Read { reader, result },
            Self::Topic(reader) => Outcome::TopicRead { reader, result },
        }
    }
}

impl std::fmt::Debug for CompletionQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompletionQueue")
            .field("capacity", &self.capacity)
            .field("outstanding", &self.outstanding())
            .finish_non_exhaustive()
    }
}

impl CompletionQueue {
    pub(crate) fn new(host: Arc<dyn Host>, capacity: usize) -> Result<Self> {
        if !(1..=COMPLETIONS_MAX).contains(&capacity) {
            let reason = format!("{capacity} is not within 1..={COMPLETIONS_MAX}");
            return Err(Error::invalid("capacity", reason));
        }
        let signal = Signal::new();
        let signal = signal.map_err(|e| Error::io("make an eventfd for", "a queue", e))?;
        Ok(Self {
            state: Mutex::default(),
            signal: Arc::new(signal),
            host,
            outstanding: AtomicUsize::new(0),
            capacity,
            birth: Birth::here(),
        })
    }

    /// How many submissions have not been given out as completions yet.
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// How many there may be at once.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Hands over a reader until it has a batch, which may be at once; the completion gives it
    /// back. Does not block, but where there is a batch may read it from the disk.
    ///
    /// # Errors
    /// [`Error::QueueFull`], with the reader. What reading meets comes as a completion.
    pub fn submit_read(&self, reader: impl Into<Box<Reader>>, tag: u64) -> Result<(), RefusedRead> {
        let reader = reader.into();
        if let Err(error) = self.reserve() {
            return Err(RefusedRead { reader, error });
        }
        self.read_on(Waiting { tag, reading: Reading::Partition(reader) });
        Ok(())
    }

    /// As [`submit_read`](Self::submit_read), of all partitions of a topic: a batch of any of them
    /// completes it.
    ///
    /// # Errors
    /// As [`submit_read`](Self::submit_read).
    pub fn submit_topic_read(
        &self,
        reader: impl Into<Box<TopicReader>>,
        tag: u64,
    ) -> Result<(), RefusedRead<TopicReader>> {
        let reader = reader.into();
        if let Err(error) = self.reserve() {
            return Err(RefusedRead { reader, error });
        }
        self.read_on(Waiting { tag, reading: Reading::Topic(reader) });
        Ok(())
    }

    /// Appends completions to `out`, `max` at most; sleeps up to `timeout` while there are none.
    /// Returns how many: 0 after the timeout, after [`wake`](Self::wake), or when a signal handler
    /// ran on this thread. One thread polls at a time; others wait for it. In caller-driven mode it
    /// turns the shards meanwhile.
    ///
    /// # Errors
    /// [`Error::Forked`]; whatever else fails is in the completions.
    pub fn poll(&self, out: &mut Vec<Completion>, max: usize, timeout: Duration) -> Result<usize> {
        self.check_fork()?;
        let took = self.take(out, max);
        if took > 0 || max == 0 || self.signal.take_woken() || timeout.is_zero() {
            return Ok(took);
        }
        if self.host.is_caller_driven() {
            let mut took = 0;
            let mut listens = false;
            self.host.block_on(timeout, &mut |context| {
                if !std::mem::replace(&mut listens, true) {
                    self.signal.turn_with(Some(context.waker()));
                }
                took = self.take(out, max);
                if took > 0 || self.signal.take_woken() { Poll::Ready(()) } else { Poll::Pending }
            });
            self.signal.turn_with(None);
            return Ok(took);
        }
        self.signal.listen(true);
        let took = self.sleep(out, max, timeout);
        self.signal.listen(false);
        Ok(took)
    }

    fn sleep(&self, out: &mut Vec<Completion>, max: usize, timeout: Duration) -> usize {
        let started = Instant::now();
        loop {
            let took = self.take(out, max);
            let left = timeout.saturating_sub(started.elapsed());
            if took > 0 || self.signal.take_woken() || left.is_zero() || !self.signal.sleep(left) {
                return took;
            }
        }
    }

    /// A descriptor for an event loop: readable while there may be completions to poll for. Poll
    /// with a timeout of zero when it is; it may turn out that there were none.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.signal.watch()
    }

    /// Ends the poll that is going on, or the next. May be called from any thread, and from a
    /// signal handler.
    pub fn wake(&self) {
        self.signal.wake();
        self.host.wake_shards();
    }

    fn check_fork(&self) -> Result<()> {
        if self.birth.is_inherited() { Err(Error::Forked) } else { Ok(()) }
    }

    pub(super) fn reserve(&self) -> Result<()> {
        self.check_fork()?;
        if self.outstanding.fetch_add(1, Ordering::Relaxed) >= self.capacity {
            self.unreserve();
            return Err(Error::QueueFull { capacity: self.capacity });
        }
        Ok(())
    }

    pub(super) fn unreserve(&self) {
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes in an append that was claimed up to `end`.
    pub(super) fn put(
        &self,
        log: &Arc<Log>,
        level: Ack,
        end: u64,
        (tag, partition, appended): (u64, PartitionId, Appended),
    ) {
        if log.reached(level) >= end {
            let outcome = Outcome::Append { partition, result: Ok(appended) };
            self.state.lock().ready.push_back(Completion { tag, outcome });
            self.signal.raise();
            return;
        }
        let mut state = self.state.lock();
        state.push(&self.signal, log, level, (end, What::Append { tag, partition, appended }));
        if !state.ready.is_empty() {
            self.signal.raise();
        }
    }

    /// Takes in a flush of `logs` up to their positions.
    pub(crate) fn put_flush(&self, logs: &[(Arc<Log>, u64)], tag: u64) -> Result<()> {
        self.reserve()?;
        let left = AtomicUsize::new(logs.len() + 1);
        let flush = Arc::new(FlushState { tag, left, error: Mutex::default() });
        let mut state = self.state.lock();
        for (log, end) in logs {
            log.want(Ack::Durable, *end);
            let what = What::Flush(Arc::clone(&flush));
            state.push(&self.signal, log, Ack::Durable, (*end, what));
        }
        let done = flush.part(None);
        state.ready.extend(done);
        if !state.ready.is_empty() {
            self.signal.raise();
        }
        Ok(())
    }

    fn take(&self, out: &mut Vec<Completion>, max: usize) -> usize {
        self.signal.lower();
        for number in self.signal.take_readers() {
            let waiting = self.state.lock().take_waiting(number);
            if let Some(waiting) = waiting {
                self.read_on(waiting);
            }
        }
        let mut state = self.state.lock();
        let State { ready, lanes, .. } = &mut *state;
        for lane in lanes {
            lane.look(ready);
        }
        let count = ready.len().min(max);
        out.extend(ready.drain(..count));
        if !ready.is_empty() {
            self.signal.raise();
        }
        drop(state);
        self.outstanding.fetch_sub(count, Ordering::Relaxed);
        count
    }

    /// Reads what there is, or lets the reader wait for more.
    fn read_on(&self, mut waiting: Waiting) {
        let result = loop {
            match waiting.reading.next_batch() {
                Ok(Some(batch)) => break Ok(batch),
                Err(error) => break Err(error),
                Ok(None) => {}
            }
            let number = self.state.lock().keep_place();
            let signal = Arc::clone(&self.signal);
            let waker = ReaderWaker { signal, number, fired: AtomicBool::new(false) };
            let registered = waiting.reading.follow_with(&Waker::from(Arc::new(waker)));
            let mut state = self.state.lock();
            let fired = matches!(state.readers.remove(&number), Some(Place::Fired));
            match registered {
                Ok(true) if !fired => {
                    state.readers.insert(number, Place::Taken(waiting));
                    return;
                }
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        let outcome = waiting.reading.outcome(result);
        self.state.lock().ready.push_back(Completion { tag: waiting.tag, outcome });
        self.signal.raise();
    }
}

impl State {
    fn push(&mut self, signal: &Arc<Signal>, log: &Arc<Log>, level: Ack, (end, what): (u64, What)) {
        let found = self.lanes.iter().position(|lane| lane.is(log, level));
        let at = found.unwrap_or_else(|| {
            self.lanes.push(Lane::new(log, level, signal));
            self.lanes.len() - 1
        });
        self.lanes[at].push(end, what, &mut self.ready);
    }

    fn keep_place(&mut self) -> u64 {
        self.numbers += 1;
        self.readers.insert(self.numbers, Place::Kept);
        self.numbers
    }

    /// The reader whose waker went off, if it waits.
    fn take_waiting(&mut self, number: u64) -> Option<Waiting> {
        match self.readers.remove(&number)? {
            Place::Taken(waiting) => Some(waiting),
            Place::Kept | Place::Fired => {
                self.readers.insert(number, Place::Fired);
                None
            }
        }
    }
}
