//! Reading all partitions of a topic as one: each has a reader of its own, and those that may have
//! something stand in a queue, which the appends' wakers fill. A call costs what has something to
//! give, not what is there; the order within a partition is kept, between partitions it is turns.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::read::{Batch, FOREVER, OwnedRecord, Reader, Start};
use super::{Host, Topic};
use crate::error::{Error, Result};
use crate::ids::{Offset, PartitionId};
use crate::limits::{READ_WINDOW_BYTES, READ_WINDOW_BYTES_MIN, TOPIC_READ_WINDOWS_BYTES};

impl Topic {
    /// A reader of all its partitions, each from `start` on. An offset is taken for that of every
    /// partition; see [`TopicReader::seek`] for places of their own.
    ///
    /// # Errors
    /// As [`Partition::reader`](crate::Partition::reader).
    pub fn reader(&self, start: Start) -> Result<TopicReader> {
        let count = self.partitions();
        let window_bytes = TOPIC_READ_WINDOWS_BYTES / count as usize;
        let window_bytes = window_bytes.clamp(READ_WINDOW_BYTES_MIN, READ_WINDOW_BYTES);
        let ready = Arc::new(Ready::default());
        let mut lanes = Vec::with_capacity(count as usize);
        for number in 0..count {
            let mut reader = self.partition(number)?.reader(start)?;
            reader.cursor.set_window_bytes(window_bytes);
            let state =
                Arc::new(LaneState { number, queued: AtomicBool::new(true), ready: ready.clone() });
            lanes.push(Lane { reader, waker: Waker::from(Arc::clone(&state)), state });
        }
        ready.inner.lock().queue.extend(0..count);
        let host = Arc::clone(&self.host);
        Ok(TopicReader { lanes, ready, stopped: Vec::new(), stop_error: None, host })
    }
}

/// Reads all partitions of a topic, one thread at a time: batch after batch, in turns between the
/// partitions that have something, in order within each. As an iterator it ends where the topic
/// ends now; it may be asked again later.
///
/// What [`Reader`] says of visibility holds for each partition. A partition that meets an error
/// gives it once in its turn and does not keep the others from being read.
pub struct TopicReader {
    lanes: Vec<Lane>,
    ready: Arc<Ready>,
    /// Lanes at the end of a log that takes no appends any more, which wakes nobody.
    stopped: Vec<u32>,
    /// Why the last of them stopped.
    stop_error: Option<Error>,
    host: Arc<dyn Host>,
}

/// One partition.
struct Lane {
    reader: Reader,
    state: Arc<LaneState>,
    waker: Waker,
}

struct LaneState {
    number: u32,
    /// It stands in the queue, or is being looked at.
    queued: AtomicBool,
    ready: Arc<Ready>,
}

/// Who may have something, and who wants to hear of it.
#[derive(Default)]
struct Ready {
    inner: Mutex<ReadyInner>,
}

#[derive(Default)]
struct ReadyInner {
    /// At most one place for each lane.
    queue: VecDeque<u32>,
    waiter: Option<Waker>,
}

impl Ready {
    fn push(&self, lane: u32) {
        self.inner.lock().queue.push_back(lane);
    }

    fn pop(&self) -> Option<u32> {
        self.inner.lock().queue.pop_front()
    }

    fn wait(&self, waker: &Waker) {
        let waker = waker.clone();
        // Dropped after the lock: a waker may own what comes here again.
        let _replaced = self.inner.lock().waiter.replace(waker);
    }
}

impl Wake for LaneState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::SeqCst) {
            return;
        }
        let waiter = {
            let mut inner = self.ready.inner.lock();
            inner.queue.push_back(self.number);
            inner.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

impl std::fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicReader").field("partitions", &self.lanes.len()).finish_non_exhaustive()
    }
}

impl TopicReader {
    /// Whether each batch's checksum is verified (default: yes). Frames are proven either way.
    #[must_use]
    pub fn verify(mut self, verify: bool) -> Self {
        for lane in &mut self.lanes {
            lane.reader.cursor.verify = verify;
        }
        self
    }

    fn lane(&mut self, partition: PartitionId) -> Result<&mut Lane> {
        let partitions = self.lanes.len() as u32;
        let topic = self.lanes.first().map_or_else(String::new, |lane| lane.reader.topic_name());
        self.lanes.get_mut(partition.0 as usize).ok_or(Error::UnknownPartition {
            topic,
            partition: partition.0,
            partitions,
        })
    }

