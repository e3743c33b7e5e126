//! What kind of filesystem the data directory is on, and what may be promised there. Owns nothing;
//! reads `statfs`, `statx` and the mount table, looks at what lies below ([`below`]), and tries
//! `O_DIRECT` on a file without a name. Must never call a filesystem durable that is known not to
//! be.

mod below;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::buf::AlignedBuf;
use crate::driver::disk::DiskFacts;
use crate::limits::GROUP_ALIGN;

use super::check_file_size_limit;

/// What a filesystem keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Local, overwrites in place.
    Local,
    /// Local, but overwriting allocates.
    CopyOnWrite,
    /// Memory.
    Memory,
    /// Another host, whose delayed writes no lock of ours fences.
    Network,
    /// A process of unknown intent.
    Fuse,
    /// A layer over another filesystem.
    Overlay,
}

/// Magic numbers of `statfs`.
const KNOWN: &[(u32, &str, Kind)] = &[
    (0x0000_ef53, "ext4", Kind::Local),
    (0x5846_5342, "xfs", Kind::Local),
    (0xf2f5_2010, "f2fs", Kind::Local),
    (0x3153_464a, "jfs", Kind::Local),
    (0x9123_683e, "btrfs", Kind::CopyOnWrite),
    (0xca45_1a4e, "bcachefs", Kind::CopyOnWrite),
    (0x2fc1_2fc1, "zfs", Kind::CopyOnWrite),
    (0x0000_3434, "nilfs2", Kind::CopyOnWrite),
    (0x0102_1994, "tmpfs", Kind::Memory),
    (0x8584_58f6, "ramfs", Kind::Memory),
    (0x9584_58f6, "hugetlbfs", Kind::Memory),
    (0x0000_6969, "nfs", Kind::Network),
    (0xff53_4d42, "cifs", Kind::Network),
    (0xfe53_4d42, "smb2", Kind::Network),
    (0x0000_517b, "smb", Kind::Network),
    (0x00c3_6400, "ceph", Kind::Network),
    (0x0102_1997, "9p", Kind::Network),
    (0x5346_414f, "afs", Kind::Network),
    (0x0bd0_0bd0, "lustre", Kind::Network),
    (0x0116_1970, "gfs2", Kind::Network),
    (0x7461_636f, "ocfs2", Kind::Network),
    (0x786f_4256, "vboxsf", Kind::Network),
    (0x6573_5546, "fuse", Kind::Fuse),
    (0x794c_7630, "overlay", Kind::Overlay),
];

/// Finds out about the filesystem of `dir`. What cannot be found out is left at its default.
/// Without `try_out` nothing is made there, and of direct writes nothing is known.
pub(super) fn find_out(dir: BorrowedFd<'_>, try_out: bool) -> DiskFacts {
    let magic = rustix::fs::fstatfs(dir).map_or(0, |stat| stat.f_type as u32);
    let (filesystem, kind) = classify(magic);
    let found = || {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mount = mount_of(dir, &mounts)?;
        if kind == Kind::Overlay {
            overlay_volatile(&mount, &mounts)
        } else {
            below::volatile(dir, &mount)
        }
    };
    DiskFacts {
        direct_io: try_out && takes_direct_io(dir),
        volatile: volatile_reason(&filesystem, kind).or_else(found),
        no_file_ring: no_file_ring_reason(&filesystem, kind),
        filesystem,
    }
}

fn classify(magic: u32) -> (String, Kind) {
    KNOWN.iter().find(|known| known.0 == magic).map_or_else(
        || (format!("filesystem {magic:#x}"), Kind::Local),
        |known| (known.1.to_owned(), known.2),
    )
}

fn volatile_reason(name: &str, kind: Kind) -> Option<String> {
    match kind {
        Kind::Memory => Some(format!("{name} keeps nothing over a power loss")),
        Kind::Network => Some(format!("{name}: what another host keeps cannot be known")),
        Kind::Fuse => Some(format!("{name}: what a user-space filesystem keeps cannot be known")),
        Kind::Local | Kind::CopyOnWrite | Kind::Overlay => None,
    }
}

fn no_file_ring_reason(name: &str, kind: Kind) -> Option<String> {
    match kind {
        Kind::CopyOnWrite => Some(format!("{name} copies on write: a full disk would be SIGBUS")),
        Kind::Network | Kind::Fuse => Some(format!("{name} may fail a store into a mapping")),
        Kind::Local | Kind::Memory | Kind::Overlay => None,
    }
}

/// A line of the mount table.
#[derive(Debug, PartialEq, Eq)]
struct Mount<'m> {
    source: &'m str,
    /// The filesystem's own options, not those of this mount.
    options: &'m str,
}

