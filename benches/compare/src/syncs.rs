//! `syncs`: whether *durable* is meant. Each engine appends one record after another in a process
//! of its own, with strace counting the calls that make something durable: fsync, fdatasync, and
//! writes that are durable by themselves (`RWF_DSYNC`, or to a file opened with `O_DSYNC`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use ringlog_benches::Bench;
use ringlog_benches::cli::Backend;
use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::report::{Table, number, print};
use ringlog_benches::target::ringlog::Ringlog;
use ringlog_benches::target::{Level, Setup, Target};
use serde::Serialize;

use crate::lmdb::Lmdb;
use crate::raft::RaftEngine;

const APPENDS: u32 = 200;
const CALLS: &str = "trace=openat,dup,close,fsync,fdatasync,msync,sync_file_range,pwritev2,pwritev,\
                     pwrite64,writev,write,io_uring_enter";
/// Printed before and after the appends, so that opening and closing are not counted.
const MARK: &str = "ringlog-compare-mark";

/// Which engine, how, and where.
#[derive(Clone, Debug, Args)]
pub struct SyncsArgs {
    entrant: String,
    level: String,
    dir: PathBuf,
}

/// What was counted.
#[derive(Clone, Debug, Default, Serialize)]
struct Counted {
    entrant: String,
    level: String,
    appends: u32,
    syncs: u32,
    durable_writes: u32,
}

/// Counts for every engine and level.
pub fn run(bench: &mut Bench) -> Result<()> {
    let scratch = bench.scratch()?;
    let headings =
        ["acknowledged one by one", "appends", "fdatasync, fsync", "durable writes", "each"];
    let mut table = Table::new(&headings);
    for entrant in ["ringlog", "raft-engine", "lmdb"] {
        for level in ["durable", "written"] {
            let counted = watch(scratch.path(), entrant, level)?;
            let all = f64::from(counted.syncs + counted.durable_writes);
            table.row(vec![
                format!("{entrant}, {level}"),
                counted.appends.to_string(),
                counted.syncs.to_string(),
                counted.durable_writes.to_string(),
                number(all / f64::from(counted.appends)),
            ]);
            bench.report.line("syncs", &counted)?;
        }
    }
    print(&format!("\n{}\n", table.render()))
}

fn watch(scratch: &Path, entrant: &str, level: &str) -> Result<Counted> {
    let dir = scratch.join(format!("{entrant}-{level}"));
    fs::create_dir(&dir).context("creating a directory")?;
    let trace = scratch.join("trace");
    let own = std::env::current_exe().context("finding this program")?;
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", CALLS, "-o"])
        .arg(&trace)
        .arg(own)
        .args(["syncs-once", entrant, level])
        .arg(&dir)
        .output()
        .context("starting strace")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("{entrant} under strace: {}", stderr.trim())));
    }
    let text = fs::read_to_string(&trace).context("reading what strace wrote")?;
    let (syncs, durable_writes) = count(&text)?;
    let (entrant, level) = (entrant.to_owned(), level.to_owned());
    Ok(Counted { entrant, level, appends: APPENDS, syncs, durable_writes })
}

/// Syncs and durable writes between the marks.
fn count(trace: &str) -> Result<(u32, u32)> {
    let mut through: BTreeSet<&str> = BTreeSet::new();
    let (mut marks, mut syncs, mut writes) = (0, 0, 0);
    for line in trace.lines() {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        let (name, rest) = call.split_once('(').unwrap_or((call, ""));
        let first = rest.split([',', ')']).next().unwrap_or_default();
        let result = line.rsplit_once("= ").map_or("", |(_, result)| result.trim());
        match name {
            "openat" if line.contains("O_DSYNC") => drop(through.insert(result)),
            "openat" => drop(through.remove(result)),
            "write" if line.contains(MARK) => marks += 1,
            _ if marks != 1 => {}
            "fsync" | "fdatasync" | "msync" | "sync_file_range" => syncs += 1,
            "pwritev2" if line.contains("RWF_DSYNC") => writes += 1,
            "pwrite64" | "pwritev" | "writev" | "write" if through.contains(first) => writes += 1,
            _ => {}
        }
    }
    if marks == 2 { Ok((syncs, writes)) } else { Err(Error::new("the marks are not in the trace")) }
}

/// Appends one record after another; the other side of `run`.
pub fn once(args: &SyncsArgs) -> Result<()> {
    match args.entrant.as_str() {
        "ringlog" => append::<Ringlog>(args),
        "raft-engine" => append::<RaftEngine>(args),
        "lmdb" => append::<Lmdb>(args),
        other => Err(Error::new(format!("there is no {other}"))),
    }
}

fn append<T: Target>(args: &SyncsArgs) -> Result<()> {
    let level = if args.level == "durable" { Level::Durable } else { Level::Written };
    let setup = Setup {
        level,
        partitions: 1,
        segment_bytes: None,
        ring_bytes: None,
        group_bytes: None,
        groups_in_flight: None,
        batch_bytes: None,
        // What goes through io_uring is no system call that strace could count.
        backend: Backend::Plain,
    };
    let target = T::open(&args.dir, &setup)?;
    print(MARK)?;
    for _ in 0..APPENDS {
        target.append(0, &[&[7; 1024]])?;
    }
    print(MARK)?;
    target.close()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_between_the_marks_are_counted_and_no_others() {
        let trace = format!(
            "7  openat(AT_FDCWD, \"a\", O_RDWR|O_DSYNC) = 9\n7  fdatasync(3) = 0\n\
             7  write(1, \"{MARK}\\n\", 21) = 21\n7  fdatasync(3) = 0\n7  pwrite64(9, \"x\") = 1\n\
             8  pwritev2(4, [], 1, 0, RWF_DSYNC) = 4096\n8  pwritev2(4, [], 1, 0, 0) = 4096\n\
             7  pwrite64(8, \"x\") = 1\n7  write(1, \"{MARK}\\n\", 21) = 21\n7  fsync(3) = 0\n"
        );
        assert_eq!(count(&trace).expect("it has both marks"), (1, 2));
        assert!(count("7  fsync(3) = 0\n").is_err());
    }
}
