//! A lock that can be asked for without being taken: the open-file-description locks of `fcntl`,
//! which rustix does not wrap. They belong to the open file, end with its last descriptor (an
//! io_uring's registered one included), and do not meet `flock` locks.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The whole file.
fn whole_file(kind: i32) -> libc::flock {
    // SAFETY: plain integers; zero is a valid value of each, and the pid must be zero.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// Marks the open file as the writer's, for [`is_marked`] to see; fails if another one has it. The
/// file must be open for writing.
pub fn mark(file: impl AsFd) -> io::Result<()> {
    set(&file, libc::F_WRLCK)
}

/// Marks the open file as a reader's, together with others, for [`is_marked_at_all`] to see. The
/// file must be open for reading.
pub fn mark_shared(file: impl AsFd) -> io::Result<()> {
    set(&file, libc::F_RDLCK)
}

/// Takes the mark away, whoever shares the open file.
pub fn unmark(file: impl AsFd) -> io::Result<()> {
    set(&file, libc::F_UNLCK)
}

fn set(file: &impl AsFd, kind: i32) -> io::Result<()> {
    let lock = whole_file(kind);
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel only reads `lock`.
    let done = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether another open file of the same inode carries the writer's mark. Disturbs nobody, and
/// needs the file open for reading only.
pub fn is_marked(file: impl AsFd) -> io::Result<bool> {
    meets(&file, libc::F_RDLCK)
}

/// As [`is_marked`], or a reader's.
pub fn is_marked_at_all(file: impl AsFd) -> io::Result<bool> {
    meets(&file, libc::F_WRLCK)
}

fn meets(file: &impl AsFd, kind: i32) -> io::Result<bool> {
    let mut lock = whole_file(kind);
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open as long as it is borrowed; `lock` is a valid place to answer.
    let done = unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &raw mut lock) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_mark_is_seen_by_others_until_its_file_is_closed() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let open = || File::open(named.path()).unwrap();
        assert!(!is_marked(open()).unwrap());
        mark(named.as_file()).unwrap();
        assert!(is_marked(open()).unwrap());
        assert!(mark(File::options().write(true).open(named.path()).unwrap()).is_err());
        let shared = named.as_file().try_clone().unwrap();
        unmark(&shared).unwrap();
        assert!(!is_marked(open()).unwrap());
        mark(&shared).unwrap();
        let path = named.into_temp_path();
        assert!(is_marked(File::open(&path).unwrap()).unwrap());
        drop(shared);
        assert!(!is_marked(File::open(&path).unwrap()).unwrap());
        let readers = [File::open(&path).unwrap(), File::open(&path).unwrap()];
        for reader in &readers {
            mark_shared(reader).unwrap();
        }
        assert!(!is_marked(File::open(&path).unwrap()).unwrap());
        assert!(is_marked_at_all(File::open(&path).unwrap()).unwrap());
        drop(readers);
        assert!(!is_marked_at_all(File::open(&path).unwrap()).unwrap());
    }
}
