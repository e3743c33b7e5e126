//! A durable commit log that lives in your process: topics, partitions and offsets as you know
//! them from Kafka, with no server to install. Linux only: `io_uring` and direct writes where the
//! kernel offers them, the same guarantees where it does not.
//!
//! ```
//! use ringlog::{Engine, Record, Start, TopicSpec};
//! # fn main() -> ringlog::Result<()> {
//! # let dir = tempfile::tempdir().expect("a scratch directory");
//! # std::env::set_current_dir(&dir).expect("it is there");
//! let engine = Engine::options()
//! #   .allow_volatile(true)
//!     .open("data")?;
//! let orders = engine.open_or_create_topic(TopicSpec::new("orders"))?.partition(0)?;
//! let offset = orders.append(Record::new(b"one flat white").key(b"table 7"))?; // durable now
//! for record in orders.reader(Start::Offset(offset))?.records() {
//!     assert_eq!(record?.value.as_deref(), Some(&b"one flat white"[..]));
//! }
//! engine.close(std::time::Duration::from_secs(5))
//! # }
//! ```
//!
//! # What an acknowledgement means
//!
//! | level | the record survives | who gets it |
//! |---|---|---|
//! | [`Ack::Durable`] | a power loss: it is on stable storage, with all that lies below it in its log | topics of [`Flush::Sync`], the default |
//! | [`Ack::Written`] | the death of the process, not that of the machine: up to one window ([`Options::async_window`]) may be lost to a power failure | topics of [`Flush::Async`] |
//!
//! One call may ask for the other level ([`AppendOptions::ack`]). Nothing weakens a level: where
//! the kernel or the filesystem offers less, it costs more, and where *durable* would be a lie the
//! directory is refused ([`Error::NotDurable`]). [`Engine::capabilities`] says what was chosen and
//! why. A reader of a `sync` topic sees what is durable, one of an `async` topic what is written.
//!
//! # Appending and reading
//!
//! * [`Partition::append`] blocks until the record has its level; [`Partition::append_many`] makes
//!   one batch, whole or absent; [`Partition::append_async`] gives a future that any executor, or
//!   [`AppendFuture::wait`], can drive.
//! * What is accepted and not yet in a segment is bounded by the ring. When it is full, an append
//!   waits up to its deadline, and [`Partition::try_append`] answers [`Error::Busy`].
//! * A [`Reader`] gives batch after batch and ends where the partition ends now;
//!   [`Reader::follow`] sleeps until there is more. A batch shares the memory it was read into, and
//!   keeps it for as long as it lives.
//! * [`Partition::trim`] forgets the records before an offset.
//!
//! # Errors
//!
//! Each [`Error`] carries the file, topic or offset it is about. [`Error::kind`] sorts them by what
//! a caller can do: fix the call, try again, open the engine again, restore, look at the system.
//! After a failed write or flush the log is *latched*: appends fail until the engine is opened
//! again, reads go on. [`Error::outcome_is_unknown`] tells an append that may yet be in the log
//! from one that is not. The library never prints, never exits the process, and no bytes on disk
//! make it panic.
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `cli` (default) | the `ringlog` command line; libraries turn it off |
//! | `arrow` | `Batch::to_arrow` and the module `arrow`: records as columns of Apache Arrow |
//! | `tracing` | events ([`Options::on_event`]) go to the `tracing` crate too, target `ringlog` |
//! | `sim` | the simulated disk and driver, for crash tests |
//!
//! # Further
//!
//! [`inspect`] looks at a directory from outside, and repairs it where it is asked to. The
//! repository's `docs/` say how it works and why (`design.md`), what every byte means
//! (`format.md`), and which test proves which promise (`reliability.md`).

mod buf;
mod checksum;
mod clock;
mod config;
mod driver;
mod engine;
mod error;
mod event;
mod format;
#[cfg(feature = "fuzz")]
mod fuzz;
mod ids;
pub mod inspect;
mod limits;
mod log;
mod metrics;
mod moment;
mod park;
mod shard;
mod sync;
mod topic;

pub use buf::fork::Birth;
pub use clock::Clock;
pub use config::{Ack, Backend, Compression, Flush, Options, TimestampType};
#[cfg(feature = "sim")]
pub use driver::sim;
pub use engine::{Capabilities, Engine, LogCapabilities, Stat};
pub use error::{Error, ErrorKind, PartOutcome, Result};
pub use event::{Event, Level, Value};
pub use format::record_batch::{Headers, Record, RecordView};
pub use ids::{Appended, LeaderEpoch, Offset, PartitionId, Position, RecordId, TimedOffset};
pub use metrics::{Latency, LogMetrics, Metrics, Recovery, Scrub};
pub use topic::append::{AppendFuture, AppendOptions};
pub use topic::completion::{Completion, CompletionQueue, Outcome, RefusedRead};
pub use topic::extents::{Extent, Extents};
pub use topic::keyed::{TopicAppend, TopicAppended};
pub use topic::partition::Partition;
pub use topic::read::{Batch, BatchIter, Follow, OwnedRecord, Reader, Records, Start};
pub use topic::read_all::{TopicFollow, TopicReader, TopicRecords};
pub use topic::send::{Sender, Sent};
pub use topic::{PartitionInfo, Topic, TopicInfo, TopicSpec};

/// Records as columns of Apache Arrow: [`Batch::to_arrow`].
///
/// What it gives is of the crate [`arrow_data`], which is re-exported here, so that whoever only
/// passes it on needs no dependency of the same version. `arrow_data::ffi::FFI_ArrowArray` and
/// `arrow_schema::ffi::FFI_ArrowSchema` export it over Arrow's C data interface.
#[cfg(feature = "arrow")]
pub mod arrow {
    pub use arrow_data;
    pub use arrow_schema;

    pub use crate::topic::arrow::{data_type, to_arrow};
}

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

/// Internals for this repository's own tests and benchmarks; no part of the API, never stable.
#[doc(hidden)]
pub mod raw {
    pub use crate::buf::{AlignedBuf, RingMap, Slice, Waker};
    pub use crate::driver::blocking::Blocking;
    pub use crate::driver::disk::{
        Descriptors, Disk, DiskFacts, DiskFile, DiskRef, FileRef, LockGuard, OpenMode,
    };
    pub use crate::driver::op::{Completion, Driver, Op, Token};
    pub use crate::driver::os::OsDisk;
    pub use crate::driver::uring::{Uring, UringUnavailable, leaked_ops};
    pub use crate::driver::{Chosen, DriverChoice, choose};
    pub use crate::format::record_batch::{
        BatchError, BatchHeader, Form, Records, check, encode, encode_as, encoded_len, place,
        verify_crc,
    };

    /// What takes bytes from disk, for the fuzz targets in `tests/fuzz`.
    #[cfg(feature = "fuzz")]
    pub mod parsers {
        pub use crate::format::{
            Seed, checkpoint, engine_meta, frame, group, index, ring_control, segment_header,
        };
        pub use crate::fuzz::*;
        pub use crate::ids::StreamId;

        /// Every maximum.
        pub mod limits {
            pub use crate::limits::*;
        }
    }
}
