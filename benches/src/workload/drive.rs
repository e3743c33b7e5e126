//! The closed loops: every acknowledgement releases one slot, which appends again at once.

use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::stats::{Latencies, Run};
use crate::target::Target;
use crate::values::Values;
use crate::workload::futures::{Slots, bits};
use crate::workload::spec::{Producers, Spec};

/// Acknowledgements before the clock starts are not counted.
const WARMING: u8 = 0;
/// The clock runs.
const MEASURING: u8 = 1;
/// Producers finish what they have in flight and end.
const ENDING: u8 = 2;

/// Times of one repeat.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Not counted, at the start.
    pub warm_up: Duration,
    /// Counted.
    pub measure: Duration,
}

/// Runs `spec` against `target` once. `clock_starts` is called when the warm-up is over.
pub fn drive<T: Target>(
    spec: &Spec,
    target: &T,
    values: &Values,
    times: Times,
    clock_starts: impl FnOnce(),
) -> Result<Run> {
    match (spec.producers, spec.in_flight) {
        (Producers::Futures, _) => futures(spec, target, values, times, clock_starts),
        (Producers::Threads, 1) => one(spec, target, values, times, clock_starts),
        (Producers::Threads, _) => threads(spec, target, values, times, clock_starts),
    }
}

struct Count {
    batches: u64,
    latencies: Latencies,
}

impl Count {
    fn new() -> Self {
        Self { batches: 0, latencies: Latencies::new() }
    }

    fn add(&mut self, latency: Duration) {
        self.batches += 1;
        self.latencies.record(latency);
    }

    fn into_run(self, spec: &Spec, elapsed: Duration) -> Run {
        let ops = self.batches * spec.batch as u64;
        let bytes = ops * spec.value_bytes as u64;
        Run { ops, bytes, elapsed, latencies: self.latencies }
    }
}

/// One blocking producer on this thread. The clock is read once a batch: a latency runs from the
/// acknowledgement before, which adds the loop's own few nanoseconds rather than leave out any.
fn one<T: Target>(
    spec: &Spec,
    target: &T,
    values: &Values,
    times: Times,
    clock_starts: impl FnOnce(),
) -> Result<Run> {
    let mut batch = Vec::with_capacity(spec.batch);
    let mut index = 0;
    let mut append = || {
        values.fill(index, spec.batch, &mut batch);
        let partition = spec.partition(index);
        index += spec.batch;
        target.append(partition, &batch)
    };
    let warm = Instant::now() + times.warm_up;
    while Instant::now() < warm {
        append()?;
    }
    clock_starts();
    let mut count = Count::new();
    let start = Instant::now();
    let end = start + times.measure;
    let mut last = start;
    while last < end {
        append()?;
        let now = Instant::now();
        count.add(now - last);
        last = now;
    }
    Ok(count.into_run(spec, last - start))
}

/// All slots on this thread, as futures.
fn futures<T: Target>(
    spec: &Spec,
    target: &T,
    values: &Values,
    times: Times,
    clock_starts: impl FnOnce(),
) -> Result<Run> {
    let now = Instant::now();
    let mut futures = FutureLoop {
        spec,
        target,
        values,
        batch: Vec::with_capacity(spec.batch),
        index: 0,
        slots: Slots::new(spec.in_flight),
        submitted: vec![now; spec.in_flight],
        in_flight: 0,
        clock_starts: Some(clock_starts),
        measure: times.measure,
        start: now + times.warm_up,
        last: now,
        count: Count::new(),
    };
    for slot in 0..spec.in_flight {
        futures.submit(slot, Instant::now())?;
    }
    while futures.in_flight > 0 {
        for slot in bits(futures.slots.wait()) {
            if let Poll::Ready(result) = futures.slots.poll(slot) {
                let now = futures.acknowledged(slot, result)?;
                futures.submit(slot, now)?;
            }
        }
    }
    Ok(futures.count.into_run(spec, futures.last - futures.start))
}

struct FutureLoop<'a, T: Target, C> {
    spec: &'a Spec,
    target: &'a T,
    values: &'a Values,
    batch: Vec<&'a [u8]>,
    index: usize,
    slots: Slots<T::Pending>,
    submitted: Vec<Instant>,
    in_flight: usize,
    /// There until the clock starts.
    clock_starts: Option<C>,
    measure: Duration,
    /// When the clock starts, or has started.
    start: Instant,
    /// The last acknowledgement that was counted.
    last: Instant,
    count: Count,
}

