//! How an engine is opened and a topic made. Zero is every field's default, so that a struct of
//! zeroes with its size set is a good one.

use std::ffi::c_void;
use std::time::Duration;

use ringlog::{Backend, Compression, Flush, Options, TimestampType, TopicSpec};

use crate::error::Failure;
use crate::input;
use crate::log_hook::{self, ringlog_log_fn};
use crate::sized::Plain;

/// Refuse a directory that is not there, instead of making it.
pub const RINGLOG_OPEN_NO_CREATE: u32 = 1;
/// Open on a filesystem that keeps nothing over a power loss: *durable* is then no more than its
/// flush.
pub const RINGLOG_OPEN_ALLOW_VOLATILE: u32 = 2;
/// Keep each shard's thread on a processor of its own.
pub const RINGLOG_OPEN_PIN_SHARDS: u32 = 4;
/// Read sealed segments by copy instead of through mappings.
pub const RINGLOG_OPEN_NO_MMAP: u32 = 8;
/// Only read: beside a writer of another process, or without one. Nothing is created, repaired or
/// locked; appends and changes of topics get `READ_ONLY`.
pub const RINGLOG_OPEN_READ_ONLY: u32 = 16;
/// Start no thread: the caller's own turn the shards, in `ringlog_run_once` and in every call that
/// blocks. The first thread that turns a shard owns it; close, and free the last handle, there.
pub const RINGLOG_OPEN_CALLER_DRIVEN: u32 = 32;
const OPEN_FLAGS: u32 = RINGLOG_OPEN_NO_CREATE
    | RINGLOG_OPEN_ALLOW_VOLATILE
    | RINGLOG_OPEN_PIN_SHARDS
    | RINGLOG_OPEN_NO_MMAP
    | RINGLOG_OPEN_READ_ONLY
    | RINGLOG_OPEN_CALLER_DRIVEN;

/// io_uring where it is there and allowed, else plain.
pub const RINGLOG_BACKEND_AUTO: u32 = 0;
/// io_uring, or an error that says why not.
pub const RINGLOG_BACKEND_URING: u32 = 1;
/// pwritev2 and fdatasync; same guarantees.
pub const RINGLOG_BACKEND_PLAIN: u32 = 2;

/// A topic whose appends are acknowledged when durable: they survive a power loss.
pub const RINGLOG_FLUSH_SYNC: u32 = 0;
/// A topic whose appends are acknowledged when written: they survive the process.
pub const RINGLOG_FLUSH_ASYNC: u32 = 1;

/// Batches as they are.
pub const RINGLOG_COMPRESSION_NONE: u32 = 0;
/// Small, and slow.
pub const RINGLOG_COMPRESSION_GZIP: u32 = 1;
/// Fast.
pub const RINGLOG_COMPRESSION_SNAPPY: u32 = 2;
/// Fast, and the fastest to read.
pub const RINGLOG_COMPRESSION_LZ4: u32 = 3;
/// Small, and less slow.
pub const RINGLOG_COMPRESSION_ZSTD: u32 = 4;

/// Records keep the time that they were given, or the engine's when they were appended.
pub const RINGLOG_TIME_CREATE: u32 = 0;
/// Records have the time of their append, whatever they were given.
pub const RINGLOG_TIME_APPEND: u32 = 1;

const COMPRESSIONS: &[(u32, Compression)] = &[
    (RINGLOG_COMPRESSION_NONE, Compression::None),
    (RINGLOG_COMPRESSION_GZIP, Compression::Gzip),
    (RINGLOG_COMPRESSION_SNAPPY, Compression::Snappy),
    (RINGLOG_COMPRESSION_LZ4, Compression::Lz4),
    (RINGLOG_COMPRESSION_ZSTD, Compression::Zstd),
];
const TIMES: &[(u32, TimestampType)] = &[
    (RINGLOG_TIME_CREATE, TimestampType::CreateTime),
    (RINGLOG_TIME_APPEND, TimestampType::AppendTime),
];

/// What a number of C's stands for.
fn number<T: Copy>(table: &[(u32, T)], number: u32, what: &str) -> Result<T, Failure> {
    let found = table.iter().find(|(known, _)| *known == number);
    found.map(|(_, value)| *value).ok_or_else(|| Failure::invalid(format!("{what} {number}")))
}

