//! Everything a simulated disk is, behind its lock: the files, the ops in flight, the faults to
//! come, the kill switch. Each call of the engine enters through [`State::enter`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::dir::{Dir, NodeId};
use super::file::Content;
use super::ring::Ring;
use super::rng::Rng;
use super::{Condition, FaultError, FaultOp, SimConfig, SimStats};
use crate::buf::Slice;
use crate::driver::op::Token;
use crate::moment::Moment;

pub(super) const ROOT: NodeId = 0;
/// Space is given out in these.
const BLOCK: u64 = 4096;

#[derive(Debug)]
pub(super) enum Node {
    Dir(Dir),
    File(Content),
    Ring(Ring),
}

/// The bytes of a write in flight.
#[derive(Clone, Debug)]
pub(super) enum Data {
    /// Read only at completion, so that a caller who changes them too early is found out.
    Live(Slice),
    /// Copied when the disk was forked.
    Copied(Arc<[u8]>),
}

impl Data {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Live(slice) => slice.as_bytes(),
            Self::Copied(bytes) => bytes,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Io {
    Write { at: u64, data: Data, checksum: u32, durable: bool },
    Flush,
}

#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) driver: u64,
    pub(super) token: Token,
    pub(super) node: NodeId,
    pub(super) io: Io,
    pub(super) submitted: u64,
    /// Simulated nanoseconds, then a tie-break.
    pub(super) due: (u64, u64),
    pub(super) fault: Option<FaultError>,
}

/// A fault waiting for its turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) op: FaultOp,
    /// 1: the next one.
    pub(super) countdown: u64,
    pub(super) error: FaultError,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: SimConfig,
    pub(super) rng: Rng,
    pub(super) stats: SimStats,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) next_node: NodeId,
    pub(super) next_driver: u64,
    pub(super) in_flight: Vec<InFlight>,
    /// Rises with every submission and completion, and so orders them.
    pub(super) tick: u64,
    /// Simulated nanoseconds.
    pub(super) now: u64,
    pub(super) frozen: bool,
    pub(super) condition: Condition,
    /// How much all files together may take.
    pub(super) capacity: Option<u64>,
    pub(super) faults: Vec<Fault>,
    /// Ops of a driver that will never complete: which, and how many before.
    pub(super) sticking: Vec<(FaultOp, u64)>,
    /// The files whose data a failed write or flush left in doubt.
    pub(super) doubtful: BTreeSet<NodeId>,
    /// The operation from which on the disk is gone.
    pub(super) break_at: Option<u64>,
    pub(super) locked: bool,
    /// How many hold READERS.
    pub(super) readers: usize,
    pub(super) ops: u64,
    pub(super) kill_at: Option<u64>,
    pub(super) kill_at_moment: Option<(Moment, u64)>,
    pub(super) killed: bool,
    /// The moment at which it was killed, if it was one.
    pub(super) killed_at: Option<Moment>,
}

/// What becomes of a call that may be the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    /// Takes effect, though its caller never hears of it.
    Dies,
}

pub(super) fn killed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "simulated process is dead")
}

impl From<FaultError> for Errno {
    fn from(error: FaultError) -> Self {
        match error {
            FaultError::Io => Self::IO,
            FaultError::NoSpace => Self::NOSPC,
            FaultError::Descriptors => Self::MFILE,
        }
    }
}

impl From<FaultError> for io::Error {
    fn from(error: FaultError) -> Self {
        Errno::from(error).into()
    }
}

/// Whether an operation of this kind fails like this.
fn can_say(op: FaultOp, error: FaultError) -> bool {
    match error {
        FaultError::Io => true,
        FaultError::NoSpace => !matches!(op, FaultOp::Read | FaultOp::Look),
        FaultError::Descriptors => matches!(op, FaultOp::Look | FaultOp::Name | FaultOp::Ring),
    }
}

impl State {
    pub(super) fn new(config: SimConfig) -> Self {
        Self {
            rng: Rng::new(config.seed),
            config,
            stats: SimStats::default(),
            nodes: BTreeMap::from([(ROOT, Node::Dir(Dir::default()))]),
            next_node: ROOT + 1,
            next_driver: 0,
            in_flight: Vec::new(),
            tick: 0,
            now: 0,
            frozen: false,
            condition: Condition::Normal,
            capacity: None,
            faults: Vec::new(),
            sticking: Vec::new(),
            doubtful: BTreeSet::new(),
            break_at: None,
            locked: false,
            readers: 0,
            ops: 0,
            kill_at: None,
            kill_at_moment: None,
            killed: false,
            killed_at: None,
        }
    }

