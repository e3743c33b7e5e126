//! The slow path of storage, blocking: directories, allocation, reading, locking. Used at open, in
//! recovery, by the maintenance thread and by readers, never by an append.
//!
//! Paths are relative to the data directory, `/`-separated.

use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::buf::{Page, RingMap, SegmentMap};
use crate::driver::os::LockFile;
use crate::error::{Error, Result};

/// A shared open file.
pub type FileRef = Arc<dyn DiskFile>;
/// A shared data directory.
pub type DiskRef = Arc<dyn Disk>;

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Existing, for reading.
    Read,
    /// Existing, for reading and (direct, where possible) writing.
    Write,
    /// New; an existing file is an error.
    Create,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// File name.
    pub name: String,
    /// Length in bytes; 0 for a directory.
    pub len_bytes: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// An open file. Offsets and lengths in bytes. Reads see writes as soon as these have completed.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads until `buf` is full or the file ends; returns how much was read.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes everything, through the page cache or not; any alignment.
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()>;
    /// Reserves and zero-extends to `len` bytes without writing the blocks.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// `fdatasync` (with whatever metadata is needed to read the data back).
    fn sync(&self) -> io::Result<()>;
    /// Current length.
    fn len_bytes(&self) -> io::Result<u64>;
    /// Number of hard links.
    fn link_count(&self) -> io::Result<u64>;
    /// Whether blocks of it belong to another file, too, as those of a reflink do.
    fn shares_blocks(&self) -> io::Result<bool> {
        Ok(false)
    }
    /// The descriptors for a kernel driver; `None` in the simulator and for a file opened to read.
    fn descriptors(&self) -> Option<Descriptors<'_>>;
    /// The descriptor to read through; `None` in the simulator.
    fn read_descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Maps the first `len` bytes for reading; `None` where that cannot be had.
    fn map(&self, len: u64) -> io::Result<Option<SegmentMap>> {
        let _ = len;
        Ok(None)
    }
    /// Says that this range will be read soon; does not wait for it.
    fn prefetch(&self, at: u64, len: u64) {
        let _ = (at, len);
    }
    /// For the simulator's driver: which of its files this is.
    fn sim_id(&self) -> Option<u64> {
        None
    }
}

/// What a kernel driver writes through.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors<'a> {
    /// For data-path writes and flushes.
    pub write: BorrowedFd<'a>,
    /// Whether `write` is `O_DIRECT`; if not, a durable write is a write linked to `fdatasync`.
    pub direct: bool,
}

/// What was found out about the directory's filesystem.
#[derive(Clone, Debug)]
pub struct DiskFacts {
    /// Its name, such as `ext4`.
    pub filesystem: String,
    /// Whether `O_DIRECT` writes aligned to 4096 bytes work here.
    pub direct_io: bool,
    /// `Some(why)`: nothing here survives a power loss (tmpfs, volatile overlay), or cannot be
    /// known to (network filesystem, FUSE).
    pub volatile: Option<String>,
    /// `Some(why)`: no ring in a file here (copy-on-write, network, FUSE).
    pub no_file_ring: Option<String>,
}

