//! What was ever seen on a disk, group by group: a pair of leader epoch and position names one
//! content for ever, whatever is lost, cut and written anew. Of a batch that records joined later
//! ones may be lost.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use ringlog::inspect::{Finding, Inspector, Item};
use ringlog::sim::{Disk, SimDisk};
use ringlog::{Error, Result};

use crate::oracle::{Check, is_one};

/// Log, epoch, position.
type Name = (String, u32, u64);

/// See the module.
#[derive(Debug, Default)]
pub struct Evidence {
    named: HashMap<Name, (u32, Vec<u8>)>,
}

impl Evidence {
    /// Looks at every frame in the segments of a copy of this disk, as they are now.
    ///
    /// # Errors
    /// A name that means two contents, and what cannot be looked at.
    pub fn look(&mut self, disk: &SimDisk) -> Check {
        let inspector = match Inspector::open_simulated(&copy_of(disk)) {
            Ok(inspector) => inspector,
            // Killed before the directory was one.
            Err(Error::NotADataDirectory { .. }) => return Ok(()),
            Err(error) => return Err(format!("inspect: {error}")),
        };
        let logs = inspector.logs().map_err(|error| format!("inspect: {error}"))?;
        for log in logs {
            let Some(uuid) = log.uuid.map(|uuid| uuid.to_string()) else { continue };
            let mut twice = None;
            let walked = inspector.walk(log.id, &mut |item| {
                twice = self.take(&uuid, &item);
                Ok(if twice.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            });
            if let Some(twice) = twice {
                return Err(twice);
            }
            walked.map_err(|error| format!("inspect: {error}"))?;
        }
        Ok(())
    }

    /// Takes in one item; what is wrong with it.
    fn take(&mut self, log: &str, item: &Item<'_>) -> Option<String> {
        let Item::Frame(frame) = item else { return None };
        let name = (log.to_owned(), frame.epoch.0, frame.position.0);
        let stream = frame.stream.0;
        let (known, payload) = self.named.entry(name).or_insert((stream, Vec::new()));
        (*known != stream || !is_one(payload, frame.payload)).then(|| {
            let (epoch, position) = (frame.epoch, frame.position);
            format!("log {log}: epoch {epoch}, position {position}: two contents")
        })
    }
}

/// The same bytes on a disk that works.
fn copy_of(disk: &SimDisk) -> SimDisk {
    let copy = disk.fork(0);
    copy.mend();
    copy
}

/// Reads the whole of a copy of this disk: everything must be as it was written. Indexes are out:
/// they are derived, written without a flush, and a power loss may leave anything of them.
///
/// # Errors
/// The damage that was found.
pub fn verify(disk: &SimDisk) -> Check {
    let copy = copy_of(disk);
    for entry in copy.list_all() {
        if Path::new(&entry.name).extension().is_some_and(|end| end == "idx") {
            copy.remove(&entry.name).map_err(|error| format!("{}: {error}", entry.name))?;
        }
    }
    let look = || -> Result<_> { Inspector::open_simulated(&copy)?.verify(&mut |_, _| {}) };
    let report = look().map_err(|error| format!("verify: {error}"))?;
    // On a full disk a clean checkpoint goes without another in its place.
    let checkpoints = |dir: &Path| {
        let all = copy.list_all().into_iter().map(|entry| Path::new("simulated").join(entry.name));
        let of_log = all.filter(|path| path.parent() == Some(dir));
        of_log.filter(|path| path.display().to_string().contains("/checkpoint-")).count()
    };
    let alone = |finding: &&Finding| {
        let missing = finding.what.starts_with("checkpoint file is missing");
        missing && finding.path.parent().is_some_and(|dir| checkpoints(dir) == 1)
            // With that it doubts the topics, and takes what a creation that failed has left for a
            // log. One that is of use would not have opened.
            || finding.what == "no checkpoint file is there"
    };
    let damage = report.damage().filter(|finding| !alone(finding));
    let damage: Vec<String> = damage.map(|finding| format!("{finding:?}")).collect();
    if damage.is_empty() { Ok(()) } else { Err(format!("verify: {}", damage.join("; "))) }
}
