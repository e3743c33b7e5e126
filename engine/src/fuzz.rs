//! What the fuzz targets of this repository call where a type is not public: the parsers as they
//! are, behind functions that name public types only. Compiled with the feature `fuzz` alone; must
//! hold no rule of its own, or the targets would test that instead.

use crate::buf::RingMap;
use crate::config::Compression;
use crate::format::Seed;
use crate::format::frame::FrameHeader;
use crate::format::group::GroupHeader;
use crate::format::record_batch::BatchError;
use crate::ids::LeaderEpoch;
use crate::topic::catalog::Catalog;

/// The decompressed bytes, if they are not longer than `max`.
///
/// # Errors
/// As a batch's.
pub fn decompress(codec: Compression, bytes: &[u8], max: usize) -> Result<Vec<u8>, BatchError> {
    crate::format::compression::decompress(codec, bytes, max)
}

/// The proven frames of a group's bytes; where they end; and why before the group does.
pub fn frames(
    seed: Seed,
    header: &GroupHeader,
    bytes: &[u8],
) -> (Vec<FrameHeader>, u64, Option<String>) {
    crate::log::scan::frames_of(seed, header, bytes)
}

/// The groups that a ring proves from `from` on, the first one's segment ending at `segment_end`:
/// header and bytes as they would stand in the segment.
pub fn ring_groups(
    ring: &RingMap,
    seed: Seed,
    epoch: LeaderEpoch,
    from: u64,
    segment_end: u64,
) -> Vec<(GroupHeader, Vec<u8>)> {
    let bounds = |at: u64| (at < segment_end).then_some((segment_end, segment_end));
    let replay = crate::log::replay::replay(ring, seed, epoch, from, &bounds);
    replay.groups.into_iter().map(|group| (group.header, group.bytes)).collect()
}

/// The metadata log's state from a checkpoint's snapshot and the changes since, as a snapshot.
///
/// # Errors
/// What could not be read.
pub fn catalog(snapshot: &[u8], changes: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let catalog = Catalog::load(snapshot, changes).map_err(|error| error.reason)?;
    Ok(catalog.snapshot())
}
