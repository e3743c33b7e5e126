//! What can go wrong, typed by what the caller can do about it: fix the call, wait, reopen,
//! restore.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{Appended, Offset, PartitionId};

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. Clone it freely: many waiters may hear of one failure.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or option is out of its documented range; nothing happened.
    #[error("invalid {what}: {reason}")]
    InvalidArgument {
        /// The argument or option.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// No topic has this name.
    #[error("unknown topic \"{topic}\"")]
    UnknownTopic {
        /// The name asked for.
        topic: String,
    },
    /// A topic of this name is there already.
    #[error("topic \"{topic}\" exists already")]
    TopicExists {
        /// The name asked for.
        topic: String,
    },
    /// The topic has fewer partitions.
    #[error("topic \"{topic}\" has partitions 0 to {last}, not {partition}", last = partitions - 1)]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// A record or batch is larger than the limit; nothing was written.
    #[error("{what} of {len} bytes is over the limit of {max} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes (or its count, where `what` counts).
        len: usize,
        /// The limit it exceeds.
        max: usize,
    },
    /// Bytes given as a record batch are none; nothing was written.
    #[error("not a valid record batch: {reason}")]
    InvalidBatch {
        /// The first thing found wrong.
        reason: String,
    },
    /// The offset lies before the log start or beyond the end.
    #[error("offset {requested} of {partition} is outside {start}..{end}")]
    OffsetOutOfRange {
        /// Topic and partition, for the message.
        partition: String,
        /// The offset asked for.
        requested: Offset,
        /// First retained offset.
        start: Offset,
        /// Next offset that a reader could see.
        end: Offset,
    },
    /// A reader had read beyond what a new writer found: the old one's device had failed, and took
    /// with it what was written and not durable. The reader stays where it is; seek, to go on.
    #[error("{partition} was cut at offset {end}, below {requested}, to which it had been read")]
    Truncated {
        /// Topic and partition, for the message.
        partition: String,
        /// Where the reader stood.
        requested: Offset,
        /// What is below is as it was read.
        end: Offset,
    },
    /// No room in the ring right now; nothing was written. Retry, or use a blocking call.
    #[error("{log}: busy, the ring is full")]
    Busy {
        /// The log's directory.
        log: String,
    },
    /// Batches that were read and are still held take as much memory as they may; nothing was
    /// read, and the reader stays where it was. Drop some, then try again.
    #[error("{pinned} bytes are pinned by batches still held, of at most {max}")]
    Pinned {
        /// How much is pinned.
        pinned: u64,
        /// See [`Options::pinned_bytes_max`](crate::Options::pinned_bytes_max).
        max: u64,
    },
    /// Some of the partitions of [`Topic::append_many`](crate::Topic::append_many) took their part,
    /// or may have, and some did not: calling again with everything would append some of it twice.
    #[error("{} of {} partitions acknowledged; the first that did not: {cause}",
        parts.iter().filter(|part| part.result.is_ok()).count(), parts.len())]
    PartlyAppended {
        /// What became of each partition's part.
        parts: Arc<[PartOutcome]>,
        /// The first error among them.
        cause: Arc<Error>,
    },
    /// As many submissions as a completion queue takes have not been polled for yet; nothing was
    /// submitted.
    #[error("completion queue full: {capacity} submissions have not been polled for")]
    QueueFull {
        /// How many it takes.
        capacity: usize,
    },
    /// What batches were sent to does not take them: the peer has closed, or the descriptor is
    /// none that can be written to.
    #[error("sending {partition}: {source}")]
    Peer {
        /// Topic and partition.
        partition: String,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The deadline passed.
    #[error("deadline of {after:?} passed; {}", written(*outcome_unknown, "nothing was written"))]
    Timeout {
        /// How long the call had.
        after: Duration,
        /// Whether the append had been claimed, so that it may still be written.
        outcome_unknown: bool,
    },
    /// Another process (or another engine of this one) holds the directory.
    #[error("{}: locked by {}", path.display(), lock_holder(*pid, *alive))]
    Locked {
        /// The LOCK file.
        path: PathBuf,
        /// The holder, where LOCK names it.
        pid: Option<u32>,
        /// False: the holder is dead and the kernel still finishes its I/O.
        alive: bool,
    },
    /// No space to allocate a segment; nothing was accepted, and appends resume when space is back.
    #[error("{}: no space to allocate a segment", path.display())]
    NoSpace {
        /// The log's directory.
        path: PathBuf,
    },
    /// In caller-driven mode: another thread turned this shard first, and it is that thread's.
    #[error("shard {shard} belongs to the thread that turned it first")]
    WrongThread {
        /// The shard.
        shard: usize,
    },
    /// The engine is closed, or closing.
    #[error("the engine is closed; {}", written(*outcome_unknown, "nothing was done"))]
    Closed {
        /// Whether an append was in flight.
        outcome_unknown: bool,
    },
    /// The engine was opened before this process was forked from the one that did so. It still
    /// works there; here nothing was done.
    #[error("the engine was opened by another process, of which this one is a forked child")]
    Forked,
    /// A write or flush failed: the log takes no appends until it is reopened. Reads go on.
    #[error("{log}: latched after a failure ({cause}); {}", written(*outcome_unknown, "reopen it"))]
    Latched {
        /// The log's directory.
        log: String,
        /// The first failure, with file and position.
        cause: Arc<str>,
        /// Whether an append was in flight when it happened.
        outcome_unknown: bool,
    },
    /// Bytes on disk are proven damaged. Nothing was changed.
    #[error("{}: damaged at byte {at}: {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in the file.
        at: u64,
        /// What was found.
        reason: String,
    },
    /// The directory holds something else; nothing was touched.
    #[error("{}: not a ringlog directory: {reason}", path.display())]
    NotADataDirectory {
        /// The directory.
        path: PathBuf,
        /// What was found there.
        reason: String,
    },
    /// The files are of another format version; nothing was touched.
    #[error("{}: format version {found}, this build reads {supported}", path.display())]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version of this build.
        supported: u32,
    },
    /// The engine was opened read-only, or the directory cannot be written, which opening as a
    /// writer must.
    #[error("{}: read-only", path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// This filesystem keeps nothing over a power loss.
    #[error("{}: refused to promise durability: {reason}", path.display())]
    NotDurable {
        /// The directory.
        path: PathBuf,
        /// What was recognised.
        reason: String,
    },
    /// The operating system refused an operation.
    #[error("{}: {action}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
}

