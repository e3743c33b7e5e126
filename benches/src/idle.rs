//! `idle`: what an engine costs that has nothing to do. A fresh process appends to an async topic
//! while a reader follows, lets the window and the watermark group pass, and then watches itself:
//! context switches of all its threads, processor time, resident memory.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringlog::{Engine, Flush, Record, Start, TopicSpec};
use serde::{Deserialize, Serialize};

use crate::Bench;
use crate::error::{Context, Error, Result};
use crate::report::{self, Table, number};
use crate::usage;

/// Time watched.
const WATCHED: Duration = Duration::from_secs(10);
const QUICK: Duration = Duration::from_secs(2);
/// Longer than the async window, the quiet second before the watermark group, and the five seconds
/// after which the kernel ends io_uring's idle workers, which are threads of this process.
const REST: Duration = Duration::from_secs(10);
const APPENDS: usize = 1_000_000;
const VALUE_BYTES: usize = 100;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);
/// Most resident memory of an idle engine, rings apart.
const FLOOR_RSS_BYTES: u64 = 32 << 20;

/// What the process saw of itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Idle {
    watched_secs: f64,
    /// Of all threads but the one that watches.
    context_switches: u64,
    /// Threads that ended meanwhile; what they did last is not counted.
    threads_ended: usize,
    cpu_ms: f64,
    /// The process without an engine.
    rss_before_bytes: u64,
    /// With one topic on each log, before anything was appended.
    rss_open_bytes: u64,
    /// While idle, everything.
    rss_idle_bytes: u64,
    /// Of it, mappings of rings.
    rss_rings_bytes: u64,
    /// Records that the follower had seen.
    followed: u64,
}

/// Runs it in a fresh process and says what came out.
pub fn run(bench: &mut Bench) -> Result<()> {
    let scratch = bench.scratch()?;
    let watched = if bench.options.quick { QUICK } else { WATCHED };
    let own = std::env::current_exe().context("finding this program")?;
    let output = Command::new(own)
        .arg("idle-once")
        .arg(scratch.path())
        .arg(watched.as_secs_f64().to_string())
        .output()
        .context("starting a process")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("idling in a fresh process: {}", stderr.trim())));
    }
    let idle: Idle =
        serde_json::from_slice(&output.stdout).context("reading what the process printed")?;
    bench.report.line("idle", &idle)?;
    let mib = |bytes: u64| number(bytes as f64 / f64::from(1 << 20));
    let besides = idle.rss_idle_bytes.saturating_sub(idle.rss_rings_bytes);
    let mut table = Table::new(&["idle", "measured", "floor", "reached"]);
    let mut row = |what: &str, measured: String, floor: &str, reached: Option<bool>| {
        let reached = reached.map_or("", |reached| if reached { "yes" } else { "NO" });
        table.row(vec![what.to_owned(), measured, floor.to_owned(), reached.to_owned()]);
    };
    // Ending takes a thread a switch at least.
    let switches = idle.context_switches + idle.threads_ended as u64;
    let per_sec = switches as f64 / idle.watched_secs;
    row("context switches/s", number(per_sec), "0", Some(switches == 0));
    row("processor ms", number(idle.cpu_ms), "", None);
    let fits = besides <= FLOOR_RSS_BYTES;
    row("resident MiB besides rings", mib(besides), "≤ 32", Some(fits));
    row("rings, resident MiB", mib(idle.rss_rings_bytes), "", None);
    row("process without engine, MiB", mib(idle.rss_before_bytes), "", None);
    report::print(&format!("\n{}\n", table.render()))
}

/// The other side of `run`.
pub fn once(dir: &Path, secs: f64) -> Result<()> {
    let rss_before_bytes = usage::resident_bytes()?;
    let engine = Engine::options().open(dir).context("opening an empty directory")?;
    let spec = TopicSpec::new("durable");
    engine.create_topic(spec).context("creating a topic")?;
    let spec = TopicSpec::new("bench").flush(Flush::Async);
    let topic = engine.create_topic(spec).context("creating a topic")?;
    let partition = topic.partition(0).context("its first partition")?;
    let rss_open_bytes = usage::resident_bytes()?;
    let followed = AtomicU64::new(0);
    let idle = thread::scope(|scope| {
        let reader = partition.reader(Start::Earliest).context("a reader")?;
        let seen = &followed;
        scope.spawn(move || {
            // Ends with an error when the engine is closed.
            for batch in reader.follow().map_while(ringlog::Result::ok) {
                seen.fetch_add(batch.len() as u64, Ordering::Relaxed);
            }
        });
        let value = [7; VALUE_BYTES];
        for _ in 0..APPENDS {
            partition.append(Record::new(&value)).context("appending")?;
        }
        thread::sleep(REST);
        let (switches, cpu, start) =
            (usage::context_switches()?, usage::cpu_time(), Instant::now());
        thread::sleep(Duration::try_from_secs_f64(secs).unwrap_or(WATCHED));
        let now = usage::context_switches()?;
        let since = |(thread, count): (&String, &u64)| count - switches.get(thread).unwrap_or(&0);
        let context_switches = now.iter().map(since).sum();
        let threads_ended = switches.keys().filter(|thread| !now.contains_key(*thread)).count();
        let idle = Idle {
            watched_secs: start.elapsed().as_secs_f64(),
            context_switches,
            threads_ended,
            cpu_ms: usage::cpu_time().saturating_sub(cpu).as_secs_f64() * 1e3,
            rss_before_bytes,
            rss_open_bytes,
            rss_idle_bytes: usage::resident_bytes()?,
            rss_rings_bytes: rings_resident_bytes()?,
            followed: followed.load(Ordering::Relaxed),
        };
        engine.close(CLOSE_TIMEOUT).context("closing")?;
        Ok::<_, Error>(idle)
    })?;
    if idle.followed != APPENDS as u64 {
        return Err(Error::new(format!("the follower saw {} of {APPENDS}", idle.followed)));
    }
    report::print(&serde_json::to_string(&idle).context("encoding")?)
}

/// Resident bytes of all mappings of rings, both halves of each counted, as `VmRSS` does.
fn rings_resident_bytes() -> Result<u64> {
    let maps = fs::read_to_string("/proc/self/smaps").context("reading the process's mappings")?;
    let (mut total, mut ring) = (0, false);
    for line in maps.lines() {
        if let Some(rest) = line.strip_prefix("Rss:") {
            let kib = rest.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
            total += if ring { kib * 1024 } else { 0 };
        } else if !line.split(' ').next().is_some_and(|word| word.ends_with(':')) {
            ring = line.ends_with("/ring") || line.contains("ringlog-ring");
        }
    }
    Ok(total)
}
