//! Segment files: their names, how one is made ready ahead of need, and the shared handle that
//! readers, flusher and maintenance hold. What a segment's blocks held before is told from groups
//! by position, epoch and uuid, so a recycled file needs no erasing.

use std::sync::{Arc, OnceLock, Weak};

use uuid::Uuid;

use super::lease::{Mapped, Pins};
use crate::buf::AlignedBuf;
use crate::driver::disk::{
    Disk, DiskFile, DiskRef, FileRef, OpenMode, ReadersGuard, full_path, io_error,
};
use crate::error::{Error, Result};
use crate::format::FORMAT_VERSION;
use crate::format::index::{SegmentIndex, StreamIndex};
use crate::format::segment_header::{SegmentHeader, SegmentHeaderError};
use crate::ids::{LogId, Offset, Position, StreamId};
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::moment::{self, Moment};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Zeros are written in pieces of this size, between which a starving appender is heard.
const PREWRITE_BYTES: usize = 1 << 20;
/// The name a segment has while it is being made.
const UNFINISHED: &str = "segment.tmp";
const SPARE_PREFIX: &str = "spare-";

/// A segment of a log.
#[derive(Debug)]
pub(crate) struct Segment {
    base: u64,
    len: u64,
    /// Path below the data directory.
    path: String,
    handles: Mutex<Handles>,
    /// Which offsets of which streams a sealed segment has; small, kept once it is known.
    extents: OnceLock<Arc<[Extent]>>,
    /// The whole index, while somebody uses it.
    index: Mutex<Weak<SegmentIndex>>,
    sealed: AtomicBool,
    /// Its file will be another segment's; changed under the lock of `handles`.
    retired: AtomicBool,
}

/// What is open of a segment, while anyone has it open.
#[derive(Debug)]
struct Handles {
    file: Weak<dyn DiskFile>,
    /// One that cannot write, for extents.
    given: Weak<dyn DiskFile>,
    map: Weak<Mapped>,
}

/// The offsets of one stream that a sealed segment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) stream: StreamId,
    pub(crate) first: Offset,
    /// Next after the last.
    pub(crate) end: Offset,
    /// The latest timestamp of its batches.
    pub(crate) max_timestamp_ms: i64,
}

/// A segment with its file open for writing.
#[derive(Clone, Debug)]
pub(crate) struct OpenSegment {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: FileRef,
}

/// What `prepare` found to build the next segment from.
#[derive(Debug)]
pub(crate) struct Recipe<'a> {
    pub(crate) disk: &'a DiskRef,
    pub(crate) log: LogId,
    pub(crate) header: SegmentHeader,
    /// A retired file of the same length, by name.
    pub(crate) spare: Option<String>,
}

impl Segment {
    pub(crate) fn new(log: LogId, base: u64, len: u64) -> Self {
        let path = format!("{}/{}", log.dir(), file_name(base));
        let file: Weak<dyn DiskFile> = Weak::<crate::driver::disk::NoFile>::new();
        let handles = Handles { given: Weak::clone(&file), file, map: Weak::new() };
        Self {
            base,
            len,
            path,
            handles: Mutex::new(handles),
            extents: OnceLock::new(),
            index: Mutex::default(),
            sealed: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        }
    }

    /// Position of the first byte of the file, its header.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Length of the file in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Position of the first group.
    pub(crate) fn first(&self) -> u64 {
        self.base + SEGMENT_HEADER_BYTES as u64
    }

