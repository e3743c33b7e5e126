//! Appending to a log: claim under the lock, then put the frame in place and commit it, then wait
//! for the level asked for. The payload is encoded before the claim, so that nothing after it can
//! fail, and its own CRC computed, so that the time between claim and commit is one copy. A single
//! record may join the newest batch instead, which is done within the claim; if it does not, its
//! batch gets its CRC then.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::queue::Waiting;
use super::waiters::Ticket;
use super::writer::{Claim, Refusal, Want, Writer};
use super::{Log, Stop};
use crate::buf::{AlignedBuf, Slice};
use crate::config::{Ack, Flush};
use crate::error::{Error, Result};
use crate::format::frame::{FrameHeader, FrameKind, frame_len};
use crate::format::group::GroupHeader;
use crate::format::record_batch::{self, Lone};
use crate::ids::{Position, StreamId};
use crate::limits::{FRAME_HEADER_BYTES, GROUP_HEADER_BYTES, RING_FRAME_DIVISOR};
use crate::moment::{self, Moment};

/// What an append puts into the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payload {
    pub(crate) stream: StreamId,
    pub(crate) kind: FrameKind,
    /// Offsets it takes; 0 unless it is a record batch.
    pub(crate) records: u64,
    /// The latest of its records' timestamps.
    pub(crate) max_timestamp_ms: i64,
    /// One record, which may be put into a batch with its neighbours; its own batch has no
    /// checksum yet.
    pub(crate) joins: bool,
    /// Space becomes free by it: on a full disk it may have what is kept back.
    pub(crate) frees: bool,
}

/// Progress of one append: it waits for room, or is claimed and waits for its level.
#[derive(Debug)]
pub(crate) struct Progress {
    level: Ack,
    claim: Option<Claim>,
    waiting: Option<Arc<Waiting>>,
    ticket: Option<Ticket>,
}

impl Progress {
    pub(crate) fn claimed(level: Ack, claim: Claim) -> Self {
        Self { level, claim: Some(claim), waiting: None, ticket: None }
    }

    /// Of one that never begins.
    pub(crate) fn none() -> Self {
        Self { level: Ack::Written, claim: None, waiting: None, ticket: None }
    }

    /// Whether it waits no more, and has no place.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.waiting.as_ref().and_then(|waiting| waiting.outcome()), Some(Err(_)))
    }

    /// Its place, if it has one by now.
    pub(crate) fn claim(&mut self) -> Option<Claim> {
        if let Some(Ok(claim)) = self.waiting.as_ref().and_then(|waiting| waiting.outcome()) {
            self.claim = Some(claim);
            self.waiting = None;
        }
        self.claim
    }
}

/// A claim, and whether its record has joined a batch, so that all is done.
#[derive(Clone, Copy, Debug)]
struct Granted {
    claim: Claim,
    joined: bool,
}

impl Log {
    /// Claims and commits at once, or says what is missing. Offsets and epoch are patched into
    /// `payload` on the way.
    pub(crate) fn try_put(&self, what: &Payload, payload: &mut [u8]) -> Result<Claim, Refusal> {
        if self.birth.is_inherited() {
            return Err(Refusal::Forked);
        }
        let (granted, closed) = self.grant(what, payload, None);
        self.tell_of_group(closed);
        let granted = granted?;
        self.finish(granted, what, payload);
        Ok(granted.claim)
    }

    /// As [`try_put`](Self::try_put), for who does not wait.
    pub(crate) fn put_now(&self, what: &Payload, payload: &mut [u8]) -> Result<Claim> {
        self.try_put(what, payload).map_err(|refusal| self.refusal_error(refusal))
    }

    /// As [`try_put`](Self::try_put); what finds no room waits for it from then on, in the order of
    /// these calls.
    pub(crate) fn begin(&self, what: &Payload, payload: &mut [u8], level: Ack) -> Result<Progress> {
        match self.try_put(what, payload) {
            Ok(claim) => Ok(Progress::claimed(level, claim)),
            Err(refusal @ (Refusal::Room | Refusal::Segment)) => {
                self.sees_to(refusal);
                let is_large = self.is_large(frame_len(payload.len()) as u64);
                let waiting = Waiting::new(*what, is_large, payload);
                self.writer.lock().queue.push(Arc::clone(&waiting));
                // Room that came in between was made for nobody.
                self.admit();
                Ok(Progress { level, claim: None, waiting: Some(waiting), ticket: None })
            }
            Err(refusal) => Err(self.refusal_error(refusal)),
        }
    }

