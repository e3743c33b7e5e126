//! Looking at a data directory without opening it: what lies there, byte for byte, and whether it
//! is whole; and [`Repair`], for one that is not. To look, nothing is locked, recovered, repaired
//! or created, so it works beside a writer too: the end of a log that grows meanwhile is no damage,
//! nor is a segment that is retired meanwhile.
//!
//! Damage does not end a walk: it is reported where it is, and the walk goes on at the next place
//! that proves itself. [`verify`](Inspector::verify) reads everything and says what it found.

mod info;
mod item;
mod layout;
mod names;
mod repair;
mod ring;
mod verify;
mod walk;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::driver::disk::{Disk, DiskRef, ReadersGuard, io_error};
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
pub use repair::{Loss, Plan, Repair, Salvaged, Step};

use layout::{Layout, log_dirs};
use names::Names;

/// A data directory that is being looked at. While it lives nothing that it reads is recycled; a
/// writer may come, go on and end as it likes.
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
    /// Nothing that is read here is recycled meanwhile.
    _held: Option<ReadersGuard>,
}

impl Inspector {
    /// Looks at what the directory says of itself.
    ///
    /// # Errors
    /// [`Error::NotADataDirectory`], [`Error::UnsupportedFormat`] and [`Error::Corrupt`] (both
    /// copies of engine.meta) as [`Options::open`](crate::Options::open) gives them; [`Error::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::look_at(Arc::new(OsDisk::open_to_read(path.as_ref())?))
    }

    /// As [`open`](Self::open), at a simulated disk.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[cfg(feature = "sim")]
    pub fn open_simulated(disk: &crate::driver::sim::SimDisk) -> Result<Self> {
        Self::look_at(Arc::new(disk.clone()))
    }

    fn look_at(disk: DiskRef) -> Result<Self> {
        let Some(meta) = open::read_meta(&*disk)? else {
            open::refuse_strangers(&disk)?;
            let reason = "engine.meta is not there".to_owned();
            return Err(Error::NotADataDirectory { path: disk.root().to_path_buf(), reason });
        };
        let held = disk.hold_readers();
        let held = held.map_err(io_error(&*disk, "hold", "READERS"))?;
        Ok(Self { disk, meta, _held: held })
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        self.disk.root()
    }

    /// Whether somebody writes there now; what is at the end of the logs may then change.
    pub fn has_writer(&self) -> bool {
        is_live(&*self.disk)
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
            has_writer: self.has_writer(),
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

/// Whether somebody writes in the directory; also if that cannot be known.
fn is_live(disk: &dyn Disk) -> bool {
    disk.has_writer().unwrap_or(true)
}
