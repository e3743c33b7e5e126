//! The writer's state, under the one short lock of a log: who may write where. A claim takes
//! position, offset and space in the open group; closing a group and rolling to the next segment
//! happen here too, so that slot order, position order and offset order are one.
//!
//! Nothing here touches the disk or wakes anybody: callers do, after the lock is released.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use super::growth::Growing;
use super::queue::Queue;
use super::reserve;
use super::ring::Ring;
use super::segment::OpenSegment;
use crate::buf::Slice;
use crate::error::Error;
use crate::format::Seed;
use crate::format::checkpoint::StreamEntry;
use crate::format::group::GroupHeader;
use crate::format::index::{RunEntry, SegmentIndex, StreamIndex};
use crate::format::record_batch::Lone;
use crate::ids::{LeaderEpoch, Offset, Position, StreamId};
use crate::limits::{GROUP_ALIGN, GROUP_HEADER_BYTES, INDEX_RUN_BYTES};
use crate::moment::{self, Moment};

const HEADER: u64 = GROUP_HEADER_BYTES as u64;

/// Why a claim was not granted; nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The ring is full, or must drain for a large frame.
    Room,
    /// The next segment is not there yet.
    Segment,
    /// The next segment could not be made; `Writer::segment_error` says why.
    NoSegment,
    /// No such stream: its topic was deleted.
    Stream,
    /// The log takes no appends; its state says why.
    Stopped,
    /// The caller is a forked child.
    Forked,
}

/// A granted claim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) position: u64,
    pub(crate) end: u64,
    pub(crate) first: Offset,
    pub(crate) epoch: LeaderEpoch,
}

/// What a caller wants to append.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want<'a> {
    pub(crate) stream: StreamId,
    /// Length of the frame, header and padding included.
    pub(crate) frame_len: u64,
    /// How many offsets it takes.
    pub(crate) records: u64,
    /// The latest of its records' timestamps.
    pub(crate) max_timestamp_ms: i64,
    /// A frame too large for the ring: a group of its own.
    pub(crate) large: bool,
    /// The record of a batch that others may join.
    pub(crate) lone: Option<Lone<'a>>,
    /// It frees space, and may have what is kept back for such frames.
    pub(crate) frees: bool,
}

/// Where a closed group's bytes are.
#[derive(Debug)]
pub(crate) enum GroupBytes {
    /// In the ring, complete when the committed end has passed them.
    Ring,
    /// In private memory that its owner has not handed over yet.
    Awaited,
    /// In private memory.
    Private(Slice),
}

/// A closed group, waiting for the flusher.
#[derive(Debug)]
pub(crate) struct ClosedGroup {
    pub(crate) base: u64,
    /// End of the frames.
    pub(crate) used_end: u64,
    /// Where the next group starts; bytes up to there, or to the alignment, are written.
    pub(crate) next: u64,
    pub(crate) segment: OpenSegment,
    pub(crate) bytes: GroupBytes,
    pub(crate) records: u64,
}

/// One partition, as its log knows it.
#[derive(Debug, Default)]
pub(crate) struct StreamState {
    pub(crate) log_start: u64,
    /// Log start of the newest trim claimed, durable or not. A checkpoint whose position lies above
    /// that trim must have it: recovery reads no frame below.
    pub(crate) trim_claimed: u64,
    /// Next offset to assign.
    pub(crate) end: u64,
    /// Runs within the current segment.
    pub(super) runs: Vec<RunEntry>,
    /// First offset within the current segment.
    first_here: u64,
    /// Of each segment left before it was durable: end of the newest frame, first offset.
    left: Vec<(u64, u64)>,
    /// End position of the newest frame, to tell a run from a gap.
    last_end: u64,
    /// Readers that sleep until this stream has more.
    pub(crate) followers: Vec<(u64, Waker)>,
}

