//! [`SimDisk`]: the slow path of storage, and the controls of the simulation.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;
use uuid::Uuid;

use super::dir::{Dir, NodeId};
use super::file::Content;
use super::ring::Ring;
use super::state::{Fate, Fault, Node, State, killed};
use super::{Condition, FaultError, FaultOp, Moment, SimConfig, SimStats};
use crate::buf::RingMap;
use crate::driver::disk::{
    Descriptors, DirEntry, Disk, DiskFacts, DiskFile, FileRef, LockGuard, OpenMode, ReadersGuard,
};
use crate::error::{Error, Result};
use crate::moment;

#[derive(Debug)]
pub(super) struct Shared {
    facts: DiskFacts,
    root: PathBuf,
    pub(super) state: Mutex<State>,
}

/// A simulated data directory. Clones are the same one; [`fork`](Self::fork) and
/// [`crash`](Self::crash) make new ones.
#[derive(Clone, Debug)]
pub struct SimDisk {
    pub(super) shared: Arc<Shared>,
}

impl SimDisk {
    /// An empty data directory.
    ///
    /// # Panics
    /// If the sector is of neither 512 nor 4096 bytes.
    pub fn new(config: SimConfig) -> Self {
        assert!(matches!(config.sector, 512 | 4096), "sectors are of 512 or 4096 bytes");
        Self::of(State::new(config))
    }

    pub(super) fn of(state: State) -> Self {
        let facts = DiskFacts {
            filesystem: "simulated".to_owned(),
            direct_io: state.config.direct_io,
            volatile: state.config.volatile.clone(),
            no_file_ring: state.config.no_file_ring.clone(),
        };
        let root = PathBuf::from("simulated");
        Self { shared: Arc::new(Shared { facts, root, state: Mutex::new(state) }) }
    }

    /// Runs one counted operation.
    fn op<T>(&self, run: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.shared.state.lock();
        let fate = state.enter()?;
        let result = if state.condition == Condition::Broken {
            state.stats.broken_ops += 1;
            state.check_condition(false).and_then(|()| run(&mut state))
        } else {
            run(&mut state)
        };
        match fate {
            Fate::Lives => result,
            Fate::Dies => Err(killed()),
        }
    }

