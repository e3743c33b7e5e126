//! `peers` and `scale`: who takes part in which workload, the rounds, and what is written down.

use std::fs;

use clap::Args;
use ringlog_benches::Bench;
use ringlog_benches::cli::WorkloadArgs;
use ringlog_benches::contest::{Entrant, enter};
use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::limit::device::Device;
use ringlog_benches::progress::Progress;
use ringlog_benches::report::{self, print};
use ringlog_benches::workload::result::Mode;
use ringlog_benches::workload::spec::Spec;
use serde::{Deserialize, Serialize};

use super::figures::{Who, WorkFigures, table};
use super::rounds::{Course, Rounds, hold};
use super::work::{SCALES, Scale, THREADS, WORKS, is_durable, named};
use super::{ABSENT, Kind, PEERS, Peer};
use crate::syncs::{self, Flushes};

/// Options of `peers`.
#[derive(Clone, Debug, Args)]
pub struct PeersArgs {
    /// Only the peers of these names (ringlog is always there)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// Do not count flushes first
    #[arg(long)]
    pub no_syncs: bool,
    /// Options of the workloads: `--only` one, 64, 256x8, 1000, async-1k, async-100
    #[command(flatten)]
    pub workloads: WorkloadArgs,
}

impl PeersArgs {
    /// Whether this peer is asked for.
    pub fn asks_for(&self, peer: &Peer) -> bool {
        self.peers.is_empty()
            || peer.kind == Kind::Ours
            || self.peers.iter().any(|id| id == peer.id)
    }

    fn check(&self) -> Result<()> {
        let unknown = self.peers.iter().find(|id| !PEERS.iter().any(|peer| peer.id == **id));
        let known = || PEERS.iter().map(|peer| peer.id).collect::<Vec<_>>().join(", ");
        match unknown {
            Some(id) => Err(Error::new(format!("no peer is named {id}; there are {}", known()))),
            None => Ok(()),
        }
    }
}

/// One who is not there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Skipped {
    /// The peer.
    pub peer: String,
    /// Why.
    pub why: String,
}

/// One point of a scaling series.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// What grows.
    pub series: String,
    /// Its value.
    pub value: u32,
    /// What was measured there.
    #[serde(flatten)]
    pub figures: WorkFigures,
}

/// One way in which a peer takes part: what it is told to become, at which workload, in which mode.
struct Way {
    id: &'static str,
    workload: String,
    mode: Mode,
    how: String,
    /// What is known of it, is known under this name.
    known_as: String,
}

fn ways(peer: &Peer, spec: &Spec) -> Vec<Way> {
    let Some(mode) = (if is_durable(spec) { Some(peer.durable) } else { peer.written }) else {
        return Vec::new();
    };
    let way = |id, suffix: &str, how: String, known_as: String| Way {
        id,
        workload: format!("{}{suffix}", spec.name),
        mode: Mode::Growth,
        how,
        known_as,
    };
    let name = peer.name.to_owned();
    let mut ways = vec![way(peer.id, "", mode.to_owned(), name.clone())];
    if peer.kind == Kind::Ours && spec.partitions == 1 {
        let trimmed = way(peer.id, "", format!("{mode}, trimmed"), name);
        ways.push(Way { mode: Mode::Steady, ..trimmed });
    }
    if let Some(id) = peer.threads
        && is_durable(spec)
        && spec.batch == 1
        && spec.in_flight > 1
        && (peer.threads_share || spec.partitions > 1)
    {
        let how = format!("{mode}, {} threads", spec.in_flight);
        ways.push(way(id, THREADS, how, format!("{}, threads", peer.name)));
    }
    ways
}

/// Runs every workload that is asked for over all peers that are here.
pub fn run(bench: &mut Bench, args: &PeersArgs) -> Result<()> {
    args.check()?;
    let specs: Vec<Spec> =
        WORKS.iter().copied().filter(|spec| args.workloads.asks_for(spec.name)).collect();
    if specs.is_empty() {
        return Ok(());
    }
    let peers = here(bench, args)?;
    let flushes =
        if args.no_syncs { Flushes::new() } else { syncs::run(bench, |peer| args.asks_for(peer))? };
    let progress = Progress::new((specs.len() * bench.options.repeats()) as u64);
    let mut all = Vec::new();
    for spec in &specs {
        let ways: Vec<(&Peer, Way)> = peers
            .iter()
            .flat_map(|peer| ways(peer, spec).into_iter().map(|way| (*peer, way)))
            .collect();
        let entrants: Vec<Entrant> = ways
            .iter()
            .map(|(peer, way)| {
                let name = format!("{}: {}, {}", spec.about, peer.name, way.how);
                enter::entrant(&name, way.id, &way.workload, way.mode, &args.workloads)
            })
            .collect();
        let who: Vec<Who> = ways
            .iter()
            .map(|(peer, way)| Who {
                peer: peer.name.to_owned(),
                how: way.how.clone(),
                ours: peer.kind == Kind::Ours,
                known_as: way.known_as.clone(),
                flushes_per_ack: flushes.get(&(way.id, way.workload.clone())).copied(),
            })
            .collect();
        let rounds = rounds(bench, &entrants, spec.cells, &progress)?;
        let figures = WorkFigures::of(spec, spec.name, &who, spec.cells, &rounds);
        bench.report.line("peers", &figures)?;
        all.push(figures);
    }
    drop(progress);
    print(&table(&all))
}

