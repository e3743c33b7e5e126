//! The ring of one log: where groups live until their place is needed again, and the claims that
//! order them. Claims are made under the writer's lock; sealing and moving the committed end
//! happen outside it, by whoever comes along.
//!
//! A claim is a range of positions. Its slot, found by the claim's first byte, receives the claim's
//! end once its bytes are in place; the committed end moves over sealed slots. No two claims start
//! in the same 64 bytes, so each has a slot of its own, and what an earlier lap left in a slot is
//! never beyond the committed end, so it is never taken for a seal.

use std::sync::Arc;

use crate::buf::{RingMap, Slice};
use crate::format::Seed;
use crate::format::ring_control::{COMMITTED, DURABLE, EPOCH, GROWING, LO, Proof};
use crate::ids::LeaderEpoch;
use crate::limits::FRAME_MIN_BYTES;
use crate::moment::{self, Moment};
use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// See the module.
#[derive(Debug)]
pub(crate) struct Ring {
    map: Arc<RingMap>,
    slots: Box<[AtomicU64]>,
    /// Whether the map is a file's, whose pages the kernel cleans and then faults again.
    in_file: bool,
}

impl Ring {
    /// A ring that starts, empty, at `position`, everything below which is durable.
    pub(crate) fn new(map: RingMap, in_file: bool, position: u64, epoch: LeaderEpoch) -> Self {
        let slots = (0..map.len() / FRAME_MIN_BYTES).map(|_| AtomicU64::new(0)).collect();
        let ring = Self { map: Arc::new(map), slots, in_file };
        // First, so that a reader of another process takes none of these for an earlier writer's.
        ring.map.control(EPOCH).store(u64::from(epoch.0), Ordering::SeqCst);
        ring.map.control(GROWING).store(0, Ordering::SeqCst);
        ring.map.control(LO).store(position, Ordering::SeqCst);
        moment::pass(Moment::RingReset);
        ring.map.control(COMMITTED).store(position, Ordering::SeqCst);
        ring.map.control(DURABLE).store(position, Ordering::SeqCst);
        if in_file {
            // Readers of other processes sleep on what an earlier writer left here.
            ring.wake_others(COMMITTED);
            ring.wake_others(DURABLE);
        }
        ring
    }

    /// Wakes those of other processes who sleep on a word of the control page.
    pub(crate) fn wake_others(&self, word: usize) {
        self.map.wake(word);
    }

    pub(crate) fn len(&self) -> u64 {
        self.map.len() as u64
    }

    /// Every claim below is sealed; what lies there is *written*.
    pub(crate) fn committed(&self) -> u64 {
        self.map.control(COMMITTED).load(Ordering::SeqCst)
    }

    /// Everything below is on stable storage.
    pub(crate) fn durable(&self) -> u64 {
        self.map.control(DURABLE).load(Ordering::SeqCst)
    }

    /// Only the flusher moves it, upwards.
    pub(crate) fn set_durable(&self, position: u64) {
        debug_assert!(position >= self.durable());
        self.map.control(DURABLE).store(position, Ordering::SeqCst);
    }

    /// Where it ends now, for a log that follows another process's: that one may have lost some.
    pub(crate) fn place_durable(&self, position: u64) {
        self.map.control(DURABLE).store(position, Ordering::SeqCst);
    }

    /// The oldest position still whole in the ring.
    pub(crate) fn lo(&self) -> u64 {
        self.map.control(LO).load(Ordering::Acquire)
    }

    /// Says that places below `position` are about to be overwritten, before they are. Only under
    /// the writer's lock.
    pub(crate) fn raise_lo(&self, position: u64) {
        self.map.control(LO).store(position, Ordering::Relaxed);
        Self::lo_is_told();
    }

    /// What this thread stores from here on is seen only with the `lo` that it has seen: another
    /// thread may have raised it, and its fence is not ours.
    pub(crate) fn lo_is_told() {
        fence(Ordering::Release);
    }

    /// Puts bytes of a claim in place.
    pub(crate) fn store(&self, position: u64, bytes: &[u8]) {
        self.map.store(position, bytes);
    }

