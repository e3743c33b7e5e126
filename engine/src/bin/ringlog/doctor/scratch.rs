//! A directory to try things in, on the filesystem of the data, gone whatever happens short of
//! SIGKILL. Never inside a data directory unless there is no other place on its filesystem.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringlog::{Capabilities, Error, Flush, TopicSpec};

use super::super::args::Place;
use super::super::exit::{Exit, Failure};

/// The directory itself, or the nearest one above that is there.
pub(crate) fn nearest(data: &Path) -> Result<PathBuf, Failure> {
    let failed = |path: &Path, error| {
        Failure::new(Exit::Failed, format_args!("{}: {error}", path.display()))
    };
    let data = std::path::absolute(data).map_err(|error| failed(data, error))?;
    for dir in data.ancestors() {
        match fs::metadata(dir) {
            Ok(found) if found.is_dir() => return Ok(dir.to_path_buf()),
            Ok(_) => return Err(failed(dir, ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(dir, error)),
        }
    }
    Err(failed(&data, ErrorKind::NotFound.into()))
}

/// Removes its directory when dropped.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Beside a data directory, or inside one that is none yet.
    pub(crate) fn make(base: &Path, purpose: &str) -> Result<Self, Failure> {
        let mut parent = base;
        let device = |dir: &Path| fs::metadata(dir).map(|found| found.dev()).ok();
        if base.join("engine.meta").exists()
            && let Some(above) = base.parent()
            && device(above) == device(base)
        {
            parent = above;
        }
        let dir = parent.join(format!(".ringlog-{purpose}-{}", std::process::id()));
        fs::create_dir(&dir).map_err(|error| {
            let unwritable = matches!(
                error.kind(),
                ErrorKind::PermissionDenied
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::StorageFull
                    | ErrorKind::QuotaExceeded
            );
            let exit = if unwritable { Exit::Unwritable } else { Exit::Failed };
            Failure::new(exit, format_args!("{}: cannot try here: {error}", parent.display()))
        })?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn with_scratch<T>(base: &Path, body: impl FnOnce(&Path) -> T) -> Result<T, Failure> {
    let scratch = Scratch::make(base, "doctor")?;
    Ok(body(&scratch.0))
}

/// Opens an engine with a topic of each class, and asks it what it chose.
pub(super) fn try_engine(dir: &Path, place: &Place) -> Result<Capabilities, String> {
    // A refusal is the finding: what else is there is asked all the same.
    let options = place.options(true).allow_volatile(true);
    let chosen = || {
        let engine = options.open(dir.join("trial"))?;
        for flush in [Flush::Sync, Flush::Async] {
            engine.create_topic(TopicSpec::new(flush.to_string()).flush(flush))?;
        }
        let chosen = engine.capabilities();
        engine.close(Duration::from_secs(60))?;
        Ok(chosen)
    };
    chosen().map_err(|error: Error| error.to_string())
}
