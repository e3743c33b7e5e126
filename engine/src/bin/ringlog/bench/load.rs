//! Ringlog beside it: appends of each level, and reading back.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use ringlog::{Capabilities, Engine, Error, Flush, Partition, Record, Start, TopicSpec};

use super::super::args::{Bench, Place};
use super::super::exit::Failure;
use super::device;
use super::run::{Run, Step};

const ONE: &str = "durable appends, one at a time";
const MANY: &str = "durable appends, many in flight";
const WRITTEN: &str = "written appends, one at a time";
const READ: &str = "reading back";
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn measure(
    run: &mut Run<'_>,
    place: &Place,
    args: &Bench,
    dir: &Path,
) -> Result<Capabilities, Failure> {
    let failed = |error: Error| Failure::engine(dir, &error);
    let engine = place.options(true).open(dir.join("data")).map_err(failed)?;
    let done = phases(run, &engine, args, &failed);
    let chosen = engine.capabilities();
    let closed = engine.close(CLOSE_TIMEOUT).map_err(failed);
    done.and(closed).map(|()| chosen)
}

fn phases(
    run: &mut Run<'_>,
    engine: &Engine,
    args: &Bench,
    failed: &dyn Fn(Error) -> Failure,
) -> Result<(), Failure> {
    let topic = |name: &str, flush| {
        engine.create_topic(TopicSpec::new(name).flush(flush)).and_then(|topic| topic.partition(0))
    };
    let (safe, fast) =
        (topic("safe", Flush::Sync).map_err(failed)?, topic("fast", Flush::Async).map_err(failed)?);
    let value = vec![0x5a_u8; args.record_bytes];
    let bytes = value.len() as u64;
    let one = |partition: &Partition| {
        let started = Instant::now();
        partition.append(Record::new(&value)).map_err(failed)?;
        Ok(Some(Step { took: started.elapsed(), count: 1, bytes }))
    };
    run.phase(ONE, || one(&safe))?;
    run.compare(device::LONE, |cell| cell.per_second);
    let mut waiting = VecDeque::with_capacity(args.in_flight);
    run.phase(MANY, || {
        while waiting.len() < args.in_flight {
            waiting.push_back((Instant::now(), safe.append_async(Record::new(&value))));
        }
        let Some((started, future)) = waiting.pop_front() else { return Ok(None) };
        future.wait().map_err(failed)?;
        Ok(Some(Step { took: started.elapsed(), count: 1, bytes }))
    })?;
    run.compare(device::WRITES, |cell| cell.bytes_per_second);
    drop(waiting);
    // Held against nothing: what is written may run ahead of the device by the loss window.
    run.phase(WRITTEN, || one(&fast))?;
    let mut reader = fast.reader(Start::Earliest).map_err(failed)?;
    run.phase(READ, || {
        let started = Instant::now();
        let Some(batch) = reader.next_batch().map_err(failed)? else { return Ok(None) };
        Ok(Some(Step {
            took: started.elapsed(),
            count: batch.len() as u64,
            bytes: batch.bytes().len() as u64,
        }))
    })?;
    run.compare(device::READS, |cell| cell.bytes_per_second);
    Ok(())
}