    /// Goes on elsewhere in one partition.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`], and as [`Reader::seek`].
    pub fn seek(&mut self, partition: PartitionId, start: Start) -> Result<()> {
        let lane = self.lane(partition)?;
        lane.reader.seek(start)?;
        lane.state.wake_by_ref();
        Ok(())
    }

    /// The offset of the next record of a partition.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`].
    pub fn next_offset(&mut self, partition: PartitionId) -> Result<Offset> {
        Ok(self.lane(partition)?.reader.next_offset())
    }

    /// The next batch of the partition whose turn it is; `None`: nothing more in any right now.
    /// Does not block on appends. The first of a partition may begin before its offset asked for,
    /// as with [`Reader::next_batch`].
    ///
    /// # Errors
    /// As [`Reader::next_batch`], for one partition, which stays where it was; the next call goes
    /// on with the others.
    pub fn next_batch(&mut self) -> Result<Option<(PartitionId, Batch)>> {
        self.stop_error = None;
        for lane in self.stopped.drain(..) {
            self.ready.push(lane);
        }
        while let Some(number) = self.ready.pop() {
            let lane = &mut self.lanes[number as usize];
            let found = lane.reader.next_batch();
            if !matches!(found, Ok(None)) {
                self.ready.push(number);
                return found.map(|batch| batch.map(|batch| (PartitionId(number), batch)));
            }
            // From here on a waker puts it into the queue again.
            lane.state.queued.store(false, Ordering::SeqCst);
            match lane.reader.cursor.follow(&lane.waker) {
                Ok(true) => lane.reader.cursor.rest(),
                Ok(false) => lane.state.wake_by_ref(),
                Err(error) => {
                    if !lane.state.queued.swap(true, Ordering::SeqCst) {
                        self.stopped.push(number);
                    }
                    self.stop_error = Some(error);
                }
            }
        }
        Ok(None)
    }

    /// As [`next_batch`](Self::next_batch); where there is nothing, the context's waker is woken
    /// when there may be something in any partition. Only the waker of the latest call is.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch), and [`Error::Closed`] or [`Error::Latched`] when
    /// everything is read and a log of the topic takes no appends any more.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<(PartitionId, Batch)>> {
        self.ready.wait(context.waker());
        match self.next_batch() {
            Ok(Some(found)) => Poll::Ready(Ok(found)),
            Ok(None) => {
                self.stop_error.clone().map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Registers `waker` for when there may be more than the last look, which found nothing; false:
    /// look again.
    pub(super) fn follow_with(&mut self, waker: &Waker) -> Result<bool> {
        self.ready.wait(waker);
        if let Some(error) = &self.stop_error {
            return Err(error.clone());
        }
        // Who came before the registration stands in the queue, who comes after it wakes.
        Ok(self.ready.inner.lock().queue.is_empty())
    }

    /// The next batch, sleeping up to `timeout` until there is one.
    ///
    /// # Errors
    /// As [`poll_next`](Self::poll_next).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<(PartitionId, Batch)>> {
        let mut outcome = Ok(None);
        let host = Arc::clone(&self.host);
        host.block_on(timeout, &mut |context| {
            self.poll_next(context).map(|found| outcome = found.map(Some))
        });
        outcome
    }

    /// An iterator that sleeps until there is more, and ends only with an error.
    pub fn follow(self) -> TopicFollow {
        TopicFollow { reader: self, ended: false }
    }

    /// An iterator over records instead of batches; ends where the topic ends now.
    pub fn records(self) -> TopicRecords {
        TopicRecords { reader: self, queue: Vec::new().into_iter() }
    }
}

impl Iterator for TopicReader {
    type Item = Result<(PartitionId, Batch)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

/// See [`TopicReader::follow`].
#[derive(Debug)]
pub struct TopicFollow {
    reader: TopicReader,
    ended: bool,
}

impl Iterator for TopicFollow {
    type Item = Result<(PartitionId, Batch)>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.reader.next_timeout(FOREVER) {
                Ok(None) => {}
                Ok(Some(found)) => return Some(Ok(found)),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// See [`TopicReader::records`].
#[derive(Debug)]
pub struct TopicRecords {
    reader: TopicReader,
    queue: std::vec::IntoIter<OwnedRecord>,
}

impl Iterator for TopicRecords {
    type Item = Result<OwnedRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.queue.next() {
                return Some(Ok(record));
            }
            match self.reader.next_batch() {
                Ok(None) => return None,
                Ok(Some((_, batch))) => match batch.to_records() {
                    Ok(records) => self.queue = records.into_iter(),
                    Err(error) => return Some(Err(error)),
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests;