    /// Called when there may be room: lets in those who wait for it, in their order.
    pub(crate) fn admit(&self) {
        loop {
            let Some(front) = self.writer.lock().queue.front().map(Arc::clone) else { return };
            let (granted, closed, mut bytes) = {
                let mut payload = front.payload.lock();
                let (granted, closed) = self.grant(&front.what, &payload, Some(&front));
                let bytes =
                    if granted.is_ok() { std::mem::take(&mut *payload) } else { Vec::new() };
                (granted, closed, bytes)
            };
            // Nothing is locked from here on: wakers may come back.
            self.tell_of_group(closed);
            match granted {
                Ok(granted) => self.finish(granted, &front.what, &mut bytes),
                // Or somebody else has let it in, who then sees to those behind it.
                Err(refusal @ (Refusal::Room | Refusal::Segment)) => return self.sees_to(refusal),
                Err(refusal) => self.sees_to(refusal),
            }
            front.wake();
        }
    }

    /// Puts a granted frame in place.
    fn finish(&self, granted: Granted, what: &Payload, payload: &mut [u8]) {
        let Granted { claim, joined } = granted;
        if joined {
            return self.committed_moved(claim.end);
        }
        if what.joins {
            record_batch::seal(payload);
        }
        if what.kind == FrameKind::Batch {
            record_batch::place(payload, claim.first, claim.epoch);
        }
        let header = FrameHeader {
            position: Position(claim.position),
            payload_len: payload.len() as u32,
            epoch: claim.epoch,
            stream: what.stream,
            kind: what.kind,
            continues: false,
        };
        let header = header.encode(self.seed, &payload[..what.kind.covered(payload.len())]);
        if self.is_large(frame_len(payload.len()) as u64) {
            self.put_large(claim, &header, payload);
        } else {
            self.put(claim, &header, payload);
        }
    }

    /// Claims for `turn`, who leaves the queue with the answer unless that is to wait on; for one
    /// that has not waited, if nobody waits. Also answers where a group ends that this has closed,
    /// for [`tell_of_group`](Self::tell_of_group) to be told of.
    fn grant(
        &self,
        what: &Payload,
        payload: &[u8],
        turn: Option<&Arc<Waiting>>,
    ) -> (Result<Granted, Refusal>, Option<u64>) {
        let len = frame_len(payload.len()) as u64;
        let large = self.is_large(len);
        let fits = payload.len() < self.options.join_bytes(self.class);
        let want = Want {
            stream: what.stream,
            frame_len: len,
            records: what.records,
            max_timestamp_ms: what.max_timestamp_ms,
            large,
            lone: if what.joins && fits && !large { Lone::of(payload) } else { None },
            frees: what.frees,
        };
        let mut writer = self.writer.lock();
        if want.lone.is_some() && self.grows_unseen() && writer.asks_for_readers() {
            drop(writer);
            // System calls, once a group: not under the lock.
            let is_followed = self.disk.has_readers().unwrap_or(true);
            writer = self.writer.lock();
            writer.note_readers(is_followed);
        }
        // What frees space is what the others may be waiting for.
        if !(writer.queue.is_turn_of(turn) || what.frees && turn.is_none()) {
            return (Err(Refusal::Room), None);
        }
        let before = writer.closed.len();
        let granted = self.grant_to(&mut writer, want);
        let closed = (writer.closed.len() != before).then(|| writer.closed.back()).flatten();
        let closed = closed.map(|group| group.used_end);
        if turn.is_some() && !matches!(granted, Err(Refusal::Room | Refusal::Segment)) {
            let outcome = granted.map(|granted| granted.claim);
            let outcome = outcome.map_err(|refusal| self.why(&writer, refusal));
            writer.queue.pop(outcome);
        }
        if let Ok(Granted { claim, .. }) = granted {
            self.note_claim(&mut writer, what, payload, claim);
        }
        (granted, closed)
    }