    /// Zeroes `from..to`.
    pub(crate) fn zero(&self, from: u64, to: u64) {
        self.map.zero(from, (to - from) as usize);
    }

    /// Copies what this process has stored, from `position` on.
    pub(crate) fn load(&self, position: u64, out: &mut [u8]) {
        self.map.load(position, out);
    }

    /// Whether what it has survives the process.
    pub(crate) fn is_in_file(&self) -> bool {
        self.in_file
    }

    /// From here on the frame at `position` may grow; 0: none may. What was stored before is seen
    /// by whoever sees this.
    pub(crate) fn set_growing(&self, position: u64) {
        self.map.control(GROWING).store(position, Ordering::Release);
    }

    /// Whether a frame below `end`, which is committed, may still grow.
    pub(crate) fn grows_below(&self, end: u64) -> bool {
        let position = self.map.control(GROWING).load(Ordering::Acquire);
        position != 0 && position < end
    }

    /// Proves the batch that grows, over the older of its two proofs.
    pub(crate) fn prove(&self, proof: &Proof, seed: Seed) {
        proof.store(&self.map, seed);
    }

    /// Moves the committed end over what was stored under the writer's lock, when all below is
    /// committed: no other claim is there to move it.
    pub(crate) fn commit(&self, end: u64) {
        self.map.control(COMMITTED).store(end, Ordering::SeqCst);
    }

    /// Declares the claim `start..end` complete.
    pub(crate) fn seal(&self, start: u64, end: u64) {
        debug_assert!(end > start);
        self.slot(start).swap(end, Ordering::SeqCst);
    }

    /// Moves the committed end over every sealed claim; returns it if this call moved it.
    pub(crate) fn advance(&self) -> Option<u64> {
        let committed = self.map.control(COMMITTED);
        let mut moved = None;
        loop {
            let from = committed.load(Ordering::SeqCst);
            let to = self.slot(from).load(Ordering::SeqCst);
            if to <= from {
                return moved;
            }
            // A lost race means that another moved it; look again from there.
            if committed.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                moved = Some(to);
            }
        }
    }

    fn slot(&self, position: u64) -> &AtomicU64 {
        &self.slots[self.map.index(position) / FRAME_MIN_BYTES]
    }

    /// A committed group's bytes, for its write.
    pub(crate) fn slice(&self, position: u64, len: usize) -> Slice {
        Slice::ring(Arc::clone(&self.map), position, len)
    }

    /// Copies the tail from `position` on; false if it was, or may have been, overwritten.
    pub(crate) fn copy(&self, position: u64, out: &mut [u8]) -> bool {
        if position < self.lo() {
            return false;
        }
        self.map.load(position, out);
        fence(Ordering::Acquire);
        position >= self.map.control(LO).load(Ordering::Relaxed)
    }

    /// Faults in what the next claims will write to.
    pub(crate) fn populate(&self, position: u64, len: usize) -> std::io::Result<()> {
        if self.in_file { self.map.populate(position, len) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Ring {
        Ring::new(RingMap::private(64 << 10).unwrap(), false, 4096, LeaderEpoch(1))
    }

    #[test]
    fn the_committed_end_waits_for_the_lowest_unsealed_claim() {
        let ring = ring();
        ring.seal(4096 + 128, 4096 + 256);
        assert_eq!(ring.advance(), None);
        ring.seal(4096, 4096 + 128);
        assert_eq!(ring.advance(), Some(4096 + 256));
        assert_eq!(ring.committed(), 4096 + 256);
    }

    #[test]
    fn a_slot_of_an_earlier_lap_is_no_seal() {
        let ring = ring();
        let mut at = 4096;
        while at < 4096 + 3 * ring.len() {
            ring.seal(at, at + 64);
            assert_eq!(ring.advance(), Some(at + 64));
            at += 64;
            assert_eq!(ring.advance(), None);
        }
    }

    #[test]
    fn a_copy_below_lo_is_refused() {
        let ring = ring();
        ring.raise_lo(8192);
        assert!(!ring.copy(4096, &mut [0; 8]));
        assert!(ring.copy(8192, &mut [0; 8]));
    }
}