/// A segment that has been left, with what the checkpoint after it needs.
#[derive(Clone, Debug)]
pub(crate) struct Rolled {
    pub(crate) segment: OpenSegment,
    pub(crate) index: Arc<SegmentIndex>,
    /// First group of the next segment: recovery scans from there.
    pub(crate) position: u64,
    /// Epoch of the newest group in the segment; that of the next one's groups may still be the
    /// same.
    pub(crate) epoch: LeaderEpoch,
    pub(crate) streams: Vec<StreamEntry>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) seed: Seed,
    pub(crate) log_uuid: uuid::Uuid,
    pub(crate) epoch: LeaderEpoch,
    group_bytes: u64,
    /// Most bytes of a batch that single records join.
    pub(super) batch_bytes: usize,
    pub(super) growing: Option<Growing>,
    /// Whether somebody in another process read when it was last asked, and where the head was
    /// then.
    pub(super) is_followed: bool,
    asked_at: u64,
    /// Kept to spare an allocation.
    pub(super) scratch: Vec<u8>,
    /// Base of the open (or next to open) group.
    group: u64,
    /// Next claim's position.
    head: u64,
    opened: bool,
    /// Records in the open group.
    records: u64,
    /// End of the newest claim granted; 0 before the first.
    claimed_end: u64,
    pub(crate) segment: OpenSegment,
    /// The prepared next segment.
    pub(crate) next: Option<OpenSegment>,
    pub(crate) closed: VecDeque<ClosedGroup>,
    /// Groups closed and not yet released: with none, the ring is drained.
    pub(crate) outstanding: usize,
    /// Those who wait for room.
    pub(crate) queue: Queue,
    pub(crate) streams: Vec<Option<Box<StreamState>>>,
    pub(crate) rolled: VecDeque<Rolled>,
    /// The log takes no appends any more.
    pub(crate) stopped: bool,
    /// Why the last attempt to make a segment failed: a full device, no descriptors.
    pub(crate) segment_error: Option<Error>,
    /// The largest frame that found no segment.
    pub(crate) wanted_segment_bytes: u64,
    pub(crate) appends: u64,
    pub(crate) records_total: u64,
    pub(crate) bytes_total: u64,
}

/// How a writer starts out after recovery.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) seed: Seed,
    pub(crate) log_uuid: uuid::Uuid,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) group_bytes: usize,
    pub(crate) batch_bytes: usize,
    /// First position of the first group to open.
    pub(crate) position: u64,
    pub(crate) segment: OpenSegment,
    pub(crate) next: Option<OpenSegment>,
    pub(crate) streams: Vec<Option<Box<StreamState>>>,
    pub(crate) rolled: VecDeque<Rolled>,
}

impl Writer {
    pub(crate) fn new(start: Start) -> Self {
        Self {
            seed: start.seed,
            log_uuid: start.log_uuid,
            epoch: start.epoch,
            group_bytes: start.group_bytes as u64,
            batch_bytes: start.batch_bytes,
            growing: None,
            is_followed: false,
            asked_at: 0,
            scratch: Vec::new(),
            group: start.position,
            head: start.position,
            opened: false,
            records: 0,
            claimed_end: 0,
            segment: start.segment,
            next: start.next,
            closed: VecDeque::new(),
            outstanding: 0,
            queue: Queue::default(),
            streams: start.streams,
            rolled: start.rolled,
            stopped: false,
            segment_error: None,
            wanted_segment_bytes: 0,
            appends: 0,
            records_total: 0,
            bytes_total: 0,
        }
    }

    /// Grants position, offsets and space, or says what is missing. `released` is the position
    /// below which the ring's places are free again.
    pub(crate) fn claim(
        &mut self,
        ring: &Ring,
        released: u64,
        want: Want<'_>,
    ) -> Result<Claim, Refusal> {
        self.settle(ring);
        if self.stopped {
            return Err(Refusal::Stopped);
        }
        if self.stream(want.stream).is_none() {
            return Err(Refusal::Stream);
        }
        let position = if want.large {
            self.room_for_large(ring, released, want)?
        } else {
            self.room(ring, released, want)?
        };
        let end = position + want.frame_len;
        self.claimed_end = end;
        self.records += want.records;
        self.appends += 1;
        self.records_total += want.records;
        self.bytes_total += want.frame_len;
        let epoch = self.epoch;
        let stream = self.stream(want.stream).expect("checked above");
        if let Some(lone) = &want.lone {
            let (first, follows) = stream.take(position, end, want.records);
            let claim = Claim { position, end, first: Offset(first), epoch };
            self.growing = Some(Growing::new(want.stream, claim, lone, follows));
            ring.set_growing(position);
            self.head = end;
            return Ok(claim);
        }
        let first = stream.note(position, end, want.records, want.max_timestamp_ms);
        if want.large {
            self.close_large(ring, end);
        } else {
            self.head = end;
        }
        Ok(Claim { position, end, first: Offset(first), epoch })
    }