    /// Position of the next segment's first byte.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.len
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        (self.base..self.end()).contains(&position)
    }

    /// The file, opened for reading unless someone has it open already.
    pub(crate) fn open(&self, disk: &dyn Disk) -> Result<FileRef> {
        self.open_in(disk, &mut self.handles.lock())
    }

    fn open_in(&self, disk: &dyn Disk, handles: &mut Handles) -> Result<FileRef> {
        if self.retired.load(Ordering::Relaxed) {
            return Err(Error::corrupt(full_path(disk, &self.path), 0, "segment was retired"));
        }
        if let Some(file) = handles.file.upgrade() {
            return Ok(file);
        }
        let file = self.open_anew(disk)?;
        handles.file = Arc::downgrade(&file);
        Ok(file)
    }

    fn open_anew(&self, disk: &dyn Disk) -> Result<FileRef> {
        disk.open(&self.path, OpenMode::Read).map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                Error::corrupt(full_path(disk, &self.path), 0, "segment file is missing")
            } else {
                io_error(disk, "open", &self.path)(error)
            }
        })
    }

    /// The file, open only for reading: its descriptor is given to strangers.
    pub(crate) fn open_to_give(&self, disk: &dyn Disk) -> Result<FileRef> {
        let mut handles = self.handles.lock();
        if let Some(given) = handles.given.upgrade() {
            return Ok(given);
        }
        let mut file = self.open_in(disk, &mut handles)?;
        if file.descriptors().is_some() {
            file = self.open_anew(disk)?;
        }
        handles.given = Arc::downgrade(&file);
        Ok(file)
    }

    /// The file, mapped, one mapping for all readers; `None` where that cannot be had.
    pub(crate) fn map(&self, disk: &dyn Disk, pins: &Arc<Pins>) -> Result<Option<Arc<Mapped>>> {
        let mut handles = self.handles.lock();
        if let Some(mapped) = handles.map.upgrade() {
            return Ok(Some(mapped));
        }
        let file = self.open_in(disk, &mut handles)?;
        // Reading by copy says better what is wrong with the file, and goes on where only the
        // mapping was refused.
        let Ok(Some(mapped)) = Mapped::new(&file, self.len, pins.share()?) else {
            return Ok(None);
        };
        let mapped = Arc::new(mapped);
        handles.map = Arc::downgrade(&mapped);
        Ok(Some(mapped))
    }

    /// Opens for writing; readers share the handle from then on.
    pub(crate) fn open_for_write(self: &Arc<Self>, disk: &dyn Disk) -> Result<OpenSegment> {
        let file =
            disk.open(&self.path, OpenMode::Write).map_err(io_error(disk, "open", &self.path))?;
        self.handles.lock().file = Arc::downgrade(&file);
        Ok(OpenSegment { segment: Arc::clone(self), file })
    }

    /// Whether nobody has the file open, leases and extents included.
    /// If so, nobody opens it from now on: what the file holds next is another segment's.
    pub(crate) fn close_for_readers(&self) -> bool {
        let handles = self.handles.lock();
        let unused = handles.file.strong_count() == 0 && handles.given.strong_count() == 0;
        self.retired.store(unused, Ordering::Relaxed);
        unused
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// From now on nothing is appended here; `index`, if it is known, says what is.
    pub(crate) fn seal(&self, index: Option<&Arc<SegmentIndex>>) {
        if let Some(index) = index {
            self.note_index(index);
        }
        self.sealed.store(true, Ordering::Release);
    }

    /// The whole index, if somebody has it.
    pub(crate) fn index_in_use(&self) -> Option<Arc<SegmentIndex>> {
        self.index.lock().upgrade()
    }

    /// Lets others share an index that the caller keeps.
    pub(crate) fn note_index(&self, index: &Arc<SegmentIndex>) {
        *self.index.lock() = Arc::downgrade(index);
        let extent = |entry: &StreamIndex| Extent {
            stream: entry.stream,
            first: entry.first,
            end: entry.end,
            max_timestamp_ms: entry.max_timestamp_ms(),
        };
        self.note_extents(index.streams.iter().map(extent).collect());
    }

    /// Which offsets of which streams are here, by stream; `None` if it was not asked for yet.
    pub(crate) fn extents(&self) -> Option<Arc<[Extent]>> {
        self.extents.get().cloned()
    }

    pub(crate) fn note_extents(&self, extents: Arc<[Extent]>) {
        // A sealed segment has only one truth: whoever was first had the same.
        let _ = self.extents.set(extents);
    }

    /// Path of the index file.
    pub(crate) fn index_path(&self) -> String {
        self.path.replace(".log", ".idx")
    }

    /// The name under which the retired file waits to be recycled.
    pub(crate) fn spare_path(&self, log: LogId) -> String {
        format!("{}/{SPARE_PREFIX}{:016x}", log.dir(), self.base)
    }
}

