//! The batch that single records join: the newest frame of the open group, as long as nothing else
//! of the log has come after it. All under the writer's lock: a record is put in place, proven and
//! committed before the lock is given back, so that the batch is whole at any moment for whoever
//! has it.
//!
//! The headers in the ring stay those of the first record until the batch is closed. Until then a
//! killed process has the rest proven in the ring's control page, in one of two places that are
//! written in turn: one of them is always whole. Readers of this process close the batch when they
//! come to it; those of others do not see it before.

use super::ring::Ring;
use super::writer::{Claim, Writer};
use crate::buf::RingMap;
use crate::checksum;
use crate::format::Seed;
use crate::format::frame::FrameHeader;
use crate::format::record_batch::{Joined, Lone};
use crate::format::ring_control::Proof;
use crate::ids::{LeaderEpoch, Offset, Position, StreamId};
use crate::limits::{BATCH_HEADER_BYTES, FRAME_ALIGN, FRAME_HEADER_BYTES};
use crate::moment::{self, Moment};

/// Bytes before the records of a frame.
const HEAD: u64 = (FRAME_HEADER_BYTES + BATCH_HEADER_BYTES) as u64;
/// What the ring is stored into and loaded from.
const WORD: u64 = size_of::<u64>() as u64;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growing {
    stream: StreamId,
    /// Of its frame.
    position: u64,
    batch: Joined,
    /// CRC of its records; not known before a second one comes.
    crc: Option<u32>,
    /// The frame follows the stream's newest one at once.
    follows: bool,
}

impl Growing {
    pub(super) fn new(stream: StreamId, claim: Claim, lone: &Lone<'_>, follows: bool) -> Self {
        let batch = Joined::first(lone, claim.first, claim.epoch);
        Self { stream, position: claim.position, batch, crc: None, follows }
    }

    /// Where the next record goes.
    fn records_end(&self) -> u64 {
        self.position + HEAD + u64::from(self.batch.records_len)
    }

    /// What it holds, the CRC of its records being this.
    fn proof(&self, crc: u32) -> Proof {
        Proof { position: self.position, stream: self.stream, crc, batch: self.batch }
    }

    fn end(&self) -> u64 {
        self.records_end().next_multiple_of(FRAME_ALIGN as u64)
    }
}

impl Writer {
    /// Puts a record into the batch that grows, if it belongs there and there is room; else the
    /// caller claims a frame for it.
    pub(crate) fn join(
        &mut self,
        ring: &Ring,
        released: u64,
        stream: StreamId,
        lone: &Lone<'_>,
    ) -> Option<Claim> {
        let growing = self.growing.filter(|growing| growing.stream == stream)?;
        // Whoever began the batch may not have put its record in place yet.
        if self.stopped || ring.committed() != self.head() {
            return None;
        }
        let mut bytes = std::mem::take(&mut self.scratch);
        let claim = self.join_with(ring, released, growing, lone, &mut bytes);
        self.scratch = bytes;
        claim
    }

    fn join_with(
        &mut self,
        ring: &Ring,
        released: u64,
        growing: Growing,
        lone: &Lone<'_>,
        bytes: &mut Vec<u8>,
    ) -> Option<Claim> {
        // The word in which the records end now is stored anew.
        let begun = (growing.records_end() % WORD) as usize;
        bytes.clear();
        bytes.resize(begun, 0);
        let batch = growing.batch.join(lone, self.batch_bytes, bytes)?;
        let mut next = Growing { batch, ..growing };
        let end = next.end();
        if !self.has_room(ring, released, end) {
            return None;
        }
        let at = growing.records_end() - begun as u64;
        ring.load(at, &mut bytes[..begun]);
        if ring.is_in_file() {
            // The padding behind the first record, which its frame is not whole without, is about
            // to be overwritten: from now on only a proof proves it.
            let before = growing.crc.unwrap_or_else(|| {
                let crc = checksum::crc32c(&first_record(ring, &growing));
                ring.prove(&growing.proof(crc), self.seed);
                crc
            });
            next.crc = Some(checksum::crc32c_append(before, &bytes[begun..]));
        }
        ring.store(at, bytes);
        moment::pass(Moment::JoinStored);
        if let Some(crc) = next.crc {
            ring.prove(&next.proof(crc), self.seed);
            moment::pass(Moment::JoinProven);
        }
        self.growing = Some(next);
        self.joined(growing.end(), end, next.stream);
        ring.commit(end);
        moment::pass(Moment::Joined);
        let first = batch.base_offset + u64::from(batch.records - 1);
        Some(Claim { position: next.position, end, first, epoch: batch.epoch })
    }

    /// No record joins the newest batch any more: its headers become final, and its place is noted.
    /// After this, and before anything else is claimed, all that is committed are whole frames.
    pub(crate) fn settle(&mut self, ring: &Ring) {
        let Some(growing) = self.growing.take() else { return };
        let Growing { stream, position, batch, .. } = growing;
        if batch.records > 1 {
            // What follows the headers in their last word stays as it is.
            let len = HEAD.next_multiple_of(WORD) as usize;
            let mut bytes = std::mem::take(&mut self.scratch);
            bytes.resize(HEAD as usize + batch.records_len as usize, 0);
            ring.load(position, &mut bytes);
            let (head, records) = bytes.split_at_mut(HEAD as usize);
            head.copy_from_slice(&growing.proof(0).head(self.seed, records));
            ring.store(position + FRAME_HEADER_BYTES as u64, &bytes[FRAME_HEADER_BYTES..len]);
            moment::pass(Moment::BatchClosing);
            ring.store(position, &bytes[..FRAME_HEADER_BYTES]);
            moment::pass(Moment::BatchClosed);
            self.scratch = bytes;
        }
        ring.set_growing(0);
        if let Some(state) = self.stream(stream) {
            let Offset(first) = batch.base_offset;
            state.note_run(position, growing.end(), growing.follows, first, batch.max_timestamp_ms);
        }
    }
}

/// Position and bytes of the newest batch of a ring whose writer is dead, unless its own headers
/// say more of it than its proofs.
pub(crate) fn grown(ring: &RingMap, seed: Seed, epoch: LeaderEpoch) -> Option<(u64, Vec<u8>)> {
    let proven = |proof: Proof| Some((proof.position, proof.frame(ring, seed)?));
    let (position, frame) = Proof::load(ring, seed, epoch).filter_map(proven).last()?;
    let mut head = [0; HEAD as usize];
    ring.load(position, &mut head);
    let said = FrameHeader::decode(seed, Position(position), &head);
    let more = said.is_ok_and(|said| said.frame_len() > frame.len());
    (!more).then_some((position, frame))
}

/// Puts `frame`, which lies at `position`, over the part of it that is in `out`, which starts at
/// `at`.
pub(crate) fn overlay(position: u64, frame: &[u8], at: u64, out: &mut [u8]) {
    let from = position.max(at);
    let to = (position + frame.len() as u64).min(at + out.len() as u64);
    if from < to {
        let part = &frame[(from - position) as usize..(to - position) as usize];
        out[(from - at) as usize..(to - at) as usize].copy_from_slice(part);
    }
}

/// The bytes of the only record.
fn first_record(ring: &Ring, growing: &Growing) -> Vec<u8> {
    let mut bytes = vec![0; HEAD as usize + growing.batch.records_len as usize];
    ring.load(growing.position, &mut bytes);
    bytes.split_off(HEAD as usize)
}