    /// Whether the newest frame may reach to `end`; if so, readers are told of what it overwrites.
    pub(super) fn has_room(&mut self, ring: &Ring, released: u64, end: u64) -> bool {
        let fits = end - self.group <= self.group_bytes
            && end <= self.limit(false)
            && end <= released + ring.len();
        if fits {
            self.make_room(ring, released, end);
        }
        fits
    }

    /// Counts a record by which the newest frame, of this stream, grew from `before` to `end`.
    pub(super) fn joined(&mut self, before: u64, end: u64, stream: StreamId) {
        self.head = end;
        self.claimed_end = end;
        self.records += 1;
        self.appends += 1;
        self.records_total += 1;
        self.bytes_total += end - before;
        if let Some(state) = self.stream(stream) {
            state.last_end = end;
            state.end += 1;
        }
    }

    pub(crate) fn stream(&mut self, id: StreamId) -> Option<&mut StreamState> {
        self.streams.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(crate) fn has_data(&self) -> bool {
        self.opened && self.head > self.group + HEADER
    }

    /// Whether it is time to ask again for readers in other processes: once a group, or as many
    /// bytes.
    pub(super) fn asks_for_readers(&self) -> bool {
        !self.has_data() || self.head >= self.asked_at + self.group_bytes
    }

    pub(super) fn note_readers(&mut self, is_followed: bool) {
        self.is_followed = is_followed;
        self.asked_at = self.head;
    }

    /// Base of the group that is open or will be opened next.
    pub(crate) fn open_base(&self) -> u64 {
        self.group
    }

    /// The position whose commit means that new data has come.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// End of the newest claim granted by this writer; 0 before the first.
    pub(crate) fn claimed_end(&self) -> u64 {
        self.claimed_end
    }

    /// Whether the current segment is used enough that the next should be made.
    pub(crate) fn wants_next(&self) -> bool {
        let segment = &self.segment.segment;
        // Nobody makes one for a log that takes nothing more: asking again and again would keep
        // whoever waits for its last write awake.
        !self.stopped && self.next.is_none() && self.group - segment.base() >= segment.len() / 4
    }

    /// Where the current segment ends for this frame.
    fn limit(&self, frees: bool) -> u64 {
        let segment = &self.segment.segment;
        let kept =
            if frees || self.next.is_some() { 0 } else { reserve::tail_bytes(segment.len()) };
        segment.end() - kept
    }

    fn room(&mut self, ring: &Ring, released: u64, want: Want<'_>) -> Result<u64, Refusal> {
        let len = want.frame_len;
        if self.has_data() && self.head + len - self.group > self.group_bytes {
            self.close(ring, false);
        }
        loop {
            self.open(ring, released)?;
            let end = self.head + len;
            if end > self.limit(want.frees) {
                self.roll(ring, len)?;
                continue;
            }
            if end > released + ring.len() {
                return Err(Refusal::Room);
            }
            self.make_room(ring, released, end);
            return Ok(self.head);
        }
    }

    fn room_for_large(
        &mut self,
        ring: &Ring,
        released: u64,
        want: Want<'_>,
    ) -> Result<u64, Refusal> {
        let len = want.frame_len;
        if self.has_data() {
            self.close(ring, false);
        }
        loop {
            if self.outstanding > 0 {
                return Err(Refusal::Room);
            }
            self.open(ring, released)?;
            if self.head + len <= self.limit(want.frees) {
                return Ok(self.head);
            }
            self.roll(ring, len)?;
        }
    }

    /// Opens a group at `self.group`, in the next segment if this one is exactly full.
    fn open(&mut self, ring: &Ring, released: u64) -> Result<(), Refusal> {
        if self.opened {
            return Ok(());
        }
        if self.group == self.segment.segment.end() {
            let Some(next) = self.next.take() else {
                return Err(self.no_segment(0));
            };
            self.leave_segment(&next, ring.durable());
            moment::pass(Moment::SegmentLeft);
            ring.seal(self.group, next.segment.first());
            self.group = next.segment.first();
            self.head = self.group;
            self.segment = next;
        }
        if self.group + GROUP_ALIGN as u64 > released + ring.len() {
            return Err(Refusal::Room);
        }
        self.make_room(ring, released, self.group + HEADER);
        let header = self.header(0, false, Position(0));
        ring.store(self.group, &header.encode(self.seed));
        moment::pass(Moment::GroupOpened);
        ring.seal(self.group, self.group + HEADER);
        self.head = self.group + HEADER;
        self.opened = true;
        self.records = 0;
        Ok(())
    }

    fn header(&self, used_len: u32, last: bool, durable_upto: Position) -> GroupHeader {
        let position = Position(self.group);
        GroupHeader { position, used_len, epoch: self.epoch, durable_upto, last, cut: false }
    }

    /// Tells readers in time which places are about to be overwritten: those of the frame, and of
    /// the padding that closing the group after it takes.
    fn make_room(&self, ring: &Ring, released: u64, end: u64) {
        let end = end.next_multiple_of(GROUP_ALIGN as u64);
        if end > ring.lo() + ring.len() {
            // One group ahead, so that this is rare, but never above what segments already hold.
            let ahead = (end + self.group_bytes).saturating_sub(ring.len());
            ring.raise_lo(ahead.min(released));
        } else {
            Ring::lo_is_told();
        }
    }

    fn no_segment(&mut self, len: u64) -> Refusal {
        self.wanted_segment_bytes = self.wanted_segment_bytes.max(len);
        if self.segment_error.is_some() { Refusal::NoSegment } else { Refusal::Segment }
    }

    /// Leaves the rest of this segment unused because `len` does not fit.
    fn roll(&mut self, ring: &Ring, len: u64) -> Result<(), Refusal> {
        if self.next.is_none() {
            return Err(self.no_segment(len));
        }
        self.close(ring, true);
        Ok(())
    }

    /// Closes the open group, empty or not: final header, zeroed padding, a place in the queue.
    pub(crate) fn close(&mut self, ring: &Ring, last: bool) {
        debug_assert!(self.opened);
        self.settle(ring);
        let used_end = self.head;
        let aligned = used_end.next_multiple_of(GROUP_ALIGN as u64);
        let header = self.header((used_end - self.group) as u32, last, Position(ring.durable()));
        ring.store(self.group, &header.encode(self.seed));
        moment::pass(Moment::GroupHeader);
        ring.zero(used_end, aligned);
        let next = if last { self.segment.segment.end() } else { aligned };
        if next > used_end {
            ring.seal(used_end, next);
        }
        moment::pass(Moment::GroupClosed);
        self.queue(used_end, next, GroupBytes::Ring);
    }

    fn close_large(&mut self, ring: &Ring, used_end: u64) {
        let next = used_end.next_multiple_of(GROUP_ALIGN as u64);
        // The ring does not hold this group: whoever reads it reads the segment.
        ring.raise_lo(next);
        // Frame and padding are sealed as one, once they are written: the frame may be as long as
        // the ring, and its padding's slot then the frame's own.
        self.queue(used_end, next, GroupBytes::Awaited);
    }

    fn queue(&mut self, used_end: u64, next: u64, bytes: GroupBytes) {
        self.closed.push_back(ClosedGroup {
            base: self.group,
            used_end,
            next,
            segment: self.segment.clone(),
            bytes,
            records: self.records,
        });
        self.outstanding += 1;
        self.group = next;
        self.head = next;
        self.records = 0;
        self.opened = false;
    }

    /// Hands over the bytes of the large group whose claim was granted at `base`.
    pub(crate) fn deliver_large(&mut self, base: u64, bytes: Slice) {
        let group = self.closed.iter_mut().find(|group| group.base == base);
        debug_assert!(group.is_some(), "a large group waits until its bytes are there");
        if let Some(group) = group {
            group.bytes = GroupBytes::Private(bytes);
        }
    }

    /// An empty group, for its `durable_upto`; only when nothing is open.
    pub(crate) fn close_empty(&mut self, ring: &Ring, released: u64) -> bool {
        if self.has_data() || self.stopped || self.open(ring, released).is_err() {
            return false;
        }
        self.close(ring, false);
        true
    }

    /// What a checkpoint says of the streams, now.
    pub(crate) fn stream_entries(&self) -> Vec<StreamEntry> {
        stream_entries(&self.streams)
    }

    fn leave_segment(&mut self, next: &OpenSegment, durable: u64) {
        let index = Arc::new(self.index_so_far());
        for state in self.streams.iter_mut().flatten() {
            state.leave_runs(durable);
        }
        self.segment.segment.seal(Some(&index));
        self.rolled.push_back(Rolled {
            segment: self.segment.clone(),
            index,
            position: next.segment.first(),
            epoch: self.epoch,
            streams: self.stream_entries(),
        });
    }

    /// The index of the current segment so far.
    pub(crate) fn index_so_far(&self) -> SegmentIndex {
        let live = self.streams.iter().enumerate();
        let streams = live.filter_map(|(id, state)| state.as_deref()?.index(id)).collect();
        let base = Position(self.segment.segment.base());
        SegmentIndex { log: self.log_uuid, base, end: Position(self.group), streams }
    }
}

/// What a checkpoint says of these streams.
pub(crate) fn stream_entries(streams: &[Option<Box<StreamState>>]) -> Vec<StreamEntry> {
    let live = streams.iter().enumerate();
    live.filter_map(|(id, state)| {
        state.as_deref().map(|state| StreamEntry {
            stream: StreamId(id as u32),
            log_start: Offset(state.log_start.max(state.trim_claimed)),
            end: Offset(state.end),
        })
    })
    .collect()
}

impl StreamState {
    pub(crate) fn new(log_start: u64, end: u64) -> Self {
        Self { log_start, end, first_here: end, ..Self::default() }
    }

