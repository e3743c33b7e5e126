//! A ring file: memory that real mappings share, and older pictures of it for power losses.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::MemfdFlags;

use super::rng::Rng;
use super::stats::SimStats;
use crate::buf::RingMap;
use crate::limits::RING_CONTROL_BYTES;

/// The unit in which the kernel writes a mapping back.
const PAGE_BYTES: usize = 4096;
/// More pictures than this are not remembered; the oldest goes.
const SNAPSHOTS_MAX: usize = 6;

#[derive(Debug)]
pub(super) struct Ring {
    fd: OwnedFd,
    file_len: usize,
    snapshots: VecDeque<Arc<[u8]>>,
    /// What its process left, once that was killed.
    left: Option<Arc<[u8]>>,
}

impl Ring {
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let file_len = RING_CONTROL_BYTES + len;
        Self::of(&vec![0; file_len])
    }

    fn of(bytes: &[u8]) -> io::Result<Self> {
        let fd = rustix::fs::memfd_create("ringlog-sim-ring", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&fd, bytes.len() as u64)?;
        let ring = Self { fd, file_len: bytes.len(), snapshots: VecDeque::new(), left: None };
        ring.write(bytes, 0)?;
        Ok(ring)
    }

    /// Memory of its own with the same bytes, so that stores through old mappings stay outside.
    pub(super) fn duplicate(&self) -> io::Result<Self> {
        Ok(Self { snapshots: self.snapshots.clone(), ..Self::of(&self.bytes()?)? })
    }

    pub(super) fn map(&self) -> io::Result<RingMap> {
        RingMap::map(&self.fd, self.file_len.saturating_sub(RING_CONTROL_BYTES))
    }

    pub(super) fn len(&self) -> u64 {
        self.file_len as u64
    }

    pub(super) fn read(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match rustix::io::pread(&self.fd, &mut buf[done..], at + done as u64)? {
                0 => break,
                more => done += more,
            }
        }
        Ok(done)
    }

    pub(super) fn write(&self, data: &[u8], at: u64) -> io::Result<()> {
        let mut done = 0;
        while done < data.len() {
            done += rustix::io::pwrite(&self.fd, &data[done..], at + done as u64)?;
        }
        Ok(())
    }

    /// The process is killed: nothing that is stored from now on is found by its successor.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.left = Some(self.bytes()?.into());
        Ok(())
    }

    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        if let Some(left) = &self.left {
            return Ok(left.to_vec());
        }
        let mut bytes = vec![0; self.file_len];
        self.read(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Remembers the ring as it is now.
    pub(super) fn snapshot(&mut self) -> io::Result<()> {
        let bytes = self.bytes()?;
        if self.snapshots.back().is_some_and(|last| **last == *bytes) {
            return Ok(());
        }
        if self.snapshots.len() == SNAPSHOTS_MAX {
            self.snapshots.pop_front();
        }
        self.snapshots.push_back(bytes.into());
        Ok(())
    }

    /// Every page comes back as it is, as it once was, or as zeros: nothing orders write-back, so
    /// that laps of the ring may come back mixed.
    pub(super) fn lose_power(
        &mut self,
        may_shrink: bool,
        rng: &mut Rng,
        stats: &mut SimStats,
    ) -> io::Result<()> {
        let current: Arc<[u8]> = self.bytes()?.into();
        let mut versions: Vec<Arc<[u8]>> = self.snapshots.iter().cloned().collect();
        versions.push(current.clone());
        versions.push(vec![0; self.file_len].into());
        let (newest, zero) = (versions.len() - 2, versions.len() - 1);
        // Half of the time one version for all pages, else a mixture.
        let uniform = rng.coin().then(|| rng.index(versions.len()));
        let mut outcome = vec![0; self.file_len];
        for (i, page) in outcome.chunks_mut(PAGE_BYTES).enumerate() {
            let version = uniform.unwrap_or_else(|| rng.index(versions.len()));
            let start = i * PAGE_BYTES;
            page.copy_from_slice(&versions[version][start..start + page.len()]);
            match version {
                version if version == newest => stats.ring_pages_current += 1,
                version if version == zero => stats.ring_pages_zero += 1,
                _ => stats.ring_pages_old += 1,
            }
        }
        if may_shrink && rng.below(16) == 0 {
            stats.rings_short += 1;
            outcome.truncate(rng.index(self.file_len / PAGE_BYTES) * PAGE_BYTES);
        }
        *self = Self::of(&outcome)?;
        self.snapshot()
    }
}
