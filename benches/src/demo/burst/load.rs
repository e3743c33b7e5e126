//! What happens in the second scene: one thread sends when it is due, one takes the
//! acknowledgements, one handles, and this one looks on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringlog::{
    AppendOptions, CompletionQueue, Engine, Outcome, Partition, Reader, Record, Start, TopicSpec,
};

use super::{
    AFTERWARDS, BURST, BURST_PER_SEC, CALM, CALM_PER_SEC, DRAIN_MAX, DRAINED, HANDLED_PER_SEC,
};
use crate::demo::flights::Events;
use crate::demo::proof::Spoil;
use crate::error::{Context, Error, Result};
use crate::progress::Progress;
use crate::stats::Latencies;
use crate::usage;

/// Events in flight at most: a fifth of a second of the burst.
const OUTSTANDING_MAX: usize = 2048;
/// Flights of an event.
const FLIGHTS: usize = 4;
const LOOK: Duration = Duration::from_millis(250);
/// How long a waiting thread sleeps until it looks whether all is over.
const PATIENCE: Duration = Duration::from_millis(50);
/// A consumer that lags behind its own pace makes up for this much.
const CATCH_UP: Duration = Duration::from_millis(50);

/// How many of what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Sent.
    pub sent: u64,
    /// Acknowledged as durable.
    pub acknowledged: u64,
    /// Handled by the consumer.
    pub handled: u64,
    /// Of these, not the next one or not as it was sent.
    pub wrong: u64,
}

/// One look at it all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Seconds since the beginning.
    pub at: f64,
    /// Events sent, a second, since the look before.
    pub sent_per_sec: f64,
    /// 99th percentile, since the look before, of the time from when an event was due to its
    /// acknowledgement; zero where none came.
    pub p99_ms: f64,
    /// Sent and not handled yet.
    pub waiting: u64,
    /// Bytes of the values of these.
    pub waiting_bytes: u64,
    /// Memory of the process that belongs to no file.
    pub memory_bytes: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Seen {
    /// At the end.
    pub count: Count,
    /// Look by look.
    pub samples: Vec<Sample>,
}

struct Scene<'a> {
    partition: &'a Partition,
    events: &'a Events,
    spoil: Option<Spoil>,
    began: Instant,
    /// No more is sent.
    stop: AtomicBool,
    /// Nothing more is waited for.
    over: AtomicBool,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    handled: AtomicU64,
    sent_bytes: AtomicU64,
    handled_bytes: AtomicU64,
    wrong: AtomicU64,
    latencies: Mutex<Latencies>,
    /// What `--spoil hoard` keeps of what waits.
    hoard: Mutex<VecDeque<Vec<u8>>>,
}

/// Sends as many events as the burst has and reads them, both as fast as it goes, so that what is
/// allocated once is there before memory is watched.
pub fn rehearse(engine: &Engine, events: &Events) -> Result<()> {
    let doing = "rehearsing";
    let topic = engine.create_topic(TopicSpec::new("rehearsal")).context(doing)?;
    let partition = topic.partition(0).context(doing)?;
    let queue = engine.completion_queue(OUTSTANDING_MAX).context(doing)?;
    let mut completions = Vec::new();
    let poll = |completions: &mut Vec<_>| {
        completions.clear();
        queue.poll(completions, OUTSTANDING_MAX, PATIENCE).context(doing)
    };
    for number in 0..BURST.as_secs() * BURST_PER_SEC {
        while queue.outstanding() == queue.capacity() {
            poll(&mut completions)?;
        }
        let options = AppendOptions::default();
        let record = Record::new(event(events, number));
        partition.submit_append(&queue, &[record], options, number).context(doing)?;
    }
    while queue.outstanding() > 0 {
        poll(&mut completions)?;
    }
    for batch in partition.reader(Start::Earliest).context(doing)? {
        std::hint::black_box(batch.context(doing)?);
    }
    Ok(())
}

