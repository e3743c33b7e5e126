//! The bytes of one file, in sectors: what readers see, what is stable, and the writes in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rng::Rng;
use super::stats::SimStats;
use crate::checksum;

/// One sector's bytes; `None` for zeros.
pub(super) type Sector = Option<Arc<[u8]>>;
type Sectors = BTreeMap<u64, Arc<[u8]>>;

/// A write cut into sectors.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// Where the write ends in the file, in bytes.
    pub(super) end: u64,
    pub(super) sectors: Vec<(u64, Sector)>,
}

#[derive(Clone, Debug)]
struct Pending {
    /// The disk's tick at completion; the list is sorted by it.
    completed: u64,
    cut: Cut,
}

#[derive(Clone, Debug)]
pub(super) struct Content {
    sector: usize,
    visible: Sectors,
    stable: Sectors,
    pending: Vec<Pending>,
    len: u64,
    stable_len: u64,
    /// Lengths since the last flush with their ticks, rising.
    pending_lens: Vec<(u64, u64)>,
    /// Sectors that a failed flush gave up: still in the page cache, not on the way to the disk.
    given_up: BTreeSet<u64>,
}

fn put(sectors: &mut Sectors, index: u64, bytes: Sector) {
    match bytes {
        Some(bytes) => drop(sectors.insert(index, bytes)),
        None => drop(sectors.remove(&index)),
    }
}

