//! What a log keeps back so that one can trim one's way out of a full disk: room at the end of its
//! segment, for frames that free space; and a file of empty blocks, given back when a checkpoint
//! finds no space, without which no segment may go. Neither is evidence of anything.

use crate::driver::disk::{Disk, OpenMode, io_error};
use crate::error::Result;
use crate::limits::{
    GROUP_ALIGN, RESERVE_FILE_BYTES, RESERVE_GROUPS_MAX, RESERVE_GROUPS_MIN, SEGMENT_BYTES_MIN,
};

/// While there is no next segment, this much of one of `segment_len` bytes is for frames that free
/// space alone: each takes a group, and often one more that proves it.
pub(super) const fn tail_bytes(segment_len: u64) -> u64 {
    let groups = segment_len / 16 / GROUP_ALIGN as u64;
    let groups = if groups > RESERVE_GROUPS_MAX { RESERVE_GROUPS_MAX } else { groups };
    let groups = if groups < RESERVE_GROUPS_MIN { RESERVE_GROUPS_MIN } else { groups };
    groups * GROUP_ALIGN as u64
}

// The largest frame, half a segment, fits beside it.
const _: () = assert!(
    tail_bytes(SEGMENT_BYTES_MIN) + 4 * GROUP_ALIGN as u64 + SEGMENT_BYTES_MIN / 2
        <= SEGMENT_BYTES_MIN
);

fn path(dir: &str) -> String {
    format!("{dir}/reserve")
}

/// Sees to it that the file is there, large enough for a checkpoint of this size and more.
pub(super) fn keep(disk: &dyn Disk, dir: &str, checkpoint_bytes: u64) -> Result<()> {
    let wanted = RESERVE_FILE_BYTES.max(2 * checkpoint_bytes.next_multiple_of(GROUP_ALIGN as u64));
    let path = path(dir);
    // Whether a crash left it whole, nobody knows: its length says so as well as can be.
    let there = disk.open(&path, OpenMode::Read).and_then(|file| file.len_bytes());
    if there.is_ok_and(|len| len >= wanted) {
        return Ok(());
    }
    give(disk, dir);
    let file = disk.open(&path, OpenMode::Create).map_err(io_error(disk, "create", &path))?;
    file.allocate(wanted).map_err(io_error(disk, "allocate", &path)).inspect_err(|_| {
        give(disk, dir);
    })
}

/// Gives the file's blocks back; whether there was any.
pub(super) fn give(disk: &dyn Disk, dir: &str) -> bool {
    disk.remove(&path(dir)).is_ok()
}