/// A data directory.
pub trait Disk: Send + Sync + Debug {
    /// Where it is, for messages.
    fn root(&self) -> &Path;
    /// What was found out when it was opened.
    fn facts(&self) -> &DiskFacts;
    /// Entries of a directory (`""`: the data directory itself), sorted by name.
    fn list(&self, dir: &str) -> io::Result<Vec<DirEntry>>;
    /// Makes a directory, mode 0700; present is fine. Not durable before `sync_dir` of its parent.
    fn create_dir(&self, dir: &str) -> io::Result<()>;
    /// Opens a file (created with mode 0600; symbolic links are refused).
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<FileRef>;
    /// Opens an existing file to read what the medium has, without a trace in the page cache where
    /// that can be had. Reads must be of whole pages: their memory, place and length.
    fn open_uncached(&self, path: &str) -> io::Result<FileRef> {
        self.open(path, OpenMode::Read)
    }
    /// Renames, replacing. Not durable before `sync_dir`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Unlinks. Not durable before `sync_dir`.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes the entries of a directory durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Makes a ring file: control page and `len` bytes, written so that its blocks are allocated,
    /// renamed in place, mapped, populated. Not synced.
    fn create_ring(&self, path: &str, len: usize) -> io::Result<RingMap>;
    /// Maps and populates an existing ring file; `None` if there is none. Its length comes from the
    /// file.
    fn open_ring(&self, path: &str) -> io::Result<Option<RingMap>>;
    /// Maps an existing ring file to read from while another process writes to it; `None` if there
    /// is none, or it cannot be one.
    fn open_ring_to_read(&self, path: &str) -> io::Result<Option<RingMap>> {
        let _ = path;
        Ok(None)
    }
    /// Maps the page in which sleeping readers of other processes leave a mark, making it if it is
    /// not there; for the writer.
    fn make_waiters(&self, path: &str) -> io::Result<Page> {
        Err(io::Error::new(io::ErrorKind::Unsupported, path.to_owned()))
    }
    /// Maps that page for a reader; `None` if it is not there, or may not be written.
    fn open_waiters(&self, path: &str) -> io::Result<Option<Page>> {
        let _ = path;
        Ok(None)
    }
    /// A name for something new: random, except in the simulator, which repeats itself.
    fn fresh_uuid(&self) -> Uuid {
        Uuid::new_v4()
    }
    /// Takes the writer's lock, waiting up to `wait`.
    fn lock(&self, wait: Duration) -> Result<LockGuard>;
    /// Whether somebody else holds the writer's lock, without disturbing who is about to take it.
    fn has_writer(&self) -> io::Result<bool>;
    /// Makes READERS if it is not there; for the writer.
    fn make_readers(&self) -> io::Result<()>;
    /// Keeps every segment that is retired from now on from being recycled, as long as the answer
    /// lives; whoever maps or reads segments without the writer's knowledge holds it before it
    /// opens the first. `None`: there is no READERS that may be opened.
    fn hold_readers(&self) -> io::Result<Option<ReadersGuard>>;
    /// Whether somebody holds READERS, without disturbing who is about to.
    fn has_readers(&self) -> io::Result<bool>;
    /// Tells of changes of files from now on; `None`: nobody does.
    fn watch(&self) -> io::Result<Option<Box<dyn Watched>>> {
        Ok(None)
    }
    /// Keeps such readers out while the answer lives, which is to be a moment; `None`: somebody
    /// holds READERS, or it is not there.
    fn exclude_readers(&self) -> io::Result<Option<ReadersGuard>>;
}

/// What has changed in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Files of these logs.
    Logs(Vec<u32>),
    /// Anything.
    Root,
    /// The wait was ended.
    Ended,
}

/// Tells of changes of files.
pub trait Watched: Send + Sync + Debug {
    /// Sleeps until there are any, or it is ended.
    fn wait(&self) -> io::Result<Changed>;
    /// Ends the wait, this one or the next.
    fn end(&self);
}

/// A hold on READERS, until dropped; see [`Disk::hold_readers`].
#[derive(Clone, Debug)]
pub struct ReadersGuard {
    _held: Arc<dyn Any + Send + Sync>,
}

impl ReadersGuard {
    /// From what releases it when it is dropped.
    pub(crate) fn new(held: Arc<dyn Any + Send + Sync>) -> Self {
        Self { _held: held }
    }
}

/// Holds the writer's lock until dropped. A driver may keep a second handle so that the kernel
/// holds it until the last I/O of a dead process has ended.
#[derive(Clone, Debug)]
pub struct LockGuard {
    /// The locked file; `None` in the simulator.
    pub(crate) file: Option<Arc<LockFile>>,
    /// What else releases the lock when it is dropped: the simulator's hold on its disk.
    #[expect(dead_code, reason = "kept to be dropped")]
    pub(crate) token: Option<Arc<dyn Any + Send + Sync>>,
}

/// The path of `name` below the data directory, for messages.
pub fn full_path(disk: &dyn Disk, name: &str) -> PathBuf {
    disk.root().join(name)
}

/// Turns an I/O error into the engine's, with the whole path.
pub fn io_error<'a>(
    disk: &'a dyn Disk,
    action: &'static str,
    name: &'a str,
) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::io(action, full_path(disk, name), source)
}

/// A file that is not there: nothing can be done with it. Stands where a segment is missing whose
/// log takes no appends.
#[derive(Debug)]
pub struct GoneFile;

impl GoneFile {
    fn gone<T>() -> io::Result<T> {
        Err(io::ErrorKind::NotFound.into())
    }
}

impl DiskFile for GoneFile {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Self::gone()
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Self::gone()
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        Self::gone()
    }
    fn sync(&self) -> io::Result<()> {
        Self::gone()
    }
    fn len_bytes(&self) -> io::Result<u64> {
        Self::gone()
    }
    fn link_count(&self) -> io::Result<u64> {
        Self::gone()
    }
    fn descriptors(&self) -> Option<Descriptors<'_>> {
        None
    }
}

/// A file type without values, so that a `Weak<dyn DiskFile>` can start out empty.
#[derive(Debug)]
pub enum NoFile {}

impl DiskFile for NoFile {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        match *self {}
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        match *self {}
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        match *self {}
    }
    fn sync(&self) -> io::Result<()> {
        match *self {}
    }
    fn len_bytes(&self) -> io::Result<u64> {
        match *self {}
    }
    fn link_count(&self) -> io::Result<u64> {
        match *self {}
    }
    fn descriptors(&self) -> Option<Descriptors<'_>> {
        match *self {}
    }
}
