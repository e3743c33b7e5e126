//! The end of a process or of the power, and what the next one finds.

use std::collections::{BTreeMap, BTreeSet};

use super::dir::NodeId;
use super::disk::SimDisk;
use super::file::Cut;
use super::rng::Rng;
use super::state::{Data, InFlight, Io, Node, ROOT, State};
use super::{Crash, SimStats};
use crate::checksum;

impl SimDisk {
    /// Ends this disk's process, or the power, and hands out what the next process finds: faults,
    /// freeze, kill switch and lock are gone. This disk and all that was opened on it are dead.
    ///
    /// # Panics
    /// If the system has no memory for the rings.
    #[must_use = "the disk to reopen is the new one"]
    pub fn crash(&self, crash: Crash) -> Self {
        let mut state = self.shared.state.lock();
        let mut next = state.duplicate();
        next.stats = state.stats;
        state.killed = true;
        state.in_flight.clear();
        drop(state);
        next.crash(crash);
        Self::of(next)
    }

    /// A deep copy with chance of its own, nobody's: no lock, no kill switch, and the ops in flight
    /// wait for a crash. Many crashes can be tried from one point in time.
    ///
    /// # Panics
    /// If the system has no memory for the rings.
    #[must_use = "this disk goes on unchanged"]
    pub fn fork(&self, seed: u64) -> Self {
        let mut next = self.shared.state.lock().duplicate();
        next.rng = Rng::new(seed);
        Self::of(next)
    }

    /// A hash of everything visible and stable and of all names, to compare two runs.
    pub fn digest(&self) -> u64 {
        self.shared.state.lock().digest()
    }
}

impl State {
    fn duplicate(&self) -> Self {
        let copy = |node: &Node| match node {
            Node::Dir(dir) => Node::Dir(dir.clone()),
            Node::File(content) => Node::File(content.clone()),
            Node::Ring(ring) => Node::Ring(ring.duplicate().expect("memory for a simulated ring")),
        };
        let mut in_flight = self.in_flight.clone();
        for op in &mut in_flight {
            if let Io::Write { data, .. } = &mut op.io {
                *data = Data::Copied(data.bytes().into());
            }
        }
        Self {
            config: self.config.clone(),
            rng: self.rng.clone(),
            stats: SimStats::default(),
            nodes: self.nodes.iter().map(|(id, node)| (*id, copy(node))).collect(),
            in_flight,
            faults: self.faults.clone(),
            sticking: self.sticking.clone(),
            doubtful: self.doubtful.clone(),
            locked: false,
            readers: 0,
            kill_at: None,
            kill_at_moment: None,
            killed: false,
            killed_at: None,
            ..*self
        }
    }

    fn crash(&mut self, crash: Crash) {
        self.faults.clear();
        self.sticking.clear();
        self.doubtful.clear();
        self.break_at = None;
        self.frozen = false;
        self.ops = 0;
        match crash {
            Crash::Process => {
                self.stats.process_kills += 1;
                self.abandon(|_| true);
                self.evict();
            }
            Crash::Power => {
                self.stats.power_losses += 1;
                self.lose_power();
            }
        }
    }

    /// Some ops' process is gone: each lands whole, in part or not at all, in any order, now.
    pub(super) fn abandon(&mut self, which: impl Fn(&InFlight) -> bool) {
        let (mut gone, rest) = std::mem::take(&mut self.in_flight).into_iter().partition(which);
        self.in_flight = rest;
        let gone: &mut Vec<InFlight> = &mut gone;
        self.rng.shuffle(gone);
        for op in gone {
            match &op.io {
                Io::Write { at, data, .. } => {
                    // Nobody heard of it, so even a durable one promises nothing.
                    let (kept, whole) = self.land_torn(op.node, data.bytes(), *at);
                    self.stats.count_in_flight(kept, whole);
                }
                Io::Flush if self.rng.coin() => {
                    // A file removed meanwhile has nothing to flush.
                    let _ = self.complete(op);
                }
                Io::Flush => {}
            }
        }
    }

    fn evict(&mut self) {
        for node in self.nodes.values_mut() {
            if let Node::File(content) = node {
                content.evict(&mut self.rng);
            }
        }
    }

    fn lose_power(&mut self) {
        let mut in_flight = std::mem::take(&mut self.in_flight);
        self.rng.shuffle(&mut in_flight);
        let mut cuts: BTreeMap<NodeId, Vec<Cut>> = BTreeMap::new();
        for op in &in_flight {
            if let (Io::Write { at, data, .. }, Some(Node::File(content))) =
                (&op.io, self.nodes.get(&op.node))
            {
                cuts.entry(op.node).or_default().push(content.cut(data.bytes(), *at));
            }
        }
        let (chance, stats) = (&mut self.rng, &mut self.stats);
        for (id, node) in &mut self.nodes {
            match node {
                Node::Dir(dir) => dir.lose_power(chance, stats),
                Node::File(content) => {
                    content.lose_power(cuts.remove(id).unwrap_or_default(), chance, stats);
                }
                Node::Ring(ring) => ring
                    .lose_power(self.config.ring_may_shrink, chance, stats)
                    .expect("memory for a simulated ring"),
            }
        }
        self.sweep();
    }

    /// Forgets what no entry leads to any more.
    fn sweep(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut todo = vec![ROOT];
        while let Some(id) = todo.pop() {
            if let Some(Node::Dir(dir)) = self.nodes.get(&id) {
                let new = dir.entries().map(|(_, node)| node).filter(|node| reached.insert(*node));
                todo.extend(new);
            }
        }
        self.nodes.retain(|id, _| reached.contains(id));
    }

    fn digest(&self) -> u64 {
        // FNV-1a over words: stable, and collisions are no threat here.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |word: u64| hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        for (id, node) in &self.nodes {
            add(*id);
            match node {
                Node::Dir(dir) => {
                    for (name, node) in dir.entries().chain(dir.stable_entries()) {
                        add(u64::from(checksum::crc32c(name.as_bytes())));
                        add(node);
                    }
                }
                Node::File(content) => content.digest(&mut add),
                Node::Ring(ring) => {
                    let bytes = ring.bytes().expect("a ring's memory can be read");
                    add(u64::from(checksum::crc32c(&bytes)));
                }
            }
        }
        hash
    }
}
