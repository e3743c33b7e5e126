//! Headers of a fixed size: of a group, a frame, a segment, and `engine.meta`.

use ringlog::raw::parsers::engine_meta::{ENGINE_META_BYTES, EngineMeta};
use ringlog::raw::parsers::frame::{FrameHeader, FrameKind};
use ringlog::raw::parsers::group::GroupHeader;
use ringlog::raw::parsers::limits::{
    FRAME_ALIGN, FRAME_HEADER_BYTES, FRAME_MIN_BYTES, GROUP_ALIGN, GROUP_HEADER_BYTES,
    PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_HEADER_BYTES,
};
use ringlog::raw::parsers::segment_header::SegmentHeader;
use ringlog::raw::parsers::{Seed, frames};
use ringlog::{LeaderEpoch, Position};

use super::{at, put_checksum, repair};

/// The log of every input.
pub(super) const LOG: u128 = 0x5eed;

pub(super) fn seed() -> Seed {
    Seed::of(uuid(LOG))
}

fn uuid(log: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(log)
}

/// The position that a header says it is at: bytes 8..16 of groups and frames alike.
fn position(bytes: &[u8]) -> Position {
    Position(at(bytes, 8).map_or(0, u64::from_le_bytes))
}

/// Makes a group's header checksum right.
pub(super) fn repair_group(seed: Seed, bytes: &mut [u8]) {
    if let Some(covered) = bytes.get(8..GROUP_HEADER_BYTES) {
        let checksum = seed.checksum(covered);
        put_checksum(bytes, 4, checksum);
    }
}

/// Makes a frame's header checksum right, as far as its payload is there.
pub(super) fn repair_frame(seed: Seed, bytes: &mut [u8]) {
    let Some(header) = bytes.get(8..FRAME_HEADER_BYTES) else { return };
    let len = at(bytes, 16).map_or(0, u32::from_le_bytes) as usize;
    let covered = if bytes[28] == FrameKind::Batch as u8 { len.min(21) } else { len };
    let Some(payload) = bytes[FRAME_HEADER_BYTES..].get(..covered) else { return };
    let checksum = crc32c::crc32c_append(seed.checksum(header), payload);
    put_checksum(bytes, 4, checksum);
}

/// A group's header, and the frames behind it.
pub fn group(data: &[u8]) {
    one_group(data);
    let mut repaired = data.to_vec();
    repair_whole_group(seed(), &mut repaired);
    one_group(&repaired);
}

/// Makes the checksums of a group right: its frames', each of which follows where the one before
/// it says, and its own.
pub(super) fn repair_whole_group(seed: Seed, bytes: &mut [u8]) {
    let mut from = GROUP_HEADER_BYTES;
    while let Some(rest) = bytes.get_mut(from..).filter(|rest| rest.len() >= FRAME_HEADER_BYTES) {
        let len = at(rest, 16).map_or(0, u32::from_le_bytes) as usize;
        if rest[28] == FrameKind::Batch as u8
            && let Some(payload) = rest[FRAME_HEADER_BYTES..].get_mut(..len)
        {
            super::batches::seal(payload);
        }
        repair_frame(seed, rest);
        from += (FRAME_HEADER_BYTES + len).next_multiple_of(FRAME_ALIGN).max(FRAME_MIN_BYTES);
    }
    repair_group(seed, bytes);
}

fn one_group(bytes: &[u8]) {
    let position = position(bytes);
    let Some(header) = GroupHeader::decode(seed(), position, bytes) else { return };
    assert_eq!(header.encode(seed())[..], bytes[..GROUP_HEADER_BYTES], "as it was written");
    assert_eq!(GroupHeader::decode(Seed::of(uuid(1)), position, bytes), None, "another log's");
    assert_eq!(GroupHeader::decode(seed(), Position(!position.0), bytes), None, "moved");
    assert!(header.group_len() >= u64::from(header.used_len));
    assert!(header.group_len().is_multiple_of(GROUP_ALIGN as u64));
    // Whoever reads frames has checked that the group lies within its segment.
    if position.0.checked_add(SEGMENT_BYTES_MAX).is_none() {
        return;
    }
    check_frames(&header, bytes);
}

