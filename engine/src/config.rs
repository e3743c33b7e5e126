//! Options of an engine and of its logs, validated before anything is touched.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::event::{Event, Events};
use crate::limits::{
    BATCH_BYTES_DEFAULT, BATCH_HEADER_BYTES, FRAME_HEADER_BYTES, GROUP_ALIGN,
    GROUP_BYTES_MAX_DEFAULT, GROUPS_IN_FLIGHT_DEFAULT, GROUPS_IN_FLIGHT_MAX,
    JOINING_RECORD_BYTES_MAX, JOINING_SYNC_RECORD_BYTES_MAX, MAP_WINDOW_BYTES,
    META_PAYLOAD_BYTES_MAX, META_RING_BYTES, META_SEGMENT_BYTES, PAYLOAD_BYTES_MAX,
    PAYLOAD_BYTES_MIN, PINNED_BYTES_MAX_DEFAULT, RING_BYTES_DEFAULT, RING_BYTES_MAX,
    RING_BYTES_MIN, SCRUB_EVERY_DEFAULT, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN, SHARDS_MAX, WINDOW_BYTES_MAX, WINDOW_TIME_MAX,
};

/// When a topic's appends are acknowledged, and which log they go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flush {
    /// Acknowledged when durable: survives power loss.
    #[default]
    Sync,
    /// Acknowledged when written: survives the process; a power loss may take the last window.
    Async,
}

/// How far an append must have come before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ack {
    /// Survives the death of the process.
    Written,
    /// On stable storage: survives power loss.
    Durable,
}

impl Flush {
    /// The level at which topics of this class acknowledge.
    pub fn ack(self) -> Ack {
        match self {
            Self::Sync => Ack::Durable,
            Self::Async => Ack::Written,
        }
    }
}

/// How a batch's records are compressed: Kafka's codecs, in Kafka's framing.
///
/// A batch is compressed by whoever appends it, and decompressed by whoever reads its records; the
/// engine stores and serves its bytes as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// Small, and slow.
    Gzip,
    /// Fast.
    Snappy,
    /// Fast, and the fastest to read.
    Lz4,
    /// Small, and less slow; the engine's own encoder is of about zstd's level 1.
    Zstd,
}

/// Whose time a topic's records have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum TimestampType {
    /// The appender's: each record's own, or the time of the call.
    #[default]
    #[serde(rename = "create-time")]
    CreateTime,
    /// The engine's, at the append; a record's own is not kept.
    #[serde(rename = "append-time")]
    AppendTime,
}

/// How the engine reaches the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Backend {
    /// `io_uring` where it is there and allowed, else plain.
    #[default]
    Auto,
    /// `io_uring`, or an error that says why not.
    Uring,
    /// `pwritev2` and `fdatasync`; same guarantees.
    Plain,
}

macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ }) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("expected one of: {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

words!(Flush { Sync = "sync", Async = "async" });
words!(Compression {
    None = "none",
    Gzip = "gzip",
    Snappy = "snappy",
    Lz4 = "lz4",
    Zstd = "zstd"
});
words!(TimestampType { CreateTime = "create-time", AppendTime = "append-time" });
words!(Ack { Written = "written", Durable = "durable" });
words!(Backend { Auto = "auto", Uring = "io_uring", Plain = "plain" });

/// How an engine is opened; every method has a default that suits most.
///
/// ```no_run
/// # fn main() -> Result<(), ringlog::Error> {
/// let engine = ringlog::Engine::options().segment_bytes(64 << 20).open("data")?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Options {
    pub(crate) create: bool,
    pub(crate) allow_volatile: bool,
    pub(crate) read_only: bool,
    pub(crate) backend: Backend,
    pub(crate) shards: usize,
    pub(crate) pin_shards: bool,
    pub(crate) caller_driven: bool,
    pub(crate) append_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) pinned_bytes_max: u64,
    pub(crate) scrub_bytes_per_second: u64,
    pub(crate) scrub_every: Duration,
    pub(crate) log: LogOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            allow_volatile: false,
            read_only: false,
            backend: Backend::Auto,
            shards: 1,
            pin_shards: false,
            caller_driven: false,
            append_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(30),
            pinned_bytes_max: PINNED_BYTES_MAX_DEFAULT,
            scrub_bytes_per_second: 0,
            scrub_every: SCRUB_EVERY_DEFAULT,
            log: LogOptions::default(),
        }
    }
}

