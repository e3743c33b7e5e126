//! A filesystem that fails on command: FUSE, in memory, mounted by this process or by a child of it
//! that can be killed. Writes are stable once they are flushed; before, a loss of power takes any
//! of their sectors, lengths and directory entries. A flush that fails gives up at once what it was
//! to make stable, and the next one succeeds, as disks and page caches do.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const DIR: &str = "RINGLOG_KERNEL_FUSE";
const SECTOR_BYTES: usize = 512;
const ROOT: u64 = 1;
/// More than requests can be held at once.
const THREADS: usize = 16;
/// The kernel asks again each time, so that nothing it remembers hides a loss.
const NOT_KEPT: Duration = Duration::ZERO;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Write,
    Flush,
}

#[derive(Clone, Debug, Default)]
struct Bytes {
    now: Vec<u8>,
    stable: Vec<u8>,
    unflushed: BTreeSet<usize>,
}

impl Bytes {
    fn write(&mut self, at: usize, data: &[u8]) {
        let end = at + data.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[at..end].copy_from_slice(data);
        self.unflushed.extend(at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    fn resize(&mut self, len: usize) {
        self.now.resize(len, 0);
        self.unflushed.retain(|sector| sector * SECTOR_BYTES < len);
    }

    /// Copies this sector from one of the two to the other.
    fn copy(from: &[u8], to: &mut [u8], sector: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(to.len());
        let there = from.get(start..end.min(from.len())).unwrap_or_default();
        let (copied, rest) = to[start..end].split_at_mut(there.len());
        copied.copy_from_slice(there);
        rest.fill(0);
    }

    fn flush(&mut self) {
        self.stable.resize(self.now.len(), 0);
        for sector in std::mem::take(&mut self.unflushed) {
            Self::copy(&self.now, &mut self.stable, sector);
        }
    }

    fn give_up(&mut self) {
        for sector in std::mem::take(&mut self.unflushed) {
            Self::copy(&self.stable, &mut self.now, sector);
        }
    }

    fn lose_power(&mut self, dice: &mut StdRng) {
        for sector in std::mem::take(&mut self.unflushed) {
            if dice.random() {
                Self::copy(&self.stable, &mut self.now, sector);
            }
        }
        if self.stable.len() < self.now.len() && dice.random() {
            self.now.truncate(self.stable.len());
        }
        self.stable.clone_from(&self.now);
    }
}

type Names = BTreeMap<String, u64>;

#[derive(Clone, Debug)]
enum Kind {
    File(Bytes),
    Dir { now: Names, stable: Names },
}

#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    mode: u16,
}

#[derive(Debug)]
struct State {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// The next operation of this kind fails so, after so many more that do not.
    fault: Option<(Fault, Errno, usize)>,
    flushes: usize,
    /// Writes and flushes wait.
    held: bool,
}

impl State {
    fn file(&mut self, ino: INodeNo) -> Result<&mut Bytes, Errno> {
        match self.nodes.get_mut(&ino.0).map(|node| &mut node.kind) {
            Some(Kind::File(bytes)) => Ok(bytes),
            Some(Kind::Dir { .. }) => Err(Errno::EISDIR),
            None => Err(Errno::ENOENT),
        }
    }