/// The peers that are asked for and can take part; the others are named with the reason.
fn here(bench: &mut Bench, args: &PeersArgs) -> Result<Vec<&'static Peer>> {
    let mut skipped: Vec<Skipped> = Vec::new();
    let mut here = Vec::new();
    for peer in PEERS.iter().filter(|peer| args.asks_for(peer)) {
        match peer.unavailable() {
            Some(why) => skipped.push(Skipped { peer: peer.name.to_owned(), why }),
            None => here.push(peer),
        }
    }
    let absent = ABSENT.iter().filter(|_| args.peers.is_empty());
    skipped.extend(absent.map(|&(peer, why)| Skipped { peer: peer.into(), why: why.into() }));
    for skip in &skipped {
        bench.report.line("skipped", skip)?;
        report::print(&format!("skipped: {}: {}", skip.peer, skip.why))?;
    }
    Ok(here)
}

/// Rounds in a scratch directory of their own.
fn rounds(
    bench: &Bench,
    entrants: &[Entrant],
    cells: &[ringlog_benches::limit::cell::Cell],
    progress: &Progress,
) -> Result<Rounds> {
    let scratch = bench.scratch()?;
    progress.doing("pre-writing");
    let device = Device::prepare(scratch.path(), bench.options.device_bytes(), bench.seed)?;
    let dir = scratch.path().join("entrants");
    fs::create_dir(&dir).context(format!("creating {}", dir.display()))?;
    hold(bench, entrants, cells, &device, &dir, progress)
}

/// Runs the points of our own scaling.
pub fn scale(bench: &mut Bench, args: &WorkloadArgs) -> Result<()> {
    let asked: Vec<&Scale> = SCALES.iter().filter(|scale| args.asks_for(scale.name)).collect();
    let progress = Progress::new((asked.len() * bench.options.repeats()) as u64);
    let mut all = Vec::new();
    for scale in asked {
        let entrant = |&point: &u32| {
            let name = format!("{}: {point}", scale.about);
            enter::entrant(&name, "ringlog", &scale.workload(point), Mode::Growth, args)
        };
        let entrants: Vec<Entrant> = scale.points.iter().map(entrant).collect();
        let rounds = rounds(bench, &entrants, scale.cells(), &progress)?;
        for (&value, course) in scale.points.iter().zip(&rounds.courses) {
            let point = point(scale, value, course, &rounds)?;
            bench.report.line("scale", &point)?;
            all.push(point.figures);
        }
    }
    drop(progress);
    print(&table(&all))
}

fn point(scale: &Scale, value: u32, course: &Course, rounds: &Rounds) -> Result<Point> {
    let name = scale.workload(value);
    let spec = named(&name).ok_or_else(|| Error::new(format!("there is no {name}")))?;
    let who = Who {
        peer: "Ringlog".to_owned(),
        how: format!("{value} {}", scale.name),
        ours: true,
        known_as: String::new(),
        flushes_per_ack: None,
    };
    let alone = Rounds {
        courses: vec![course.clone()],
        looks: rounds.looks.clone(),
        disturbed: rounds.disturbed,
    };
    let figures = WorkFigures::of(&spec, &name, &[who], scale.cells(), &alone);
    Ok(Point { series: scale.name.to_owned(), value, figures })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: &str) -> &'static Peer {
        PEERS.iter().find(|peer| peer.id == id).expect("it is a peer")
    }

    fn names(id: &str, workload: &str) -> Vec<String> {
        let spec = named(workload).expect("it is a workload");
        ways(peer(id), &spec)
            .into_iter()
            .map(|way| format!("{} {}", way.id, way.workload))
            .collect()
    }

    #[test]
    fn a_peer_takes_part_in_every_way_that_it_has() {
        assert_eq!(names("raft-engine-one", "one"), ["raft-engine-one one"]);
        assert_eq!(names("raft-engine-one", "64"), ["raft-engine-one 64"], "one group, one writer");
        let both = ["raft-engine-one 1000", "raft-engine 1000-threads"];
        assert_eq!(names("raft-engine-one", "1000"), both);
        assert_eq!(names("rocksdb", "64"), ["rocksdb 64", "rocksdb-threads 64-threads"]);
        assert_eq!(names("ringlog", "64").len(), 3, "grown, trimmed, threads");
        assert_eq!(names("ringlog", "1000").len(), 2, "streams are not trimmed");
        assert!(names("redb", "async-1k").is_empty(), "it has no such level");
        assert_eq!(names("sqlite", "async-1k"), ["sqlite async-1k"]);
    }
}
