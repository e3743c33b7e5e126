//! A ring file as it lies there. It is copied into private memory, because mapping it the way a
//! writer does would need write permission and touch its pages.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use super::info::{End, RingInfo};
use super::is_live;
use super::layout::Layout;
use super::walk::{Event, walk};
use crate::buf::RingMap;
use crate::driver::disk::{DiskRef, OpenMode, full_path};
use crate::error::{Error, Result};
use crate::format::Seed;
use crate::format::ring_control::{self, COMMITTED, DURABLE, EPOCH, Identity, LO};
use crate::ids::{LeaderEpoch, Position};
use crate::limits::{RING_BYTES_MAX, RING_BYTES_MIN, RING_CONTROL_BYTES, SEGMENT_HEADER_BYTES};
use crate::log::replay::{Replay, replay};
use crate::log::scan::frames_of;

const PIECE_BYTES: usize = 64 << 10;

/// The ring of a log, if it has a file.
pub(super) fn inspect(disk: &DiskRef, layout: &Layout) -> Result<Option<RingInfo>> {
    let mut state = (None, LeaderEpoch(0));
    walk(disk, layout, start(layout), &mut |event| {
        match event {
            Event::Group { group, .. } => state.1 = group.header.next_epoch(),
            Event::End(end) => state.0 = Some(end),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let epoch = layout.checkpoint.as_ref().map_or(state.1, |found| found.epoch.max(state.1));
    Ok(load(disk, layout)?.map(|ring| describe(disk, layout, &ring, state.0, epoch)))
}

fn start(layout: &Layout) -> u64 {
    layout.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.position.0)
}

/// Copies the ring file; `None` if there is none.
pub(super) fn load(disk: &DiskRef, layout: &Layout) -> Result<Option<RingMap>> {
    let Some(total) = layout.ring_bytes else { return Ok(None) };
    let name = format!("{}/ring", layout.dir);
    let path = full_path(&**disk, &name);
    let len = total.saturating_sub(RING_CONTROL_BYTES as u64);
    let fits = (RING_BYTES_MIN as u64..=RING_BYTES_MAX as u64).contains(&len);
    if !fits || !len.is_power_of_two() {
        let reason = format!("a ring file cannot be {total} bytes long");
        return Err(Error::corrupt(path, total, reason));
    }
    let failed = |error| Error::io("read", &path, error);
    let file = disk.open(&name, OpenMode::Read).map_err(failed)?;
    let ring = RingMap::private(len as usize).map_err(failed)?;
    let mut control = [0; RING_CONTROL_BYTES];
    file.read_at(&mut control, 0).map_err(failed)?;
    for (index, word) in control.as_chunks::<8>().0.iter().enumerate() {
        ring.control(index).store(u64::from_le_bytes(*word), Ordering::Relaxed);
    }
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < len {
        let read = file.read_at(&mut piece, RING_CONTROL_BYTES as u64 + at).map_err(failed)?;
        ring.store(at, &piece[..read & !7]);
        at += PIECE_BYTES as u64;
    }
    Ok(Some(ring))
}

/// What the next open would take from it, given where the segments end.
pub(super) fn replayed(ring: &RingMap, layout: &Layout, end: End, epoch: LeaderEpoch) -> Replay {
    let Some(checkpoint) = &layout.checkpoint else { return Replay::default() };
    let ours = ring_control::identify(ring, checkpoint.log) == Identity::Ours;
    if end.clean || !ours {
        return Replay::default();
    }
    let bounds = |position: u64| {
        let before = position.checked_sub(1)?;
        let (_, segment) = layout.segments.range(..=before).next_back()?;
        let end = segment.contains(before).then(|| segment.end())?;
        Some((end, end + SEGMENT_HEADER_BYTES as u64))
    };
    replay(ring, Seed::of(checkpoint.log), epoch, end.position.0, &bounds)
}

fn describe(
    disk: &DiskRef,
    layout: &Layout,
    ring: &RingMap,
    end: Option<End>,
    epoch: LeaderEpoch,
) -> RingInfo {
    let word = |index: usize| ring.control(index).load(Ordering::Relaxed);
    let log = layout.checkpoint.as_ref().map(|checkpoint| checkpoint.log);
    // Of a ring that is being written only its writer knows what it still has to write.
    let end = end.filter(|_| !is_live(&**disk));
    let replay = end.map(|end| replayed(ring, layout, end, epoch)).unwrap_or_default();
    let frames = log.map_or(0, |log| {
        let count = |group: &crate::log::replay::Replayed| {
            frames_of(Seed::of(log), &group.header, &group.bytes).0.len() as u64
        };
        replay.groups.iter().map(count).sum()
    });
    RingInfo {
        path: full_path(&**disk, &format!("{}/ring", layout.dir)),
        len_bytes: ring.len() as u64,
        ours: log.is_some_and(|log| ring_control::identify(ring, log) == Identity::Ours),
        epoch: word(EPOCH),
        committed: Position(word(COMMITTED)),
        durable: Position(word(DURABLE)),
        lo: Position(word(LO)),
        replay_bytes: replay.groups.iter().map(|group| group.bytes.len() as u64).sum(),
        replay_frames: frames,
        lost_bytes: replay.lost_bytes,
    }
}
