//! `follow`: how long after its acknowledgement a record is seen by a follower in another process,
//! which sleeps in between; beside the same message through a pipe, which is what waking a process
//! costs here.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use ringlog::{Engine, Flush, Partition, Record, Start, TopicSpec};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::Bench;
use crate::error::{Context, Error, Result};
use crate::report::{self, Table, number, spread};
use crate::stats::{Latencies, Spread};
use crate::usage;

const TOPIC: &str = "bench";
const RECORDS: usize = 1000;
const RECORDS_QUICK: usize = 200;
/// Between two records: long enough that the follower is asleep before each.
const PAUSE: Duration = Duration::from_millis(2);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the follower waits for a record before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a record has to be seen within.
const FLOOR_US: f64 = 1000.0;

/// What the other process saw.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    /// When each message was seen, in nanoseconds of the monotonic clock, which processes share.
    at_ns: Vec<u64>,
    cpu_ms: f64,
}

/// One way for a message to go from process to process.
#[derive(Debug, Serialize)]
struct Figure {
    way: &'static str,
    messages: usize,
    p50_us: Spread,
    p99_us: Spread,
    max_us: f64,
    /// Of the process that sees.
    cpu_us_per_message: Spread,
}

/// One repeat of one way.
struct Repeat {
    latencies: Latencies,
    seen: Seen,
}

const WAYS: [(&str, Option<Flush>); 3] = [
    ("a pipe", None),
    ("async topic: from written to seen", Some(Flush::Async)),
    ("sync topic: from durable to seen", Some(Flush::Sync)),
];

/// Measures and reports.
pub fn run(bench: &mut Bench) -> Result<()> {
    let count = if bench.options.quick { RECORDS_QUICK } else { RECORDS };
    let mut all: Vec<Vec<Repeat>> = WAYS.iter().map(|_| Vec::new()).collect();
    for _ in 0..bench.options.repeats() {
        for ((_, flush), repeats) in WAYS.iter().zip(&mut all) {
            repeats.push(match flush {
                None => through_a_pipe(count)?,
                Some(flush) => through_a_topic(bench, *flush, count)?,
            });
        }
    }
    let head = ["way", "p50 µs", "p99 µs", "max µs", "≤ 1 ms", "x pipe", "cpu µs"];
    let mut table = Table::new(&head);
    let mut pipe_us = 0.0;
    for ((way, flush), repeats) in WAYS.into_iter().zip(&all) {
        let figure = Figure::of(way, count, repeats);
        bench.report.line("follow", &figure)?;
        if flush.is_none() {
            pipe_us = figure.p50_us.median;
        }
        let reached = if figure.p99_us.median <= FLOOR_US { "yes" } else { "NO" };
        table.row(vec![
            way.to_owned(),
            spread(figure.p50_us),
            spread(figure.p99_us),
            number(figure.max_us),
            flush.map_or("", |_| reached).to_owned(),
            number(figure.p50_us.median / pipe_us),
            spread(figure.cpu_us_per_message),
        ]);
    }
    report::print(&format!("\n{}\n", table.render()))
}

impl Figure {
    fn of(way: &'static str, count: usize, repeats: &[Repeat]) -> Self {
        let each = |of: fn(&Repeat) -> f64| Spread::of(repeats.iter().map(of));
        Self {
            way,
            messages: count,
            p50_us: each(|repeat| repeat.latencies.quantile_us(0.5)),
            p99_us: each(|repeat| repeat.latencies.quantile_us(0.99)),
            max_us: each(|repeat| repeat.latencies.max_us()).max,
            cpu_us_per_message: each(|repeat| {
                repeat.seen.cpu_ms * 1e3 / repeat.seen.at_ns.len() as f64
            }),
        }
    }
}

fn through_a_topic(bench: &Bench, flush: Flush, count: usize) -> Result<Repeat> {
    let scratch = bench.scratch()?;
    let engine = Engine::options().open(scratch.path()).context("opening an empty directory")?;
    let topic = engine.create_topic(TopicSpec::new(TOPIC).flush(flush)).context("a topic")?;
    let partition = topic.partition(0).context("its partition")?;
    let other = Other::start(Some(scratch.path()), count)?;
    let sent = send(count, || {
        partition.append(Record::new(b"a record")).context("an append")?;
        Ok(now_ns())
    })?;
    let repeat = other.finish(&sent)?;
    engine.close(CLOSE_TIMEOUT).context("closing")?;
    Ok(repeat)
}

