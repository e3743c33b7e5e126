//! S1: sending what lies in the page cache over loopback, in the ways there are, side by side in
//! one run. The receiver reads and forgets; the processor time is the sending thread's.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use ringlog::{Engine, Flush, Offset, Partition, Record, TopicSpec};
use rustix::fs::sendfile;
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, pipe, splice};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::Bench;
use crate::error::{Context, Result};
use crate::limit::mapped;
use crate::report::{self, Table, spread};
use crate::stats::Spread;
use crate::values::random_bytes;

/// What each of the classic ways hands to the kernel at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Values of 4,079 bytes, sixteen to a batch of 64 KiB.
const BATCH_RECORDS: usize = 16;
const VALUE_BYTES: usize = 4079;
/// The other shape: batches of a kilobyte, each partition's a thousand apart.
const PARTITIONS: u32 = 1000;
const SMALL_BYTES: usize = 950;
const DEADLINE: Duration = Duration::from_secs(60);

/// One way of sending.
#[derive(Debug, Serialize)]
struct Figure {
    way: &'static str,
    bytes: u64,
    gb_per_sec: Spread,
    cpu_secs_per_gb: Spread,
}

type Way<'a> = (&'static str, Box<dyn FnMut(&TcpStream) -> Result<u64> + 'a>);

/// Measures and reports.
pub fn run(bench: &mut Bench) -> Result<()> {
    let scratch = bench.scratch()?;
    let total: usize = if bench.options.quick { 128 << 20 } else { 1 << 30 };
    let content = random_bytes(bench.seed, CHUNK_BYTES);
    let path = scratch.path().join("file");
    let mut file = File::create_new(&path).context("creating the file")?;
    for _ in 0..total / CHUNK_BYTES {
        file.write_all(&content).context("writing the file")?;
    }
    file.sync_all().context("flushing the file")?;
    let file = File::open(&path).context("opening the file")?;
    let map = mapped::map(&file)?;
    let engine = Engine::options().open(scratch.path().join("data")).context("opening")?;
    let large = batches(&engine, total / CHUNK_BYTES, &content[..VALUE_BYTES])?;
    let small = small_batches(&engine, total / 8 / SMALL_BYTES, &content[..SMALL_BYTES])?;
    let len = total as u64;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut ways: Vec<Way<'_>> = vec![
        ("read + send", Box::new(|to| read_and_send(&file, len, &mut buffer, to))),
        (
            "mmap + send",
            Box::new(|mut to| {
                map.chunks(CHUNK_BYTES)
                    .try_for_each(|part| to.write_all(part))
                    .context("sending")?;
                Ok(len)
            }),
        ),
        ("sendfile", Box::new(|to| send_file(&file, len, to))),
        ("splice", Box::new(|to| splice_file(&file, len, to))),
        ("send_to, batches of 64 KiB", Box::new(|to| send_all(std::slice::from_ref(&large), to))),
        ("send_to, 1 KiB in 1,000 partitions", Box::new(|to| send_all(&small, to))),
    ];
    let repeats = bench.options.repeats();
    let mut runs: Vec<Vec<(u64, f64, f64)>> = vec![Vec::new(); ways.len()];
    // Once unmeasured, so that all of it is in the page cache; then in turns.
    for round in 0..=repeats {
        for (way, runs) in ways.iter_mut().zip(&mut runs) {
            let run = measured(&mut way.1)?;
            if round > 0 {
                runs.push(run);
            }
        }
    }
    let mut table = Table::new(&["way", "GB/s", "sender CPU-s per GB"]);
    for ((way, _), runs) in ways.iter().zip(runs) {
        let figure = Figure {
            way,
            bytes: runs.first().map_or(0, |run| run.0),
            gb_per_sec: Spread::of(runs.iter().map(|run| run.1)),
            cpu_secs_per_gb: Spread::of(runs.iter().map(|run| run.2)),
        };
        bench.report.line("send", &figure)?;
        let cells = [spread(figure.gb_per_sec), spread(figure.cpu_secs_per_gb)];
        table.row([(*way).to_owned()].into_iter().chain(cells).collect());
    }
    report::print(&table.render())
}

