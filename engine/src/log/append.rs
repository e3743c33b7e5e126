//! Appending to a log: claim under the lock, then put the frame in place and commit it, then wait
//! for the level asked for. The payload is encoded before the claim, so that nothing after it can
//! fail, and its own CRC computed, so that the time between claim and commit is one copy. A single
//! record may join the newest batch instead, which is done within the claim; if it does not, its
//! batch gets its CRC then.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::waiters::Ticket;
use super::writer::{Claim, Refusal, Want, Writer};
use super::{Log, ROOM, Stop};
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

/// Progress of one append: not yet claimed, or claimed up to `end`.
#[derive(Debug)]
pub(crate) struct Progress {
    level: Ack,
    claim: Option<Claim>,
    ticket: Option<Ticket>,
    /// Registered among those who wait for the ring to drain.
    waits_large: bool,
}

impl Progress {
    pub(crate) fn new(level: Ack) -> Self {
        Self { level, claim: None, ticket: None, waits_large: false }
    }

    pub(crate) fn claim(&self) -> Option<Claim> {
        self.claim
    }

    pub(crate) fn claimed(&mut self, claim: Claim) {
        self.claim = Some(claim);
    }
}

impl Log {
    /// Claims and commits at once, or says what is missing. Offsets and epoch are patched into
    /// `payload` on the way.
    pub(crate) fn try_put(&self, what: Payload, payload: &mut [u8]) -> Result<Claim, Refusal> {
        if self.birth.is_inherited() {
            return Err(Refusal::Forked);
        }
        let len = frame_len(payload.len()) as u64;
        let large = self.is_large(len);
        let fits = payload.len() < self.options.join_bytes(self.class);
        let lone = if what.joins && fits && !large { Lone::of(payload) } else { None };
        let want = Want {
            stream: what.stream,
            frame_len: len,
            records: what.records,
            max_timestamp_ms: what.max_timestamp_ms,
            large,
            lone,
            frees: what.frees,
        };
        let (claim, joined) = self.grant(want, what.kind, payload)?;
        if joined {
            self.committed_moved(claim.end);
            return Ok(claim);
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
        if large {
            self.put_large(claim, &header, payload);
        } else {
            self.put(claim, &header, payload);
        }
        Ok(claim)
    }

    /// The claim, and whether its record has joined a batch, and all is done.
    fn grant(
        &self,
        mut want: Want<'_>,
        kind: FrameKind,
        payload: &[u8],
    ) -> Result<(Claim, bool), Refusal> {
        let mut closed_at = None;
        let granted = {
            let mut writer = self.writer.lock();
            let before = writer.closed.len();
            let released = self.released();
            if want.lone.is_some() && !self.may_grow(&mut writer) {
                want.lone = None;
            }
            let join = |lone| writer.join(&self.ring, released, want.stream, lone);
            let granted = match want.lone.as_ref().and_then(join) {
                Some(claim) => Ok((claim, true)),
                None => writer.claim(&self.ring, released, want).map(|claim| (claim, false)),
            };
            if writer.closed.len() != before {
                closed_at = writer.closed.back().map(|group| group.used_end);
            }
            if let Ok((claim, _)) = &granted
                && let Some(stream) = writer.stream(want.stream)
            {
                if let (FrameKind::Trim, Some(start)) = (kind, payload.first_chunk::<8>()) {
                    stream.trim_claimed = stream.trim_claimed.max(u64::from_le_bytes(*start));
                }
                if want.records > 0 {
                    for (_, follower) in stream.followers.drain(..) {
                        self.waiters(self.class.ack()).register(claim.end, &follower, None);
                    }
                }
            }
            granted
        };
        if let Some(used_end) = closed_at {
            self.closed_group(used_end);
            if let Some(committed) = self.ring.advance() {
                self.committed_moved(committed);
            }
        }
        granted
    }

    /// Whether a batch of one record may grow: not where somebody in another process reads, who
    /// would not see it before it is closed. He is looked for once a group, or as many bytes.
    fn may_grow(&self, writer: &mut Writer) -> bool {
        if self.class == Flush::Sync || !self.ring_in_file {
            return true;
        }
        if !writer.has_data() || writer.head() >= writer.asked_at + writer.group_bytes() {
            writer.asked_at = writer.head();
            writer.is_followed = self.disk.has_readers().unwrap_or(true);
        }
        !writer.is_followed
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

    /// Moves an append on: claims if it has not, then waits for its level. Registers `context`'s
    /// waker before it answers `Pending`.
    pub(crate) fn poll_put(
        &self,
        what: Payload,
        payload: &mut [u8],
        progress: &mut Progress,
        context: &mut Context<'_>,
    ) -> Poll<Result<Claim>> {
        if progress.claim.is_none() {
            match self.poll_claim(what, payload, progress, context.waker()) {
                Poll::Ready(Ok(claim)) => {
                    self.settle(progress);
                    progress.claimed(claim);
                }
                other => return other,
            }
        }
        let claim = progress.claim.expect("set above");
        self.poll_level(claim.end, progress, context.waker()).map_ok(|()| claim)
    }

    /// As [`poll_put`](Self::poll_put), up to the claim.
    pub(crate) fn poll_claim(
        &self,
        what: Payload,
        payload: &mut [u8],
        progress: &mut Progress,
        waker: &Waker,
    ) -> Poll<Result<Claim>> {
        let frame_len = frame_len(payload.len()) as u64;
        loop {
            // Registered first, so that room made in between is not missed.
            let registered = progress.ticket.is_some();
            match self.try_put(what, payload) {
                Ok(claim) => return Poll::Ready(Ok(claim)),
                Err(refusal) => {
                    if let Some(error) = self.refused(refusal) {
                        self.settle(progress);
                        return Poll::Ready(Err(error));
                    }
                }
            }
            if registered {
                // A ticket that fired is gone; renew it, or keep the one there with this waker.
                progress.ticket = Some(self.room_waiters.register(ROOM, waker, progress.ticket));
                return match self.try_put(what, payload) {
                    Ok(claim) => Poll::Ready(Ok(claim)),
                    Err(refusal) => match self.refused(refusal) {
                        Some(error) => {
                            self.settle(progress);
                            Poll::Ready(Err(error))
                        }
                        None => Poll::Pending,
                    },
                };
            }
            if self.is_large(frame_len) && !progress.waits_large {
                self.writer.lock().large_waiting += 1;
                progress.waits_large = true;
            }
            progress.ticket = Some(self.room_waiters.register(ROOM, waker, None));
        }
    }

    /// Undoes what waiting for room has registered.
    pub(crate) fn settle(&self, progress: &mut Progress) {
        if self.birth.is_inherited() {
            return;
        }
        if let Some(ticket) = progress.ticket.take() {
            if progress.claim.is_none() {
                self.room_waiters.forget(ticket);
            } else {
                self.waiters(progress.level).forget(ticket);
            }
        }
        if std::mem::take(&mut progress.waits_large) {
            self.writer.lock().large_waiting -= 1;
            self.wake_for_room();
        }
    }

    /// The error for a refusal that waiting does not mend; otherwise sets in motion what it waits
    /// for.
    fn refused(&self, refusal: Refusal) -> Option<Error> {
        match refusal {
            // Every closed group is on its way, and its completion makes room.
            Refusal::Room => None,
            Refusal::Segment => {
                self.set_starving(true);
                self.call_maintenance();
                None
            }
            other => Some(self.refusal_error(other)),
        }
    }

    /// The error of a call that does not wait.
    pub(crate) fn refusal_error(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Room => Error::Busy { log: self.name.clone() },
            Refusal::Segment => {
                self.set_starving(true);
                self.call_maintenance();
                Error::Busy { log: self.name.clone() }
            }
            Refusal::NoSegment => {
                // Each refused append asks again, so appends resume by themselves.
                self.call_maintenance();
                let path = self.disk.root().join(&self.name);
                self.writer.lock().segment_error.clone().unwrap_or(Error::NoSpace { path })
            }
            Refusal::Stream => Error::UnknownTopic { topic: "(deleted)".to_owned() },
            Refusal::Stopped => self.stop_error(false),
            Refusal::Forked => Error::Forked,
        }
    }

    fn poll_level(&self, end: u64, progress: &mut Progress, waker: &Waker) -> Poll<Result<()>> {
        self.poll_reached(progress.level, end, &mut progress.ticket, waker)
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
    pub(crate) fn is_reached(&self, progress: &Progress) -> bool {
        !self.birth.is_inherited()
            && progress.claim.is_some_and(|claim| self.reached(progress.level) >= claim.end)
    }

    /// Whether this level waits for more than commits, on a log that does not flush by itself.
    fn needs_flush(&self, level: Ack) -> bool {
        self.class == Flush::Async && (level == Ack::Durable || !self.ring_in_file)
    }
}