impl Mount<'_> {
    fn has_option(&self, name: &str) -> bool {
        self.options.split(',').any(|option| option == name)
    }
}

/// Whether an overlay was mounted `volatile`, or its upper layer is one that keeps nothing.
fn overlay_volatile(mount: &Mount<'_>, mounts: &str) -> Option<String> {
    if mount.has_option("volatile") {
        return Some("the overlay is mounted volatile".to_owned());
    }
    // Often hidden inside a container; then nothing can be said.
    let upper = mount.options.split(',').find_map(|option| option.strip_prefix("upperdir="))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let upper = rustix::fs::open(upper, flags, Mode::empty()).ok()?;
    let magic = rustix::fs::fstatfs(&upper).ok()?.f_type as u32;
    let (name, kind) = classify(magic);
    volatile_reason(&name, kind)
        .or_else(|| below::volatile(upper.as_fd(), &mount_of(upper.as_fd(), mounts)?))
        .map(|reason| format!("upper layer of the overlay: {reason}"))
}

/// The mount that a directory is on.
fn mount_of<'m>(dir: BorrowedFd<'_>, mounts: &'m str) -> Option<Mount<'m>> {
    let stat = rustix::fs::statx(dir, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    let device = format!("{}:{}", stat.stx_dev_major, stat.stx_dev_minor);
    let by_id = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    let id = by_id.then(|| stat.stx_mnt_id.to_string());
    find_mount(mounts, id.as_deref(), &device)
}

/// The mount with this id, else one of this device.
fn find_mount<'m>(mounts: &'m str, id: Option<&str>, device: &str) -> Option<Mount<'m>> {
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        let (line_id, line_device) = (fields.next()?, fields.nth(1)?);
        if id.map_or(line_device != device, |id| line_id != id) {
            return None;
        }
        let mut fields = filesystem.splitn(3, ' ').skip(1);
        Some(Mount { source: fields.next()?, options: fields.next()? })
    })
}

/// By a try: the flag may be accepted at open and refused at the write, and some filesystems want
/// more alignment than a group has.
fn takes_direct_io(dir: BorrowedFd<'_>) -> bool {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, c".", flags, super::FILE_MODE) {
        Ok(file) => file,
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => return takes_direct_by_name(dir),
        Err(_) => return false,
    };
    accepts_group(&file).unwrap_or(false)
}

/// For filesystems without nameless files.
fn takes_direct_by_name(dir: BorrowedFd<'_>) -> bool {
    let name = format!(".direct-{}", rustix::process::getpid().as_raw_nonzero());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = rustix::fs::openat(dir, &name, flags | OFlags::DIRECT, super::FILE_MODE);
    // Even a refused open may have created the file.
    let _ = rustix::fs::unlinkat(dir, &name, AtFlags::empty());
    opened.is_ok_and(|file| accepts_group(&file).unwrap_or(false))
}

fn accepts_group(file: &OwnedFd) -> io::Result<bool> {
    let stat = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN);
    if let Ok(stat) = stat
        && stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0
    {
        let fits = |align: u32| align != 0 && align as usize <= GROUP_ALIGN;
        return Ok(fits(stat.stx_dio_mem_align) && fits(stat.stx_dio_offset_align));
    }
    check_file_size_limit(GROUP_ALIGN as u64)?;
    match rustix::io::pwrite(file, AlignedBuf::zeroed(GROUP_ALIGN).as_slice(), 0) {
        Ok(written) => Ok(written == GROUP_ALIGN),
        // A full disk says nothing about alignment, and the flag was accepted.
        Err(Errno::NOSPC | Errno::DQUOT) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_options_are_found_by_id_and_by_device() {
        let mounts = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
            90 27 0:55 / /over rw - overlay overlay rw,lowerdir=/l,upperdir=/u,volatile\n";
        let found = find_mount(mounts, Some("90"), "0:0").unwrap();
        assert!(found.has_option("volatile") && !found.has_option("vol"), "{found:?}");
        let found = find_mount(mounts, None, "254:0");
        assert_eq!(found, Some(Mount { source: "/dev/vda", options: "rw,discard" }));
        assert_eq!(find_mount(mounts, Some("91"), "254:0"), None);
    }

    #[test]
    fn memory_network_and_copy_on_write_are_told_from_local() {
        for (magic, volatile, ring) in [
            (0xef53, false, true),
            (0x0102_1994, true, true),
            (0x6969, true, false),
            (0x9123_683e, false, false),
            (0x6573_5546, true, false),
            (0x1234_5678, false, true),
        ] {
            let (name, kind) = classify(magic);
            assert_eq!(volatile_reason(&name, kind).is_some(), volatile, "{name}");
            assert_eq!(no_file_ring_reason(&name, kind).is_none(), ring, "{name}");
        }
    }
}