    /// Counts a call and decides whether the process survives it. One that dies in the call may
    /// still have had its effect.
    pub(super) fn enter(&mut self) -> io::Result<Fate> {
        if self.killed {
            return Err(killed());
        }
        if self.kill_at.is_some_and(|last| self.ops >= last) {
            self.stats.killed_at_ops += 1;
            self.kill()?;
            return if self.rng.coin() { Ok(Fate::Dies) } else { Err(killed()) };
        }
        self.ops += 1;
        if self.break_at.is_some_and(|at| self.ops > at) {
            self.condition = Condition::Broken;
        }
        let every = self.config.ring_snapshot_every;
        if every > 0 && self.ops.is_multiple_of(every) {
            self.snapshot_rings()?;
        }
        Ok(Fate::Lives)
    }

    /// The process is dead from now on.
    fn kill(&mut self) -> io::Result<()> {
        self.killed = true;
        self.rings().try_for_each(Ring::end)
    }

    /// The process comes past a moment, and may be killed there.
    pub(super) fn pass_moment(&mut self, moment: Moment) {
        let Some((at, left)) = &mut self.kill_at_moment else { return };
        if self.killed || *at != moment {
            return;
        }
        *left -= 1;
        if *left == 0 {
            self.kill_at_moment = None;
            self.killed_at = Some(moment);
            self.stats.killed_at_moments += 1;
            self.kill().expect("a ring's memory can be read");
        }
    }

    fn rings(&mut self) -> impl Iterator<Item = &mut Ring> {
        self.nodes.values_mut().filter_map(|node| match node {
            Node::Ring(ring) => Some(ring),
            _ => None,
        })
    }

    pub(super) fn snapshot_rings(&mut self) -> io::Result<()> {
        self.rings().try_for_each(Ring::snapshot)
    }

    pub(super) fn next_tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    /// Whether a fault hits the operation that starts now.
    pub(super) fn fault(&mut self, op: FaultOp) -> Option<FaultError> {
        let mut hit = None;
        let meant = |fault: &&mut Fault| {
            fault.op == op || fault.op == FaultOp::Any && can_say(op, fault.error)
        };
        for fault in self.faults.iter_mut().filter(meant) {
            fault.countdown -= 1;
            if fault.countdown == 0 {
                hit = Some(fault.error);
            }
        }
        self.faults.retain(|fault| fault.countdown > 0);
        if let Some(error) = hit {
            let stats = &mut self.stats;
            match op {
                // Counted when they end.
                FaultOp::Any | FaultOp::Write | FaultOp::Flush => return hit,
                FaultOp::Allocate => stats.failed_allocations += 1,
                FaultOp::SyncDir => stats.failed_dir_syncs += 1,
                FaultOp::Read => stats.failed_reads += 1,
                FaultOp::Name => stats.failed_names += 1,
                FaultOp::Look => stats.failed_looks += 1,
                FaultOp::Ring => stats.failed_rings += 1,
            }
            stats.count_error(error.into());
        }
        hit
    }

    pub(super) fn check_fault(&mut self, op: FaultOp) -> io::Result<()> {
        self.fault(op).map_or(Ok(()), |error| Err(error.into()))
    }

    /// Whether a change of names, which could be made, fails; one that says so may be made all the
    /// same.
    pub(super) fn name(
        &mut self,
        make: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(error) = self.fault(FaultOp::Name) else { return make(self) };
        if error == FaultError::Io && self.rng.coin() {
            self.stats.failed_names_done += 1;
            make(self)?;
        }
        Err(error.into())
    }

    /// Whether a write or flush that would succeed fails.
    pub(super) fn data_fault(
        &mut self,
        fault: Option<FaultError>,
        needs_space: bool,
    ) -> io::Result<()> {
        self.check_condition(needs_space)?;
        fault.map_or(Ok(()), |error| {
            self.stats.count_error(error.into());
            Err(error.into())
        })
    }