/// What became of one partition's part of [`Topic::append_many`](crate::Topic::append_many).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PartOutcome {
    /// The partition.
    pub partition: PartitionId,
    /// Which of the records given went there, by their place among them, ascending.
    pub records: Vec<usize>,
    /// Their offsets, or why they have none.
    pub result: Result<Appended>,
}

fn written(outcome_unknown: bool, otherwise: &'static str) -> &'static str {
    if outcome_unknown { "whether this was written is unknown" } else { otherwise }
}

fn lock_holder(pid: Option<u32>, alive: bool) -> String {
    match (pid, alive) {
        (Some(pid), true) => format!("process {pid}"),
        (Some(pid), false) => {
            format!("process {pid}, which is dead while the kernel still finishes its writes")
        }
        (None, _) => "another process".to_owned(),
    }
}

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Fix the call.
    Invalid,
    /// Try again, or wait.
    Retry,
    /// Open the engine again.
    Reopen,
    /// Restore or repair the data.
    Restore,
    /// Look at the system: permissions, space, device.
    System,
}

impl Error {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidArgument { .. }
            | Self::UnknownTopic { .. }
            | Self::TopicExists { .. }
            | Self::UnknownPartition { .. }
            | Self::TooLarge { .. }
            | Self::InvalidBatch { .. }
            | Self::OffsetOutOfRange { .. }
            | Self::Truncated { .. }
            | Self::WrongThread { .. }
            | Self::NotADataDirectory { .. } => ErrorKind::Invalid,
            Self::Busy { .. }
            | Self::Pinned { .. }
            | Self::QueueFull { .. }
            | Self::Timeout { .. }
            | Self::Locked { .. }
            | Self::NoSpace { .. } => ErrorKind::Retry,
            Self::PartlyAppended { cause, .. } => cause.kind(),
            Self::Closed { .. } | Self::Forked | Self::Latched { .. } => ErrorKind::Reopen,
            Self::Corrupt { .. } | Self::UnsupportedFormat { .. } => ErrorKind::Restore,
            Self::ReadOnly { .. }
            | Self::NotDurable { .. }
            | Self::Peer { .. }
            | Self::Io { .. } => ErrorKind::System,
        }
    }

    /// Whether the same call may succeed later without anything else being done.
    pub fn is_retriable(&self) -> bool {
        self.kind() == ErrorKind::Retry && !self.outcome_is_unknown()
    }

    /// Whether an append that failed with this may nevertheless be, or become, part of the log.
    pub fn outcome_is_unknown(&self) -> bool {
        matches!(
            self,
            Self::Timeout { outcome_unknown: true, .. }
                | Self::PartlyAppended { .. }
                | Self::Closed { outcome_unknown: true }
                | Self::Latched { outcome_unknown: true, .. }
        )
    }

    pub(crate) fn invalid(what: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidArgument { what, reason: reason.into() }
    }

    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                Self::ReadOnly { path }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Io { action, path, source: Arc::new(source) },
        }
    }

    pub(crate) fn corrupt(path: impl AsRef<Path>, at: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { path: path.as_ref().to_path_buf(), at, reason: reason.into() }
    }
}
