//! Opening what a dead writer left, and reading: through the library after the kill, by the command
//! line at the end.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringlog::{Engine, Recovery, Start};

use crate::demo::flights::Events;
use crate::demo::proof::{self, Recovered, Spoil, Told};
use crate::demo::writer::{Cli, TOPIC};
use crate::demo::{ok, row};
use crate::error::{Context, Error, Result};
use crate::report::print;
use crate::stats::{Latencies, Run};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
const BUFFER_BYTES: usize = 256 << 10;

/// What was found.
pub struct Found {
    /// How many events were recovered.
    pub count: usize,
    /// How long opening took.
    pub opened_in: Duration,
}

/// Opens the directory, says what recovery did, and holds what is there against the source.
pub fn reopen(data: &Path, events: &Events, told: Told, spoil: Option<Spoil>) -> Result<Found> {
    let (engine, opened_in) = open_engine(data)?;
    let mut recovered = read(&engine)?;
    let recovery = recovery_of_topic(&engine);
    engine.close(CLOSE_TIMEOUT).context("closing")?;
    if let Some(spoil) = spoil {
        print(&format!("   spoiled before the check: {spoil:?}"))?;
        spoil.apply(events, told, &mut recovered);
    }
    let count = recovered.len();
    let note = format!("events; opening took {:.1} ms", opened_in.as_secs_f64() * 1e3);
    row("recovered", count, &note)?;
    row("of these", count.saturating_sub(told.acknowledged), "were not acknowledged yet")?;
    row("cut", told.taken.saturating_sub(count), "events: taken, but never acknowledged")?;
    if let Some(recovery) = recovery {
        row("bytes read", recovery.scanned_bytes as usize, "of the log's tail")?;
        row("replayed", recovery.replayed_bytes as usize, "bytes that only the ring had")?;
        row("torn", recovery.cut_bytes as usize, "bytes cut off the end")?;
    }
    let checks = proof::check(events, told, &recovered);
    for check in &checks {
        ok(check.holds(), check.what, &check.detail)?;
    }
    match checks.iter().filter(|check| !check.holds()).count() {
        0 => Ok(Found { count, opened_in }),
        failed => Err(Error::new(format!("{failed} proofs failed"))),
    }
}

/// Opens the directory, which must have been closed cleanly, and closes it; how long opening took.
pub fn reopen_clean(data: &Path) -> Result<Duration> {
    let (engine, opened_in) = open_engine(data)?;
    let recovery = recovery_of_topic(&engine);
    engine.close(CLOSE_TIMEOUT).context("closing")?;
    if recovery.is_some_and(|recovery| recovery.clean) {
        Ok(opened_in)
    } else {
        Err(Error::new("the writer that came to the end did not close the log cleanly"))
    }
}

/// Lets `ringlog verify` read the whole directory; what it says.
pub fn verify(cli: &Cli) -> Result<String> {
    let output = cli.command(&["verify"]).output().context(cli.starting())?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return Ok(said);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("`ringlog verify`: {said} {complaint}")))
}

fn open_engine(data: &Path) -> Result<(Engine, Duration)> {
    let started = Instant::now();
    let engine = Engine::options().create(false).open(data).context("opening")?;
    Ok((engine, started.elapsed()))
}

/// Of the log that the topic is on, the only one besides the catalog's.
fn recovery_of_topic(engine: &Engine) -> Option<Recovery> {
    engine.metrics().logs.last().map(|log| log.recovery)
}

fn read(engine: &Engine) -> Result<Recovered> {
    let reading = || format!("reading {TOPIC}");
    let partition = engine.topic(TOPIC).and_then(|topic| topic.partition(0)).context(reading())?;
    let mut recovered = Recovered::new();
    for record in partition.reader(Start::Earliest).context(reading())?.records() {
        let record = record.context(reading())?;
        let value = record.value.map_or_else(Vec::new, |value| value.to_vec());
        recovered.push((record.offset.0, value));
    }
    Ok(recovered)
}

/// Reads everything by a program that writes it to its output, and compares it, byte for byte.
pub fn read_back(mut program: Command, name: &str, events: &Events) -> Result<Run> {
    let started = Instant::now();
    let starting = || format!("starting {name}");
    let mut child = program.stdout(Stdio::piped()).spawn().context(starting())?;
    let mut output = child.stdout.take().expect("it was asked for");
    let mut buffer = vec![0; BUFFER_BYTES];
    let text = events.text();
    let mut at = 0;
    let mut differs = None;
    loop {
        let count = output.read(&mut buffer).context(format!("reading from {name}"))?;
        if count == 0 {
            break;
        }
        let same = text.get(at..at + count) == Some(&buffer[..count]);
        if !same && differs.is_none() {
            differs = Some(events.whole_lines(at));
        }
        at += count;
    }
    let elapsed = started.elapsed();
    let status = child.wait().context(format!("waiting for {name}"))?;
    if !status.success() {
        return Err(Error::new(format!("{name} ended with {status}")));
    }
    if let Some(event) = differs {
        let what = format!("what {name} read differs from event {event} on");
        return Err(Error::new(what));
    }
    if at != text.len() {
        return Err(Error::new(format!("{at} bytes were read by {name}, of {}", text.len())));
    }
    let ops = events.len() as u64;
    Ok(Run { ops, bytes: at as u64, elapsed, latencies: Latencies::new() })
}