/// Runs it to the end.
pub fn run(
    engine: &Engine,
    partition: &Partition,
    events: &Events,
    spoil: Option<Spoil>,
) -> Result<Seen> {
    let queue = engine.completion_queue(OUTSTANDING_MAX).context("a completion queue")?;
    let reader = partition.reader(Start::Earliest).context("a reader")?;
    let scene = Scene {
        partition,
        events,
        spoil,
        began: Instant::now(),
        stop: AtomicBool::new(false),
        over: AtomicBool::new(false),
        sent: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        handled: AtomicU64::new(0),
        sent_bytes: AtomicU64::new(0),
        handled_bytes: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
        latencies: Mutex::new(Latencies::new()),
        hoard: Mutex::new(VecDeque::new()),
    };
    thread::scope(|scope| {
        let sender = scope.spawn(|| scene.send(&queue));
        let hearer = scope.spawn(|| scene.hear(&queue));
        let consumer = scope.spawn(|| scene.handle(reader));
        let samples = scene.look_on();
        let joined = |done: thread::Result<Result<()>>| {
            done.map_err(|_| Error::new("a thread of the scene panicked"))?
        };
        scene.stop.store(true, Ordering::SeqCst);
        let sent = joined(sender.join());
        // What was sent last is acknowledged and, if there is nothing else to do, handled.
        let patience = Instant::now() + Duration::from_secs(1);
        while scene.count().handled < scene.count().sent && Instant::now() < patience {
            thread::sleep(PATIENCE);
        }
        scene.over.store(true, Ordering::SeqCst);
        let heard = joined(hearer.join());
        let handled = joined(consumer.join());
        sent.and(heard).and(handled)?;
        Ok(Seen { count: scene.count(), samples: samples? })
    })
}

/// An event of this scene is some flights, so that what waits is more than what an engine and its
/// threads need at any time.
fn event(flights: &Events, number: u64) -> &[u8] {
    let events = flights.len() / FLIGHTS;
    let first = (number % events as u64) as usize * FLIGHTS;
    &flights.text()[flights.start(first)..flights.start(first + FLIGHTS)]
}

/// When an event is due, by its number, from the beginning.
fn due(number: u64) -> Duration {
    let calm = CALM.as_secs() * CALM_PER_SEC;
    let burst = BURST.as_secs() * BURST_PER_SEC;
    let after = |events: u64, per_sec: u64| Duration::from_secs_f64(events as f64 / per_sec as f64);
    if number < calm {
        after(number, CALM_PER_SEC)
    } else if number < calm + burst {
        CALM + after(number - calm, BURST_PER_SEC)
    } else {
        CALM + BURST + after(number - calm - burst, CALM_PER_SEC)
    }
}