impl<T: Target, C: FnOnce()> FutureLoop<'_, T, C> {
    fn is_over(&self, now: Instant) -> bool {
        self.clock_starts.is_none() && now >= self.start + self.measure
    }

    /// Submits in the free slot, again as long as the target acknowledges on the spot.
    fn submit(&mut self, slot: usize, mut now: Instant) -> Result<()> {
        while !self.is_over(now) {
            self.values.fill(self.index, self.spec.batch, &mut self.batch);
            let partition = self.spec.partition(self.index);
            self.index += self.spec.batch;
            self.submitted[slot] = now;
            self.in_flight += 1;
            match self.slots.start(slot, self.target.submit(partition, &self.batch)) {
                Poll::Ready(result) => now = self.acknowledged(slot, result)?,
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, slot: usize, result: Result<()>) -> Result<Instant> {
        result?;
        let now = Instant::now();
        self.in_flight -= 1;
        if now >= self.start
            && let Some(clock_starts) = self.clock_starts.take()
        {
            clock_starts();
            (self.start, self.last) = (now, now);
        } else if self.clock_starts.is_none() && !self.is_over(now) {
            self.count.add(now - self.submitted[slot]);
            self.last = now;
        }
        Ok(now)
    }
}

/// One blocking thread for every slot.
fn threads<T: Target>(
    spec: &Spec,
    target: &T,
    values: &Values,
    times: Times,
    clock_starts: impl FnOnce(),
) -> Result<Run> {
    let phase = AtomicU8::new(WARMING);
    let produce = |producer: usize| -> Result<Count> {
        let mut count = Count::new();
        let mut batch = Vec::with_capacity(spec.batch);
        // Producers start at different partitions, and stay different.
        let mut index = producer * 61 * spec.batch;
        let mut last = Instant::now();
        loop {
            values.fill(index, spec.batch, &mut batch);
            let partition = spec.partition(index);
            index += spec.batch;
            target.append(partition, &batch)?;
            let now = Instant::now();
            match phase.load(Ordering::Relaxed) {
                WARMING => {}
                MEASURING => count.add(now - last),
                _ => return Ok(count),
            }
            last = now;
        }
    };
    thread::scope(|scope| {
        let produce = &produce;
        let producers: Vec<_> =
            (0..spec.in_flight).map(|producer| scope.spawn(move || produce(producer))).collect();
        thread::sleep(times.warm_up);
        clock_starts();
        let start = Instant::now();
        phase.store(MEASURING, Ordering::Relaxed);
        thread::sleep(times.measure);
        phase.store(ENDING, Ordering::Relaxed);
        let elapsed = start.elapsed();
        let mut total = Count::new();
        for producer in producers {
            let count = producer.join().map_err(|_| Error::new("a producer panicked"))??;
            total.batches += count.batches;
            total.latencies.merge(&count.latencies);
        }
        Ok(total.into_run(spec, elapsed))
    })
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::Context;

    use super::*;
    use crate::cli::Backend;
    use crate::target::null::Null;
    use crate::target::{Level, Setup};
    use crate::workload::spec::{DURABLE, WRITTEN};

    /// Runs with longer and longer times until there was enough: a busy machine may give a short
    /// run next to nothing.
    fn until_enough(mut run: impl FnMut(Times) -> bool) {
        let measured = [20, 200, 2_000, 20_000].map(Duration::from_millis);
        let mut times = measured
            .map(|measure| Times { warm_up: Duration::from_millis(5), measure })
            .into_iter();
        assert!(times.any(&mut run), "never enough");
    }

    fn null(level: Level) -> Null {
        let setup = Setup {
            level,
            partitions: 1,
            segment_bytes: None,
            ring_bytes: None,
            group_bytes: None,
            groups_in_flight: None,
            batch_bytes: None,
            shards: None,
            backend: Backend::Auto,
        };
        Null::open(std::path::Path::new(""), &setup).expect("it opens nothing")
    }

    #[test]
    fn every_workload_runs_and_starts_the_clock_once() {
        for spec in DURABLE.iter().chain(WRITTEN) {
            let values = Values::new(1, spec.value_bytes);
            until_enough(|times| {
                let target = null(spec.level);
                let mut starts = 0;
                let run = drive(spec, &target, &values, times, || starts += 1).expect("it runs");
                assert_eq!(starts, 1, "{}", spec.name);
                assert!(run.ops <= target.end(), "{}", spec.name);
                assert!(run.ops.is_multiple_of(spec.batch as u64), "{}", spec.name);
                run.ops > 0
            });
        }
    }

    /// Counts what is in flight around the target that does nothing.
    struct Watched {
        inner: Null,
        in_flight: AtomicUsize,
        most: AtomicUsize,
    }

    struct WatchedPending<'a>(<Null as Target>::Pending, &'a AtomicUsize);

    impl Future for WatchedPending<'_> {
        type Output = Result<()>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            let result = Pin::new(&mut self.0).poll(cx);
            if result.is_ready() {
                self.1.fetch_sub(1, Ordering::Relaxed);
            }
            result
        }
    }

    impl<'a> Target for &'a Watched {
        type Pending = WatchedPending<'a>;

        fn open(_: &std::path::Path, _: &Setup) -> Result<Self> {
            Err(Error::new("made by the test"))
        }
        fn append(&self, partition: u32, values: &[&[u8]]) -> Result<()> {
            self.inner.append(partition, values)
        }
        fn submit(&self, partition: u32, values: &[&[u8]]) -> Self::Pending {
            let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            WatchedPending(self.inner.submit(partition, values), &self.in_flight)
        }
        fn end(&self) -> u64 {
            self.inner.end()
        }
        fn trim(&self, _: u64) -> Result<()> {
            Ok(())
        }
        fn log_bytes(&self) -> Option<u64> {
            None
        }
        fn close(self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn futures_fill_all_slots_and_never_more() {
        let watched = Watched {
            inner: null(Level::Durable),
            in_flight: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        };
        let spec = DURABLE.iter().find(|spec| spec.name == "d2a").expect("it is there");
        let values = Values::new(1, spec.value_bytes);
        until_enough(|times| {
            drive(spec, &&watched, &values, times, || {}).expect("it runs");
            assert_eq!(watched.in_flight.load(Ordering::Relaxed), 0);
            watched.most.load(Ordering::Relaxed) >= 64
        });
        assert_eq!(watched.most.load(Ordering::Relaxed), 64);
    }
}