    /// Takes in a frame at `position..end`; returns its first offset.
    pub(crate) fn note(
        &mut self,
        position: u64,
        end: u64,
        records: u64,
        max_timestamp_ms: i64,
    ) -> u64 {
        let (first, follows) = self.take(position, end, records);
        if records > 0 {
            self.note_run(position, end, follows, first, max_timestamp_ms);
        }
        first
    }

    /// Assigns the offsets of a frame; answers the first, and whether the frame follows the newest
    /// one at once. If it has any, its run is to be noted.
    fn take(&mut self, position: u64, end: u64, records: u64) -> (u64, bool) {
        let first = self.end;
        if records == 0 {
            return (first, false);
        }
        if self.runs.is_empty() {
            self.first_here = first;
        }
        let follows = self.last_end == position;
        self.last_end = end;
        self.end += records;
        (first, follows)
    }

    /// Notes where a frame's offsets are found.
    pub(super) fn note_run(
        &mut self,
        position: u64,
        end: u64,
        follows: bool,
        first: u64,
        max_timestamp_ms: i64,
    ) {
        let run = self.runs.last_mut();
        match run.filter(|run| follows && end - run.position.0 <= INDEX_RUN_BYTES) {
            Some(run) => run.max_timestamp_ms = run.max_timestamp_ms.max(max_timestamp_ms),
            None => self.runs.push(RunEntry {
                first_offset: Offset(first),
                position: Position(position),
                max_timestamp_ms,
            }),
        }
    }

