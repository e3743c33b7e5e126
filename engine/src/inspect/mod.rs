//! Looking at a data directory without opening it: what lies there, byte for byte, and whether it
//! is whole. Nothing is recovered, repaired or created; the only thing written is the holder's pid
//! in LOCK, where the directory may be written at all.
//!
//! Damage does not end a walk: it is reported where it is, and the walk goes on at the next place
//! that proves itself. [`verify`](Inspector::verify) reads everything and says what it found.

mod info;
mod item;
mod layout;
mod names;
mod ring;
mod verify;
mod walk;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Options;
use crate::driver::disk::{DiskRef, LockGuard};
use crate::driver::os::OsDisk;
use crate::engine::open;
use crate::error::{Error, Result};
use crate::format::engine_meta::EngineMeta;
use crate::ids::LogId;

pub use info::{
    CheckpointInfo, DirectoryInfo, End, Finding, IndexInfo, LogInfo, Report, RingInfo, SegmentInfo,
    SegmentState, Severity, TopicEntry, Totals,
};
pub use item::{BatchInfo, Body, FrameInfo, GroupInfo, Item};

use layout::{Layout, log_dirs};
use names::Names;

/// A data directory that is being looked at. Holds the writer's lock while it lives, so that
/// nothing changes meanwhile; on a read-only directory it goes without.
///
/// ```
/// # fn main() -> Result<(), ringlog::Error> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let engine = ringlog::Engine::options().open(dir.path())?;
/// # engine.close(std::time::Duration::from_secs(9))?;
/// let inspector = ringlog::inspect::Inspector::open(dir.path())?;
/// let report = inspector.verify(&mut |_done_bytes, _total_bytes| {})?;
/// assert!(report.is_whole());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Inspector {
    disk: DiskRef,
    meta: EngineMeta,
    lock: Option<LockGuard>,
}

impl Inspector {
    /// Takes the directory's lock where it can be written, and looks at what it says of itself.
    /// Blocks, a moment; up to five seconds while the kernel finishes a dead writer's I/O.
    ///
    /// # Errors
    /// [`Error::Locked`] names the writer; [`Error::NotADataDirectory`],
    /// [`Error::UnsupportedFormat`] and [`Error::Corrupt`] (both copies of engine.meta) as
    /// [`Options::open`] gives them; [`Error::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let disk: DiskRef = Arc::new(OsDisk::open(path.as_ref(), false)?);
        // Before the lock: a directory that is not ours gets no LOCK.
        let Some(meta) = open::read_meta(&*disk)? else {
            open::refuse_strangers(&disk)?;
            let reason = "engine.meta is not there".to_owned();
            return Err(Error::NotADataDirectory { path: disk.root().to_path_buf(), reason });
        };
        let lock = match disk.lock(Duration::ZERO) {
            Err(Error::Locked { alive: false, .. }) => {
                disk.lock(Options::default().lock_timeout).map(Some)
            }
            Err(Error::ReadOnly { .. }) => Ok(None),
            held => held.map(Some),
        }?;
        Ok(Self { disk, meta, lock })
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        self.disk.root()
    }

    /// Whether it holds the lock; if not, the directory is read-only, and a writer with more rights
    /// may change it meanwhile.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// What engine.meta says, and the topics as far as the metadata log can be read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn directory(&self) -> Result<DirectoryInfo> {
        let names = Names::load(&self.disk)?;
        Ok(DirectoryInfo {
            path: self.path().to_path_buf(),
            uuid: self.meta.uuid,
            created_ms: self.meta.created_ms,
            format_version: crate::format::FORMAT_VERSION,
            locked: self.is_locked(),
            topics: names.topics(),
        })
    }

    /// Every log with its files: the metadata log, 0, first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn logs(&self) -> Result<Vec<LogInfo>> {
        let names = Names::load(&self.disk)?;
        let logs = log_dirs(&*self.disk)?.into_iter();
        logs.map(|id| Ok(Layout::read(&*self.disk, id)?.info(&self.disk, &names))).collect()
    }

    /// Walks the log `log` from its first live segment to its end: every segment, group, frame and
    /// damaged place, in the order of positions, then the [`Item::End`]. One group is in memory at
    /// a time. `visit` may break off.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no such log, [`Error::Io`] if its directory cannot be
    /// read, and what `visit` fails with. Damage is an item, not an error.
    pub fn walk(
        &self,
        log: u32,
        visit: &mut dyn FnMut(Item<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let id = LogId(log);
        if !log_dirs(&*self.disk)?.contains(&id) {
            return Err(Error::invalid("log", format!("there is no {}", id.dir())));
        }
        let names = Names::load(&self.disk)?;
        let layout = Layout::read(&*self.disk, id)?;
        item::walk(&self.disk, &layout, &names, visit)
    }

    /// Reads the whole directory and reports all that is not as it was written. `progress` hears
    /// how many bytes of how many are done.
    ///
    /// # Errors
    /// [`Error::Io`] if a directory cannot be listed. A file that cannot be read is a finding.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Report> {
        verify::run(&self.disk, progress)
    }
}
