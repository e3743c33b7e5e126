//! What the doctor found, in words.

use ringlog::{Capabilities, Flush};

use super::super::exit::Failure;
use super::super::output::Output;
use super::machine::Machine;
use super::{Disk, Examination, Severity};

pub(super) fn tell(found: &Examination, output: &mut Output) -> Result<(), Failure> {
    let mut line = |name: &str, text: String| output.line(format_args!("{name:<13}{text}"));
    line("directory", found.directory.display().to_string())?;
    let machine = &found.machine;
    line("kernel", format!("{}, {}", machine.kernel, machine.architecture))?;
    line("io_uring", io_uring(found))?;
    line(
        "limits",
        format!(
            "locked memory {}, open files {}, file size {}",
            size_or(machine.locked_bytes_max, "unlimited"),
            machine.open_files_max.map_or("unlimited".to_owned(), |most| most.to_string()),
            size_or(machine.file_bytes_max, "unlimited"),
        ),
    )?;
    line(
        "memory",
        format!(
            "{}, cgroup limit {}",
            size_or(machine.memory_bytes, "unknown"),
            size_or(machine.cgroup_memory_bytes_max, "none"),
        ),
    )?;
    line("dirty pages", dirty(machine))?;
    if let Some(chosen) = &found.chosen {
        let direct = if chosen.direct_io { "direct writes" } else { "buffered writes" };
        line("filesystem", format!("{}, {direct}{}", chosen.filesystem, alignment(&found.disk)))?;
    }
    line("device", device(&found.disk))?;
    if let Some(chosen) = &found.chosen {
        line("driver", format!("{}: {}", chosen.driver, chosen.driver_reason))?;
    }
    if let Some(chosen) = &found.chosen {
        output.line(format_args!("\nWhat an acknowledgement means here"))?;
        for (word, text) in levels(found, chosen) {
            output.line(format_args!("  {word:<9}{text}"))?;
        }
    }
    if !found.notes.is_empty() {
        output.line(format_args!(""))?;
    }
    for note in &found.notes {
        let word = match note.severity {
            Severity::Note => "note",
            Severity::Problem => "PROBLEM",
        };
        output.line(format_args!("{word}: {}", note.what))?;
    }
    let verdict = if found.durable { "ok: durable can be promised" } else { "NOT DURABLE" };
    output.line(format_args!("\n{verdict}"))
}

fn io_uring(found: &Examination) -> String {
    let sysctl = found.machine.io_uring_disabled;
    let sysctl = sysctl.map_or("absent".to_owned(), |value| value.to_string());
    let seccomp = match found.machine.seccomp_filter {
        Some(true) => "a seccomp filter is on",
        Some(false) => "no seccomp filter",
        None => "seccomp unknown",
    };
    let works = found.chosen.as_ref().map_or("not tried", |chosen| {
        if chosen.driver == "io_uring" { "works" } else { "not used" }
    });
    format!("{works}; kernel.io_uring_disabled {sysctl}, {seccomp}")
}

fn dirty(machine: &Machine) -> String {
    let bound = |bytes: Option<u64>, ratio: Option<u64>| match (bytes, ratio) {
        (Some(bytes), _) => size(bytes),
        (None, Some(ratio)) => format!("{ratio} %"),
        (None, None) => "unknown".to_owned(),
    };
    format!(
        "written back from {} on, writers wait at {}, oldest {} s",
        bound(machine.dirty_background_bytes, machine.dirty_background_ratio),
        bound(machine.dirty_bytes, machine.dirty_ratio),
        machine.dirty_expire_centisecs.map_or("?".to_owned(), |at| (at / 100).to_string()),
    )
}

fn alignment(disk: &Disk) -> String {
    disk.direct_io_alignment.map_or(String::new(), |align| {
        format!(" aligned to {} (memory {})", align.offset_bytes, align.memory_bytes)
    })
}

fn device(disk: &Disk) -> String {
    let Some(name) = &disk.device else {
        return "unknown: the filesystem names no block device".to_owned();
    };
    let cache = match (disk.volatile_cache, disk.fua) {
        (Some(true), Some(true)) => "volatile write cache, FUA",
        (Some(true), _) => "volatile write cache, flushed by command",
        (Some(false), _) => "no volatile write cache",
        (None, _) => "write cache unknown",
    };
    let kind = match disk.rotational {
        Some(true) => ", says it rotates",
        _ => "",
    };
    let pages = if disk.stable_pages == Some(true) { ", stable pages" } else { "" };
    format!(
        "{name}, sectors of {} ({} inside), {cache}{kind}{pages}",
        size_or(disk.logical_sector_bytes, "?"),
        size_or(disk.physical_sector_bytes, "?"),
    )
}

/// Each level, and what it survives here.
fn levels(found: &Examination, chosen: &Capabilities) -> Vec<(&'static str, String)> {
    let log = |class| chosen.logs.iter().find(|log| log.flush == class && log.log != "log-000");
    let (Some(sync), Some(fast)) = (log(Flush::Sync), log(Flush::Async)) else {
        return Vec::new();
    };
    let way = match (&found.disk.volatile_cache, found.disk.fua) {
        (Some(true), Some(true)) => "; the device is told to pass its cache (FUA)",
        (Some(true), _) => "; the device's cache is flushed each time",
        _ => "",
    };
    let survives = match &chosen.volatile {
        Some(why) => format!("survives NO power loss: {why}"),
        None => format!("survives a power loss{way}"),
    };
    vec![
        ("written", fast.written.to_owned()),
        ("durable", format!("{}: {survives}", sync.durable)),
        ("", format!("async topics, when asked: {}", fast.durable)),
    ]
}

fn size_or(bytes: Option<u64>, otherwise: &str) -> String {
    bytes.map_or(otherwise.to_owned(), size)
}

/// Bytes in the largest unit that loses nothing a person would miss.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