    /// Where to start looking for `offset` in the current segment, if it may be there.
    pub(crate) fn find(&self, offset: u64) -> Option<u64> {
        let after = self.runs.partition_point(|run| run.first_offset.0 <= offset);
        after.checked_sub(1).map(|at| self.runs[at].position.0)
    }

    /// The offset below which everything is durable, given the log's durable end.
    pub(crate) fn durable_end(&self, durable: u64) -> u64 {
        if self.last_end <= durable {
            return self.end;
        }
        // Of segments left before they were durable only where they begin is known.
        if let Some((_, first)) = self.left.iter().find(|(end, _)| *end > durable) {
            return *first;
        }
        let covered = self.runs.partition_point(|run| run.position.0 <= durable);
        covered.checked_sub(1).map_or(self.first_here, |at| self.runs[at].first_offset.0)
    }

    /// Restores the runs of the current segment from its index.
    pub(crate) fn restore(&mut self, index: &StreamIndex) {
        self.first_here = index.first.0;
        // A deleted topic's stream is in the index still, and in the checkpoint no more.
        self.end = self.end.max(index.end.0);
        self.runs.clone_from(&index.runs);
    }

    /// The segment was left, and the log is durable up to there.
    fn leave_runs(&mut self, durable: u64) {
        self.left.retain(|(end, _)| *end > durable);
        if !self.runs.is_empty() && self.last_end > durable {
            self.left.push((self.last_end, self.first_here));
        }
        self.forget_runs();
    }

    /// The segment was left, with all that is in it durable.
    pub(crate) fn forget_runs(&mut self) {
        self.runs = Vec::new();
    }

    pub(crate) fn index(&self, id: usize) -> Option<StreamIndex> {
        (!self.runs.is_empty()).then(|| StreamIndex {
            stream: StreamId(id as u32),
            first: Offset(self.first_here),
            end: Offset(self.end),
            runs: self.runs.clone(),
        })
    }
}
