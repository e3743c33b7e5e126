//! An open file: a descriptor through the page cache and, where the filesystem takes it, a second
//! one with `O_DIRECT`. Owns both. Must never write beyond the process's file size limit, because
//! the kernel answers that with SIGXFSZ.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{Advice, FallocateFlags, Mode, OFlags, fadvise};
use rustix::io::{Errno, ReadWriteFlags};

use crate::buf::{AlignedBuf, SegmentMap, check_file_size_limit, extents};
use crate::driver::disk::{Descriptors, DiskFile, OpenMode};
use crate::limits::GROUP_ALIGN;

use super::{FILE_MODE, own, refused, regular};

/// How much zero-filling writes at once.
const ZERO_CHUNK_BYTES: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct OsFile {
    buffered: File,
    direct: Option<File>,
    writable: bool,
}

impl OsFile {
    /// Opens `name` in `dir`; `direct` asks for the second descriptor, which is left out where the
    /// file refuses it.
    pub(super) fn open(
        dir: &OwnedFd,
        name: &str,
        mode: OpenMode,
        direct: bool,
    ) -> io::Result<Self> {
        let base = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = match mode {
            // Non-blocking, so that a pipe of this name cannot hang the open.
            OpenMode::Read => base | OFlags::RDONLY | OFlags::NONBLOCK,
            OpenMode::Write => base | OFlags::RDWR,
            OpenMode::Create => base | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        let buffered = rustix::fs::openat(dir, name, flags, FILE_MODE).map_err(refused)?;
        let buffered = regular(buffered)?;
        let stat = rustix::fs::fstat(&buffered)?;
        if mode == OpenMode::Create {
            own(&buffered)?;
        }
        let mut second = None;
        if direct {
            let flags = OFlags::DIRECT
                | match mode {
                    OpenMode::Read => flags,
                    OpenMode::Write | OpenMode::Create => base | OFlags::RDWR,
                };
            match rustix::fs::openat(dir, name, flags, Mode::empty()) {
                Ok(fd) => {
                    let same = rustix::fs::fstat(&fd)?;
                    if (same.st_dev, same.st_ino) != (stat.st_dev, stat.st_ino) {
                        return Err(io::Error::other("the file was replaced while being opened"));
                    }
                    second = Some(File::from(fd));
                }
                Err(Errno::INVAL) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let writable = mode != OpenMode::Read;
        Ok(Self { buffered: File::from(buffered), direct: second, writable })
    }

    /// The descriptor that goes through the page cache.
    pub(super) fn buffered(&self) -> BorrowedFd<'_> {
        self.buffered.as_fd()
    }

    /// Reads whole pages around the page cache; where that is refused, through it, leaving nothing
    /// there that nobody has mapped.
    fn read_uncached(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        if let Some(direct) = &self.direct {
            match read_pages(direct, buf, at) {
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
                read => return read,
            }
        }
        let read = self.read_at(buf, at)?;
        let _ = fadvise(&self.buffered, at, NonZeroU64::new(read as u64), Advice::DontNeed);
        Ok(read)
    }

    /// Writes zeros over `from..to`, through the page cache.
    pub(super) fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        check_file_size_limit(to)?;
        let zeros = AlignedBuf::zeroed(ZERO_CHUNK_BYTES);
        let mut at = from;
        while at < to {
            let len = (to - at).min(ZERO_CHUNK_BYTES as u64);
            self.buffered.write_all_at(&zeros.as_slice()[..len as usize], at)?;
            at += len;
        }
        Ok(())
    }
}

/// A file that is only read, around the page cache; see [`Disk::open_uncached`].
///
/// [`Disk::open_uncached`]: crate::driver::disk::Disk::open_uncached
#[derive(Debug)]
pub(super) struct Uncached(OsFile);

impl Uncached {
    pub(super) fn open(dir: &OwnedFd, name: &str) -> io::Result<Self> {
        OsFile::open(dir, name, OpenMode::Read, true).map(Self)
    }
}

impl DiskFile for Uncached {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_uncached(buf, at)
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(Errno::BADF.into())
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(Errno::BADF.into())
    }
    fn sync(&self) -> io::Result<()> {
        Err(Errno::BADF.into())
    }
    fn len_bytes(&self) -> io::Result<u64> {
        self.0.len_bytes()
    }
    fn link_count(&self) -> io::Result<u64> {
        self.0.link_count()
    }
    fn descriptors(&self) -> Option<Descriptors<'_>> {
        None
    }
}

