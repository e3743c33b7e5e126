//! Checkpoint and index files. A checkpoint is evidence: durable under its name before anything it
//! makes superfluous goes, two kept. An index is derived, and rebuilt from its segment whenever it
//! does not verify; it is flushed before it gets its name, so that one which does not is damage.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustix::io::Errno;
use uuid::Uuid;

use super::recovery::Placed;
use super::segment::{Extent, Segment};
use crate::driver::disk::{Disk, OpenMode, full_path, io_error};
use crate::error::{Error, Result};
use crate::format::FORMAT_VERSION;
use crate::format::checkpoint::{Checkpoint, CheckpointError};
use crate::format::index::{Directory, DirectoryEntry, INDEX_HEADER_BYTES, SegmentIndex};
use crate::limits::SMALL_FILE_BYTES_MAX;
use crate::moment::{self, Moment};

const PREFIX: &str = "checkpoint-";
pub(crate) const KEPT: usize = 2;

pub(crate) fn path(dir: &str, sequence: u64) -> String {
    format!("{dir}/{PREFIX}{sequence:016x}")
}

/// The sequence number in a checkpoint's file name.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let hex = name.strip_prefix(PREFIX)?;
    if hex.len() == 16 { u64::from_str_radix(hex, 16).ok() } else { None }
}

fn sequences(disk: &dyn Disk, dir: &str) -> Result<Vec<u64>> {
    let entries = disk.list(dir).map_err(io_error(disk, "list", dir))?;
    let mut found: Vec<u64> = entries.iter().filter_map(|entry| parse_name(&entry.name)).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Reads a whole file; `InvalidData` if it is longer than any of ours can be.
pub(crate) fn read_all(disk: &dyn Disk, path: &str) -> std::io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let len = file.len_bytes()?;
    if len > SMALL_FILE_BYTES_MAX {
        let reason = format!("{len} bytes are over the limit of {SMALL_FILE_BYTES_MAX}");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, reason));
    }
    let mut bytes = vec![0; len as usize];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes a file whole under its name, flushed before it gets that; its name is made durable, if
/// asked for.
pub(crate) fn write_all(disk: &dyn Disk, path: &str, bytes: &[u8], durable: bool) -> Result<()> {
    let unfinished = format!("{path}.tmp");
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io_error(disk, "remove", &unfinished)(error));
        }
        _ => {}
    }
    if let Err(error) = write_new(disk, &unfinished, path, bytes) {
        // It may be the full disk that failed it; what is left of it must not fill that.
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    moment::pass(Moment::FileWritten);
    disk.rename(&unfinished, path).map_err(io_error(disk, "rename", path))?;
    moment::pass(Moment::FileNamed);
    if durable {
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        disk.sync_dir(dir).map_err(io_error(disk, "flush the directory", dir))?;
    }
    Ok(())
}

fn write_new(disk: &dyn Disk, unfinished: &str, path: &str, bytes: &[u8]) -> Result<()> {
    let fail = |action| io_error(disk, action, path);
    let file = disk.open(unfinished, OpenMode::Create).map_err(fail("create"))?;
    file.write_at(bytes, 0).map_err(fail("write"))?;
    file.sync().map_err(fail("flush"))
}

/// The newest checkpoint that verifies. `None` if there is no file of that name at all; if there
/// are some and none verifies, an error that names the newest.
pub(crate) fn load(disk: &dyn Disk, dir: &str) -> Result<Option<Checkpoint>> {
    let found = match sequences(disk, dir) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            let reason = "the directory of this log is missing";
            return Err(Error::corrupt(full_path(disk, dir), 0, reason));
        }
        found => found?,
    };
    let mut first_error = None;
    for sequence in &found {
        let path = path(dir, *sequence);
        let bytes = match read_all(disk, &path) {
            Ok(bytes) => bytes,
            // A medium that does not give it back is no other than one that gives it back wrong.
            Err(error) if is_lost(&error) => {
                first_error.get_or_insert_with(|| io_error(disk, "read", &path)(error));
                continue;
            }
            Err(error) => return Err(io_error(disk, "read", &path)(error)),
        };
        match Checkpoint::decode(&bytes) {
            // What came after an older one is unknown, so its end is no clean one.
            Ok(checkpoint) => {
                let clean = checkpoint.clean && first_error.is_none();
                return Ok(Some(Checkpoint { clean, ..checkpoint }));
            }
            // A newer build was here; what an older checkpoint says is not what it left.
            Err(CheckpointError::Version(found)) => {
                let path = full_path(disk, &path);
                return Err(Error::UnsupportedFormat { path, found, supported: FORMAT_VERSION });
            }
            Err(error) => {
                let names = found.iter().map(|sequence| self::path(dir, *sequence));
                let names: Vec<String> = names.collect();
                first_error.get_or_insert_with(|| {
                    let reason = format!("{error}; no other verifies ({})", names.join(", "));
                    Error::corrupt(full_path(disk, &path), 0, reason)
                });
            }
        }
    }
    first_error.map_or(Ok(None), Err)
}