    fn names(&mut self, ino: INodeNo) -> Result<&mut Names, Errno> {
        match self.nodes.get_mut(&ino.0).map(|node| &mut node.kind) {
            Some(Kind::Dir { now, .. }) => Ok(now),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn find(&mut self, parent: INodeNo, name: &OsStr) -> Result<u64, Errno> {
        let name = name.to_str().ok_or(Errno::EINVAL)?;
        self.names(parent)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    fn make(
        &mut self,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        kind: Kind,
    ) -> Result<FileAttr, Errno> {
        let name = name.to_str().ok_or(Errno::EINVAL)?.to_owned();
        let ino = self.next;
        self.next += 1;
        self.names(parent)?.insert(name, ino);
        self.nodes.insert(ino, Node { kind, mode: (mode & 0o7777) as u16 });
        self.attributes(INodeNo(ino))
    }

    fn attributes(&self, ino: INodeNo) -> Result<FileAttr, Errno> {
        let node = self.nodes.get(&ino.0).ok_or(Errno::ENOENT)?;
        let (kind, size) = match &node.kind {
            Kind::File(bytes) => (FileType::RegularFile, bytes.now.len() as u64),
            Kind::Dir { .. } => (FileType::Directory, 0),
        };
        Ok(FileAttr {
            ino,
            size,
            blocks: size.div_ceil(SECTOR_BYTES as u64),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: node.mode,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// Whether this operation is the one that fails, and how.
    fn fails(&mut self, fault: Fault) -> Option<Errno> {
        match &mut self.fault {
            Some((kind, _, more)) if *kind == fault && *more > 0 => {
                *more -= 1;
                None
            }
            Some((kind, errno, _)) if *kind == fault => {
                let errno = *errno;
                self.fault = None;
                Some(errno)
            }
            _ => None,
        }
    }

    fn write(&mut self, ino: INodeNo, at: u64, data: &[u8]) -> Result<u32, Errno> {
        if let Some(errno) = self.fails(Fault::Write) {
            return Err(errno);
        }
        self.file(ino)?.write(at as usize, data);
        Ok(data.len() as u32)
    }

    fn flush(&mut self, ino: INodeNo) -> Result<(), Errno> {
        self.flushes += 1;
        if let Some(errno) = self.fails(Fault::Flush) {
            self.file(ino)?.give_up();
            return Err(errno);
        }
        self.file(ino)?.flush();
        Ok(())
    }

    fn rename(&mut self, from: (INodeNo, &OsStr), to: (INodeNo, &OsStr)) -> Result<(), Errno> {
        let ino = self.find(from.0, from.1)?;
        let name = |name: &OsStr| name.to_str().map(str::to_owned).ok_or(Errno::EINVAL);
        let (old, new) = (name(from.1)?, name(to.1)?);
        self.names(from.0)?.remove(&old);
        self.names(to.0)?.insert(new, ino);
        Ok(())
    }

    fn lose_power(&mut self, dice: &mut StdRng) {
        for node in self.nodes.values_mut() {
            match &mut node.kind {
                Kind::File(bytes) => bytes.lose_power(dice),
                Kind::Dir { now, stable } => {
                    let all: BTreeSet<String> = now.keys().chain(stable.keys()).cloned().collect();
                    let differs = |name: &String| now.get(name) != stable.get(name);
                    let changed: Vec<String> = all.into_iter().filter(differs).collect();
                    for name in changed {
                        if dice.random() {
                            match stable.get(&name) {
                                Some(&ino) => now.insert(name, ino),
                                None => now.remove(&name),
                            };
                        }
                    }
                    stable.clone_from(now);
                }
            }
        }
    }
}

/// The filesystem as the kernel sees it; clones are one.
#[derive(Clone, Debug)]
struct Served(Arc<(Mutex<State>, Condvar)>);

impl Served {
    fn new() -> Self {
        let root = Kind::Dir { now: Names::new(), stable: Names::new() };
        let nodes = BTreeMap::from([(ROOT, Node { kind: root, mode: 0o755 })]);
        let state = State { nodes, next: ROOT + 1, fault: None, flushes: 0, held: false };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// Once nothing is held.
    fn state_to_write(&self) -> MutexGuard<'_, State> {
        self.0.1.wait_while(self.state(), |state| state.held).unwrap()
    }

    fn mount(&self, dir: &Path) -> io::Result<BackgroundSession> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("fragile".to_owned())];
        config.n_threads = Some(THREADS);
        fuser::spawn_mount(self.clone(), dir, &config)
    }
}

/// Answers an operation that has nothing to give back.
fn done(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn entry(reply: ReplyEntry, found: Result<FileAttr, Errno>) {
    match found {
        Ok(attributes) => reply.entry(&NOT_KEPT, &attributes, Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut state = self.state();
        let found = state.find(parent, name);
        entry(reply, found.and_then(|ino| state.attributes(INodeNo(ino))));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.state().attributes(ino) {
            Ok(attributes) => reply.attr(&NOT_KEPT, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.state();
        if let (Some(size), Ok(bytes)) = (size, state.file(ino)) {
            bytes.resize(size as usize);
        }
        if let (Some(mode), Some(node)) = (mode, state.nodes.get_mut(&ino.0)) {
            node.mode = (mode & 0o7777) as u16;
        }
        match state.attributes(ino) {
            Ok(attributes) => reply.attr(&NOT_KEPT, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let kind = Kind::Dir { now: Names::new(), stable: Names::new() };
        entry(reply, self.state().make(parent, name, mode, kind));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.state().make(parent, name, mode, Kind::File(Bytes::default())) {
            Ok(attributes) => {
                let (handle, flags) = (FileHandle(0), FopenFlags::empty());
                reply.created(&NOT_KEPT, &attributes, Generation(0), handle, flags);
            }
            Err(errno) => reply.error(errno),
        }
    }

    // What has lost its name stays: somebody may have it open.
    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut state = self.state();
        let found = state.find(parent, name);
        if let (Ok(_), Ok(names)) = (found, state.names(parent)) {
            names.remove(name.to_str().unwrap());
        }
        done(reply, found.map(|_| ()));
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.unlink(request, parent, name, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        done(reply, self.state().rename((parent, name), (newparent, newname)));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.state().file(ino) {
            Ok(bytes) => {
                let start = (offset as usize).min(bytes.now.len());
                let end = (start + size as usize).min(bytes.now.len());
                reply.data(&bytes.now[start..end]);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.state_to_write().write(ino, offset, data) {
            Ok(written) => reply.written(written),
            Err(errno) => reply.error(errno),
        }
    }

    // At each close; says nothing of what is stable.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.state_to_write().flush(ino));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if let Some(Node { kind: Kind::Dir { now, stable }, .. }) =
            self.state_to_write().nodes.get_mut(&ino.0)
        {
            stable.clone_from(now);
        }
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let mut state = self.state();
        let names = match state.names(ino) {
            Ok(names) => names.clone(),
            Err(errno) => return reply.error(errno),
        };
        for (at, (name, ino)) in names.into_iter().enumerate().skip(offset as usize) {
            let kind = match &state.nodes[&ino].kind {
                Kind::File(_) => FileType::RegularFile,
                Kind::Dir { .. } => FileType::Directory,
            };
            if reply.add(INodeNo(ino), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        let end = (offset + length) as usize;
        let mut state = self.state();
        done(reply, state.file(ino).map(|bytes| bytes.resize(bytes.now.len().max(end))));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1 << 20, 1 << 19, 1 << 19, 1 << 20, 1 << 19, 4096, 255, 4096);
    }
}

/// Those of runs that were killed themselves: nobody serves them any more.
fn unmount_stale() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for dir in mounts.lines().filter_map(|line| line.strip_prefix("fragile ")?.split(' ').next()) {
        if std::fs::metadata(dir).is_err() {
            let _ = super::tool("umount", &["-l", dir]);
        }
    }
}

/// The filesystem, mounted; unmounted when dropped.
pub struct Fragile {
    served: Served,
    session: Option<BackgroundSession>,
    dir: PathBuf,
    dice: StdRng,
}

impl Fragile {
    /// Mounts an empty one there, or says why it cannot.
    pub fn mount(dir: &Path, seed: u64) -> Result<Self, String> {
        static STALE: Once = Once::new();
        STALE.call_once(unmount_stale);
        let served = Served::new();
        let session = Some(served.mount(dir).map_err(|error| format!("FUSE: {error}"))?);
        Ok(Self { served, session, dir: dir.to_owned(), dice: StdRng::seed_from_u64(seed) })
    }

    /// The next write or flush fails so, once, after `more` that do not.
    pub fn fail(&self, fault: Fault, errno: rustix::io::Errno, more: usize) {
        let errno = Errno::from_i32(errno.raw_os_error());
        self.served.state().fault = Some((fault, errno, more));
    }

    /// Whether what was to fail has failed.
    pub fn has_failed(&self) -> bool {
        self.served.state().fault.is_none()
    }

    /// How many flushes there have been.
    pub fn flushes(&self) -> usize {
        self.served.state().flushes
    }

    /// Writes and flushes wait until they no longer shall.
    pub fn hold(&self, held: bool) {
        self.served.state().held = held;
        self.served.0.1.notify_all();
    }

    /// Takes the power away, and mounts what is left of it. Nobody may have anything open.
    pub fn lose_power(&mut self) {
        // The kernel still closes what a killed process had open; until then it is busy.
        super::eventually("an unmounted filesystem", || {
            super::tool("umount", &[super::text(&self.dir)]).is_ok()
        });
        if let Some(session) = self.session.take() {
            session.join().unwrap();
        }
        self.served.state().fault = None;
        self.served.state().lose_power(&mut self.dice);
        self.session = Some(self.served.mount(&self.dir).unwrap());
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.hold(false);
        let dir = super::text(&self.dir);
        // Busy, if a test fails with its programs still there.
        let _ = super::tool("umount", &[dir]).or_else(|_| super::tool("umount", &["-l", dir]));
    }
}

/// The same filesystem, served by a process of its own that can be killed.
pub struct Daemon {
    child: Child,
    dir: PathBuf,
}

impl Daemon {
    pub fn start(dir: &Path) -> Result<Self, String> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["fragile::entry_of_the_filesystem", "--exact", "--nocapture"])
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let daemon = Self { child, dir: dir.to_owned() };
        let told = |line: io::Result<String>| {
            let line = line.unwrap();
            line.strip_prefix("> ").map(str::to_owned)
        };
        match out.lines().find_map(told).as_deref() {
            Some("mounted") => Ok(daemon),
            said => Err(format!("FUSE: {}", said.unwrap_or("no answer"))),
        }
    }

    /// SIGKILL: from then on nobody answers.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = super::tool("umount", &["-l", super::text(&self.dir)]);
    }
}

/// In the child: serves until it is killed, or nobody listens.
#[test]
fn entry_of_the_filesystem() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let mounted = Served::new().mount(&dir);
    let said = mounted.as_ref().map_or_else(ToString::to_string, |_| "mounted".to_owned());
    println!("\n> {said}");
    io::stdout().flush().unwrap();
    let _ = io::stdin().lock().lines().count();
}
