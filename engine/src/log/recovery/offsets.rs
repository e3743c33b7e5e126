//! Whether offsets go on where they should: each batch of a stream begins where the one before
//! ended, the first one above the checkpoint where that says. Checksums prove that a frame is what
//! somebody wrote; this, that nothing is missing or twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::checkpoint::Checkpoint;
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::record_batch::BatchHeader;

/// See the module.
#[derive(Debug)]
pub(super) struct Offsets {
    /// Where each stream's next batch begins.
    next: BTreeMap<u32, Next>,
    /// Streams of topics that are there: their offsets began at 0.
    live: BTreeSet<u32>,
    /// How many damaged places were passed: each may hide batches.
    damaged: u64,
    /// Whether the checkpoint's position was reached: what it says of ends is of there.
    above: bool,
}

#[derive(Clone, Copy, Debug)]
struct Next {
    offset: u64,
    /// Or below: the checkpoint knows of a trim that is younger than its position.
    or_below: bool,
    damaged: u64,
}

impl Offsets {
    pub(super) fn new(live: BTreeSet<u32>) -> Self {
        Self { next: BTreeMap::new(), live, damaged: 0, above: false }
    }

    /// From here on frames are above the checkpoint.
    pub(super) fn reach(&mut self, checkpoint: &Checkpoint) {
        if std::mem::replace(&mut self.above, true) {
            return;
        }
        let damaged = self.damaged;
        self.next.clear();
        for entry in &checkpoint.streams {
            let (offset, start) = (entry.end.0, entry.log_start.0);
            let next = Next { offset, or_below: start > 0 && start == offset, damaged };
            self.next.insert(entry.stream.0, next);
        }
    }

    /// A damaged place was passed.
    pub(super) fn pass_damage(&mut self) {
        self.damaged += 1;
    }

    /// What is wrong with the offsets of this frame, if anything is. After a gap the stream goes on
    /// from the frame, after an overlap from where it was.
    pub(super) fn check(&mut self, frame: &FrameHeader, payload: &[u8]) -> Option<Wrong> {
        if frame.kind != FrameKind::Batch {
            return None;
        }
        let batch = BatchHeader::decode(payload).ok()?;
        let (first, end) = (batch.base_offset.0, batch.last_offset().0 + 1);
        let stream = frame.stream.0;
        let begins = Next { offset: 0, or_below: false, damaged: 0 };
        // Below the checkpoint nobody knows where they began; of a deleted topic, nowhere.
        let known = self.above && self.live.contains(&stream);
        let expected = self.next.get(&stream).copied().or_else(|| known.then_some(begins));
        let after = Next { offset: end, or_below: false, damaged: self.damaged };
        let Some(expected) = expected else {
            self.next.insert(stream, after);
            return None;
        };
        let gap = first > expected.offset && expected.damaged == self.damaged;
        let overlap = first < expected.offset && !expected.or_below;
        if !overlap {
            self.next.insert(stream, after);
        }
        let what =
            || format!("batch of stream {stream} at offset {first}, not {}", expected.offset);
        (gap || overlap).then(|| Wrong { what: what(), overlap })
    }
}

/// A frame whose offsets do not continue its stream's.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) what: String,
    /// Its offsets were there already.
    pub(super) overlap: bool,
}
