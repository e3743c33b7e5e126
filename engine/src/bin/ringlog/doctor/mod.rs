//! `ringlog doctor`: what this machine and this directory can promise, in words. Makes a scratch
//! directory next to the data, opens an engine there, and removes it; changes nothing else and asks
//! for no rights.

mod disk;
mod machine;
mod mount;
pub mod scratch;
mod tell;

use std::path::{Path, PathBuf};

use ringlog::Capabilities;
use serde::Serialize;

use super::args::{Doctor, Place};
use super::exit::{Exit, Failure};
use super::output::Output;

use disk::Disk;
use machine::Machine;
use mount::Mount;

/// Everything that was found out; what could not be is absent.
#[derive(Debug, Serialize)]
struct Examination {
    directory: PathBuf,
    machine: Machine,
    disk: Disk,
    /// Absent where the mount table does not show it.
    mount: Option<Mount>,
    /// What an engine chooses here; absent where none opens.
    chosen: Option<Capabilities>,
    /// Why no engine opens here, if so.
    refused: Option<String>,
    /// Whether *durable* survives a power loss here, as far as the kernel can tell.
    durable: bool,
    notes: Vec<Note>,
}

/// Something worth knowing, or worth changing.
#[derive(Debug, Serialize)]
struct Note {
    severity: Severity,
    what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// It works, and could be better.
    Note,
    /// A promise cannot be kept.
    Problem,
}

pub fn run(place: &Place, args: &Doctor) -> Result<(), Failure> {
    let data = place.data()?;
    let examination = examine(data, place)?;
    let mut output = Output::new();
    if args.json {
        output.json(&examination)?;
    } else {
        tell::tell(&examination, &mut output)?;
    }
    output.flush()?;
    if examination.durable {
        return Ok(());
    }
    let why = examination.refused.as_deref().unwrap_or("durable cannot be promised here");
    Err(Failure::new(Exit::Unwritable, format_args!("{}: {why}", data.display())))
}

fn examine(data: &Path, place: &Place) -> Result<Examination, Failure> {
    let base = scratch::nearest(data)?;
    let machine = Machine::examine();
    let (trial, dio) = scratch::with_scratch(&base, |dir| {
        let trial = scratch::try_engine(dir, place);
        (trial, disk::direct_io_alignment(dir))
    })?;
    let mount = Mount::of(&base);
    let disk = Disk::examine(&base, mount.as_ref(), dio);
    let (chosen, refused) = match trial {
        Ok(chosen) => (Some(chosen), None),
        Err(error) => (None, Some(error)),
    };
    let volatile = chosen.as_ref().and_then(|chosen| chosen.volatile.clone());
    let durable = chosen.is_some() && volatile.is_none();
    let mut examination = Examination {
        directory: data.to_path_buf(),
        machine,
        disk,
        mount,
        chosen,
        refused: refused.or(volatile),
        durable,
        notes: Vec::new(),
    };
    examination.notes = notes(&examination);
    Ok(examination)
}

fn notes(found: &Examination) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |severity, what: String| notes.push(Note { severity, what });
    if let Some(why) = &found.refused {
        note(Severity::Problem, format!("durable cannot be promised: {why}"));
    }
    if let Some(chosen) = &found.chosen {
        if chosen.driver != "io_uring" {
            let why = found.machine.io_uring_hint().unwrap_or(&chosen.driver_reason);
            note(Severity::Note, format!("no io_uring ({why}): same guarantees, more CPU"));
        }
        if !chosen.direct_io {
            let what = "O_DIRECT is refused: writes go through the page cache, then a flush";
            note(Severity::Note, what.to_owned());
        }
        if let Some(why) = &chosen.no_file_ring {
            let what = format!("no ring files ({why}): written waits for the write of its group");
            note(Severity::Note, what);
        }
    }
    for what in found.mount.iter().flat_map(Mount::notes) {
        note(Severity::Note, what);
    }
    if found.machine.is_virtual == Some(true) && found.durable {
        let what = "this is a virtual machine: whether its host passes flushes on to the disk \
                    cannot be seen from here";
        note(Severity::Note, what.to_owned());
    }
    if found.disk.stable_pages == Some(true) {
        let what = "the device wants stable pages: a store into a page under writeback waits";
        note(Severity::Note, what.to_owned());
    }
    if found.machine.open_files_max.is_some_and(|most| most < 1024) {
        let what = "RLIMIT_NOFILE is below 1024: readers of many old segments may run out";
        note(Severity::Note, what.to_owned());
    }
    if let Some(most) = found.machine.file_bytes_max {
        let what = format!("RLIMIT_FSIZE is {most} bytes: a larger segment cannot be made");
        note(Severity::Note, what);
    }
    notes
}
