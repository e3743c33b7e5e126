//! Whether a file shares blocks with others, as a reflink of it does: the kernel's list of a file's
//! extents, which rustix does not wrap. Owns nothing.

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{Updater, ioctl, opcode};

/// How many extents are asked for at once.
const EXTENTS: usize = 64;
/// Flags of an extent, as in the kernel's header: the file's last; shared with another file.
const LAST: u32 = 0x1;
const SHARED: u32 = 0x2000;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved_wide: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

#[repr(C)]
struct Head {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
}

#[repr(C)]
struct Map {
    head: Head,
    extents: [Extent; EXTENTS],
}

/// `FS_IOC_FIEMAP`, whose size is that of the head alone.
const FIEMAP: rustix::ioctl::Opcode = opcode::read_write::<Head>(b'f', 11);
const _: () = assert!(size_of::<Head>() == 32 && size_of::<Extent>() == 56);

/// Whether any block of the file belongs to another file, too. A filesystem that does not tell has
/// no such files.
pub fn are_shared(file: impl AsFd) -> io::Result<bool> {
    let mut start = 0;
    loop {
        let head = Head {
            start,
            length: u64::MAX - start,
            flags: 0,
            mapped: 0,
            room: EXTENTS as u32,
            reserved: 0,
        };
        let mut map = Map { head, extents: [Extent::default(); EXTENTS] };
        // SAFETY: the number is FS_IOC_FIEMAP's, which reads the head and writes it and as many
        // extents as `room` says there is room for behind it: all of `map`, which is plain
        // integers.
        let asked = unsafe { ioctl(&file, Updater::<FIEMAP, Map>::new(&mut map)) };
        match asked {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
        let found = &map.extents[..(map.head.mapped as usize).min(EXTENTS)];
        if found.iter().any(|extent| extent.flags & SHARED != 0) {
            return Ok(true);
        }
        let Some(last) = found.last().filter(|last| last.flags & LAST == 0) else {
            return Ok(false);
        };
        // A file that changes meanwhile must not keep us here.
        let next = last.logical.saturating_add(last.length);
        if next <= start {
            return Ok(false);
        }
        start = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    #[test]
    fn a_file_of_its_own_shares_nothing() {
        let mut file = tempfile::tempfile().unwrap();
        assert!(!are_shared(&file).unwrap());
        file.write_all(&vec![1; 100_000]).unwrap();
        file.sync_all().unwrap();
        assert!(!are_shared(&file).unwrap());
        // More extents than are asked for at once.
        for at in 0..3 * EXTENTS as u64 {
            file.write_all_at(b"island", 1_000_000 + (at << 17)).unwrap();
        }
        file.sync_all().unwrap();
        assert!(!are_shared(&file).unwrap());
    }

    #[test]
    fn what_has_no_extents_shares_none() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(!are_shared(&reader).unwrap());
        assert!(!are_shared(File::open("/dev/null").unwrap()).unwrap());
    }
}