/// The frames of a group stand one after the other, and each proves itself where it stands.
pub(super) fn check_frames(header: &GroupHeader, bytes: &[u8]) {
    let start = header.position.0;
    let (found, end, bad) = frames(seed(), header, bytes);
    let mut next = start + GROUP_HEADER_BYTES as u64;
    for frame in &found {
        assert_eq!((frame.position.0, frame.epoch), (next, header.epoch));
        let from = (next - start) as usize;
        assert_eq!(FrameHeader::decode(seed(), frame.position, &bytes[from..]), Ok(*frame));
        next += frame.frame_len() as u64;
    }
    assert_eq!(end, next, "frames end where the last one does");
    let used = u64::from(header.used_len).min(bytes.len() as u64);
    assert!(end <= start + used.max(GROUP_HEADER_BYTES as u64), "frames beyond their group");
    assert!(bad.is_some() || end >= start + used, "a group that ends early, without a reason");
}

/// A frame's header and as much of its payload as that covers.
pub fn frame(data: &[u8]) {
    one_frame(data);
    let mut repaired = data.to_vec();
    repair_frame(seed(), &mut repaired);
    one_frame(&repaired);
}

fn one_frame(bytes: &[u8]) {
    let position = position(bytes);
    let Ok(header) = FrameHeader::decode(seed(), position, bytes) else { return };
    let len = header.payload_len as usize;
    assert!(len <= PAYLOAD_BYTES_MAX);
    assert!(header.frame_len() >= FRAME_HEADER_BYTES + len);
    let covered = &bytes[FRAME_HEADER_BYTES..][..header.kind.covered(len)];
    assert_eq!(header.encode(seed(), covered)[..], bytes[..FRAME_HEADER_BYTES]);
    let whole = FRAME_HEADER_BYTES + covered.len();
    assert_eq!(FrameHeader::decode(seed(), position, &bytes[..whole]), Ok(header));
    assert!(FrameHeader::decode(seed(), position, &bytes[..whole - 1]).is_err(), "cut short");
    assert!(FrameHeader::decode(Seed::of(uuid(1)), position, bytes).is_err(), "another log's");
    assert!(FrameHeader::decode(seed(), Position(!position.0), bytes).is_err(), "moved");
}

/// A segment's header.
pub fn segment_header(data: &[u8]) {
    one_segment_header(data);
    let mut block = data.to_vec();
    block.resize(SEGMENT_HEADER_BYTES, 0);
    repair(&mut block, 8, 12, SEGMENT_HEADER_BYTES);
    one_segment_header(&block);
}

fn one_segment_header(bytes: &[u8]) {
    let Ok(header) = SegmentHeader::decode(bytes) else { return };
    assert!((SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&header.len_bytes));
    assert!(header.base.0.checked_add(header.len_bytes).is_some(), "positions overflow");
    let again = header.encode();
    assert_eq!(SegmentHeader::decode(&again), Ok(header));
    assert_eq!((&again[..8], &again[12..60]), (&bytes[..8], &bytes[12..60]), "as it was written");
    assert!(SegmentHeader::decode(&bytes[..SEGMENT_HEADER_BYTES - 1]).is_err(), "cut short");
}

/// `engine.meta`, both copies.
pub fn engine_meta(data: &[u8]) {
    one_engine_meta(data);
    // Two copies of 4096 bytes, of which the input has the meaning ones: 40 bytes each, and what
    // is to be wrong with the checksums.
    let (which, rest) = data.split_first().unwrap_or((&0, &[]));
    let mut file = vec![0; ENGINE_META_BYTES];
    let half = ENGINE_META_BYTES / 2;
    for (copy, part) in rest.chunks(40).take(2).enumerate() {
        let copy_at = copy * half;
        file[copy_at..copy_at + part.len()].copy_from_slice(part);
        if which & (1 << copy) == 0 {
            repair(&mut file, copy_at + 8, copy_at + 12, copy_at + half);
        }
    }
    one_engine_meta(&file);
}

fn one_engine_meta(bytes: &[u8]) {
    let decoded = EngineMeta::decode(bytes);
    if let Ok(meta) = &decoded {
        assert_eq!(EngineMeta::decode(&meta.encode()), Ok(*meta));
        // Losing either copy costs nothing, or the other one was not whole.
        let half = ENGINE_META_BYTES / 2;
        let mut without = bytes.to_vec();
        without[..8].fill(0);
        let second = EngineMeta::decode(&without);
        let first = EngineMeta::decode(&bytes[..bytes.len().min(half)]);
        assert!(first == decoded || second == decoded, "neither copy alone says the same");
    }
    if bytes.len() == ENGINE_META_BYTES {
        let (first, second) = bytes.split_at(ENGINE_META_BYTES / 2);
        let swapped = EngineMeta::decode(&[second, first].concat());
        assert_eq!(decoded.ok(), swapped.ok(), "the copies are not alike");
    }
}

/// The epoch that ring groups are taken of.
pub(super) const EPOCH: LeaderEpoch = LeaderEpoch(3);