    /// What the files that have a name take, in whole blocks.
    pub(super) fn used(&self) -> u64 {
        let named: BTreeMap<NodeId, u64> = self
            .paths()
            .into_iter()
            .map(|(_, id)| match &self.nodes[&id] {
                Node::File(content) => (id, content.len()),
                Node::Ring(ring) => (id, ring.len()),
                Node::Dir(_) => (id, 0),
            })
            .collect();
        named.values().map(|len| len.next_multiple_of(BLOCK)).sum()
    }

    /// Whether a file of `from` bytes may have `to`.
    pub(super) fn check_growth(&mut self, from: u64, to: u64) -> io::Result<()> {
        let more = to.next_multiple_of(BLOCK).saturating_sub(from.next_multiple_of(BLOCK));
        if more > 0 && self.capacity.is_some_and(|capacity| self.used() + more > capacity) {
            self.stats.count_error(Errno::NOSPC);
            return Err(Errno::NOSPC.into());
        }
        Ok(())
    }

    /// Whether something may be changed, or added.
    pub(super) fn check_condition(&mut self, needs_space: bool) -> io::Result<()> {
        let error = match self.condition {
            Condition::ReadOnly => Errno::ROFS,
            Condition::Full if needs_space => Errno::NOSPC,
            Condition::Broken => Errno::IO,
            Condition::Normal | Condition::Full => return Ok(()),
        };
        self.stats.count_error(error);
        Err(error.into())
    }

    pub(super) fn add(&mut self, node: Node) -> NodeId {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, node);
        id
    }

    pub(super) fn dir(&mut self, id: NodeId) -> io::Result<&mut Dir> {
        match self.nodes.get_mut(&id) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(_) => Err(Errno::NOTDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub(super) fn file(&mut self, id: NodeId) -> io::Result<&mut Content> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(content)) => Ok(content),
            Some(_) => Err(Errno::INVAL.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub(super) fn find(&mut self, path: &str) -> io::Result<NodeId> {
        let mut at = ROOT;
        if path.is_empty() {
            return Ok(at);
        }
        for name in path.split('/') {
            at = self.dir(at)?.get(name).ok_or(Errno::NOENT)?;
        }
        Ok(at)
    }

    /// The directory and the last name of a path.
    pub(super) fn parent<'a>(&mut self, path: &'a str) -> io::Result<(NodeId, &'a str)> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Err(Errno::INVAL.into());
        }
        let dir = self.find(dir)?;
        self.dir(dir)?;
        Ok((dir, name))
    }

    /// A flush of `node`, submitted at tick `before`, has done its work.
    pub(super) fn flushed(&mut self, node: NodeId, before: u64) -> io::Result<()> {
        self.file(node)?.flush(before);
        self.empty_cache(before);
        Ok(())
    }

    /// On a disk without FUA every flush empties the whole cache.
    pub(super) fn empty_cache(&mut self, before: u64) {
        if self.config.fua {
            return;
        }
        self.stats.caches_emptied += 1;
        for node in self.nodes.values_mut() {
            if let Node::File(content) = node {
                content.flush_data(before);
            }
        }
    }

    /// A write fails; unless it was refused, it leaves any of its sectors.
    pub(super) fn write_failed(&mut self, node: NodeId, data: &[u8], at: u64) {
        self.stats.failed_writes += 1;
        self.doubtful.insert(node);
        if matches!(self.condition, Condition::ReadOnly | Condition::Full) {
            return;
        }
        let (kept, whole) = self.land_torn(node, data, at);
        self.stats.failed_writes_torn += u64::from(kept > 0 && kept < whole);
    }

    /// A flush of `node` fails.
    pub(super) fn flush_failed(&mut self, node: NodeId, before: u64) {
        self.stats.failed_flushes += 1;
        self.doubtful.insert(node);
        if self.condition == Condition::ReadOnly {
            return;
        }
        if let Some(Node::File(content)) = self.nodes.get_mut(&node) {
            content.fail_flush(before, &mut self.rng);
        }
    }

    /// A write completes in part: it failed, or its process died in it.
    pub(super) fn land_torn(&mut self, node: NodeId, data: &[u8], at: u64) -> (usize, usize) {
        let tick = self.next_tick();
        let Some(Node::File(content)) = self.nodes.get_mut(&node) else { return (0, 0) };
        let cut = content.cut(data, at);
        let whole = cut.sectors.len();
        let torn = content.tear(cut, &mut self.rng);
        let kept = torn.sectors.len();
        if kept > 0 {
            content.land(torn, tick);
        }
        (kept, whole)
    }
}