/// Keeps readers of other processes and engines out, for as long as it takes to recycle a file;
/// `None` if there are any, or if that cannot be known: the file is then not to be recycled.
pub(crate) fn readers_excluded(disk: &dyn Disk) -> Option<ReadersGuard> {
    disk.exclude_readers().ok().flatten()
}

/// File name of the segment with this base.
pub(crate) fn file_name(base: u64) -> String {
    format!("{base:016x}.log")
}

/// The base in a segment's file name.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let hex = name.strip_suffix(".log")?;
    let lower = hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if hex.len() == 16 && lower { u64::from_str_radix(hex, 16).ok() } else { None }
}

/// Whether a file name is a retired segment's.
pub(crate) fn is_spare(name: &str) -> bool {
    let base = name.strip_prefix(SPARE_PREFIX);
    base.is_some_and(|base| parse_name(&format!("{base}.log")).is_some())
}

/// Whether a file name is one that only an interrupted step of ours leaves behind.
pub(crate) fn is_unfinished(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".tmp") else { return false };
    name == UNFINISHED
        || super::checkpoints::parse_name(stem).is_some()
        || stem
            .strip_suffix(".idx")
            .is_some_and(|base| parse_name(&format!("{base}.log")).is_some())
}

/// A segment that is being made, a piece at a time.
#[derive(Debug)]
pub(crate) struct Making {
    segment: Arc<Segment>,
    dir: String,
    header: SegmentHeader,
    made_from: String,
    file: FileRef,
    /// Where the next zeros go.
    at: u64,
    zeros: Option<AlignedBuf>,
}

impl Recipe<'_> {
    /// Makes the segment, durable in its directory, and opens it for writing. Zeros are written
    /// through it so that later flushes move no metadata, until `starving` says that an appender
    /// waits; what is then unwritten is only slower.
    pub(crate) fn make(self, starving: &dyn Fn() -> bool) -> Result<OpenSegment> {
        let disk = self.disk;
        let mut making = self.begin()?;
        loop {
            if let Some(made) = making.step(&**disk, starving())? {
                return Ok(made);
            }
        }
    }

    /// Begins to make it; [`Making::step`] goes on.
    pub(crate) fn begin(self) -> Result<Making> {
        let segment = Arc::new(Segment::new(self.log, self.header.base.0, self.header.len_bytes));
        let dir = self.log.dir();
        let disk = &**self.disk;
        let fail = |action| io_error(disk, action, segment.path());
        let (made_from, file, zeros) = if let Some(spare) = &self.spare {
            let path = format!("{dir}/{spare}");
            let file = disk.open(&path, OpenMode::Write).map_err(fail("recycle"))?;
            (path, file, None)
        } else {
            let path = format!("{dir}/{UNFINISHED}");
            let file = self.allocate(&path)?;
            let piece = PREWRITE_BYTES.min(self.header.len_bytes as usize);
            (path, file, Some(AlignedBuf::zeroed(piece)))
        };
        Ok(Making { segment, dir, header: self.header, made_from, file, at: 0, zeros })
    }

    fn allocate(&self, path: &str) -> Result<FileRef> {
        let disk = &**self.disk;
        let fail = |action| io_error(disk, action, path);
        match disk.remove(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail("remove")(error)),
        }
        let file = disk.open(path, OpenMode::Create).map_err(fail("create"))?;
        file.allocate(self.header.len_bytes).map_err(fail("allocate"))?;
        Ok(file)
    }
}

impl Making {
    /// Whether it is made from a retired one.
    pub(crate) fn is_recycled(&self) -> bool {
        self.zeros.is_none()
    }

    /// Leaves nothing of it behind; what cannot be removed is known by its name.
    pub(crate) fn abandon(self, disk: &dyn Disk) {
        if !self.is_recycled() {
            let Self { made_from, file, .. } = self;
            drop(file);
            let _ = disk.remove(&made_from);
        }
    }