fn through_a_pipe(count: usize) -> Result<Repeat> {
    let mut other = Other::start(None, count)?;
    let sent = send(count, || {
        // From before: whoever hears it may have run before the call is back.
        let now = now_ns();
        other.input.write_all(&[1]).context("writing to a pipe")?;
        Ok(now)
    })?;
    other.finish(&sent)
}

/// Sends one message after another; when each was sent, as it says.
fn send(count: usize, mut one: impl FnMut() -> Result<u64>) -> Result<Vec<u64>> {
    let mut sent = Vec::with_capacity(count);
    for _ in 0..count {
        thread::sleep(PAUSE);
        sent.push(one()?);
    }
    Ok(sent)
}

/// The process that sees; killed when dropped.
struct Other {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Other {
    fn start(dir: Option<&Path>, count: usize) -> Result<Self> {
        let own = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(own)
            .arg("follow-once")
            .arg(count.to_string())
            .args(dir.map(|dir| ["--data".as_ref(), dir.as_os_str()]).into_iter().flatten())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a process")?;
        let input = child.stdin.take().expect("it was asked for");
        let output = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut other = Self { child, input, output };
        match other.line()?.trim_end() {
            "ready" => Ok(other),
            said => Err(Error::new(format!("the follower said {said:?} at its start"))),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("hearing the follower")?;
        Ok(line)
    }

    fn finish(mut self, sent: &[u64]) -> Result<Repeat> {
        let line = self.line()?;
        let seen: Seen =
            serde_json::from_str(&line).context(format!("the follower said {line:?}"))?;
        if seen.at_ns.len() != sent.len() {
            let (saw, of) = (seen.at_ns.len(), sent.len());
            return Err(Error::new(format!("the follower saw {saw} of {of}")));
        }
        let mut latencies = Latencies::new();
        for (seen, sent) in seen.at_ns.iter().zip(sent) {
            // Who is woken may run before the waker is back from its call.
            latencies.record(Duration::from_nanos(seen.saturating_sub(*sent)));
        }
        Ok(Repeat { latencies, seen })
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It has said what it saw, or what went wrong has been said.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other side: of a directory's topic, or without one of standard input.
pub fn once(dir: Option<&Path>, count: usize) -> Result<()> {
    let mut at_ns = Vec::with_capacity(count);
    let mut cpu = Duration::ZERO;
    let begun = || cpu = usage::cpu_time();
    if let Some(dir) = dir {
        let engine = Engine::options().read_only(true).open(dir).context("opening")?;
        let topic = engine.topic(TOPIC).context("the topic")?;
        let partition = topic.partition(0).context("its partition")?;
        follow(&partition, count, &mut at_ns, begun)?;
    } else {
        hear(count, &mut at_ns, begun)?;
    }
    let cpu_ms = usage::cpu_time().saturating_sub(cpu).as_secs_f64() * 1e3;
    report::print(&serde_json::to_string(&Seen { at_ns, cpu_ms }).context("encoding")?)
}

fn follow(
    partition: &Partition,
    count: usize,
    at_ns: &mut Vec<u64>,
    begun: impl FnOnce(),
) -> Result<()> {
    let mut reader = partition.reader(Start::Latest).context("a reader")?;
    begun();
    report::print("ready")?;
    while at_ns.len() < count {
        let batch = reader.next_timeout(PATIENCE).context("following")?;
        let batch = batch.ok_or_else(|| Error::new("nothing came any more"))?;
        let now = now_ns();
        at_ns.extend(batch.iter().map(|_| now));
    }
    Ok(())
}

fn hear(count: usize, at_ns: &mut Vec<u64>, begun: impl FnOnce()) -> Result<()> {
    let mut input = std::io::stdin().lock();
    begun();
    report::print("ready")?;
    for _ in 0..count {
        input.read_exact(&mut [0]).context("reading from a pipe")?;
        at_ns.push(now_ns());
    }
    Ok(())
}

fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