/// Reads until `buf` is full or the file ends, which a read that is not of whole pages says.
fn read_pages(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], at + done as u64) {
            Ok(n) => {
                done += n;
                if n == 0 || !n.is_multiple_of(GROUP_ALIGN) {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn is_aligned(data: &[u8], at: u64) -> bool {
    at.is_multiple_of(GROUP_ALIGN as u64)
        && data.len().is_multiple_of(GROUP_ALIGN)
        && data.as_ptr().addr().is_multiple_of(GROUP_ALIGN)
}

impl DiskFile for OsFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.buffered.read_at(&mut buf[done..], at + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    // Mixing the two descriptors is safe: before a direct write the kernel writes the dirty pages
    // of the range back, and afterwards drops them, so an older buffered write cannot land over a
    // newer direct one and a later buffered read fetches what was written. That holds page by page;
    // direct writes are whole pages here, so they share none with a buffered neighbour. What it
    // does not cover is two writers of one range at a time, and no caller does that.
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        let end = at.checked_add(data.len() as u64).ok_or(Errno::FBIG)?;
        check_file_size_limit(end)?;
        let file = match &self.direct {
            Some(direct) if is_aligned(data, at) => direct,
            _ => &self.buffered,
        };
        // Retries EINTR and goes on after a short write.
        file.write_all_at(data, at)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        check_file_size_limit(len)?;
        if len == 0 {
            return Ok(());
        }
        loop {
            match rustix::fs::fallocate(&self.buffered, FallocateFlags::empty(), 0, len) {
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => break,
                done => return Ok(done?),
            }
        }
        self.write_zeros(self.len_bytes()?, len)
    }

    fn sync(&self) -> io::Result<()> {
        // Both descriptors are one inode, so this covers the writes of either.
        Ok(rustix::fs::fdatasync(&self.buffered)?)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.buffered)?.st_size as u64)
    }

    #[expect(clippy::useless_conversion, reason = "st_nlink is 32 bits on some architectures")]
    fn link_count(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.buffered)?.st_nlink.into())
    }

    fn shares_blocks(&self) -> io::Result<bool> {
        extents::are_shared(&self.buffered)
    }

    fn descriptors(&self) -> Option<Descriptors<'_>> {
        if !self.writable {
            return None;
        }
        let direct = self.direct.is_some();
        let write = self.direct.as_ref().unwrap_or(&self.buffered).as_fd();
        Some(Descriptors { write, direct })
    }

    fn read_descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.buffered())
    }

    fn map(&self, len: u64) -> io::Result<Option<SegmentMap>> {
        if self.len_bytes()? < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        SegmentMap::map(self.buffered(), len as usize).map(Some)
    }

    fn prefetch(&self, at: u64, len: u64) {
        let Some(last) = len.checked_sub(1) else { return };
        // What is in the page cache needs no advice, and asking it costs less than giving it.
        let mut byte = [0];
        let cached = rustix::io::preadv2(
            &self.buffered,
            &mut [io::IoSliceMut::new(&mut byte)],
            at + last,
            ReadWriteFlags::NOWAIT,
        );
        if cached.is_err() {
            // Advice only: what it cannot do is read later.
            let _ = fadvise(&self.buffered, at, NonZeroU64::new(len), Advice::WillNeed);
        }
    }
}
