//! Named moments between two operations of the disk, at which the simulator may kill the process.
//!
//! A process leaves behind what its operations did, and what it stored in its rings. A kill at any
//! operation is the simulator's own business; these moments stand before and after each store into
//! a ring, and between the operations of steps that must not be taken half. So a kill at any
//! instruction is one at an operation or at a moment, or differs from it only in bytes that no
//! seal, header or watermark covers yet.
//!
//! Without the feature `sim` a moment is nothing. With it, it is what the thread's hook makes of
//! it; nothing in the engine may depend on one having passed.

#[cfg(feature = "sim")]
use std::cell::RefCell;

macro_rules! moments {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// See the module of the same name: where a process may be killed between two operations.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Moment {
            $($(#[$doc])* $name,)*
        }

        #[cfg(feature = "sim")]
        impl Moment {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What it is, in a few words.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

moments! {
    /// An append has its place; nothing of it is stored.
    Claimed = "claim: nothing stored",
    /// Its payload is stored, its header is not.
    PayloadStored = "claim: payload stored, no header",
    /// Its frame is whole, and not sealed.
    FrameStored = "commit: frame stored, not sealed",
    /// It is sealed, and the committed end has not moved.
    Sealed = "commit: sealed, end not moved",
    /// It is committed, and nobody was told.
    Committed = "commit: end moved, nobody told",
    /// A record that joins a batch is stored, and nothing proves it.
    JoinStored = "join: record stored, no proof",
    /// Half of its proof is.
    ProofHalf = "join: half a proof",
    /// It is proven, and the committed end has not moved.
    JoinProven = "join: proven, end not moved",
    /// It is committed, and nobody was told.
    Joined = "join: end moved, nobody told",
    /// A batch that has grown is being closed: its header is final, its frame's is not.
    BatchClosing = "join: batch header final, frame header old",
    /// Both are.
    BatchClosed = "join: headers final",
    /// A frame too large for the ring has its place; its bytes are not with the flusher.
    LargeClaimed = "claim of a large frame",
    /// The header of an open group is stored, and not sealed.
    GroupOpened = "group: opened, not sealed",
    /// The final header of a group is stored; its padding is not.
    GroupHeader = "group: final header, old padding",
    /// A group is closed and not queued.
    GroupClosed = "group: closed, not queued",
    /// A segment was left for the next; its rest is not sealed.
    SegmentLeft = "roll: segment left, not sealed",
    /// The next segment is flushed under its unfinished name.
    SegmentFlushed = "roll: next segment flushed, no name",
    /// It has its name, which is not durable.
    SegmentNamed = "roll: next segment named, name not durable",
    /// Its name is durable, and the writer does not know of it.
    SegmentMade = "roll: next segment made, not in use",
    /// A write has completed; its place in the ring is not given away yet.
    WriteCompleted = "write completed, place not free",
    /// The place is free, the durable end has not moved.
    Released = "place free, durable end not moved",
    /// The durable end has moved, and nobody was told.
    DurableMoved = "durable end moved, nobody told",
    /// A checkpoint or index is written under its unfinished name.
    FileWritten = "checkpoint: written, no name",
    /// It has its name, which is not durable.
    FileNamed = "checkpoint: named, name not durable",
    /// It is durable, and the one it replaces is still there.
    FileStored = "checkpoint: stored, older one not gone",
    /// Checkpoints no longer list a dead segment, whose file is still there.
    SegmentDead = "retire: not listed, file still there",
    /// Recovery has written back what a ring had; nothing is flushed.
    WrittenBack = "recovery: ring written back, not flushed",
    /// It is flushed, and the epoch is the old one.
    BeforeBump = "recovery: flushed, epoch not bumped",
    /// The new epoch is durable, and the ring as it was.
    Bumped = "recovery: epoch bumped, ring not reset",
    /// The control page of the ring is half reset.
    RingReset = "recovery: ring half reset",
}

#[cfg(feature = "sim")]
type Hook = Box<dyn Fn(Moment)>;

#[cfg(feature = "sim")]
thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// What the moments of this thread call from now on.
#[cfg(feature = "sim")]
pub(crate) fn set_hook(hook: Hook) {
    HOOK.set(Some(hook));
}

/// This moment has come.
#[cfg(feature = "sim")]
pub(crate) fn pass(moment: Moment) {
    // A thread that ends has no hook any more.
    let _ = HOOK.try_with(|hook| {
        if let Some(hook) = &*hook.borrow() {
            hook(moment);
        }
    });
}

/// This moment has come.
#[cfg(not(feature = "sim"))]
#[inline]
pub(crate) fn pass(_: Moment) {}