impl Scene<'_> {
    fn count(&self) -> Count {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        // In this order: what was handled was acknowledged before, and sent before that.
        let (handled, wrong) = (read(&self.handled), read(&self.wrong));
        let acknowledged = read(&self.acknowledged);
        Count { sent: read(&self.sent), acknowledged, handled, wrong }
    }

    fn event(&self, number: u64) -> &[u8] {
        event(self.events, number)
    }

    fn send(&self, queue: &CompletionQueue) -> Result<()> {
        for number in 0.. {
            let due = self.began + due(number);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            while queue.outstanding() == queue.capacity() {
                thread::yield_now();
            }
            let event = self.event(number);
            if self.spoil == Some(Spoil::Hoard) {
                let mut hoard = self.hoard.lock().unwrap_or_else(PoisonError::into_inner);
                hoard.push_back(event.to_vec());
            }
            self.sent_bytes.fetch_add(event.len() as u64, Ordering::SeqCst);
            self.sent.store(number + 1, Ordering::SeqCst);
            let options = AppendOptions::default();
            self.partition
                .submit_append(queue, &[Record::new(event)], options, number)
                .context("appending")?;
        }
        Ok(())
    }

    fn hear(&self, queue: &CompletionQueue) -> Result<()> {
        let mut completions = Vec::new();
        while !self.over.load(Ordering::SeqCst) || queue.outstanding() > 0 {
            queue.poll(&mut completions, OUTSTANDING_MAX, PATIENCE).context("polling")?;
            let now = Instant::now();
            let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            for completion in completions.drain(..) {
                let Outcome::Append { result, .. } = completion.outcome else { continue };
                result.context("appending")?;
                let due = self.began + due(completion.tag);
                latencies.record(now.saturating_duration_since(due));
                self.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        }
        Ok(())
    }

    /// Handles one event after another at its own pace, and checks each.
    fn handle(&self, mut reader: Reader) -> Result<()> {
        let per_sec = HANDLED_PER_SEC / if self.spoil == Some(Spoil::Lag) { 20 } else { 1 };
        let pace = Duration::from_secs(1) / per_sec as u32;
        let mut next = Instant::now();
        let mut number = 0;
        while !self.over.load(Ordering::SeqCst) {
            let Some(batch) = reader.next_timeout(PATIENCE).context("reading")? else { continue };
            for record in &batch {
                let record = record.context("reading a record")?;
                let value = record.value().unwrap_or_default();
                if self.spoil == Some(Spoil::Lose) && record.offset().0 == 5000 {
                    continue;
                }
                let is_next = record.offset().0 == number && value == self.event(number);
                self.wrong.fetch_add(u64::from(!is_next), Ordering::SeqCst);
                number += 1;
                self.hoard.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                self.handled_bytes.fetch_add(value.len() as u64, Ordering::SeqCst);
                self.handled.store(number, Ordering::SeqCst);
                let now = Instant::now();
                next = next.max(now.checked_sub(CATCH_UP).unwrap_or(now)) + pace;
                thread::sleep(next.saturating_duration_since(now));
            }
        }
        Ok(())
    }

    /// Looks four times a second until all is drained, or it has taken too long.
    fn look_on(&self) -> Result<Vec<Sample>> {
        let progress = Progress::new(BURST.as_secs() * BURST_PER_SEC);
        let mut samples: Vec<Sample> = Vec::with_capacity(1024);
        let mut drained_at: Option<Duration> = None;
        let mut sent_before = 0;
        loop {
            thread::sleep(LOOK);
            let at = self.began.elapsed();
            let count = self.count();
            let latencies = {
                let mut now = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *now)
            };
            let since = at.as_secs_f64() - samples.last().map_or(0.0, |sample| sample.at);
            let handled_bytes = self.handled_bytes.load(Ordering::SeqCst);
            let sample = Sample {
                at: at.as_secs_f64(),
                sent_per_sec: (count.sent - sent_before) as f64 / since,
                p99_ms: latencies.quantile_us(0.99) / 1e3,
                waiting: count.sent - count.handled,
                waiting_bytes: self.sent_bytes.load(Ordering::SeqCst) - handled_bytes,
                memory_bytes: usage::anonymous_bytes()?,
            };
            sent_before = count.sent;
            samples.push(sample);
            progress.doing(format!("{} events wait", sample.waiting));
            let burst_is_over = at > CALM + BURST;
            if burst_is_over && sample.waiting <= DRAINED && drained_at.is_none() {
                drained_at = Some(at);
            }
            let done = drained_at.is_some_and(|drained| at > drained + AFTERWARDS);
            if done || at > CALM + BURST + DRAIN_MAX {
                return Ok(samples);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_at_the_rates_of_calm_and_burst() {
        let at = |number| due(number).as_secs_f64();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
        near(at(0), 0.0);
        near(at(100), 1.0);
        near(at(300), 3.0);
        near(at(10_300), 4.0);
        near(at(20_300), 5.0);
        near(at(20_400), 6.0);
    }
}
