//! The entries of one directory: what callers see, what is stable, and the changes in between.

use std::collections::BTreeMap;

use super::rng::Rng;
use super::stats::SimStats;

/// Names a file, ring or directory for the disk's life.
pub(super) type NodeId = u64;
type Entries = BTreeMap<String, NodeId>;

#[derive(Clone, Debug)]
enum Change {
    Set {
        name: String,
        node: NodeId,
    },
    Remove {
        name: String,
        node: NodeId,
    },
    /// One change, so that a power loss finds the file under exactly one of its names.
    Rename {
        from: String,
        to: String,
        node: NodeId,
    },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Dir {
    visible: Entries,
    stable: Entries,
    pending: Vec<Change>,
}

fn apply(entries: &mut Entries, change: Change) {
    match change {
        Change::Set { name, node } => drop(entries.insert(name, node)),
        Change::Remove { name, node } => {
            // The entry may be another file's by now, if a change in between was lost.
            if entries.get(&name) == Some(&node) {
                entries.remove(&name);
            }
        }
        Change::Rename { from, to, node } => {
            if entries.get(&from) == Some(&node) {
                entries.remove(&from);
            }
            entries.insert(to, node);
        }
    }
}

impl Dir {
    pub(super) fn get(&self, name: &str) -> Option<NodeId> {
        self.visible.get(name).copied()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&String, NodeId)> {
        self.visible.iter().map(|(name, node)| (name, *node))
    }

    pub(super) fn stable_entries(&self) -> impl Iterator<Item = (&String, NodeId)> {
        self.stable.iter().map(|(name, node)| (name, *node))
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.visible, change.clone());
        self.pending.push(change);
    }

    /// Adds or replaces an entry.
    pub(super) fn set(&mut self, name: &str, node: NodeId) {
        self.change(Change::Set { name: name.to_owned(), node });
    }

    pub(super) fn remove(&mut self, name: &str, node: NodeId) {
        self.change(Change::Remove { name: name.to_owned(), node });
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, node: NodeId) {
        if from != to {
            self.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), node });
        }
    }

    pub(super) fn sync(&mut self) {
        self.pending.clear();
        self.stable = self.visible.clone();
    }

    /// Each unsynced change is kept or lost on its own; the kept ones take effect in order.
    pub(super) fn lose_power(&mut self, rng: &mut Rng, stats: &mut SimStats) {
        let pending = std::mem::take(&mut self.pending);
        let kept = rng.subset(pending.len());
        for (change, kept) in pending.into_iter().zip(kept) {
            if kept {
                stats.entries_kept += 1;
                apply(&mut self.stable, change);
            } else {
                stats.entries_lost += 1;
            }
        }
        self.visible = self.stable.clone();
    }
}
