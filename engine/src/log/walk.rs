//! Walking a log's bytes: groups, frames, padding. One step at a time over a window of bytes, the
//! same for a ring's copy and a segment's; every length is trusted only after its checksum.

use crate::format::Seed;
use crate::format::frame::{self, FrameError, FrameHeader};
use crate::format::group::{self, GroupHeader};
use crate::ids::Position;
use crate::limits::{
    BATCH_HEADER_BYTES, BATCH_UNCOVERED_BYTES, FRAME_HEADER_BYTES, GROUP_ALIGN, GROUP_HEADER_BYTES,
};

/// What stands at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A group begins; its frames follow its header.
    Group(GroupHeader),
    /// A frame, of [`FrameHeader::frame_len`] bytes, as much of it in the window as was asked for.
    Frame(FrameHeader),
    /// Zeros up to the next group boundary, which is at this position.
    Padding(u64),
    /// The window ends here; at least this many bytes from the position on are needed.
    Need(usize),
}

/// Why a position holds nothing of the above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Bad {
    /// A boundary where no group was ever written, or only one for another position.
    #[error("no group starts here")]
    NoGroup,
    /// A group magic whose header does not verify.
    #[error("group header checksum differs")]
    GroupHeader,
    /// Neither frame nor padding.
    #[error("neither frame nor padding: {0}")]
    Frame(#[from] FrameError),
    /// Padding that is not zero.
    #[error("padding is not zero")]
    Padding,
}

/// How much of a frame must be in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All of it.
    Whole,
    /// Its header and that of the batch in it.
    Head,
}

impl Reach {
    fn bytes(self, header: &FrameHeader) -> usize {
        match self {
            Self::Whole => header.frame_len(),
            Self::Head => header.frame_len().min(HEAD_BYTES),
        }
    }
}

/// Headers of a frame and of the batch in it.
pub(crate) const HEAD_BYTES: usize = FRAME_HEADER_BYTES + BATCH_HEADER_BYTES;

/// Looks at `position`, which lies at or after `start`, the position of `window`'s first byte.
pub(crate) fn step(
    seed: Seed,
    start: u64,
    window: &[u8],
    position: u64,
    reach: Reach,
) -> Result<Step, Bad> {
    let rest = window.get((position - start) as usize..).unwrap_or_default();
    let boundary = position.is_multiple_of(GROUP_ALIGN as u64);
    let Some(magic) = rest.first_chunk::<4>() else {
        return Ok(Step::Need(GROUP_HEADER_BYTES));
    };
    if boundary && *magic == group::MAGIC {
        if rest.len() < GROUP_HEADER_BYTES {
            return Ok(Step::Need(GROUP_HEADER_BYTES));
        }
        let header = GroupHeader::decode(seed, Position(position), rest);
        return header.map(Step::Group).ok_or(Bad::GroupHeader);
    }
    if *magic == frame::MAGIC {
        return match FrameHeader::decode(seed, Position(position), rest) {
            Ok(header) if reach.bytes(&header) > rest.len() => Ok(Step::Need(reach.bytes(&header))),
            Ok(header) => Ok(Step::Frame(header)),
            Err(FrameError::Short) => need_covered(rest),
            Err(error) => Err(error.into()),
        };
    }
    if boundary {
        return Err(Bad::NoGroup);
    }
    if *magic == [0; 4] {
        return padding(position, rest);
    }
    Err(FrameError::Magic.into())
}

/// Enough for the covered part of the frame: a batch's first bytes, or all of another payload.
fn need_covered(rest: &[u8]) -> Result<Step, Bad> {
    let claimed = rest.get(16..20).and_then(<[u8]>::first_chunk::<4>);
    let payload = claimed.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
    let least = FRAME_HEADER_BYTES + BATCH_UNCOVERED_BYTES;
    if rest.len() < least {
        return Ok(Step::Need(least));
    }
    // Frames whose whole payload is covered are small; the length is still unproven.
    let whole = FRAME_HEADER_BYTES + payload.min(crate::limits::META_PAYLOAD_BYTES_MAX);
    if whole > rest.len() { Ok(Step::Need(whole)) } else { Err(FrameError::Short.into()) }
}

fn padding(position: u64, rest: &[u8]) -> Result<Step, Bad> {
    let next = position.next_multiple_of(GROUP_ALIGN as u64);
    let len = ((next - position) as usize).min(rest.len());
    if rest[..len].iter().any(|byte| *byte != 0) {
        return Err(Bad::Padding);
    }
    Ok(Step::Padding(next))
}
