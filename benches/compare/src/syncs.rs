//! `syncs`: whether *durable* is meant. Each peer appends in a process of its own, and with it its
//! server, with strace counting the calls that make something durable: fsync, fdatasync, and writes
//! that are durable by themselves (`RWF_DSYNC`, or to a file opened with `O_DSYNC` or `O_SYNC`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use ringlog_benches::Bench;
use ringlog_benches::cli::{Options, WorkloadArgs};
use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::report::{Table, number, print};
use ringlog_benches::target::Target;
use ringlog_benches::values::Values;
use ringlog_benches::workload::course::Course;
use ringlog_benches::workload::result::Mode;
use serde::Serialize;

use crate::peers::{self, PEERS, Peer, work};

/// Appends where there is one in flight.
const APPENDS: u64 = 200;
/// Seconds of appends where there are many.
const SECS: &str = "2";
const CALLS: &str = "trace=openat,dup,close,fsync,fdatasync,msync,sync_file_range,pwritev2,pwritev,\
                     pwrite64,writev,write,io_uring_enter";
/// Printed before and after the appends, so that opening and closing are not counted.
const MARK: &str = "ringlog-compare-mark";
/// What is printed before the number of acknowledgements.
const ACKNOWLEDGED: &str = "acknowledged ";

/// Which peer, at what, and where.
#[derive(Clone, Debug, Args)]
pub struct SyncsArgs {
    /// Which peer.
    pub entrant: String,
    workload: String,
    dir: PathBuf,
    #[command(flatten)]
    args: WorkloadArgs,
}

/// What was counted.
#[derive(Clone, Debug, Default, Serialize)]
struct Counted {
    entrant: String,
    workload: String,
    acknowledged: u64,
    syncs: u64,
    durable_writes: u64,
}

impl Counted {
    fn each(&self) -> f64 {
        (self.syncs + self.durable_writes) as f64 / self.acknowledged.max(1) as f64
    }
}

/// Flushes for each acknowledgement, by what a peer is told to become and the workload.
pub type Flushes = BTreeMap<(&'static str, String), f64>;

/// Counts for every peer that is here, of those that `asked` is true for.
pub fn run(bench: &mut Bench, asked: impl Fn(&Peer) -> bool) -> Result<Flushes> {
    let scratch = bench.scratch()?;
    let headings = ["", "acknowledged", "fdatasync, fsync", "durable writes", "each"];
    let mut table = Table::new(&headings);
    let mut flushes = Flushes::new();
    let mut notes: Vec<String> = Vec::new();
    for peer in PEERS.iter().filter(|peer| peer.unavailable().is_none() && asked(peer)) {
        for (id, workload) in counted_at(peer) {
            let dir = scratch.path().join(format!("{id}-{workload}"));
            fs::create_dir(&dir).context(format!("creating {}", dir.display()))?;
            match watch(&dir, id, &workload) {
                Ok(counted) => {
                    table.row(vec![
                        format!("{id}, {workload}"),
                        counted.acknowledged.to_string(),
                        counted.syncs.to_string(),
                        counted.durable_writes.to_string(),
                        number(counted.each()),
                    ]);
                    bench.report.line("syncs", &counted)?;
                    flushes.insert((id, workload), counted.each());
                }
                Err(error) => notes.push(format!("not counted: {id}, {workload}: {error}\n")),
            }
            fs::remove_dir_all(&dir).context(format!("removing {}", dir.display()))?;
        }
    }
    print(&format!("\n{}\n{}", table.render(), notes.concat()))?;
    Ok(flushes)
}

/// What a peer is told to become, and the workloads.
fn counted_at(peer: &Peer) -> Vec<(&'static str, String)> {
    let mut all = vec![(peer.id, "one".to_owned()), (peer.id, "64".to_owned())];
    let stream = if peer.threads_share { "64" } else { "1000" };
    all.extend(peer.threads.map(|id| (id, format!("{stream}{}", work::THREADS))));
    all.extend(peer.written.map(|_| (peer.id, work::WRITTEN_ONE.name.to_owned())));
    all
}

fn watch(dir: &Path, entrant: &str, workload: &str) -> Result<Counted> {
    let (trace, data) = (dir.join("trace"), dir.join("data"));
    fs::create_dir(&data).context("creating a directory")?;
    let own = std::env::current_exe().context("finding this program")?;
    let output = Command::new("strace")
        .args(["-f", "-y", "-qq", "--seccomp-bpf", "-e", CALLS, "-o"])
        .arg(&trace)
        .arg(own)
        // What goes through io_uring is no system call that strace could count.
        .args(["syncs-once", entrant, workload, "--backend", "plain", "--mode", "growth"])
        .args(["--secs", SECS])
        .arg(&data)
        .envs(peers::environment(entrant, &data))
        .output()
        .context("starting strace")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("{entrant} under strace: {}", stderr.trim())));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let acknowledged = said
        .lines()
        .find_map(|line| line.strip_prefix(ACKNOWLEDGED)?.parse().ok())
        .ok_or_else(|| Error::new("it did not say how many were acknowledged"))?;
    let text = fs::read_to_string(&trace).context("reading what strace wrote")?;
    let (syncs, durable_writes) = count(&text)?;
    let (entrant, workload) = (entrant.to_owned(), workload.to_owned());
    Ok(Counted { entrant, workload, acknowledged, syncs, durable_writes })
}

