//! The figures: what the device does by itself, and what Ringlog does with it, in the same run.

use std::time::{Duration, Instant};

use ringlog::{Engine, Record, TopicSpec};

use crate::Bench;
use crate::demo::flights::Events;
use crate::demo::step;
use crate::error::{Context, Result};
use crate::limit::cell::{Cell, DURABLE_2M, ONE_BLOCK};
use crate::limit::device::Device;
use crate::report::{Table, number, print};
use crate::stats::{Latencies, Run, Summary};

const DEVICE_BYTES: u64 = 64 << 20;
const ROUNDS: usize = 4;
/// Of one cell, and of the single appends beside it.
const ROUND_TIME: Duration = Duration::from_millis(300);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// All of them.
pub struct Figures {
    device_single: (Cell, Summary),
    device_stream: (Cell, Summary),
    single: Summary,
    /// Events through the writers' pipes.
    pub stream: Run,
    /// `ringlog read`.
    pub read: Run,
    /// Opening after the kill.
    pub reopened_after_kill: Duration,
    /// Opening after a clean close.
    pub reopened_after_close: Duration,
}

impl Figures {
    /// Measures the device and, in turn with it, appends that wait one for the other.
    pub fn measure(bench: &Bench, events: &Events) -> Result<Self> {
        step(2, "Measure the device by itself, and one event at a time beside it")?;
        let scratch = bench.scratch()?;
        let device = Device::prepare(scratch.path(), DEVICE_BYTES, bench.seed)?;
        let engine = Engine::options().open(scratch.path().join("data")).context("opening")?;
        print(&chosen(&engine))?;
        let is_plain = engine.capabilities().driver != "io_uring";
        let mut cells = [ONE_BLOCK, DURABLE_2M].concat();
        cells.retain(|cell| cell.depth == 1 || !is_plain);
        let mut runs: Vec<Vec<Run>> = vec![Vec::new(); cells.len()];
        let mut singles = Vec::new();
        for _ in 0..ROUNDS {
            for (&cell, runs) in cells.iter().zip(&mut runs) {
                runs.push(if is_plain {
                    device.run_plain(cell.block_bytes, ROUND_TIME)?
                } else {
                    device.run(cell, ROUND_TIME)?
                });
            }
            singles.push(one_at_a_time(&engine, events)?);
        }
        engine.close(CLOSE_TIMEOUT).context("closing")?;
        let mut cells = cells.iter().zip(&runs).map(|(&cell, runs)| (cell, Summary::of(runs)));
        let device_single = cells.next().expect("the first cell is the single block");
        let bandwidth = |cell: &(Cell, Summary)| cell.1.mb_per_sec.median;
        let device_stream = cells
            .max_by(|a, b| bandwidth(a).total_cmp(&bandwidth(b)))
            .expect("there are cells with 2 MiB in flight");
        let nothing =
            || Run { ops: 0, bytes: 0, elapsed: Duration::ZERO, latencies: Latencies::new() };
        Ok(Self {
            device_single,
            device_stream,
            single: Summary::of(&singles),
            stream: nothing(),
            read: nothing(),
            reopened_after_kill: Duration::ZERO,
            reopened_after_close: Duration::ZERO,
        })
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut table = Table::new(&["", "a second", "MB/s", "p50 µs", "p99 µs"]);
        let mut row = |what: &str, summary: &Summary| {
            let spreads = [summary.per_sec, summary.mb_per_sec, summary.p50_us, summary.p99_us];
            let figures = spreads.map(|spread| number(spread.median));
            table.row([what.to_owned()].into_iter().chain(figures).collect());
        };
        row("durable events, one at a time", &self.single);
        row(&device(self.device_single.0), &self.device_single.1);
        row("durable events, 4,096 at once", &Summary::of(std::slice::from_ref(&self.stream)));
        row(&device(self.device_stream.0), &self.device_stream.1);
        let read = &self.read;
        let rates = [read.ops_per_sec(), read.mb_per_sec()].map(number);
        table.row(["events read back".to_owned()].into_iter().chain(rates).collect());
        let ms = |time: Duration| number(time.as_secs_f64() * 1e3);
        format!(
            "\n{}\n\nopened in {} ms after the kill, in {} ms after a clean close",
            table.render(),
            ms(self.reopened_after_kill),
            ms(self.reopened_after_close),
        )
    }
}

fn device(cell: Cell) -> String {
    let kib = cell.block_bytes >> 10;
    match cell.depth {
        1 => format!("  the device: {kib} KiB, one at a time"),
        depth => format!("  the device: {kib} KiB, {depth} at once"),
    }
}

fn chosen(engine: &Engine) -> String {
    let chosen = engine.capabilities();
    let direct = if chosen.direct_io { "direct" } else { "buffered" };
    format!("   {} on {}, {direct} writes", chosen.driver, chosen.filesystem)
}

/// Durable appends, each after the acknowledgement of the one before it.
fn one_at_a_time(engine: &Engine, events: &Events) -> Result<Run> {
    let topic = engine.open_or_create_topic(TopicSpec::new("single"));
    let partition = topic.and_then(|topic| topic.partition(0)).context("making a topic")?;
    let mut run = Run { ops: 0, bytes: 0, elapsed: Duration::ZERO, latencies: Latencies::new() };
    let started = Instant::now();
    let mut last = started;
    for event in events.iter() {
        if last - started >= ROUND_TIME {
            break;
        }
        partition.append(Record::new(event)).context("appending")?;
        let now = Instant::now();
        run.latencies.record(now - last);
        run.ops += 1;
        run.bytes += event.len() as u64;
        last = now;
    }
    run.elapsed = last - started;
    Ok(run)
}
