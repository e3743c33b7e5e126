//! A data directory on a Linux filesystem. Owns the directory's descriptor, from which everything
//! is opened step by step, so that neither a rename of the directory nor a symbolic link inside it
//! leads anywhere else. Must never touch a file before it is asked to, and must never raise
//! SIGXFSZ: the host process would die of it.

mod facts;
mod file;
mod lock;
mod readers;
mod watch;

use std::ffi::CString;
use std::io::{self, ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FallocateFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use parking_lot::Mutex;

pub(crate) use crate::buf::check_file_size_limit;
use crate::buf::{Page, RingMap};
use crate::driver::disk::{
    DirEntry, Disk, DiskFacts, DiskFile, FileRef, LockGuard, OpenMode, ReadersGuard, Watched,
};
use crate::error::{Error, Result};
use crate::limits::{RING_BYTES_MAX, RING_BYTES_MIN, RING_CONTROL_BYTES};

use file::{OsFile, Uncached};
pub use lock::LockFile;

const DIR_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// What others may be allowed of a directory, and then of the files made in it.
const SHARED_READ: Mode = Mode::RGRP.union(Mode::ROTH);
/// The ring under construction.
const NEW_SUFFIX: &str = ".new";

/// An open data directory.
#[derive(Debug)]
pub struct OsDisk {
    root: PathBuf,
    dir: OwnedFd,
    // Found out when first asked for: a reader never asks, and must create nothing, not even the
    // nameless file that the trial of O_DIRECT takes.
    facts: OnceLock<DiskFacts>,
    reads_only: bool,
    /// The lock, while it is held through this very handle.
    own_lock: Mutex<Weak<LockFile>>,
}

impl OsDisk {
    /// Opens the directory at `path`; with `create` makes it, mode 0700, and its parents. The path
    /// itself may lead through symbolic links; nothing below it may.
    pub fn open(path: &Path, create: bool) -> Result<Self> {
        let failed = |source| Error::io("open data directory", path, source);
        let root = std::path::absolute(path).map_err(failed)?;
        if create {
            make_directories(&root).map_err(failed)?;
        }
        let dir = match rustix::fs::openat(CWD, &root, directory_flags(), Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOTDIR) => {
                let reason = "not a directory".to_owned();
                return Err(Error::NotADataDirectory { path: root, reason });
            }
            Err(errno) => return Err(failed(errno.into())),
        };
        Ok(Self {
            root,
            dir,
            facts: OnceLock::new(),
            reads_only: false,
            own_lock: Mutex::default(),
        })
    }

    /// Opens the directory at `path` to read it; nothing will be tried out there.
    pub fn open_to_read(path: &Path) -> Result<Self> {
        Ok(Self { reads_only: true, ..Self::open(path, false)? })
    }

    /// Opens a directory below the root, one component at a time.
    fn directory(&self, dir: &str) -> io::Result<OwnedFd> {
        let flags = directory_flags() | OFlags::NOFOLLOW;
        let mut fd = rustix::fs::openat(&self.dir, c".", flags, Mode::empty())?;
        for part in dir.split('/').filter(|part| !part.is_empty()) {
            fd = rustix::fs::openat(&fd, checked_name(part)?, flags, Mode::empty())?;
        }
        Ok(fd)
    }

    /// The directory of `path`, open, and the name in it.
    fn locate<'p>(&self, path: &'p str) -> io::Result<(OwnedFd, &'p str)> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.directory(dir)?, checked_name(name)?))
    }

    fn open_file(&self, path: &str, mode: OpenMode) -> io::Result<OsFile> {
        let (dir, name) = self.locate(path)?;
        let direct = mode != OpenMode::Read && self.facts().direct_io;
        let file = OsFile::open(&dir, name, mode, direct)?;
        if mode == OpenMode::Create && path.contains('/') {
            share(&dir, &file)?;
        }
        Ok(file)
    }

    /// Without the second descriptor; `None`: it is not there.
    fn open_if_there(&self, path: &str, mode: OpenMode) -> io::Result<Option<OsFile>> {
        let opened =
            self.locate(path).and_then(|(dir, name)| OsFile::open(&dir, name, mode, false));
        match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => file.map(Some),
        }
    }

    fn make_ring(&self, temporary: &str, len: usize) -> io::Result<RingMap> {
        let (dir, name) = self.locate(temporary)?;
        let file = OsFile::open(&dir, name, OpenMode::Create, false)?;
        share(&dir, &file)?;
        let total = (RING_CONTROL_BYTES + len) as u64;
        file.allocate(total)?;
        // Written, not only reserved: the first store to an unwritten extent would have to convert
        // it, and a conversion can fail, which in a mapping is a signal.
        file.write_zeros(0, total)?;
        map_ring(&file, len)
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

/// Only plain names: `..` would leave the data directory.
fn checked_name(name: &str) -> io::Result<&str> {
    if name.is_empty() || name == "." || name == ".." {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file name"));
    }
    Ok(name)
}

/// Like `mkdir -p`, and makes each new entry durable: a log acknowledged inside a directory that a
/// power loss takes away is not durable.
fn make_directories(path: &Path) -> io::Result<()> {
    match make_directory(CWD, path) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        // A parent that is there but may not be written is no obstacle when the directory exists.
        Err(Errno::ROFS | Errno::ACCESS) if path.is_dir() => return Ok(()),
        Err(Errno::NOENT) => {
            let parent = path.parent().ok_or(Errno::NOENT)?;
            make_directories(parent)?;
            match make_directory(CWD, path) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(errno) => return Err(errno.into()),
    }
    let parent = path.parent().unwrap_or(path);
    let parent = rustix::fs::openat(CWD, parent, directory_flags(), Mode::empty())?;
    sync_directory(&parent)
}

/// Makes one directory, mode 0700 whatever the umask, which can only have taken from it.
fn make_directory(parent: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<(), Errno> {
    rustix::fs::mkdirat(parent, name, DIR_MODE)?;
    let made = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if Mode::from_raw_mode(made.st_mode).contains(DIR_MODE) {
        return Ok(());
    }
    // By its name, because what its owner may not read cannot be opened. Nobody else can have put
    // another there: its parent is ours, or would let them take the data directory itself.
    rustix::fs::chmodat(parent, name, DIR_MODE, AtFlags::empty())
}

/// Gives a new file mode 0600 whatever the umask, which can only have taken from it.
fn own(file: impl AsFd) -> io::Result<()> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if mode.contains(FILE_MODE) { Ok(()) } else { Ok(rustix::fs::fchmod(file, FILE_MODE)?) }
}

/// Opens a file of the data directory itself, making it if it is not there.
fn open_or_make(dir: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let made = rustix::fs::openat(dir, name, flags | OFlags::CREATE | OFlags::EXCL, FILE_MODE);
        match made {
            Ok(file) => return own(&file).map(|()| file),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            // Removed between the two.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(refused(errno)),
            Ok(file) => return regular(file),
        }
    }
}