    fn control<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        run(&mut self.shared.state.lock())
    }

    /// Lets `ops` more operations happen, then kills the process: the next one takes effect or not,
    /// and every later one fails. Every call of the disk, its files and its drivers counts.
    pub fn kill_after(&self, ops: u64) {
        self.control(|state| state.kill_at = Some(state.ops + ops));
    }

    /// Kills the process when it comes past `moment` on this thread for the `nth` time from now on
    /// (1: the next).
    ///
    /// # Panics
    /// If `nth` is 0.
    pub fn kill_at(&self, moment: Moment, nth: u64) {
        assert!(nth > 0, "the next time is number 1");
        self.control(|state| state.kill_at_moment = Some((moment, nth)));
        let disk = Arc::downgrade(&self.shared);
        moment::set_hook(Box::new(move |moment| {
            if let Some(shared) = disk.upgrade() {
                shared.state.lock().pass_moment(moment);
            }
        }));
    }

    /// Takes back a kill that has not come.
    pub fn kill_never(&self) {
        self.control(|state| {
            state.kill_at = None;
            state.kill_at_moment = None;
        });
    }

    /// The moment at which the process was killed, if it was one.
    pub fn killed_at(&self) -> Option<Moment> {
        self.control(|state| state.killed_at)
    }

    /// Whether the process is dead: killed, or a crash has handed the disk on.
    pub fn is_killed(&self) -> bool {
        self.control(|state| state.killed)
    }

    /// Operations so far; starts from zero after a crash.
    pub fn op_count(&self) -> u64 {
        self.control(|state| state.ops)
    }

    /// Simulated time since the first disk was made.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.control(|state| state.now))
    }

    /// Fails the `nth` operation of this kind from now on (1: the next), once.
    ///
    /// # Panics
    /// If `nth` is 0.
    pub fn fail_nth(&self, op: FaultOp, nth: u64, error: FaultError) {
        assert!(nth > 0, "the next operation is number 1");
        self.control(|state| state.faults.push(Fault { op, countdown: nth, error }));
    }

    /// The `nth` op of this kind that a driver submits from now on (1: the next) never completes: a
    /// crash finds it in flight. Only [`FaultOp::Write`] and [`FaultOp::Flush`] can.
    ///
    /// # Panics
    /// If `nth` is 0.
    pub fn stick_nth(&self, op: FaultOp, nth: u64) {
        assert!(nth > 0, "the next op is number 1");
        self.control(|state| state.sticking.push((op, nth)));
    }

    /// Lets `ops` more operations happen, then everything fails with EIO, until the condition is
    /// set anew.
    pub fn break_after(&self, ops: u64) {
        self.control(|state| state.break_at = Some(state.ops + ops));
    }

    /// The files, by path, of which a write or flush has failed since this was last asked, or a
    /// crash: what they hold is in doubt.
    pub fn take_doubtful(&self) -> Vec<String> {
        self.control(|state| {
            let doubtful = std::mem::take(&mut state.doubtful);
            if doubtful.is_empty() {
                return Vec::new();
            }
            let all = state.paths().into_iter();
            all.filter(|(_, id)| doubtful.contains(id)).map(|(path, _)| path).collect()
        })
    }

    /// Makes the filesystem full, read-only, or well again.
    pub fn set_condition(&self, condition: Condition) {
        self.control(|state| {
            state.condition = condition;
            state.break_at = None;
        });
    }

    /// How much space there is for all files together, in bytes; `None`: no end of it. Removing a
    /// file gives its space back. Writes within a file never need any.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.control(|state| state.capacity = bytes);
    }

    /// The space that files take, in whole blocks of 4096 bytes.
    pub fn used(&self) -> u64 {
        self.control(|state| state.used())
    }

    /// Takes back every fault that is still to come, every condition, and the end of space.
    pub fn mend(&self) {
        self.control(|state| {
            state.capacity = None;
            state.faults.clear();
            state.sticking.clear();
            state.condition = Condition::Normal;
            state.break_at = None;
            state.frozen = false;
        });
    }

    /// Ops do not complete until [`thaw`](Self::thaw). The slow path goes on.
    pub fn freeze(&self) {
        self.control(|state| state.frozen = true);
    }

    /// Ends a freeze.
    pub fn thaw(&self) {
        self.control(|state| state.frozen = false);
    }

    /// Remembers all rings as they are now, for a later power loss to bring pages of them back.
    ///
    /// # Panics
    /// If a ring's memory cannot be read.
    pub fn note_ring_snapshot(&self) {
        self.control(State::snapshot_rings).expect("a ring's memory can be read");
    }

    /// What has happened so far.
    pub fn stats(&self) -> SimStats {
        self.control(|state| state.stats)
    }

    /// The whole of a file or ring as it is visible now; counts as no operation.
    pub fn read_file(&self, path: &str) -> io::Result<Vec<u8>> {
        self.control(|state| {
            let id = state.find(path)?;
            match &state.nodes[&id] {
                Node::Ring(ring) => ring.bytes(),
                Node::File(content) => {
                    let mut bytes = vec![0; content.len() as usize];
                    content.read(&mut bytes, 0);
                    Ok(bytes)
                }
                Node::Dir(_) => Err(Errno::ISDIR.into()),
            }
        })
    }

    /// Every file and directory with its whole path, sorted; counts as no operation.
    pub fn list_all(&self) -> Vec<DirEntry> {
        self.control(|state| {
            let mut all: Vec<DirEntry> = Vec::new();
            let mut todo = vec![(String::new(), super::state::ROOT)];
            while let Some((prefix, id)) = todo.pop() {
                for (entry, node) in state.entries(id).unwrap_or_default() {
                    let name = format!("{prefix}{}", entry.name);
                    if entry.is_dir {
                        todo.push((format!("{name}/"), node));
                    }
                    all.push(DirEntry { name, ..entry });
                }
            }
            all.sort_by(|a, b| a.name.cmp(&b.name));
            all
        })
    }

    /// Rot: flips the bits `xor` of the byte at `at`, visible and stable.
    pub fn corrupt(&self, path: &str, at: u64, xor: u8) -> io::Result<()> {
        self.control(|state| {
            let id = state.find(path)?;
            if let Some(Node::Ring(ring)) = state.nodes.get_mut(&id) {
                let mut byte = [0];
                ring.read(&mut byte, at)?;
                return ring.write(&[byte[0] ^ xor], at);
            }
            state.file(id)?.corrupt(at, xor);
            Ok(())
        })
    }

    /// An outside hand cuts a file, or extends it with zeros; all of it is stable afterwards.
    pub fn truncate(&self, path: &str, len: u64) -> io::Result<()> {
        self.control(|state| {
            let id = state.find(path)?;
            state.file(id)?.truncate(len);
            Ok(())
        })
    }

    /// An outside hand gives a file a second name, as backups do.
    pub fn hard_link(&self, path: &str, new: &str) -> io::Result<()> {
        self.control(|state| {
            let id = state.find(path)?;
            let (dir, name) = state.parent(new)?;
            state.dir(dir)?.set(name, id);
            state.dir(dir)?.sync();
            Ok(())
        })
    }

    fn file_ref(&self, node: NodeId, writable: bool) -> FileRef {
        Arc::new(SimFile { disk: self.clone(), node, writable })
    }
}

