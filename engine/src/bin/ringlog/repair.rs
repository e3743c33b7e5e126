//! `ringlog repair`: says what is lost and what would be done, and with `--yes` does it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ringlog::inspect::{Plan, Repair as Repairing, Salvaged};
use serde::Serialize;

use super::args::{Place, Repair};
use super::exit::{Exit, Failure};
use super::output::Output;
use super::progress::Progress;

/// What `--json` prints.
#[derive(Serialize)]
struct Told<'a> {
    /// Whether it was done, and not only told.
    done: bool,
    #[serde(flatten)]
    plan: &'a Plan,
    exported: &'a [PathBuf],
}

pub fn run(place: &Place, args: &Repair) -> Result<(), Failure> {
    let data = place.data()?;
    let failed = |error| Failure::engine(data, &error);
    let repair = Repairing::open(data, place.options(false)).map_err(failed)?;
    let mut progress = Progress::new(Some(0));
    let plan = repair.plan(&mut |done, total| progress.set(done, total)).map_err(failed)?;
    drop(progress);
    let exported = match &args.export {
        Some(dir) => export(&repair, dir, data)?,
        None => Vec::new(),
    };
    let mut output = Output::new();
    let told = Told { done: args.yes, plan: &plan, exported: &exported };
    // Told before it is done: who is interrupted knows what was begun.
    if args.json {
        output.json(&told)?;
    } else {
        tell(&told, &mut output)?;
    }
    output.flush()?;
    let is_beyond = !plan.beyond.is_empty();
    let is_left = !args.yes && !plan.steps.is_empty();
    if args.yes {
        repair.run(plan).map_err(failed)?;
    }
    if is_beyond || is_left { Err(Failure::quiet(Exit::Damage)) } else { Ok(()) }
}

/// Writes what can be read of damaged logs, one file a partition: record batches one after another.
/// No file is overwritten.
fn export(repair: &Repairing, dir: &Path, data: &Path) -> Result<Vec<PathBuf>, Failure> {
    let wrong = |path: &Path, error: &io::Error| {
        Failure::new(Exit::Failed, format_args!("{}: {error}", path.display()))
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| wrong(dir, &e))?;
    let mut files = Files::default();
    let mut failure = None;
    let outcome = repair.salvage(&mut |salvaged| {
        let path = dir.join(file_name(&salvaged));
        files.write(&path, salvaged.batch).map_err(|error| {
            let error = failure.insert((path, error));
            ringlog::Error::InvalidArgument { what: "export", reason: error.1.to_string() }
        })
    });
    if let Some((path, error)) = failure {
        return Err(wrong(&path, &error));
    }
    outcome.map_err(|error| Failure::engine(data, &error))?;
    files.close().map_err(|(path, error)| wrong(&path, &error))?;
    Ok(files.made.into_iter().collect())
}

/// The files of an export; there may be more than a process may have open.
#[derive(Default)]
struct Files {
    made: BTreeSet<PathBuf>,
    open: BTreeMap<PathBuf, BufWriter<File>>,
}

impl Files {
    const OPEN_MAX: usize = 64;

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Some(file) = self.open.get_mut(path) {
            return file.write_all(bytes);
        }
        if self.open.len() == Self::OPEN_MAX {
            self.close().map_err(|(_, error)| error)?;
        }
        let mut options = OpenOptions::new();
        // What is in them is for nobody else to read either.
        options.append(true).mode(0o600).create_new(!self.made.contains(path));
        let file = options.open(path)?;
        self.made.insert(path.to_owned());
        self.open.entry(path.to_owned()).or_insert(BufWriter::new(file)).write_all(bytes)
    }

    /// Writes out and flushes those that are open; tells which one failed.
    fn close(&mut self) -> Result<(), (PathBuf, io::Error)> {
        for (path, file) in std::mem::take(&mut self.open) {
            let flushed = file.into_inner().map_err(io::IntoInnerError::into_error);
            flushed.and_then(|file| file.sync_all()).map_err(|error| (path, error))?;
        }
        Ok(())
    }
}

fn file_name(salvaged: &Salvaged<'_>) -> String {
    match (salvaged.topic, salvaged.partition) {
        // Topic names have letters, digits, dots, underscores and hyphens only.
        (Some(topic), Some(partition)) => format!("{topic}-{partition}.batches"),
        _ => format!("log-{:03}-stream-{}.batches", salvaged.log, salvaged.stream),
    }
}

fn tell(told: &Told<'_>, output: &mut Output) -> Result<(), Failure> {
    let plan = told.plan;
    for loss in &plan.losses {
        output.line(format_args!("lost: {loss}"))?;
    }
    for path in told.exported {
        output.line(format_args!("exported: {}", path.display()))?;
    }
    for finding in &plan.beyond {
        let path = finding.path.display();
        output.line(format_args!("beyond repair: {path}: {}", finding.what))?;
    }
    let word = if told.done { "repair" } else { "would repair" };
    for step in &plan.steps {
        output.line(format_args!("{word}: {step}"))?;
    }
    if plan.is_empty() {
        output.line(format_args!("ok: nothing to repair"))
    } else if !told.done && !plan.steps.is_empty() {
        output.line(format_args!("nothing was changed; --yes does it"))
    } else {
        Ok(())
    }
}