/// The error of an open, in words where the kernel's would puzzle.
fn refused(errno: Errno) -> io::Error {
    match errno {
        Errno::LOOP => io::Error::new(io::ErrorKind::InvalidData, "a symbolic link"),
        errno => errno.into(),
    }
}

/// Refuses pipes, devices and the like.
fn regular(file: OwnedFd) -> io::Result<OwnedFd> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if kind == FileType::RegularFile {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"))
}

fn sync_directory(dir: impl AsFd) -> io::Result<()> {
    match rustix::fs::fsync(dir) {
        // Filesystems that cannot sync a directory say so with EINVAL; those that keep it durable
        // anyway are the local ones, the others are reported as volatile.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Lets those read a new file of a log who may read the log's directory, which starts out ours
/// alone: whoever opens it to a group opens what will be made in it.
fn share(dir: &OwnedFd, file: &OsFile) -> io::Result<()> {
    let reads = Mode::from_raw_mode(rustix::fs::fstat(dir)?.st_mode) & SHARED_READ;
    if reads.is_empty() {
        return Ok(());
    }
    Ok(rustix::fs::fchmod(file.buffered(), FILE_MODE | reads)?)
}

/// Length of the tail of a ring file of `total` bytes.
fn ring_len(total: u64) -> io::Result<usize> {
    let len = total.saturating_sub(RING_CONTROL_BYTES as u64);
    if len.is_power_of_two() && (RING_BYTES_MIN as u64..=RING_BYTES_MAX as u64).contains(&len) {
        return Ok(len as usize);
    }
    let reason = format!("a ring file cannot be {total} bytes long");
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

fn map_ring(file: &OsFile, len: usize) -> io::Result<RingMap> {
    let map = RingMap::map(file.buffered(), len)?;
    match map.populate(0, len) {
        // Kernels before 5.14 know no MADV_POPULATE_WRITE; the blocks are there all the same.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(map),
        Err(error) => Err(error),
        Ok(()) => Ok(map),
    }
}

impl Disk for OsDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn facts(&self) -> &DiskFacts {
        self.facts.get_or_init(|| facts::find_out(self.dir.as_fd(), !self.reads_only))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<DirEntry>> {
        let fd = self.directory(dir)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name: CString = entry.file_name().to_owned();
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match rustix::fs::statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Removed between the two calls, by retention or by a stranger.
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let len_bytes = if is_dir { 0 } else { stat.st_size as u64 };
            let name = name.to_string_lossy().into_owned();
            entries.push(DirEntry { name, len_bytes, is_dir });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let (parent, name) = self.locate(dir)?;
        match make_directory(parent.as_fd(), name) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<FileRef> {
        Ok(Arc::new(self.open_file(path, mode)?))
    }

    fn open_uncached(&self, path: &str) -> io::Result<FileRef> {
        let (dir, name) = self.locate(path)?;
        Ok(Arc::new(Uncached::open(&dir, name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from_dir, from_name) = self.locate(from)?;
        let (to_dir, to_name) = self.locate(to)?;
        Ok(rustix::fs::renameat(from_dir, from_name, to_dir, to_name)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let (dir, name) = self.locate(path)?;
        Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        sync_directory(self.directory(dir)?)
    }

    fn create_ring(&self, path: &str, len: usize) -> io::Result<RingMap> {
        let temporary = format!("{path}{NEW_SUFFIX}");
        match self.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Mapped and populated under the temporary name: whatever fails, the ring in place is
        // untouched.
        let made = self
            .make_ring(&temporary, len)
            .and_then(|map| self.rename(&temporary, path).map(|()| map));
        if made.is_err() {
            // The first error is the one to report.
            let _ = self.remove(&temporary);
        }
        made
    }

    fn open_ring(&self, path: &str) -> io::Result<Option<RingMap>> {
        let Some(file) = self.open_if_there(path, OpenMode::Write)? else { return Ok(None) };
        let total = file.len_bytes()?;
        let len = ring_len(total)?;
        // A copy may have holes, and a store into a hole on a full disk is SIGBUS. Filling them
        // changes no byte.
        if rustix::fs::fstat(file.buffered())?.st_blocks as u64 * 512 < total {
            check_file_size_limit(total)?;
            rustix::fs::fallocate(file.buffered(), FallocateFlags::empty(), 0, total)?;
        }
        map_ring(&file, len).map(Some)
    }

    fn open_ring_to_read(&self, path: &str) -> io::Result<Option<RingMap>> {
        let Some(file) = self.open_if_there(path, OpenMode::Read)? else { return Ok(None) };
        let total = file.len_bytes()?;
        match ring_len(total) {
            Ok(len) => RingMap::map_read_only(file.buffered(), len).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn make_waiters(&self, path: &str) -> io::Result<Page> {
        if let Some(page) = self.open_waiters(path)? {
            return Ok(page);
        }
        match self.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (dir, name) = self.locate(path)?;
        let file = OsFile::open(&dir, name, OpenMode::Create, false)?;
        file.write_zeros(0, RING_CONTROL_BYTES as u64)?;
        // Whoever may read the directory may leave a mark here.
        let reads = Mode::from_raw_mode(rustix::fs::fstat(&dir)?.st_mode) & SHARED_READ;
        let writes = Mode::from_raw_mode(reads.as_raw_mode() >> 1);
        rustix::fs::fchmod(file.buffered(), FILE_MODE | reads | writes)?;
        Page::map(file.buffered())
    }

    fn open_waiters(&self, path: &str) -> io::Result<Option<Page>> {
        let file = match self.open_if_there(path, OpenMode::Write) {
            Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => None,
            file => file?,
        };
        let Some(file) = file else { return Ok(None) };
        let stat = rustix::fs::fstat(file.buffered())?;
        // A copy may have a hole here, and a store into one on a full disk is SIGBUS.
        let whole = stat.st_blocks as u64 * 512 >= RING_CONTROL_BYTES as u64
            && stat.st_size as u64 == RING_CONTROL_BYTES as u64;
        if whole { Page::map(file.buffered()).map(Some) } else { Ok(None) }
    }

    fn lock(&self, wait: Duration) -> Result<LockGuard> {
        let guard = lock::acquire(&self.dir, &self.root, wait)?;
        *self.own_lock.lock() = guard.file.as_ref().map_or_else(Weak::new, Arc::downgrade);
        Ok(guard)
    }

    fn has_writer(&self) -> io::Result<bool> {
        // Whoever holds it here knows what it does.
        let is_ours = self.own_lock.lock().strong_count() > 0;
        if is_ours { Ok(false) } else { lock::is_held(&self.dir) }
    }

    fn make_readers(&self) -> io::Result<()> {
        readers::make(&self.dir)
    }

    fn hold_readers(&self) -> io::Result<Option<ReadersGuard>> {
        readers::hold(&self.dir)
    }

    fn watch(&self) -> io::Result<Option<Box<dyn Watched>>> {
        let watch = watch::Watch::new(self.dir.as_fd(), &self.root)?;
        Ok(watch.map(|watch| Box::new(watch) as Box<dyn Watched>))
    }

    fn has_readers(&self) -> io::Result<bool> {
        readers::is_held(&self.dir)
    }

    fn exclude_readers(&self) -> io::Result<Option<ReadersGuard>> {
        readers::exclude(&self.dir)
    }
}

#[cfg(test)]
mod tests;

/// How much memory there is: the machine's, or what a cgroup leaves of it, whichever is less.
pub fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = info.totalram.saturating_mul(u64::from(info.mem_unit));
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let read = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    limits.iter().filter_map(|path| read(path)).fold(machine, u64::min)
}
