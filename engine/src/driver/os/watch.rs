//! Changes of files as the kernel tells of them: an inotify on the data directory and on those of
//! its logs. Owns its descriptor, and one to end the wait. Stores into a mapping are no changes to
//! it; those are what futexes are for.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::buf::Waker;
use crate::driver::disk::{Changed, Watched};

const EVENTS_BYTES: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    /// Open for as long as `root` may name it by its number.
    _dir: OwnedFd,
    root: PathBuf,
    inotify: OwnedFd,
    end: Waker,
    /// Log by watch.
    logs: Mutex<BTreeMap<i32, u32>>,
}

impl Watch {
    /// Watches the directory that is open as `dir`, at `root` when it was opened. `None` where the
    /// kernel gives no watch: there is a limit for each user.
    pub(super) fn new(dir: BorrowedFd<'_>, root: &Path) -> io::Result<Option<Self>> {
        // The kernel asks for a path. That of the descriptor leads to the directory even if it has
        // been renamed, and another stands in its place.
        let dir = dir.try_clone_to_owned()?;
        let by_descriptor = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        let root = if by_descriptor.is_dir() { by_descriptor } else { root.to_path_buf() };

        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let Ok(inotify) = inotify::init(flags) else { return Ok(None) };
        let logs = Mutex::default();
        let watch = Self { _dir: dir, root, inotify, end: Waker::new()?, logs };
        // LOCK is written by whoever becomes the writer.
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MODIFY;
        if inotify::add_watch(&watch.inotify, &watch.root, flags | WatchFlags::ONLYDIR).is_err() {
            return Ok(None);
        }
        watch.add_logs();
        Ok(Some(watch))
    }

    /// Watches the logs there are; adding one again changes nothing.
    fn add_logs(&self) {
        let files = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        for entry in std::fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix("log-")?.parse().ok());
            let Some(id) = id else { continue };
            // Without a ring there is nothing to sleep on but the segments themselves.
            let has_ring = entry.path().join("ring").exists();
            let flags = if has_ring { files } else { files | WatchFlags::MODIFY };
            if let Ok(number) = inotify::add_watch(&self.inotify, entry.path(), flags) {
                self.logs.lock().insert(number, id);
            }
        }
    }

    /// What has changed, from the events that are there.
    fn read(&self) -> io::Result<Changed> {
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let (mut root, mut changed) = (false, Vec::new());
        loop {
            match reader.next() {
                Ok(event) => match self.logs.lock().get(&event.wd()) {
                    Some(id) if !event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                        changed.push(*id);
                    }
                    _ => root = true,
                },
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        changed.sort_unstable();
        changed.dedup();
        if root {
            self.add_logs();
        }
        Ok(if root { Changed::Root } else { Changed::Logs(changed) })
    }
}

impl Watched for Watch {
    fn wait(&self) -> io::Result<Changed> {
        loop {
            let mut fds =
                [PollFd::new(&self.inotify, PollFlags::IN), PollFd::new(&self.end, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) if !fds[1].revents().is_empty() => return Ok(Changed::Ended),
                Ok(_) => return self.read(),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn end(&self) {
        self.end.wake();
    }
}
