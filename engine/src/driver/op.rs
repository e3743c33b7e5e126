//! I/O as data: the log emits an [`Op`] that owns its bytes, and is handed its [`Completion`].
//!
//! A driver owns what the kernel may still touch: the slice and the file of an op live in the
//! driver until its completion, whatever becomes of the log.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::buf::Slice;
use crate::driver::disk::FileRef;

/// Names an op to the one who submitted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// One piece of data-path I/O.
#[derive(Debug)]
pub enum Op {
    /// Writes `data` at file offset `at`, both aligned to `GROUP_ALIGN`, completely or not at all
    /// as far as the completion says.
    Write {
        /// The segment.
        file: FileRef,
        /// Offset in the file, in bytes.
        at: u64,
        /// What to write; immutable until the completion.
        data: Slice,
        /// Also on stable storage at completion: these bytes, and nothing else is promised.
        durable: bool,
    },
    /// `fdatasync`: at completion every write to `file` that had completed before this op was
    /// submitted is on stable storage.
    Flush {
        /// The segment.
        file: FileRef,
    },
}

/// The end of an op. A short write has been finished or turned into an error by the driver; EINTR
/// has been retried; a failed flush has not.
#[derive(Debug)]
pub struct Completion {
    /// The op's name.
    pub token: Token,
    /// How it ended.
    pub result: io::Result<()>,
}

/// Executes ops for one shard; used by one thread at a time.
pub trait Driver: Send {
    /// Takes an op. Never blocks on the device (the blocking driver excepted). The caller keeps at
    /// most `limits::DRIVER_OPS_MAX` ops in flight.
    fn submit(&mut self, token: Token, op: Op);

    /// Hands submitted ops to the kernel without waiting for any, so that the device works while
    /// the caller does something else. False if they are left to the next `wait`, which executes
    /// them on its thread: `patient` says whether the caller likes that where it is quicker.
    fn start(&mut self, patient: bool) -> io::Result<bool> {
        let _ = patient;
        Ok(false)
    }

    /// Whether ops are left to the next `wait`, which executes one of them on its thread.
    fn has_queued(&self) -> bool {
        false
    }

    /// Hands submitted ops to the kernel and appends what has completed to `out`. Sleeps until
    /// something completes, the [`Waker`](crate::buf::Waker) fires, or `timeout` passes (`None`:
    /// for ever; zero: does not sleep); where an op is executed on this thread, that
    /// op is all it waits for. Spurious returns are allowed.
    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()>;

    /// Makes a descriptor that becomes readable when `wait` has something to take in, apart from
    /// the waker's; called once, before the first `wait`, which takes its readability back.
    fn watch(&mut self) -> io::Result<Option<BorrowedFd<'_>>> {
        Ok(None)
    }

    /// Whether the thread that first waits is the only one that ever may.
    fn is_bound(&self) -> bool {
        false
    }

    /// Ops submitted and not yet completed.
    fn in_flight(&self) -> usize;

    /// The driver's name for `capabilities()`: `io_uring`, `pwritev2`, `simulator`.
    fn name(&self) -> &'static str;
}