/// C's number of something; `u32::MAX` for what this header has no number for.
fn number_of<T: Copy + PartialEq>(table: &[(u32, T)], value: T) -> u32 {
    table.iter().find(|(_, known)| *known == value).map_or(u32::MAX, |(number, _)| *number)
}

pub(crate) fn compression_number(compression: Compression) -> u32 {
    number_of(COMPRESSIONS, compression)
}

pub(crate) fn timestamps_number(timestamps: TimestampType) -> u32 {
    number_of(TIMES, timestamps)
}

/// How an engine is opened. Set `size` to its sizeof and what is not wanted to zero.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ringlog_open_options {
    /// sizeof(ringlog_open_options).
    pub size: usize,
    /// `RINGLOG_OPEN_*` added up.
    pub flags: u32,
    /// `RINGLOG_BACKEND_*`.
    pub backend: u32,
    /// Size of a segment file, a multiple of 4096. 0: 128 MiB.
    pub segment_bytes: u64,
    /// Size of a log's ring, a power of two. 0: 4 MiB.
    pub ring_bytes: u64,
    /// A group is closed at this size. 0: 1 MiB, or half the ring if that is less.
    pub group_bytes: u64,
    /// Largest batch. 0: 17 MiB, or half a segment if that is less.
    pub max_payload_bytes: u64,
    /// The loss window of async topics in bytes. 0: 16 MiB.
    pub async_window_bytes: u64,
    /// The loss window of async topics in time. 0: 200 ms.
    pub async_window_ns: i64,
    /// Deadline of appends that name none. 0: 30 s.
    pub append_timeout_ns: i64,
    /// How long to wait for another holder of the directory. 0: 5 s; `RINGLOG_FOREVER` works, and
    /// a nanosecond does not wait.
    pub lock_timeout_ns: i64,
    /// How long the last `_free` may take to flush. 0: 30 s.
    pub close_timeout_ns: i64,
    /// How many shards, each a thread with logs of its own. 0: one.
    pub shards: u32,
    /// Most groups of one log being written at once. 0: two.
    pub groups_in_flight: u32,
    /// Most bytes that batches and extents still held may pin. 0: 1 GiB.
    pub pinned_bytes_max: u64,
    /// Hears what the engine does, from its first event on; may be NULL.
    pub log: ringlog_log_fn,
    /// What `log` is called with. It must live until the engine's last handle is freed.
    pub log_context: *mut c_void,
    /// Sealed segments are read again in the background, at most so many bytes per second, and
    /// what has rotted is told as the event `damaged` before a reader meets it. 0: they are not.
    pub scrub_bytes_per_second: u64,
    /// A pass begins this long after the one before began. 0: a day.
    pub scrub_every_ns: i64,
    /// Single records of up to 2 KiB (512 bytes in sync topics) that one partition gets one after
    /// the other join one batch up to this size. 0: 16 KiB; 1: each is a batch of its own.
    pub batch_bytes: u64,
}

// SAFETY: integers and pointers without padding between or behind them, for which zero is a value.
unsafe impl Plain for ringlog_open_options {
    const NAME: &'static str = "ringlog_open_options";
    /// Up to `close_timeout_ns`.
    const FIRST_SIZE: usize = 88;
}

const _: () = assert!(size_of::<ringlog_open_options>() == 144);

/// What a new topic shall be. Set `size` to its sizeof and what is not wanted to zero.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ringlog_topic_options {
    /// sizeof(ringlog_topic_options).
    pub size: usize,
    /// How many partitions. 0: one.
    pub partitions: u32,
    /// `RINGLOG_FLUSH_*`.
    pub flush: u32,
    /// How its batches are compressed, `RINGLOG_COMPRESSION_*`.
    pub compression: u32,
    /// Whose time its records have, `RINGLOG_TIME_*`.
    pub timestamps: u32,
}

// SAFETY: integers without padding between or behind them, as the sizes below show.
unsafe impl Plain for ringlog_topic_options {
    const NAME: &'static str = "ringlog_topic_options";
    /// Up to `flush`.
    const FIRST_SIZE: usize = 16;
}

const _: () = assert!(size_of::<ringlog_topic_options>() == 24);

