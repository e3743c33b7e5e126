//! The Rust half of `ffi/bench/run`, which holds the C library against the engine it wraps.
//!
//! `submit`: durable appends of 1 KiB, 64 in flight, one thread, through a completion queue.
//! `read`: batches of 256 records of 100 bytes, from first to last and again, each looked at.

use std::time::{Duration, Instant};

use ringlog::{AppendOptions, Engine, Flush, Outcome, Partition, Record, Result, Start, TopicSpec};

const IN_FLIGHT: usize = 64;
const VALUE: &[u8] = &[0; 1024];
const SMALL: &[u8] = &[0; 100];
const BATCH: usize = 256;
const BATCHES: usize = 2000;
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

fn submit(engine: &Engine, partition: &Partition, time: Duration) -> Result<f64> {
    let queue = engine.completion_queue(IN_FLIGHT)?;
    let submit_all = |count: usize| {
        (0..count as u64).try_for_each(|tag| {
            partition.submit_append(&queue, &[Record::new(VALUE)], AppendOptions::default(), tag)
        })
    };
    let mut done = Vec::new();
    let (mut acknowledged, mut outstanding) = (0, IN_FLIGHT);
    let start = Instant::now();
    submit_all(IN_FLIGHT)?;
    while outstanding > 0 {
        let count = queue.poll(&mut done, IN_FLIGHT, FOREVER)?;
        for completion in done.drain(..) {
            if let Outcome::Append { result, .. } = completion.outcome {
                result?;
            }
        }
        acknowledged += count;
        outstanding -= count;
        if start.elapsed() < time {
            submit_all(count)?;
            outstanding += count;
        }
    }
    Ok(acknowledged as f64 / start.elapsed().as_secs_f64())
}

fn read(partition: &Partition, time: Duration) -> Result<f64> {
    let records: Vec<Record<'_>> = (0..BATCH).map(|_| Record::new(SMALL)).collect();
    for _ in 0..BATCHES {
        partition.append_many(&records)?;
    }
    let mut reader = partition.reader(Start::Earliest)?;
    let (mut count, mut bytes) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < time {
        let Some(batch) = reader.next_batch()? else {
            reader.seek(Start::Earliest)?;
            continue;
        };
        for record in &batch {
            let value = record?.value().unwrap_or_default();
            bytes += value.len() + usize::from(value[0]);
            count += 1;
        }
    }
    assert_eq!(bytes, count * SMALL.len());
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, dir, seconds] = &arguments[..] else { panic!("bench submit|read DIR SECONDS") };
    let time = Duration::from_secs_f64(seconds.parse().expect("seconds are a number"));
    let submits = what == "submit";
    let flush = if submits { Flush::Sync } else { Flush::Async };
    let engine = Engine::options().open(dir)?;
    let topic = engine.open_or_create_topic(TopicSpec::new("t").flush(flush))?;
    let partition = topic.partition(0)?;
    let rate = if submits { submit(&engine, &partition, time) } else { read(&partition, time) }?;
    println!("{rate:.0}");
    engine.close(FOREVER)
}
