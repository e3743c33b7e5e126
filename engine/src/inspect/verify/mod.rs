//! Reading the whole directory and saying what is not as it was written.
//!
//! Damage is what cannot come from a crash: bytes below what is proven durable that do not verify,
//! files that the checkpoint lists and that are not there, numbers that contradict each other. What
//! a crash may leave (a torn tail, a retired segment, an index that is missing) is a note.

mod log;
mod streams;

use std::path::PathBuf;

use super::info::{Finding, Report, Severity};
use super::layout::{Layout, log_dirs, parse_log};
use super::names::Names;
use crate::driver::disk::{DiskRef, full_path, io_error};
use crate::engine::META;
use crate::engine::open::META_FILE;
use crate::error::Result;
use crate::format::engine_meta::{ENGINE_META_BYTES, EngineMeta};
use crate::ids::LogId;
use crate::limits::FINDINGS_MAX;
use crate::log::{checkpoints, segment};

const KNOWN: [&str; 3] = ["LOCK", "READERS", META_FILE];
/// Progress is told in steps of this size.
const STEP_BYTES: u64 = 1 << 20;

/// See [`Inspector::verify`](super::Inspector::verify).
pub(super) fn run(disk: &DiskRef, progress: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let names = Names::load(disk)?;
    let mut layouts = Vec::new();
    for id in log_dirs(&**disk)? {
        layouts.push(Layout::read(&**disk, id)?);
    }
    let logs: u64 = layouts.iter().map(|layout| layout.total_bytes).sum();
    let mut run = Run {
        disk,
        names,
        report: Report::default(),
        progress,
        done: 0,
        told: 0,
        total: logs + ENGINE_META_BYTES as u64,
    };
    run.root()?;
    run.engine_meta();
    run.logs(layouts)?;
    run.report.totals.bytes = run.done;
    (run.progress)(run.total, run.total);
    Ok(run.report)
}

struct Run<'a> {
    disk: &'a DiskRef,
    names: Names,
    report: Report,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    told: u64,
    total: u64,
}

impl Run<'_> {
    fn root(&mut self) -> Result<()> {
        let entries = self.disk.list("").map_err(io_error(&**self.disk, "list", ""))?;
        for entry in entries {
            let path = full_path(&**self.disk, &entry.name);
            if KNOWN.contains(&entry.name.as_str()) {
                if entry.is_dir {
                    self.damage(path, 0, "a directory where a file should be");
                }
            } else if segment::is_unfinished(&entry.name) {
                self.note(path, 0, "left over from an interrupted step");
            } else if !entry.is_dir || parse_log(&entry.name).is_none() {
                self.note(path, 0, "not a file of ringlog's");
            }
        }
        Ok(())
    }

    /// Each copy by itself: that the other still serves does not make it whole.
    fn engine_meta(&mut self) {
        let path = full_path(&**self.disk, META_FILE);
        let bytes = match checkpoints::read_all(&**self.disk, META_FILE) {
            Ok(bytes) => bytes,
            Err(error) => return self.damage(path, 0, format!("cannot be read: {error}")),
        };
        if bytes.len() != ENGINE_META_BYTES {
            let what = format!("is {} bytes long, not {ENGINE_META_BYTES}", bytes.len());
            self.damage(path.clone(), bytes.len().min(ENGINE_META_BYTES) as u64, what);
        }
        for (copy, at) in ["first", "second"].into_iter().zip([0, ENGINE_META_BYTES / 2]) {
            let rest = bytes.get(at..).unwrap_or_default();
            let half = &rest[..rest.len().min(ENGINE_META_BYTES / 2)];
            if let Err(error) = EngineMeta::decode(half) {
                self.damage(path.clone(), at as u64, format!("{copy} copy: {error}"));
            }
        }
        self.advance(bytes.len() as u64);
    }

    fn logs(&mut self, layouts: Vec<Layout>) -> Result<()> {
        if !layouts.iter().any(|layout| layout.id == META) {
            self.missing_log(META);
        }
        if self.names.catalog.is_none() {
            let path = full_path(&**self.disk, &META.dir());
            self.damage(path, 0, "the topics cannot be read");
        }
        let catalog = self.names.catalog.as_ref();
        let known = catalog.map(|c| c.logs.keys().copied().map(LogId).collect::<Vec<_>>());
        for id in known.iter().flatten() {
            if !layouts.iter().any(|layout| layout.id == *id) {
                self.missing_log(*id);
            }
        }
        for layout in layouts {
            let id = layout.id;
            let listed = known.as_ref().is_none_or(|known| known.contains(&id));
            // With damage in the metadata log a log may have been forgotten with it.
            if id == META || listed || self.report.damaged {
                log::verify(self, layout)?;
            } else {
                let path = full_path(&**self.disk, &layout.dir);
                self.note(path, 0, "no topic's log: left over from an interrupted creation");
            }
        }
        Ok(())
    }

    fn missing_log(&mut self, id: LogId) {
        let path = full_path(&**self.disk, &id.dir());
        self.damage(path, 0, "the directory of this log is missing");
    }

    fn damage(&mut self, path: PathBuf, at: u64, what: impl Into<String>) {
        self.found(Finding { path, at, what: what.into(), severity: Severity::Damage });
    }

    fn all_damage(&mut self, claims: Vec<streams::Claim>) {
        for (path, at, what) in claims {
            self.damage(path, at, what);
        }
    }

    fn note(&mut self, path: PathBuf, at: u64, what: impl Into<String>) {
        self.found(Finding { path, at, what: what.into(), severity: Severity::Note });
    }

    fn found(&mut self, finding: Finding) {
        self.report.damaged |= finding.severity == Severity::Damage;
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(finding);
        } else {
            self.report.more_findings += 1;
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        if self.done - self.told >= STEP_BYTES {
            self.told = self.done;
            (self.progress)(self.done.min(self.total), self.total);
        }
    }
}