/// Bytes, gigabytes a second until the receiver has all of it, processor seconds per gigabyte.
fn measured(way: &mut dyn FnMut(&TcpStream) -> Result<u64>) -> Result<(u64, f64, f64)> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listening")?;
    let to = TcpStream::connect(listener.local_addr().context("listening")?);
    let to = to.context("connecting")?;
    let (mut from, _) = listener.accept().context("accepting")?;
    let receiver = thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        let mut total = 0;
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            total += count as u64;
        }
        total
    });
    let (started, cpu) = (Instant::now(), cpu_secs());
    let sent = way(&to)?;
    let cpu = cpu_secs() - cpu;
    to.shutdown(Shutdown::Write).context("closing")?;
    let arrived = receiver.join().map_err(|_| crate::error::Error::new("the receiver died"))?;
    let secs = started.elapsed().as_secs_f64();
    if arrived != sent {
        return Err(crate::error::Error::new(format!("{sent} bytes sent, {arrived} arrived")));
    }
    let gigabytes = sent as f64 / 1e9;
    Ok((sent, gigabytes / secs, cpu / gigabytes))
}

fn cpu_secs() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn read_and_send(file: &File, len: u64, buffer: &mut [u8], mut to: &TcpStream) -> Result<u64> {
    for at in (0..len).step_by(CHUNK_BYTES) {
        file.read_exact_at(buffer, at).context("reading the file")?;
        to.write_all(buffer).context("sending")?;
    }
    Ok(len)
}

fn send_file(file: &File, len: u64, to: &TcpStream) -> Result<u64> {
    let mut at = 0;
    while at < len {
        sendfile(to, file, Some(&mut at), CHUNK_BYTES).context("sendfile")?;
    }
    Ok(len)
}

fn splice_file(file: &File, len: u64, to: &TcpStream) -> Result<u64> {
    let (from_pipe, to_pipe) = pipe().context("making a pipe")?;
    fcntl_setpipe_size(&to_pipe, 2 * CHUNK_BYTES).context("sizing the pipe")?;
    let mut at = 0;
    while at < len {
        let in_pipe = splice(file, Some(&mut at), &to_pipe, None, CHUNK_BYTES, SpliceFlags::MOVE);
        let mut left = in_pipe.context("splice from the file")?;
        while left > 0 {
            let sent = splice(&from_pipe, None, to, None, left, SpliceFlags::MOVE);
            left -= sent.context("splice to the socket")?;
        }
    }
    Ok(len)
}

fn send_all(partitions: &[Partition], to: &TcpStream) -> Result<u64> {
    let mut bytes = 0;
    for partition in partitions {
        let sent = partition.send_to(to, Offset(0), u64::MAX, DEADLINE).context("send_to")?;
        if !sent.complete {
            return Err(crate::error::Error::new("send_to came to its deadline"));
        }
        bytes += sent.bytes;
    }
    Ok(bytes)
}

fn batches(engine: &Engine, count: usize, value: &[u8]) -> Result<Partition> {
    let spec = TopicSpec::new("large").flush(Flush::Async);
    let topic = engine.create_topic(spec).context("creating a topic")?;
    let partition = topic.partition(0).context("its partition")?;
    let records = vec![Record::new(value); BATCH_RECORDS];
    for _ in 0..count {
        partition.append_many(&records).context("appending")?;
    }
    Ok(partition)
}

fn small_batches(engine: &Engine, count: usize, value: &[u8]) -> Result<Vec<Partition>> {
    let spec = TopicSpec::new("small").flush(Flush::Async).partitions(PARTITIONS);
    let topic = engine.create_topic(spec).context("creating a topic")?;
    let partitions = (0..PARTITIONS).map(|id| topic.partition(id));
    let partitions: Vec<_> = partitions.collect::<ringlog::Result<_>>().context("partitions")?;
    for at in 0..count {
        let partition = &partitions[at % PARTITIONS as usize];
        partition.append(Record::new(value)).context("appending")?;
    }
    Ok(partitions)
}