impl State {
    fn entries(&mut self, dir: NodeId) -> io::Result<Vec<(DirEntry, NodeId)>> {
        let names: Vec<(String, NodeId)> =
            self.dir(dir)?.entries().map(|(name, node)| (name.clone(), node)).collect();
        let entry = |(name, id): (String, NodeId)| {
            let (len_bytes, is_dir) = match &self.nodes[&id] {
                Node::Dir(_) => (0, true),
                Node::File(content) => (content.len(), false),
                Node::Ring(ring) => (ring.len(), false),
            };
            (DirEntry { name, len_bytes, is_dir }, id)
        };
        Ok(names.into_iter().map(entry).collect())
    }

    /// Every file and ring with its whole path.
    pub(super) fn paths(&self) -> Vec<(String, NodeId)> {
        let mut all = Vec::new();
        let mut todo = vec![(String::new(), super::state::ROOT)];
        while let Some((prefix, dir)) = todo.pop() {
            let Some(Node::Dir(dir)) = self.nodes.get(&dir) else { continue };
            for (name, node) in dir.entries() {
                match self.nodes.get(&node) {
                    Some(Node::Dir(_)) => todo.push((format!("{prefix}{name}/"), node)),
                    _ => all.push((format!("{prefix}{name}"), node)),
                }
            }
        }
        all
    }

    fn write_now(&mut self, node: NodeId, data: &[u8], at: u64) -> io::Result<()> {
        if let Some(Node::Ring(ring)) = self.nodes.get(&node) {
            return ring.write(data, at);
        }
        let (len, end) = (self.file(node)?.len(), at + data.len() as u64);
        let fault = self.fault(FaultOp::Write);
        let done = self.data_fault(fault, end > len);
        if let Err(error) = done.and_then(|()| self.check_growth(len, end)) {
            self.write_failed(node, data, at);
            return Err(error);
        }
        if self.killed {
            self.land_torn(node, data, at);
            return Ok(());
        }
        let tick = self.next_tick();
        self.stats.writes += 1;
        let content = self.file(node)?;
        let cut = content.cut(data, at);
        content.land(cut, tick);
        Ok(())
    }

    fn flush_now(&mut self, node: NodeId) -> io::Result<()> {
        if let Some(Node::Ring(_)) = self.nodes.get(&node) {
            return Ok(());
        }
        let before = self.next_tick();
        let fault = self.fault(FaultOp::Flush);
        if let Err(error) = self.data_fault(fault, false) {
            self.flush_failed(node, before);
            return Err(error);
        }
        self.stats.flushes += 1;
        self.flushed(node, before)
    }
}