/// The part of the options that each log has.
#[derive(Clone, Debug)]
pub(crate) struct LogOptions {
    pub(crate) segment_bytes: u64,
    pub(crate) ring_bytes: usize,
    pub(crate) ring_in_file: bool,
    pub(crate) group_bytes: usize,
    pub(crate) groups_in_flight: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) caller_driven: bool,
    pub(crate) window_bytes: u64,
    pub(crate) window_time: Duration,
    pub(crate) max_payload_bytes: usize,
    pub(crate) spare_segments: usize,
    pub(crate) mmap: bool,
    pub(crate) events: Events,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            ring_bytes: RING_BYTES_DEFAULT,
            ring_in_file: true,
            group_bytes: GROUP_BYTES_MAX_DEFAULT,
            groups_in_flight: GROUPS_IN_FLIGHT_DEFAULT,
            batch_bytes: BATCH_BYTES_DEFAULT,
            caller_driven: false,
            window_bytes: 16 << 20,
            window_time: Duration::from_millis(200),
            max_payload_bytes: PAYLOAD_BYTES_MAX,
            spare_segments: 2,
            mmap: true,
            events: Events::default(),
        }
    }
}

impl LogOptions {
    /// Most bytes of a batch that single records join in a log of this class; 0: they do not.
    pub(crate) fn join_bytes(&self, class: Flush) -> usize {
        // Nobody would close the batch for readers of other processes while no caller turns.
        if self.caller_driven && class == Flush::Async && self.ring_in_file {
            return 0;
        }
        self.batch_bytes.min(self.max_payload_bytes).min(self.ring_bytes / 8)
    }

    /// The largest record that joins a batch in a log of this class.
    pub(crate) fn joining_record_bytes(class: Flush) -> usize {
        match class {
            Flush::Sync => JOINING_SYNC_RECORD_BYTES_MAX,
            Flush::Async => JOINING_RECORD_BYTES_MAX,
        }
    }

    /// The metadata log: small, no ring file, every append durable.
    pub(crate) fn metadata(&self) -> Self {
        Self {
            segment_bytes: META_SEGMENT_BYTES.min(self.segment_bytes),
            ring_bytes: META_RING_BYTES.min(self.ring_bytes),
            ring_in_file: false,
            batch_bytes: 0,
            max_payload_bytes: META_PAYLOAD_BYTES_MAX.min(self.max_payload_bytes),
            spare_segments: 0,
            ..self.clone()
        }
    }
}

