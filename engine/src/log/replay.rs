//! Replaying a ring after its process has died: what was committed there and had not reached a
//! segment is taken, frame by frame, as far as it proves itself. Nothing the control page says is
//! evidence; its committed end only tells whether something is missing.

use super::growth::{grown, overlay};
use super::scan::{frames_of, synthesise};
use crate::buf::RingMap;
use crate::format::Seed;
use crate::format::frame::FrameHeader;
use crate::format::group::GroupHeader;
use crate::format::ring_control::{COMMITTED, EPOCH};
use crate::ids::{LeaderEpoch, Position};
use crate::limits::{FRAME_HEADER_BYTES, GROUP_HEADER_BYTES};

use std::sync::atomic::Ordering;

/// A group taken from a ring, as it is to stand in its segment.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) header: GroupHeader,
    pub(crate) bytes: Vec<u8>,
}

impl Replayed {
    /// Its frames with their payloads.
    pub(crate) fn frames(&self, seed: Seed) -> impl Iterator<Item = (FrameHeader, &[u8])> {
        let base = self.header.position.0;
        frames_of(seed, &self.header, &self.bytes).0.into_iter().map(move |frame| {
            let from = (frame.position.0 - base) as usize + FRAME_HEADER_BYTES;
            let payload = &self.bytes[from..from + frame.payload_len as usize];
            (frame, payload)
        })
    }
}

/// What came out of a ring.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) groups: Vec<Replayed>,
    /// Length of the ring's tail.
    pub(crate) ring_bytes: u64,
    /// Bytes that had been committed and are gone.
    pub(crate) lost_bytes: u64,
}

/// Takes the groups that follow `from`, the end of what segments hold. `bounds` gives, for a
/// position, the end of the segment it lies in and the first group of the next.
pub(crate) fn replay(
    ring: &RingMap,
    seed: Seed,
    epoch: LeaderEpoch,
    from: u64,
    bounds: &dyn Fn(u64) -> Option<(u64, u64)>,
) -> Replay {
    let grown = grown(ring, seed, epoch);
    let grown = grown.as_ref().map(|(position, frame)| (*position, &frame[..]));
    let mut out = Replay { ring_bytes: ring.len() as u64, ..Replay::default() };
    let mut at = from;
    let mut reached = from;
    // The committed end passes over the padding of a closed group and the next one's header, which
    // are no loss; in an open group, or one cut short, it passes over frames alone.
    let mut passed = None;
    while let Some((segment_end, next_first)) = bounds(at) {
        if at == segment_end {
            at = next_first;
            continue;
        }
        if at - from >= ring.len() as u64 + (next_first - from) {
            break;
        }
        let Some((group, whole)) = take_group(ring, (seed, epoch), at, segment_end, grown) else {
            break;
        };
        reached = at + u64::from(group.header.used_len);
        at = if group.header.last { segment_end } else { at + group.header.group_len() };
        out.groups.push(group);
        if !whole {
            passed = Some(reached);
            break;
        }
    }
    let committed = ring.control(COMMITTED).load(Ordering::Relaxed);
    let same_writer = ring.control(EPOCH).load(Ordering::Relaxed) == u64::from(epoch.0);
    if same_writer && committed > passed.unwrap_or(at + GROUP_HEADER_BYTES as u64) {
        out.lost_bytes = committed - reached;
    }
    out
}

/// The group at `at`, cut to its proven frames; whether it was closed and whole. `grown` is the
/// batch that grew last, with the headers it would have been closed with.
fn take_group(
    ring: &RingMap,
    (seed, epoch): (Seed, LeaderEpoch),
    at: u64,
    segment_end: u64,
    grown: Option<(u64, &[u8])>,
) -> Option<(Replayed, bool)> {
    let load = |bytes: &mut [u8]| {
        ring.load(at, bytes);
        if let Some((position, frame)) = grown {
            overlay(position, frame, at, bytes);
        }
    };
    let mut head = [0; GROUP_HEADER_BYTES];
    ring.load(at, &mut head);
    let header =
        GroupHeader::decode(seed, Position(at), &head).filter(|found| found.epoch == epoch);
    let room = (ring.len() as u64).min(segment_end - at) as usize;
    if let Some(closed) =
        header.filter(|found| found.used_len > 0 && found.group_len() <= room as u64)
    {
        let mut bytes = vec![0; closed.group_len() as usize];
        load(&mut bytes);
        bytes[closed.used_len as usize..].fill(0);
        let (_, end, bad) = frames_of(seed, &closed, &bytes);
        if bad.is_none() {
            return Some((Replayed { header: closed, bytes }, true));
        }
        return cut(seed, closed, &bytes, end);
    }
    // The open group: its length is whatever proves itself. Without a header of its own it is
    // given one that claims nothing.
    let provisional = GroupHeader {
        position: Position(at),
        used_len: room as u32,
        epoch,
        durable_upto: header.map_or(Position(0), |header| header.durable_upto),
        last: false,
        cut: false,
    };
    let mut bytes = vec![0; room];
    load(&mut bytes);
    let (_, end, _) = frames_of(seed, &provisional, &bytes);
    cut(seed, provisional, &bytes, end)
}

fn cut(seed: Seed, header: GroupHeader, bytes: &[u8], end: u64) -> Option<(Replayed, bool)> {
    let used = (end - header.position.0) as usize;
    if used <= GROUP_HEADER_BYTES {
        return None;
    }
    let header = GroupHeader { used_len: used as u32, last: false, cut: true, ..header };
    let bytes = synthesise(seed, &header, &bytes[GROUP_HEADER_BYTES..used]);
    Some((Replayed { header, bytes }, false))
}