/// Releases the lock of the disk that it was taken on.
#[derive(Debug)]
struct HeldLock(Arc<Shared>);

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.0.state.lock().locked = false;
    }
}

/// Gives back one hold on READERS.
#[derive(Debug)]
struct HeldReaders(Arc<Shared>);

impl Drop for HeldReaders {
    fn drop(&mut self) {
        self.0.state.lock().readers -= 1;
    }
}

impl Disk for SimDisk {
    fn root(&self) -> &Path {
        &self.shared.root
    }

    fn facts(&self) -> &DiskFacts {
        &self.shared.facts
    }

    fn list(&self, dir: &str) -> io::Result<Vec<DirEntry>> {
        self.op(|state| {
            state.check_fault(FaultOp::Look)?;
            let dir = state.find(dir)?;
            Ok(state.entries(dir)?.into_iter().map(|(entry, _)| entry).collect())
        })
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.op(|state| {
            let (parent, name) = state.parent(dir)?;
            if let Some(found) = state.dir(parent)?.get(name) {
                return state.dir(found).map(drop).map_err(|_| Errno::EXIST.into());
            }
            state.check_condition(true)?;
            state.name(|state| {
                let node = state.add(Node::Dir(Dir::default()));
                state.dir(parent)?.set(name, node);
                Ok(())
            })
        })
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<FileRef> {
        let node = self.op(|state| {
            state.check_fault(FaultOp::Look)?;
            let (dir, name) = state.parent(path)?;
            let found = state.dir(dir)?.get(name);
            match (found, mode) {
                (Some(_), OpenMode::Create) => Err(Errno::EXIST.into()),
                (Some(node), _) if matches!(state.nodes[&node], Node::Dir(_)) => {
                    Err(Errno::ISDIR.into())
                }
                (Some(node), OpenMode::Write) => state.check_condition(false).map(|()| node),
                (Some(node), _) => Ok(node),
                (None, OpenMode::Create) => {
                    state.check_condition(true)?;
                    let node = state.add(Node::File(Content::new(state.config.sector)));
                    state.name(|state| {
                        state.dir(dir)?.set(name, node);
                        Ok(())
                    })?;
                    Ok(node)
                }
                (None, _) => Err(Errno::NOENT.into()),
            }
        })?;
        Ok(self.file_ref(node, mode != OpenMode::Read))
    }

    /// Within one directory only, which is all that the engine does; otherwise EXDEV.
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.op(|state| {
            state.check_condition(false)?;
            let (dir, from) = state.parent(from)?;
            let (to_dir, to) = state.parent(to)?;
            if dir != to_dir {
                return Err(Errno::XDEV.into());
            }
            let node = state.dir(dir)?.get(from).ok_or(Errno::NOENT)?;
            state.name(|state| {
                state.dir(dir)?.rename(from, to, node);
                Ok(())
            })
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.op(|state| {
            state.check_condition(false)?;
            let (dir, name) = state.parent(path)?;
            let node = state.dir(dir)?.get(name).ok_or(Errno::NOENT)?;
            if matches!(state.nodes[&node], Node::Dir(_)) {
                return Err(Errno::ISDIR.into());
            }
            state.name(|state| {
                state.dir(dir)?.remove(name, node);
                Ok(())
            })
        })
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.op(|state| {
            state.check_condition(false)?;
            state.check_fault(FaultOp::SyncDir)?;
            let dir = state.find(dir)?;
            state.dir(dir)?.sync();
            Ok(())
        })
    }

    fn create_ring(&self, path: &str, len: usize) -> io::Result<RingMap> {
        self.op(|state| {
            if let Some(why) = &state.config.no_file_ring {
                return Err(io::Error::new(io::ErrorKind::Unsupported, why.clone()));
            }
            state.check_condition(true)?;
            state.check_growth(0, len as u64)?;
            state.check_fault(FaultOp::Ring)?;
            let (dir, name) = state.parent(path)?;
            let ring = Ring::new(len)?;
            let map = ring.map()?;
            let node = state.add(Node::Ring(ring));
            state.dir(dir)?.set(name, node);
            Ok(map)
        })
    }

    fn open_ring(&self, path: &str) -> io::Result<Option<RingMap>> {
        self.op(|state| {
            state.check_fault(FaultOp::Ring)?;
            match state.find(path) {
                Ok(id) => match &state.nodes[&id] {
                    Node::Ring(ring) => ring.map().map(Some),
                    // A stranger's file under the ring's name.
                    _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a ring")),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn fresh_uuid(&self) -> Uuid {
        let (high, low) = self.control(|state| (state.rng.word(), state.rng.word()));
        Uuid::from_u64_pair(high, low)
    }

    /// Does not wait: the holder may be on the caller's own thread.
    fn lock(&self, wait: Duration) -> Result<LockGuard> {
        let path = self.shared.root.join("LOCK");
        let taken = self.op(|state| {
            let taken = !state.locked;
            state.locked = true;
            if !taken {
                state.pass(wait);
            }
            Ok(taken)
        });
        match taken {
            Ok(true) => {
                let held: Arc<dyn Any + Send + Sync> = Arc::new(HeldLock(self.shared.clone()));
                Ok(LockGuard { file: None, token: Some(held) })
            }
            Ok(false) => Err(Error::Locked { path, pid: Some(std::process::id()), alive: true }),
            Err(error) => Err(Error::io("lock", path, error)),
        }
    }

    /// All that is simulated is one process, so nobody else has.
    fn has_writer(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn make_readers(&self) -> io::Result<()> {
        Ok(())
    }

    fn hold_readers(&self) -> io::Result<Option<ReadersGuard>> {
        self.control(|state| state.readers += 1);
        Ok(Some(ReadersGuard::new(Arc::new(HeldReaders(self.shared.clone())))))
    }

    fn has_readers(&self) -> io::Result<bool> {
        Ok(self.control(|state| state.readers > 0))
    }

    fn exclude_readers(&self) -> io::Result<Option<ReadersGuard>> {
        let free = self.control(|state| state.readers == 0);
        Ok(free.then(|| ReadersGuard::new(Arc::new(()))))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    node: NodeId,
    writable: bool,
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(Errno::BADF.into()) }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.disk.op(|state| {
            state.check_fault(FaultOp::Read)?;
            match state.nodes.get(&self.node) {
                Some(Node::Ring(ring)) => ring.read(buf, at),
                _ => Ok(state.file(self.node)?.read(buf, at)),
            }
        })
    }

    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.check_writable()?;
        self.disk.op(|state| state.write_now(self.node, data, at))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.disk.op(|state| {
            state.check_condition(true)?;
            let there = state.file(self.node)?.len();
            state.check_growth(there, len)?;
            state.check_fault(FaultOp::Allocate)?;
            let tick = state.next_tick();
            state.file(self.node)?.grow(len, tick);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.op(|state| state.flush_now(self.node))
    }

    fn len_bytes(&self) -> io::Result<u64> {
        self.disk.op(|state| {
            state.check_fault(FaultOp::Look)?;
            match state.nodes.get(&self.node) {
                Some(Node::Ring(ring)) => Ok(ring.len()),
                _ => Ok(state.file(self.node)?.len()),
            }
        })
    }

    fn link_count(&self) -> io::Result<u64> {
        self.disk.op(|state| {
            state.check_fault(FaultOp::Look)?;
            let entries = state.nodes.values().filter_map(|node| match node {
                Node::Dir(dir) => Some(dir.entries()),
                _ => None,
            });
            Ok(entries.flatten().filter(|(_, node)| *node == self.node).count() as u64)
        })
    }

    fn descriptors(&self) -> Option<Descriptors<'_>> {
        None
    }

    fn sim_id(&self) -> Option<u64> {
        Some(self.node)
    }
}