    /// Writes one more piece; the segment, if it is finished, or somebody is in a hurry.
    pub(crate) fn step(&mut self, disk: &dyn Disk, hurry: bool) -> Result<Option<OpenSegment>> {
        if let Some(zeros) = &self.zeros
            && self.at < self.header.len_bytes
            && !hurry
        {
            let fail = |action| io_error(disk, action, &self.made_from);
            let piece = (self.header.len_bytes - self.at).min(zeros.len() as u64);
            let zeros = &zeros.as_slice()[..piece as usize];
            self.file.write_at(zeros, self.at).map_err(fail("pre-write"))?;
            self.at += piece;
            return Ok(None);
        }
        self.finish(disk).map(Some)
    }

    fn finish(&self, disk: &dyn Disk) -> Result<OpenSegment> {
        let Self { segment, dir, file, .. } = self;
        let fail = |action| io_error(disk, action, segment.path());
        file.write_at(&self.header.encode(), 0).map_err(fail("write the header of"))?;
        file.sync().map_err(fail("flush the header of"))?;
        moment::pass(Moment::SegmentFlushed);
        disk.rename(&self.made_from, segment.path()).map_err(fail("rename"))?;
        moment::pass(Moment::SegmentNamed);
        disk.sync_dir(dir).map_err(fail("flush the directory of"))?;
        moment::pass(Moment::SegmentMade);
        segment.open_for_write(disk)
    }
}

/// Reads and proves a segment's header.
pub(crate) fn read_header(disk: &dyn Disk, path: &str, log: Option<Uuid>) -> Result<SegmentHeader> {
    let file = disk.open(path, OpenMode::Read).map_err(io_error(disk, "open", path))?;
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
    let read = file.read_at(&mut bytes, 0).map_err(io_error(disk, "read", path))?;
    check_header(disk, path, &bytes[..read], log)
}

/// Proves the bytes of a segment's header.
pub(crate) fn check_header(
    disk: &dyn Disk,
    path: &str,
    bytes: &[u8],
    log: Option<Uuid>,
) -> Result<SegmentHeader> {
    let header = SegmentHeader::decode(bytes).map_err(|error| match error {
        SegmentHeaderError::Version(found) => Error::UnsupportedFormat {
            path: full_path(disk, path),
            found,
            supported: FORMAT_VERSION,
        },
        other => Error::corrupt(full_path(disk, path), 0, other.to_string()),
    })?;
    if log.is_some_and(|log| log != header.log) {
        return Err(Error::corrupt(full_path(disk, path), 16, "segment of another log"));
    }
    Ok(header)
}

/// The header of the segment that begins at `base`.
pub(crate) fn header_for(log: Uuid, base: u64, len_bytes: u64, in_flight: u64) -> SegmentHeader {
    SegmentHeader { log, base: Position(base), len_bytes, in_flight_limit_bytes: in_flight }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "sim")]
    #[test]
    fn a_segment_is_made_in_pieces_that_a_hurry_cuts_short() {
        use crate::driver::sim::{SimConfig, SimDisk};
        for hurry_at in [None, Some(0), Some(3)] {
            let disk: DiskRef = Arc::new(SimDisk::new(SimConfig::seeded(1)));
            disk.create_dir("log-001").unwrap();
            let len = 5 << 20;
            let header = header_for(Uuid::from_u128(7), 0, len, 0);
            let recipe = Recipe { disk: &disk, log: LogId(1), header, spare: None };
            let mut making = recipe.begin().unwrap();
            let mut steps = 0;
            let made = loop {
                let before = making.at;
                match making.step(&*disk, hurry_at == Some(steps)).unwrap() {
                    Some(made) => break made,
                    None => assert!(making.at - before <= PREWRITE_BYTES as u64),
                }
                steps += 1;
            };
            assert_eq!(steps, hurry_at.unwrap_or(5));
            assert_eq!(made.file.len_bytes().unwrap(), len);
            read_header(&*disk, made.segment.path(), None).unwrap();
        }
    }

    #[test]
    fn names_are_parsed_strictly() {
        assert_eq!(parse_name(&file_name(0x12_3000)), Some(0x12_3000));
        for stranger in ["0.log", "000000000000000G.log", "000000000000000A.log", "x"] {
            assert_eq!(parse_name(stranger), None, "{stranger}");
        }
    }
}
