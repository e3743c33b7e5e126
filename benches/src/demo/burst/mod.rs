//! The second scene: a burst meets a slow consumer. After a calm of 100 events a second come two
//! seconds of 10,000, while the consumer handles 1,000: the log holds what waits, on disk, the
//! producer does not feel it, and the consumer gets to the end by and by.

mod chart;
mod load;

use std::path::Path;
use std::time::Duration;

use ringlog::{Engine, TopicSpec};

use crate::demo::flights::Events;
use crate::demo::proof::Spoil;
use crate::demo::{grouped, ok, row, step};
use crate::error::{Context, Error, Result};
use crate::report::{number, print};

use load::{Count, Sample};

/// Events a second in the calm, in the burst, and handled.
const CALM_PER_SEC: u64 = 100;
const BURST_PER_SEC: u64 = 10_000;
const HANDLED_PER_SEC: u64 = 1000;
/// Calm before the burst; the first seconds of it are the measure for memory.
const CALM: Duration = Duration::from_secs(3);
const BURST: Duration = Duration::from_secs(2);
/// Drained means that no more wait than come in a tenth of a second of calm.
const DRAINED: u64 = CALM_PER_SEC / 10;
/// Longest time that draining may take; 20 seconds are what the numbers above come to.
const DRAIN_MAX: Duration = Duration::from_secs(45);
/// Calm that is shown when all is drained.
const AFTERWARDS: Duration = Duration::from_secs(1);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// What memory of the process may grow by at most, as a part of the bytes that waited.
const MEMORY_PART: f64 = 0.25;

/// Runs it, draws it, and checks it; an error if anything is not as promised.
pub fn run(dir: &Path, svg: &Path, events: &Events, spoil: Option<Spoil>) -> Result<()> {
    step(7, "A burst meets a slow consumer")?;
    print(&format!(
        "   {CALM_PER_SEC} events a second, then two seconds of {}, each durable; the consumer \
         handles {}",
        grouped(BURST_PER_SEC as usize),
        grouped(HANDLED_PER_SEC as usize)
    ))?;
    let engine = Engine::options().open(dir.join("burst")).context("opening")?;
    let topic = engine.create_topic(TopicSpec::new("burst")).context("creating a topic")?;
    let partition = topic.partition(0).context("its partition")?;
    load::rehearse(&engine, events)?;
    let seen = load::run(&engine, &partition, events, spoil)?;
    engine.close(CLOSE_TIMEOUT).context("closing")?;
    print(&format!("\n{}", chart::terminal(&seen.samples)))?;
    chart::svg(svg, &seen.samples)?;
    print(&format!("\n   the same as a picture: {}\n", svg.display()))?;
    check(&seen.count, &seen.samples)
}

fn check(count: &Count, samples: &[Sample]) -> Result<()> {
    let most = samples.iter().map(|sample| sample.waiting).max().unwrap_or(0);
    let waiting_bytes = samples.iter().map(|sample| sample.waiting_bytes).max().unwrap_or(0);
    row("sent", count.sent as usize, "events, each when it was due")?;
    row("waited at most", most as usize, &format!("of them, {} of values", mib(waiting_bytes)))?;
    let calm = |sample: &&Sample| sample.at < CALM.as_secs_f64();
    let memory = samples.iter().filter(calm).map(|sample| sample.memory_bytes).max();
    let memory = memory.unwrap_or(0);
    let peak = samples.iter().map(|sample| sample.memory_bytes).max().unwrap_or(0);
    let grown = peak.saturating_sub(memory);
    let allowed = (waiting_bytes as f64 * MEMORY_PART) as u64;
    let lost = count.sent - count.handled;
    let drained = samples.last().is_some_and(|sample| sample.waiting <= DRAINED);
    let checks = [
        (
            count.acknowledged == count.sent,
            "every event was acknowledged",
            format!("{} of {}", grouped(count.acknowledged as usize), grouped(count.sent as usize)),
        ),
        (
            count.wrong == 0 && (lost == 0 || !drained),
            "nothing was lost",
            if count.wrong == 0 {
                "each was handled once, in order, byte for byte".to_owned()
            } else {
                format!("{} were not the next one, or not as sent", grouped(count.wrong as usize))
            },
        ),
        (
            grown <= allowed,
            "memory stayed flat",
            format!("grew by {}, while {} waited", mib(grown), mib(waiting_bytes)),
        ),
        (
            drained,
            "drained after the burst",
            format!("{} wait at the end", samples.last().map_or(0, |sample| sample.waiting)),
        ),
    ];
    let mut failed = 0;
    for (holds, what, detail) in &checks {
        ok(*holds, what, detail)?;
        failed += usize::from(!holds);
    }
    if failed == 0 { Ok(()) } else { Err(Error::new(format!("{failed} proofs failed"))) }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", number(bytes as f64 / f64::from(1 << 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: f64, waiting: u64, memory_bytes: u64) -> Sample {
        Sample { at, waiting, waiting_bytes: waiting * 400, memory_bytes, ..Sample::default() }
    }

    fn good() -> (Count, Vec<Sample>) {
        let count = Count { sent: 30, acknowledged: 30, handled: 30, wrong: 0 };
        let samples = [(1.0, 0, 50), (4.0, 20_000, 60), (9.0, 0, 60)];
        (count, samples.map(|(at, waiting, memory)| sample(at, waiting, memory << 10)).to_vec())
    }

    #[test]
    fn what_is_as_promised_passes() {
        let (count, samples) = good();
        assert!(check(&count, &samples).is_ok());
    }

    #[test]
    fn each_promise_that_is_broken_fails() {
        let (count, samples) = good();
        let broken = |count: Count, samples: &[Sample]| check(&count, samples).is_err();
        assert!(broken(Count { acknowledged: 29, ..count }, &samples));
        assert!(broken(Count { wrong: 1, ..count }, &samples));
        assert!(broken(Count { handled: 29, ..count }, &samples));
        let mut hoards = samples.clone();
        hoards[1].memory_bytes += 8 << 20;
        assert!(broken(count, &hoards));
        let mut waits = samples;
        waits[2].waiting = DRAINED + 1;
        assert!(broken(count, &waits));
    }
}