/// Syncs and durable writes between the marks.
fn count(trace: &str) -> Result<(u64, u64)> {
    // Descriptors, with their paths, that were opened so that each write is durable; and threads in
    // such an openat that strace shows in two lines. LMDB has a file open in both ways.
    let mut through: BTreeSet<&str> = BTreeSet::new();
    let mut opening: BTreeSet<&str> = BTreeSet::new();
    let (mut marks, mut syncs, mut writes) = (0, 0, 0);
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').map_or(("", line), |(a, b)| (a, b.trim_start()));
        let (name, rest) = call.split_once('(').unwrap_or((call, ""));
        let first = rest.split([',', ')']).next().unwrap_or_default();
        let opened = line.rsplit_once("= ").map_or("", |(_, result)| result.trim());
        let durable = line.contains("O_DSYNC") || line.contains("O_SYNC");
        match name {
            "openat" if line.contains("<unfinished") && durable => drop(opening.insert(thread)),
            "openat" if line.contains("<unfinished") => {}
            "openat" if durable => drop(through.insert(opened)),
            "openat" => drop(through.remove(opened)),
            "write" if line.contains(MARK) => marks += 1,
            _ if marks != 1 => {}
            "fsync" | "fdatasync" | "msync" | "sync_file_range" => syncs += 1,
            "pwritev2" if line.contains("RWF_DSYNC") => writes += 1,
            "pwrite64" | "pwritev" | "pwritev2" | "writev" | "write" if through.contains(first) => {
                writes += 1;
            }
            _ => {}
        }
        if call.starts_with("<... openat resumed>") && opening.remove(thread) {
            through.insert(opened);
        }
    }
    if marks == 2 { Ok((syncs, writes)) } else { Err(Error::new("the marks are not in the trace")) }
}

/// Appends for `run` to watch; its other side.
pub fn once(options: &Options, args: &SyncsArgs) -> Result<()> {
    let found = peers::syncs_once(options, args);
    found.unwrap_or_else(|| Err(Error::new(format!("there is no {}", args.entrant))))
}

/// The same with a target of this type.
pub fn append<T: Target>(options: &Options, args: &SyncsArgs) -> Result<()> {
    let spec = work::named(&args.workload)
        .ok_or_else(|| Error::new(format!("no workload is named {}", args.workload)))?;
    let values = Values::new(1, spec.value_bytes);
    let course =
        Course { spec: &spec, mode: Mode::Growth, args: &args.args, options, values: &values };
    let target = T::open(&args.dir, &course.setup())?;
    let acknowledged = if spec.in_flight == 1 {
        // The first one may open what the others need.
        target.append(0, &[values.get(0)])?;
        print(MARK)?;
        for index in 0..APPENDS as usize {
            target.append(0, &[values.get(index)])?;
        }
        APPENDS
    } else {
        let mut marked = Ok(());
        let run = course.run(&target, || marked = print(MARK))?;
        marked?;
        run.ops
    };
    print(MARK)?;
    print(&format!("{ACKNOWLEDGED}{acknowledged}"))?;
    target.close()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_between_the_marks_are_counted_and_no_others() {
        let trace = format!(
            "7  openat(AT_FDCWD</>, \"a\", O_RDWR|O_DSYNC) = 9</a>\n7  fdatasync(3</b>) = 0\n\
             7  write(1<pipe:[1]>, \"{MARK}\\n\", 21) = 21\n7  fdatasync(3</b>) = 0\n\
             7  pwrite64(9</a>, \"x\") = 1\n7  pwrite64(5</a>, \"x\") = 1\n\
             8  fdatasync(3</b> <unfinished ...>\n\
             8  <... fdatasync resumed>) = 0\n8  pwritev2(4</c>, [], 1, 0, RWF_DSYNC) = 4096\n\
             8  pwritev2(4</c>, [], 1, 0, 0) = 4096\n7  pwrite64(8</d>, \"x\") = 1\n\
             7  write(1<pipe:[1]>, \"{MARK}\\n\", 21) = 21\n7  fsync(3</b>) = 0\n"
        );
        assert_eq!(count(&trace).expect("it has both marks"), (2, 2));
        assert!(count("7  fsync(3</b>) = 0\n").is_err());
    }

    #[test]
    fn an_open_in_two_lines_is_seen_and_descriptors_of_other_processes_are_not_taken_for_it() {
        let trace = format!(
            "7  openat(AT_FDCWD</>, \"/a\", O_RDWR|O_SYNC <unfinished ...>\n\
             8  openat(AT_FDCWD</>, \"/b\", O_RDWR) = 9</b>\n7  <... openat resumed>) = 9</a>\n\
             7  write(1<pipe:[1]>, \"{MARK}\\n\", 21) = 21\n8  write(9</b>, \"x\", 1) = 1\n\
             7  write(9</a>, \"x\", 1) = 1\n7  write(1<pipe:[1]>, \"{MARK}\\n\", 21) = 21\n"
        );
        assert_eq!(count(&trace).expect("it has both marks"), (0, 1));
    }
}
