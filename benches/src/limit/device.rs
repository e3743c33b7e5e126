//! The raw device under a filesystem: two pre-written files, and closed loops of writes onto them
//! and of reads from them.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use memmap2::MmapMut;
use rustix::fs::OFlags;
use rustix::io::{ReadWriteFlags, pwritev2};

use crate::error::{Context, Result};
use crate::limit::cell::{Cell, How};
use crate::limit::lane::Lane;
use crate::stats::{Latencies, Run};
use crate::values::random_bytes;

/// Content to write; no device compresses or skips it.
const CONTENT_BYTES: usize = 1 << 20;

/// Two files, written once and synced, so that every later write finds its blocks in place.
#[derive(Debug)]
pub struct Device {
    /// Opened with `O_DIRECT`.
    direct: File,
    /// Another file: direct writes would drop the cached pages that buffered ones reuse.
    buffered: File,
    file_bytes: u64,
    content: Vec<u8>,
}

impl Device {
    /// Pre-writes two files of `file_bytes` each in `dir`.
    pub fn prepare(dir: &Path, file_bytes: u64, seed: u64) -> Result<Self> {
        let content = random_bytes(seed, CONTENT_BYTES);
        let prewrite = |name: &str| -> Result<File> {
            let path = dir.join(name);
            let mut file = File::options()
                .create_new(true)
                .read(true)
                .write(true)
                .open(&path)
                .context(format!("creating {}", path.display()))?;
            for _ in 0..file_bytes / CONTENT_BYTES as u64 {
                file.write_all(&content).context("pre-writing the device's file")?;
            }
            file.sync_all().context("syncing the device's file")?;
            Ok(file)
        };
        prewrite("device-direct")?;
        let direct = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlags::DIRECT.bits().cast_signed())
            .open(dir.join("device-direct"))
            .context("opening a file with O_DIRECT")?;
        let buffered = prewrite("device-buffered")?;
        Ok(Self { direct, buffered, file_bytes, content })
    }

    /// Writes, or reads, round and round for `time`, after a tenth of it to warm up. Whatever is
    /// left in the device's cache is flushed before the return, outside the time.
    pub fn run(&self, cell: Cell, time: Duration) -> Result<Run> {
        let file = match cell.how {
            How::BufferedFdatasync => &self.buffered,
            How::DirectDsync | How::Direct | How::DirectRead => &self.direct,
        };
        let mut lane = Lane::new(file, cell, &self.content)?;
        let mut offset = 0;
        let mut next_offset = || {
            let here = offset;
            offset = (offset + cell.block_bytes as u64) % self.file_bytes;
            here
        };
        let start = Instant::now() + time / 10;
        let end = start + time;
        let mut last = start;
        let mut latencies = Latencies::new();
        let mut ops = 0_u64;
        let mut free: Vec<usize> = (0..lane.depth()).collect();
        while last < end {
            let now = Instant::now();
            for index in free.drain(..) {
                lane.submit(index, next_offset(), now)?;
            }
            lane.wait(|index, now, latency| {
                if now > start {
                    ops += 1;
                    latencies.record(latency);
                    last = now;
                }
                free.push(index);
            })?;
        }
        lane.drain()?;
        file.sync_data().context("flushing the device")?;
        let bytes = ops * cell.block_bytes as u64;
        Ok(Run { ops, bytes, elapsed: last - start, latencies })
    }

    /// Durable writes one at a time by `pwritev2`, for where there is no `io_uring`.
    pub fn run_plain(&self, block_bytes: usize, time: Duration) -> Result<Run> {
        // Direct writes want aligned memory, which a mapping is.
        let mut buffer = MmapMut::map_anon(block_bytes).context("mapping a buffer")?;
        for (byte, value) in buffer.iter_mut().zip(self.content.iter().cycle()) {
            *byte = *value;
        }
        let mut latencies = Latencies::new();
        let (mut ops, mut bytes) = (0, 0);
        let start = Instant::now();
        let mut last = start;
        while last - start < time {
            let offset = bytes % (self.file_bytes / block_bytes as u64 * block_bytes as u64);
            let block = [IoSlice::new(&buffer)];
            let written = pwritev2(&self.direct, &block, offset, ReadWriteFlags::DSYNC)
                .context("writing to the device's file")?;
            let now = Instant::now();
            latencies.record(now - last);
            ops += 1;
            bytes += written as u64;
            last = now;
        }
        Ok(Run { ops, bytes, elapsed: last - start, latencies })
    }
}