impl Options {
    /// Whether a missing directory is made (default: yes).
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Whether to open only to read (default: no): beside a writer of another process, or without
    /// one, and with no more than the right to read. Nothing is created, repaired or locked, except
    /// that retired segments are not recycled meanwhile; appends, and changes of topics, get
    /// [`Error::ReadOnly`].
    ///
    /// It sees every topic of the directory. Of a `sync` topic it sees what is durable, of an
    /// `async` one what is written, within about as long as it takes to wake two threads; it sleeps
    /// until there is more. Where it may not write to `WAITERS`, which is how a writer knows that
    /// somebody sleeps, it looks every millisecond while somebody follows. Of a writer that dies it
    /// keeps what that had made visible, and goes on with the next one. Options about writing mean
    /// nothing here.
    ///
    /// ```
    /// # fn main() -> Result<(), ringlog::Error> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use ringlog::{Engine, Record, Start, TopicSpec};
    /// let writer = Engine::options().open(dir.path())?;
    /// let orders = writer.open_or_create_topic(TopicSpec::new("orders"))?.partition(0)?;
    /// orders.append(Record::new(b"one espresso"))?;
    /// // As in another process:
    /// let engine = Engine::options().read_only(true).open(dir.path())?;
    /// let mut reader = engine.topic("orders")?.partition(0)?.reader(Start::Earliest)?;
    /// assert_eq!(reader.next_batch()?.map(|batch| batch.len()), Some(1));
    /// # Ok(()) }
    /// ```
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Size of a segment file in bytes, a multiple of 4096 (default 128 MiB); at least twice
    /// `max_payload_bytes`. A log's first segment is smaller, so that opening is fast.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.log.segment_bytes = bytes;
        self
    }

    /// Size of a log's ring in bytes, a power of two (default 4 MiB): the bound on what is
    /// accepted and not yet in a segment, and the reach of reads that never touch the disk.
    pub fn ring_bytes(mut self, bytes: usize) -> Self {
        self.log.ring_bytes = bytes;
        self
    }

    /// A group is closed when it reaches this size in bytes (default 1 MiB, at most half
    /// the ring).
    pub fn group_bytes(mut self, bytes: usize) -> Self {
        self.log.group_bytes = bytes;
        self
    }

    /// Appends of single records of up to 2 KiB (512 bytes in `sync` topics) to one partition, one
    /// after the other and with nothing else of their log in between, join one batch until it has
    /// this many bytes (default 16 KiB, at most `max_payload_bytes` and an eighth of the ring; 0:
    /// each is a batch of its own). Such records then take little more space than their bytes, and
    /// are read faster. Each is acknowledged by itself all the same, and what a killed process had
    /// acknowledged is there. Batches given as such are never joined, nor compressed ones.
    ///
    /// A batch that may still grow is closed as soon as a reader of this process comes to it. While
    /// another process reads, no batch grows in `async` topics; one that grew before it came is
    /// seen there when its group is closed, at most 200 ms later. In a
    /// [caller-driven](Self::caller_driven) engine, where nobody may be there to close it, records
    /// of `async` topics are not joined.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.log.batch_bytes = bytes;
        self
    }

    /// Most groups of one log being written at once (default 2).
    pub fn groups_in_flight(mut self, groups: usize) -> Self {
        self.log.groups_in_flight = groups;
        self
    }

    /// The loss window of `async` topics: a flush starts when this many bytes are unflushed or the
    /// oldest is this old (defaults 16 MiB, 200 ms; at most 64 GiB and a day).
    pub fn async_window(mut self, bytes: u64, age: Duration) -> Self {
        self.log.window_bytes = bytes;
        self.log.window_time = age;
        self
    }

    /// Which kernel interface to use (default: chosen by itself).
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// How many shards flush the logs (default 1, at most 64): each is a thread with an `io_uring`
    /// of its own. A topic's partitions are spread over as many logs of its flush class as there
    /// are shards when it is made, and stay there. A directory may be opened with another number
    /// each time: its logs are shared out among the shards that there are, nothing moves.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Whether each shard's thread stays on a processor of its own, in turn those that the process
    /// may use (default: no, the kernel places them).
    pub fn pin_shards(mut self, pin: bool) -> Self {
        self.pin_shards = pin;
        self
    }

    /// Whether the engine starts no thread at all (default: no). The caller's threads turn the
    /// shards: in [`Engine::run_once`](crate::Engine::run_once), which an event loop calls when
    /// [`Engine::poll_fd`](crate::Engine::poll_fd) is readable, and in every call that blocks.
    ///
    /// The first thread that turns a shard owns it; no other ever may. A blocking call on a thread
    /// that owns shards turns these; on one that owns none it first takes those that nobody owns,
    /// and if there are none it waits for their owners, up to its deadline. So where several
    /// threads turn shards, each calls `run_once` for its own before anything else.
    ///
    /// Close, or drop the last handle, on the thread that owns the shards: a drop elsewhere cannot
    /// wait for writes that are in flight, and may leave the directory locked until the process
    /// ends.
    pub fn caller_driven(mut self, caller_driven: bool) -> Self {
        self.caller_driven = caller_driven;
        self.log.caller_driven = caller_driven;
        self
    }

    /// Whether to open on a filesystem that keeps nothing over a power loss (default: no).
    /// *Durable* then means no more than that filesystem's flush.
    pub fn allow_volatile(mut self, allow: bool) -> Self {
        self.allow_volatile = allow;
        self
    }

    /// Deadline of blocking appends that name none (default 30 s).
    pub fn append_timeout(mut self, timeout: Duration) -> Self {
        self.append_timeout = timeout;
        self
    }

    /// How long to wait for another holder of the directory (default 5 s).
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// How long a drop without close may take to flush (default 30 s).
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Largest batch in bytes (default and maximum 17 MiB, for a 16-MiB value with its framing).
    pub fn max_payload_bytes(mut self, bytes: usize) -> Self {
        self.log.max_payload_bytes = bytes;
        self
    }

    /// How many retired segments are kept for recycling (default 2).
    pub fn spare_segments(mut self, segments: usize) -> Self {
        self.log.spare_segments = segments;
        self
    }

    /// Whether sealed segments are read through mappings, without a copy (default: yes). Pages are
    /// faulted in before they are handed out, so damage and bad devices are errors; yet the kernel
    /// may drop a page of a batch that is held for long, and a device that fails to give it back
    /// is then SIGBUS. `false` reads by copy.
    pub fn mmap(mut self, mmap: bool) -> Self {
        self.log.mmap = mmap;
        self
    }

    /// Most bytes that batches and extents still held may pin, of the whole engine (default
    /// 1 GiB; at least `max_payload_bytes` and 1 MiB). Beyond it reads fail with
    /// [`Error::Pinned`] until some are dropped. Batches share windows of up to 1 MiB, and one that
    /// is held pins its window.
    pub fn pinned_bytes_max(mut self, bytes: u64) -> Self {
        self.pinned_bytes_max = bytes;
        self
    }

    /// Reads sealed segments again in the background, to find what has rotted before a reader does:
    /// at most so many bytes per second of the whole engine (default 0: not at all), beginning a
    /// pass through all logs this long after the one before began (a day is a good start; what is
    /// sealed meanwhile waits for the next). The first begins at the open, always from the start.
    ///
    /// What does not verify is told as the event `damaged`, with file and position, once as long as
    /// it stays so, and counted in [`LogMetrics::scrub`](crate::LogMetrics::scrub). Nothing else
    /// comes of it: nothing is cut or written, and appends and all other reads go on. It reads
    /// around the page cache, so it takes nothing from readers, and sees what the medium has.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), ringlog::Error> {
    /// let day = std::time::Duration::from_secs(24 * 60 * 60);
    /// let engine = ringlog::Engine::options().scrub(4 << 20, day).open("data")?;
    /// # Ok(()) }
    /// ```
    pub fn scrub(mut self, bytes_per_second: u64, every: Duration) -> Self {
        self.scrub_bytes_per_second = bytes_per_second;
        self.scrub_every = every;
        self
    }

    /// Who hears what the engine does: opened, recovered, a segment made, a log latched. Works
    /// without a logger; the `tracing` feature gets the same events.
    ///
    /// Called from whichever thread it happens on, the engine's own among them, where it holds up
    /// the log: it must not block, and must not call the engine. Its panics are swallowed.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), ringlog::Error> {
    /// let engine = ringlog::Engine::options()
    ///     .on_event(std::sync::Arc::new(|event| eprintln!("{} {event}", event.level)))
    ///     .open("data")?;
    /// # Ok(()) }
    /// ```
    pub fn on_event(mut self, hook: Arc<dyn Fn(&Event<'_>) + Send + Sync>) -> Self {
        self.log.events = Events::to(hook);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            let reason = format!("{} is not within 1..={SHARDS_MAX}", self.shards);
            return Err(Error::invalid("shards", reason));
        }
        self.validate_log()?;
        let least = self.log.max_payload_bytes as u64 + MAP_WINDOW_BYTES as u64;
        if self.pinned_bytes_max < least {
            let reason = format!("{} is less than {least}", self.pinned_bytes_max);
            return Err(Error::invalid("pinned_bytes_max", reason));
        }
        Ok(())
    }

    fn validate_log(&self) -> Result<()> {
        let log = &self.log;
        let aligned = GROUP_ALIGN as u64;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&log.segment_bytes)
            || !log.segment_bytes.is_multiple_of(aligned)
        {
            return Err(Error::invalid(
                "segment_bytes",
                format!(
                    "{} is not a multiple of 4096 within {SEGMENT_BYTES_MIN}..={SEGMENT_BYTES_MAX}",
                    log.segment_bytes
                ),
            ));
        }
        if !(RING_BYTES_MIN..=RING_BYTES_MAX).contains(&log.ring_bytes)
            || !log.ring_bytes.is_power_of_two()
        {
            return Err(Error::invalid(
                "ring_bytes",
                format!(
                    "{} is not a power of two within {RING_BYTES_MIN}..={RING_BYTES_MAX}",
                    log.ring_bytes
                ),
            ));
        }
        if !(PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&log.max_payload_bytes)
            || 2 * log.max_payload_bytes as u64 > log.segment_bytes
        {
            return Err(Error::invalid(
                "max_payload_bytes",
                format!(
                    "{} is not within {PAYLOAD_BYTES_MIN}..={PAYLOAD_BYTES_MAX} and half a segment",
                    log.max_payload_bytes
                ),
            ));
        }
        if !(GROUP_ALIGN..=log.ring_bytes / 2).contains(&log.group_bytes) {
            return Err(Error::invalid("group_bytes", "not within 4096 and half the ring"));
        }
        if !(1..=GROUPS_IN_FLIGHT_MAX).contains(&log.groups_in_flight) {
            return Err(Error::invalid(
                "groups_in_flight",
                format!("{} is not within 1..={GROUPS_IN_FLIGHT_MAX}", log.groups_in_flight),
            ));
        }
        if log.window_bytes == 0 || log.window_time.is_zero() {
            return Err(Error::invalid("async_window", "both bounds must be above zero"));
        }
        if log.window_bytes > WINDOW_BYTES_MAX || log.window_time > WINDOW_TIME_MAX {
            let reason = format!("not within {WINDOW_BYTES_MAX} bytes and {WINDOW_TIME_MAX:?}");
            return Err(Error::invalid("async_window", reason));
        }
        Ok(())
    }
}

const _: () = assert!(PAYLOAD_BYTES_MIN > FRAME_HEADER_BYTES + BATCH_HEADER_BYTES);
const _: () = assert!(SEGMENT_BYTES_DEFAULT >= 2 * PAYLOAD_BYTES_MAX as u64);