    fn grant_to(&self, writer: &mut Writer, want: Want<'_>) -> Result<Granted, Refusal> {
        let released = self.released();
        let lone = want.lone.filter(|_| !(writer.is_followed && self.grows_unseen()));
        let join = |lone| writer.join(&self.ring, released, want.stream, &lone);
        if let Some(claim) = lone.and_then(join) {
            return Ok(Granted { claim, joined: true });
        }
        let claim = writer.claim(&self.ring, released, Want { lone, ..want })?;
        Ok(Granted { claim, joined: false })
    }

    /// What becomes true with a claim, before there is another.
    fn note_claim(&self, writer: &mut Writer, what: &Payload, payload: &[u8], claim: Claim) {
        if what.kind == FrameKind::Metadata {
            self.take_next_snapshot();
        }
        let Some(stream) = writer.stream(what.stream) else { return };
        if let (FrameKind::Trim, Some(start)) = (what.kind, payload.first_chunk::<8>()) {
            stream.trim_claimed = stream.trim_claimed.max(u64::from_le_bytes(*start));
        }
        if what.records > 0 {
            for (_, follower) in stream.followers.drain(..) {
                self.waiters(self.class.ack()).register(claim.end, &follower, None);
            }
        }
    }

    /// The group that ends there was closed by a claim.
    fn tell_of_group(&self, closed: Option<u64>) {
        let Some(used_end) = closed else { return };
        self.closed_group(used_end);
        if let Some(committed) = self.ring.advance() {
            self.committed_moved(committed);
        }
    }

    /// Whether batches grow only while nobody in another process reads: he would not see one before
    /// it is closed.
    fn grows_unseen(&self) -> bool {
        self.class == Flush::Async && self.ring_in_file
    }

    /// Whether a frame of this length goes to the device from private memory.
    fn is_large(&self, frame_len: u64) -> bool {
        frame_len > self.ring.len() / RING_FRAME_DIVISOR as u64
    }

    fn put(&self, claim: Claim, header: &[u8], payload: &[u8]) {
        let body = claim.position + FRAME_HEADER_BYTES as u64;
        moment::pass(Moment::Claimed);
        self.ring.store(body, payload);
        let stored = body + payload.len().next_multiple_of(8) as u64;
        if stored < claim.end {
            self.ring.zero(stored, claim.end);
        }
        moment::pass(Moment::PayloadStored);
        self.ring.store(claim.position, header);
        moment::pass(Moment::FrameStored);
        self.ring.seal(claim.position, claim.end);
        moment::pass(Moment::Sealed);
        if let Some(committed) = self.ring.advance() {
            moment::pass(Moment::Committed);
            self.committed_moved(committed);
        }
    }

    fn put_large(&self, claim: Claim, header: &[u8], payload: &[u8]) {
        let base = claim.position - GROUP_HEADER_BYTES as u64;
        let group = GroupHeader {
            position: Position(base),
            used_len: (claim.end - base) as u32,
            epoch: claim.epoch,
            durable_upto: Position(self.durable()),
            last: false,
            cut: false,
        };
        let mut bytes = AlignedBuf::zeroed((claim.end - base) as usize);
        let (head, rest) = bytes.as_mut_slice().split_at_mut(GROUP_HEADER_BYTES);
        head.copy_from_slice(&group.encode(self.seed));
        rest[..header.len()].copy_from_slice(header);
        rest[header.len()..header.len() + payload.len()].copy_from_slice(payload);
        let len = bytes.len();
        let slice = Slice::private(Arc::new(bytes), len);
        moment::pass(Moment::LargeClaimed);
        self.writer.lock().deliver_large(base, slice);
        self.kick();
    }

    /// Moves an append on: waits for its claim, then for its level. Registers `context`'s waker
    /// before it answers `Pending`.
    pub(crate) fn poll_put(
        &self,
        progress: &mut Progress,
        context: &mut Context<'_>,
    ) -> Poll<Result<Claim>> {
        let claim = std::task::ready!(self.poll_claim(progress, context))?;
        self.poll_reached(progress.level, claim.end, &mut progress.ticket, context.waker())
            .map_ok(|()| claim)
    }