impl Content {
    pub(super) fn new(sector: usize) -> Self {
        Self {
            sector,
            visible: Sectors::new(),
            stable: Sectors::new(),
            pending: Vec::new(),
            len: 0,
            stable_len: 0,
            pending_lens: Vec::new(),
            given_up: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read(&self, buf: &mut [u8], at: u64) -> usize {
        let len = (buf.len() as u64).min(self.len.saturating_sub(at)) as usize;
        let mut done = 0;
        while done < len {
            let (index, start) = self.place(at + done as u64);
            let part = (self.sector - start).min(len - done);
            let out = &mut buf[done..done + part];
            match self.visible.get(&index) {
                Some(bytes) => out.copy_from_slice(&bytes[start..start + part]),
                None => out.fill(0),
            }
            done += part;
        }
        len
    }

    fn place(&self, at: u64) -> (u64, usize) {
        let sector = self.sector as u64;
        (at / sector, (at % sector) as usize)
    }

    /// Cuts a write into sectors; the rest of a sector covered in part is what is visible now, as
    /// the page cache has it.
    pub(super) fn cut(&self, data: &[u8], at: u64) -> Cut {
        let mut sectors = Vec::with_capacity(data.len() / self.sector + 2);
        let mut done = 0;
        while done < data.len() {
            let (index, start) = self.place(at + done as u64);
            let part = (self.sector - start).min(data.len() - done);
            let mut bytes = match self.visible.get(&index) {
                Some(bytes) if part < self.sector => bytes.to_vec(),
                _ => vec![0; self.sector],
            };
            bytes[start..start + part].copy_from_slice(&data[done..done + part]);
            let zeros = bytes.iter().all(|byte| *byte == 0);
            sectors.push((index, (!zeros).then(|| bytes.into())));
            done += part;
        }
        Cut { end: at + data.len() as u64, sectors }
    }

    /// Leaves any subset of the sectors.
    pub(super) fn tear(&self, mut cut: Cut, rng: &mut Rng) -> Cut {
        let mut kept = rng.subset(cut.sectors.len()).into_iter();
        cut.sectors.retain(|_| kept.next().unwrap_or(false));
        // The length follows the last sector that landed.
        let sector = self.sector as u64;
        cut.end = cut.sectors.last().map_or(0, |(index, _)| ((index + 1) * sector).min(cut.end));
        cut
    }

    fn show(&mut self, cut: &Cut, tick: u64) {
        for (index, bytes) in &cut.sectors {
            put(&mut self.visible, *index, bytes.clone());
            self.given_up.remove(index);
        }
        self.grow(cut.end, tick);
    }

    /// Lengthens to `len` if that is longer; not stable before a flush.
    pub(super) fn grow(&mut self, len: u64, tick: u64) {
        if len > self.len {
            self.len = len;
            self.pending_lens.push((tick, len));
        }
    }

    /// A write completes.
    pub(super) fn land(&mut self, cut: Cut, tick: u64) {
        self.show(&cut, tick);
        self.pending.push(Pending { completed: tick, cut });
    }

    /// A durable write completes: its sectors and the length they need, nothing below.
    pub(super) fn land_durable(&mut self, cut: &Cut, tick: u64) {
        self.show(cut, tick);
        let written: BTreeSet<u64> = cut.sectors.iter().map(|(index, _)| *index).collect();
        // An older version of a sector cannot come back over a newer one that is stable.
        for pending in &mut self.pending {
            pending.cut.sectors.retain(|(index, _)| !written.contains(index));
        }
        self.pending.retain(|pending| !pending.cut.sectors.is_empty());
        for (index, bytes) in &cut.sectors {
            put(&mut self.stable, *index, bytes.clone());
        }
        self.stabilise_len(cut.end);
    }

    fn stabilise_len(&mut self, len: u64) {
        self.stable_len = self.stable_len.max(len);
        let stable = self.stable_len;
        self.pending_lens.retain(|(_, len)| *len > stable);
    }

    fn take_completed(&mut self, before: u64) -> Vec<Pending> {
        let end = self.pending.partition_point(|pending| pending.completed < before);
        self.pending.drain(..end).collect()
    }

    /// A flush that was submitted at tick `before` completes.
    pub(super) fn flush(&mut self, before: u64) {
        self.flush_data(before);
        let len = self.pending_lens.iter().rfind(|(tick, _)| *tick < before).map(|(_, len)| *len);
        self.stabilise_len(len.unwrap_or(0));
    }

    /// Only the data becomes stable, as when another file's flush empties the device's cache.
    pub(super) fn flush_data(&mut self, before: u64) {
        for pending in self.take_completed(before) {
            for (index, bytes) in pending.cut.sectors {
                put(&mut self.stable, index, bytes);
            }
        }
    }

    /// A flush fails: some sectors may have made it, the others are marked clean and never written,
    /// so that the next flush succeeds. The page cache may go on showing them, or read them anew.
    pub(super) fn fail_flush(&mut self, before: u64, rng: &mut Rng) {
        for pending in self.take_completed(before) {
            let kept = if rng.coin() { rng.subset(pending.cut.sectors.len()) } else { Vec::new() };
            for (i, (index, bytes)) in pending.cut.sectors.into_iter().enumerate() {
                if kept.get(i).copied().unwrap_or(false) {
                    put(&mut self.stable, index, bytes);
                    self.given_up.remove(&index);
                } else {
                    self.given_up.insert(index);
                }
            }
        }
        self.forget_newer_pending();
        self.evict(rng);
    }

    /// A sector with a newer write under way is not given up.
    fn forget_newer_pending(&mut self) {
        for (index, _) in self.pending.iter().flat_map(|pending| &pending.cut.sectors) {
            self.given_up.remove(index);
        }
    }

    /// The page cache may drop what a failed flush gave up, at any time.
    pub(super) fn evict(&mut self, rng: &mut Rng) {
        let gone: Vec<u64> = self.given_up.iter().copied().collect();
        for (index, kept) in gone.iter().zip(rng.subset(gone.len())) {
            if !kept {
                put(&mut self.visible, *index, self.stable.get(index).cloned());
                self.given_up.remove(index);
            }
        }
    }

    /// The power fails while `in_flight` are under way.
    pub(super) fn lose_power(&mut self, in_flight: Vec<Cut>, rng: &mut Rng, stats: &mut SimStats) {
        let completed = std::mem::take(&mut self.pending);
        for pending in completed {
            let whole = pending.cut.sectors.len();
            let torn = self.tear(pending.cut, rng);
            match torn.sectors.len() {
                kept if kept == whole => stats.unstable_kept += 1,
                0 => stats.unstable_dropped += 1,
                _ => stats.unstable_torn += 1,
            }
            self.make_stable(torn);
        }
        for cut in in_flight {
            let whole = cut.sectors.len();
            let torn = self.tear(cut, rng);
            stats.count_in_flight(torn.sectors.len(), whole);
            if !torn.sectors.is_empty() {
                self.pending_lens.push((0, torn.end));
            }
            self.make_stable(torn);
        }
        let choice = rng.index(self.pending_lens.len() + 1);
        let len = self.pending_lens.get(choice).map_or(self.stable_len, |(_, len)| *len);
        self.settle(len.max(self.stable_len), stats);
    }

    fn make_stable(&mut self, cut: Cut) {
        for (index, bytes) in cut.sectors {
            put(&mut self.stable, index, bytes);
        }
    }

    /// After a power loss what is stable is all there is.
    fn settle(&mut self, len: u64, stats: &mut SimStats) {
        if len < self.len {
            stats.lengths_lost += 1;
        }
        self.pending_lens.clear();
        self.given_up.clear();
        self.visible = std::mem::take(&mut self.stable);
        self.truncate(len);
    }

    /// Cuts or extends to `len`, with everything visible made stable: an outside hand, not an op.
    pub(super) fn truncate(&mut self, len: u64) {
        let (index, start) = self.place(len);
        drop(self.visible.split_off(&(index + 1)));
        if let Some(mut bytes) = self.visible.remove(&index).map(|bytes| bytes.to_vec()) {
            bytes[start..].fill(0);
            if bytes.iter().any(|byte| *byte != 0) {
                self.visible.insert(index, bytes.into());
            }
        }
        self.pending.clear();
        self.pending_lens.clear();
        self.given_up.clear();
        self.stable = self.visible.clone();
        (self.len, self.stable_len) = (len, len);
    }

    /// Flips bits of one byte wherever a version of it is kept.
    pub(super) fn corrupt(&mut self, at: u64, xor: u8) {
        let (index, start) = self.place(at);
        let sector = self.sector;
        let flip = |bytes: Sector| {
            let mut bytes = bytes.map_or_else(|| vec![0; sector], |bytes| bytes.to_vec());
            bytes[start] ^= xor;
            Some(Arc::from(bytes))
        };
        for sectors in [&mut self.visible, &mut self.stable] {
            let bytes = sectors.get(&index).cloned();
            put(sectors, index, flip(bytes));
        }
        for (i, bytes) in self.pending.iter_mut().flat_map(|pending| &mut pending.cut.sectors) {
            if *i == index {
                *bytes = flip(bytes.take());
            }
        }
    }

    /// Everything that tells this content from another.
    pub(super) fn digest(&self, mut add: impl FnMut(u64)) {
        add(self.len);
        add(self.stable_len);
        for sectors in [&self.visible, &self.stable] {
            add(sectors.len() as u64);
            for (index, bytes) in sectors {
                add(*index);
                add(u64::from(checksum::crc32c(bytes)));
            }
        }
    }
}