impl ringlog_open_options {
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        if self.flags & !OPEN_FLAGS != 0 {
            return Err(Failure::invalid(format!("flags {:#x} of open", self.flags)));
        }
        let is_set = |flag| self.flags & flag != 0;
        let mut options = ringlog::Engine::options()
            .create(!is_set(RINGLOG_OPEN_NO_CREATE))
            .allow_volatile(is_set(RINGLOG_OPEN_ALLOW_VOLATILE))
            .pin_shards(is_set(RINGLOG_OPEN_PIN_SHARDS))
            .mmap(!is_set(RINGLOG_OPEN_NO_MMAP))
            .read_only(is_set(RINGLOG_OPEN_READ_ONLY))
            .caller_driven(is_set(RINGLOG_OPEN_CALLER_DRIVEN))
            .backend(self.backend()?);
        if self.pinned_bytes_max > 0 {
            options = options.pinned_bytes_max(self.pinned_bytes_max);
        }
        if self.shards > 0 {
            options = options.shards(self.shards as usize);
        }
        if self.groups_in_flight > 0 {
            options = options.groups_in_flight(self.groups_in_flight as usize);
        }
        if self.batch_bytes > 0 {
            options = options.batch_bytes(self.batch_bytes.try_into().unwrap_or(usize::MAX));
        }
        let every = duration(self.scrub_every_ns)?.unwrap_or(Duration::from_secs(24 * 60 * 60));
        options = options.scrub(self.scrub_bytes_per_second, every);
        options = log_hook::hook(options, self.log, self.log_context);
        if let Some(timeout) = duration(self.append_timeout_ns)? {
            options = options.append_timeout(timeout);
        }
        if let Some(timeout) = duration(self.lock_timeout_ns)? {
            options = options.lock_timeout(timeout);
        }
        if let Some(timeout) = duration(self.close_timeout_ns)? {
            options = options.close_timeout(timeout);
        }
        self.sizes(options)
    }

    fn backend(&self) -> Result<Backend, Failure> {
        match self.backend {
            RINGLOG_BACKEND_AUTO => Ok(Backend::Auto),
            RINGLOG_BACKEND_URING => Ok(Backend::Uring),
            RINGLOG_BACKEND_PLAIN => Ok(Backend::Plain),
            other => Err(Failure::invalid(format!("backend {other}"))),
        }
    }

    /// The sizes; one that is not given follows those that are, where it has to.
    fn sizes(&self, mut options: Options) -> Result<Options, Failure> {
        let segment = or(self.segment_bytes, 128 << 20);
        let ring = or(self.ring_bytes, 4 << 20);
        let payload = or(self.max_payload_bytes, (17 << 20).min(segment / 2));
        let group = or(self.group_bytes, (1 << 20).min(ring / 2));
        let window = or(self.async_window_bytes, 16 << 20);
        let age = duration(self.async_window_ns)?.unwrap_or(Duration::from_millis(200));
        options = options.segment_bytes(segment).async_window(window, age);
        options = options.ring_bytes(length(ring)?).group_bytes(length(group)?);
        Ok(options.max_payload_bytes(length(payload)?))
    }
}

fn or(value: u64, default: u64) -> u64 {
    if value == 0 { default } else { value }
}

fn length(value: u64) -> Result<usize, Failure> {
    usize::try_from(value).map_err(|_| Failure::invalid(format!("a size of {value}")))
}

/// A time of the options: 0 and the default stand for none.
fn duration(ns: i64) -> Result<Option<Duration>, Failure> {
    if ns == 0 { Ok(None) } else { input::timeout(ns) }
}

impl ringlog_topic_options {
    pub(crate) fn spec(&self, name: &str) -> Result<TopicSpec, Failure> {
        let flush = match self.flush {
            RINGLOG_FLUSH_SYNC => Flush::Sync,
            RINGLOG_FLUSH_ASYNC => Flush::Async,
            other => return Err(Failure::invalid(format!("flush class {other}"))),
        };
        let partitions = if self.partitions == 0 { 1 } else { self.partitions };
        let compression = number(COMPRESSIONS, self.compression, "compression")?;
        let timestamps = number(TIMES, self.timestamps, "timestamps")?;
        let spec = TopicSpec::new(name).partitions(partitions).flush(flush);
        Ok(spec.compression(compression).timestamps(timestamps))
    }
}