    /// As [`poll_put`](Self::poll_put), up to the claim.
    pub(crate) fn poll_claim(
        &self,
        progress: &mut Progress,
        context: &mut Context<'_>,
    ) -> Poll<Result<Claim>> {
        if let Some(waiting) = &progress.waiting {
            if self.birth.is_inherited() {
                return Poll::Ready(Err(Error::Forked));
            }
            std::task::ready!(waiting.poll(context))?;
        }
        progress.claim().map_or(Poll::Pending, |claim| Poll::Ready(Ok(claim)))
    }

    /// Gives up waiting, for room or for the level. Whether it has a claim is certain after that.
    pub(crate) fn settle(&self, progress: &mut Progress) {
        if self.birth.is_inherited() {
            return;
        }
        if let Some(ticket) = progress.ticket.take() {
            self.waiters(progress.level).forget(ticket);
        }
        if let Some(waiting) = &progress.waiting {
            if self.writer.lock().queue.take_out(waiting) {
                // Those behind it may find the room that it did not.
                self.admit();
            }
            progress.claim();
        }
    }

    /// Sets in motion what this refusal waits for.
    fn sees_to(&self, refusal: Refusal) {
        match refusal {
            Refusal::Segment => {
                self.set_starving(true);
                self.call_maintenance();
            }
            // Each refused append asks again, so appends resume by themselves.
            Refusal::NoSegment => self.call_maintenance(),
            // Every closed group is on its way, and its completion makes room.
            _ => {}
        }
    }

    /// The error of a call that does not wait.
    pub(crate) fn refusal_error(&self, refusal: Refusal) -> Error {
        // A forked child's copy of the lock may be taken for ever.
        if refusal == Refusal::Forked {
            return Error::Forked;
        }
        self.sees_to(refusal);
        self.why(&self.writer.lock(), refusal)
    }

    fn why(&self, writer: &Writer, refusal: Refusal) -> Error {
        let busy = || Error::Busy { log: self.name.clone() };
        match refusal {
            Refusal::Room | Refusal::Segment => busy(),
            // Without an error by now: it has been made after all.
            Refusal::NoSegment => writer.segment_error.clone().unwrap_or_else(busy),
            Refusal::Stream => Error::UnknownTopic { topic: "(deleted)".to_owned() },
            Refusal::Stopped => self.stop_error(false),
            Refusal::Forked => Error::Forked,
        }
    }

    /// Whether everything below `end` has `level`; if not, sees to it, and registers `waker` under
    /// `ticket` before it answers `Pending`.
    pub(crate) fn poll_reached(
        &self,
        level: Ack,
        end: u64,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> Poll<Result<()>> {
        if self.birth.is_inherited() {
            return Poll::Ready(Err(Error::Forked));
        }
        let mut outcome = (self.reached(level) >= end).then_some(Ok(()));
        if outcome.is_none() {
            *ticket = Some(self.waiters(level).register(end, waker, *ticket));
            self.want_level(level, end);
            if self.reached(level) >= end {
                outcome = Some(Ok(()));
            } else if self.moves_no_more() {
                outcome = Some(Err(self.stop_error(true)));
            }
        }
        let Some(outcome) = outcome else { return Poll::Pending };
        if let Some(ticket) = ticket.take() {
            self.waiters(level).forget(ticket);
        }
        Poll::Ready(outcome)
    }

    /// Whether what is not reached now never will be.
    pub(crate) fn moves_no_more(&self) -> bool {
        matches!(self.stop_reason(), Some(Stop::Latched(_) | Stop::Closed))
    }

    /// Sees to it that everything below `end` gets `level` soon, where that does not happen by
    /// itself.
    pub(crate) fn want_level(&self, level: Ack, end: u64) {
        if self.needs_flush(level) {
            self.want(level, end);
        }
    }

    /// Whether a claimed append has its level.
    pub(crate) fn is_reached(&self, progress: &mut Progress) -> bool {
        !self.birth.is_inherited()
            && progress.claim().is_some_and(|claim| self.reached(progress.level) >= claim.end)
    }

    /// Whether this level waits for more than commits, on a log that does not flush by itself.
    fn needs_flush(&self, level: Ack) -> bool {
        self.class == Flush::Async && (level == Ack::Durable || !self.ring_in_file)
    }
}