/// The snapshot in a checkpoint that was loaded, and where it is.
pub(crate) fn snapshot(disk: &dyn Disk, dir: &str, checkpoint: &Checkpoint) -> Placed {
    Placed {
        payload: checkpoint.snapshot.clone(),
        path: full_path(disk, &path(dir, checkpoint.sequence)),
        at: checkpoint.snapshot_at(),
    }
}

/// The segments, by base, of every checkpoint that is kept and verifies: each must be of use
/// if the newer ones rot.
pub(crate) fn listed(disk: &dyn Disk, dir: &str) -> Result<BTreeSet<u64>> {
    let mut listed = BTreeSet::new();
    for sequence in sequences(disk, dir)?.into_iter().take(KEPT) {
        let path = path(dir, sequence);
        match read_all(disk, &path) {
            Ok(bytes) => {
                let segments = Checkpoint::decode(&bytes).map(|found| found.segments);
                listed.extend(segments.iter().flatten().map(|entry| entry.base.0));
            }
            Err(error) if is_lost(&error) => {}
            Err(error) => return Err(io_error(disk, "read", &path)(error)),
        }
    }
    Ok(listed)
}

/// Whether the bytes are gone, and not only out of reach for now.
pub(crate) fn is_lost(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
        || error.kind() == std::io::ErrorKind::InvalidData
}

/// Writes a checkpoint, durable, and drops all but the newest two.
pub(crate) fn store(disk: &dyn Disk, dir: &str, checkpoint: &Checkpoint) -> Result<()> {
    write_all(disk, &path(dir, checkpoint.sequence), &checkpoint.encode(), true)?;
    moment::pass(Moment::FileStored);
    for sequence in sequences(disk, dir)?.into_iter().skip(KEPT) {
        let path = path(dir, sequence);
        disk.remove(&path).map_err(io_error(disk, "remove", &path))?;
    }
    Ok(())
}

/// Makes sure that the newest checkpoint does not call its position a clean end any more, before
/// anything is written there. On a full disk the clean one goes instead, and the one before it
/// takes its place: opening, and then trimming, must not need space. Answers with the sequence
/// number of the newest one from then on.
pub(crate) fn void_clean(disk: &dyn Disk, dir: &str, clean: &Checkpoint) -> Result<u64> {
    let voided = Checkpoint { clean: false, sequence: clean.sequence + 1, ..clean.clone() };
    match store(disk, dir, &voided) {
        Err(full @ Error::NoSpace { .. }) => {
            let older = path(dir, clean.sequence - 1);
            let verifies = read_all(disk, &older).is_ok_and(|b| Checkpoint::decode(&b).is_ok());
            if !verifies {
                return Err(full);
            }
            let newest = path(dir, clean.sequence);
            disk.remove(&newest).map_err(io_error(disk, "remove", &newest))?;
            disk.sync_dir(dir).map_err(io_error(disk, "flush the directory", dir))?;
            Ok(clean.sequence - 1)
        }
        stored => stored.map(|()| voided.sequence),
    }
}

/// Writes the index of a segment beside it, whole whatever happens; its name is made durable, if
/// asked for.
pub(crate) fn store_index(
    disk: &dyn Disk,
    segment: &Segment,
    index: &SegmentIndex,
    durable: bool,
) -> Result<()> {
    write_all(disk, &segment.index_path(), &index.encode(), durable)
}

/// The index beside a segment, if it is there and verifies.
pub(crate) fn read_index(
    disk: &dyn Disk,
    segment: &Arc<Segment>,
    log: Uuid,
) -> Option<SegmentIndex> {
    let bytes = read_all(disk, &segment.index_path()).ok()?;
    let index = SegmentIndex::decode(&bytes).ok()?;
    (index.log == log && index.base.0 == segment.base()).then_some(index)
}

/// The extents in the directory that begins a sealed segment's index file, if that verifies.
pub(crate) fn read_directory(
    disk: &dyn Disk,
    segment: &Arc<Segment>,
    log: Uuid,
) -> Option<Arc<[Extent]>> {
    let file = disk.open(&segment.index_path(), OpenMode::Read).ok()?;
    let mut header = [0; INDEX_HEADER_BYTES];
    file.read_at(&mut header, 0).ok()?;
    let len = Directory::len_from_header(&header).ok()?;
    let fits = file.len_bytes().ok()? >= len as u64;
    let mut bytes = vec![0; if fits { len } else { return None }];
    file.read_at(&mut bytes, 0).ok()?;
    let directory = Directory::decode(&bytes).ok()?;
    // One that ends earlier was left by a close amid the segment.
    let whole = directory.end.0 == segment.end();
    if directory.log != log || directory.base.0 != segment.base() || !whole {
        return None;
    }
    let extent = |entry: &DirectoryEntry| Extent {
        stream: entry.stream,
        first: entry.first,
        end: entry.end,
        max_timestamp_ms: entry.max_timestamp_ms,
    };
    Some(directory.entries.iter().map(extent).collect())
}
