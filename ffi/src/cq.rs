//! The completion queue: appends, reads and flushes are submitted from any thread, their outcomes
//! are taken in by one poller. The engine's own, with readers lent to it while they wait.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use parking_lot::Mutex;
use ringlog::{Appended, Batch, Completion, CompletionQueue, Outcome, Reader, TopicReader};

use crate::append::append_options;
use crate::batch::{self, ringlog_batch};
use crate::engine::{enter, ringlog_engine};
use crate::error::{self, Failure, ringlog_error};
use crate::guard::{self, Entered, Health};
use crate::handle::{self, Handle, Tag, need, out};
use crate::input::{self, RINGLOG_DEFAULT_TIMEOUT, ringlog_bytes, ringlog_record};
use crate::lend::{Lender, Loans};
use crate::sized::{OutArray, Plain};
use crate::status::{RINGLOG_E_OTHER, RINGLOG_OK, ringlog_status};
use crate::topic::{enter_stream, ringlog_stream};

/// A completion of `ringlog_submit_append` or `ringlog_submit_batch`.
pub const RINGLOG_OP_APPEND: u32 = 1;
/// A completion of `ringlog_submit_read` or `ringlog_submit_topic_read`.
pub const RINGLOG_OP_READ: u32 = 2;
/// A completion of `ringlog_submit_flush`.
pub const RINGLOG_OP_FLUSH: u32 = 3;

/// A completion queue: any thread submits, one at a time polls. Holds its engine open; the caller's
/// until `ringlog_cq_free`.
pub struct ringlog_cq {
    tag: Tag,
    pub(crate) queue: CompletionQueue,
    health: Arc<Health>,
    pub(crate) loans: Mutex<Loans>,
    /// Kept between polls for its memory.
    scratch: Mutex<Vec<Completion>>,
}

impl Handle for ringlog_cq {
    const KIND: u64 = handle::kind(*b"cq      ");
    const NAME: &'static str = "ringlog_cq";

    fn tag(&self) -> &Tag {
        &self.tag
    }

    fn is_inherited(&self) -> bool {
        self.health.is_inherited()
    }
}

/// What came of a submission.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ringlog_completion {
    /// As it was submitted.
    pub tag: u64,
    /// `RINGLOG_OK`, or what went wrong.
    pub status: ringlog_status,
    /// `RINGLOG_OP_*`.
    pub op: u32,
    /// The partition appended to or read from; 0 of a flush, and of a topic's read that failed.
    pub partition: u32,
    /// 0.
    pub reserved: u32,
    /// Of the first record appended; of the first record of a batch read.
    pub first_offset: u64,
    /// Of the last.
    pub last_offset: u64,
    /// What was read, the caller's until `ringlog_batch_free`; otherwise NULL.
    pub batch: *mut ringlog_batch,
    /// What went wrong, the caller's until `ringlog_error_free`; NULL if nothing did.
    pub error: *mut ringlog_error,
}

// SAFETY: integers and pointers without padding, for which zero is a value.
unsafe impl Plain for ringlog_completion {
    const NAME: &'static str = "ringlog_completion";
    const FIRST_SIZE: usize = 56;
}

const _: () = assert!(size_of::<ringlog_completion>() == 56);

/// The queue behind a handle, and the call that begins on it; `health` is that of what is
/// submitted, which must be of the same engine.
///
/// # Safety
/// `cq` is NULL or was given out and not freed, and is not freed during `'a`.
pub(crate) unsafe fn enter_cq<'a>(
    cq: *const ringlog_cq,
    health: &Arc<Health>,
) -> Result<(&'a ringlog_cq, Entered<'a>), Failure> {
    // SAFETY: the caller's promise is the same.
    let cq = unsafe { need(cq) }?;
    if !Arc::ptr_eq(&cq.health, health) {
        return Err(Failure::invalid("the ringlog_cq is of another engine"));
    }
    Ok((cq, cq.health.enter()?))
}

/// A completion queue that takes up to `capacity` submissions at once. On success `*cq` is the
/// caller's until `ringlog_cq_free`.
///
/// Thread-safe, never blocks.
/// Errors: `INVALID_ARGUMENT` for a capacity of 0 or out of range; `IO` without descriptors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_cq_new(
    engine: *const ringlog_engine,
    capacity: usize,
    cq: *mut *mut ringlog_cq,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((engine, _entered), cq) = unsafe { (enter(engine)?, out(cq, "the queue")?) };
        cq.write(handle::give(ringlog_cq {
            tag: Tag::new::<ringlog_cq>(),
            queue: engine.engine.completion_queue(capacity)?,
            health: Arc::clone(&engine.health),
            loans: Mutex::default(),
            scratch: Mutex::default(),
        }));
        Ok(())
    })
}

/// A descriptor for an event loop: readable while there may be completions. When it is, poll with a
/// timeout of 0; it may turn out that there are none. On success it is in `*fd`; it belongs to the
/// queue: do not read, write or close it.
///
/// Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_cq_fd(
    cq: *const ringlog_cq,
    fd: *mut i32,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (cq, fd) = unsafe { (need(cq)?, out(fd, "the descriptor")?) };
        let _entered = cq.health.enter()?;
        fd.write(cq.queue.fd().as_raw_fd());
        Ok(())
    })
}

/// Takes completions, `cap` at most; `elem_size` is sizeof(ringlog_completion). On success `*count`
/// says how many: 0 after the timeout, after `ringlog_cq_wake`, or when a signal handler ran on
/// this thread. What is in `batch` and `error` of each is the caller's.
///
/// One thread at a time; others wait for it. Blocks up to `timeout_ns` while there are none.
/// Errors: none of its own. After `ringlog_close` it goes on giving what was submitted before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_cq_poll(
    cq: *mut ringlog_cq,
    completions: *mut ringlog_completion,
    cap: usize,
    elem_size: usize,
    timeout_ns: i64,
    count: *mut usize,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (cq, mut to, count) = unsafe {
            (
                need(cq.cast_const())?,
                OutArray::new(completions, cap, elem_size)?,
                out(count, "the count")?,
            )
        };
        let _entered = cq.health.enter()?;
        let timeout = input::timeout(timeout_ns)?.unwrap_or_default();
        let mut own = Vec::new();
        let mut kept = cq.scratch.try_lock();
        let done = kept.as_deref_mut().unwrap_or(&mut own);
        done.clear();
        cq.queue.poll(done, to.capacity(), timeout)?;
        let mut written = 0;
        for completion in done.drain(..) {
            to.write(written, cq.completion(completion));
            written += 1;
        }
        count.write(written);
        Ok(())
    })
}

impl ringlog_cq {
    fn completion(&self, completion: Completion) -> ringlog_completion {
        let mut to = ringlog_completion {
            tag: completion.tag,
            status: RINGLOG_OK,
            op: 0,
            partition: 0,
            reserved: 0,
            first_offset: 0,
            last_offset: 0,
            batch: std::ptr::null_mut(),
            error: std::ptr::null_mut(),
        };
        match completion.outcome {
            Outcome::Append { partition, result } => {
                (to.op, to.partition) = (RINGLOG_OP_APPEND, partition.0);
                to.set(result, |to, Appended { first, last, .. }| {
                    (to.first_offset, to.last_offset) = (first.0, last.0);
                });
            }
            Outcome::Read { reader, result } => {
                self.take_back(&mut to, Returned::Reader(*reader));
                self.read_done(&mut to, result);
            }
            Outcome::TopicRead { reader, result } => {
                self.take_back(&mut to, Returned::Topic(*reader));
                self.read_done(&mut to, result);
            }
            Outcome::Flush(result) => {
                to.op = RINGLOG_OP_FLUSH;
                to.set(result, |_, ()| {});
            }
            _ => {
                let failure = Failure::new(RINGLOG_E_OTHER, 0, "a completion of an unknown kind");
                to.fail(failure);
            }
        }
        to
    }

    /// The reader goes back to its handle, and the completion gets the caller's tag.
    fn take_back(&self, to: &mut ringlog_completion, reader: Returned) {
        let Some(loan) = self.loans.lock().end(to.tag) else { return };
        to.tag = loan.tag;
        match (loan.of, reader) {
            (Lender::Reader(partition, lender), Returned::Reader(reader)) => {
                to.partition = partition.0;
                lender.give_back(reader);
            }
            (Lender::Topic(lender), Returned::Topic(reader)) => lender.give_back(reader),
            // A loan's number is used once, so that this does not happen.
            _ => {}
        }
    }

    fn read_done(&self, to: &mut ringlog_completion, result: ringlog::Result<Batch>) {
        to.op = RINGLOG_OP_READ;
        to.set(result, |to, batch| {
            to.partition = batch.partition().0;
            let first = batch.iter().next().and_then(Result::ok).map(|view| view.offset());
            to.first_offset = first.unwrap_or_else(|| batch.base_offset()).0;
            to.last_offset = batch.last_offset().0;
            to.batch = batch::give(vec![batch], &self.health);
        });
    }
}

/// A reader that a completion brought back.
enum Returned {
    Reader(Reader),
    Topic(TopicReader),
}

impl ringlog_completion {
    fn fail(&mut self, failure: Failure) {
        self.status = failure.code;
        self.error = error::boxed(failure);
    }

    fn set<T>(&mut self, result: ringlog::Result<T>, with: impl FnOnce(&mut Self, T)) {
        match result {
            Ok(value) => with(self, value),
            Err(error) => self.fail(error.into()),
        }
    }
}

/// Ends the poll that goes on, or else the next. From any thread, and from a signal handler. Never
/// blocks; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_cq_wake(cq: *const ringlog_cq) {
    // SAFETY: NULL or live, as the header asks.
    if let Some(cq) = unsafe { handle::get(cq) } {
        guard::quietly(|| {
            if let Ok(_entered) = cq.health.enter() {
                cq.queue.wake();
            }
        });
    }
}

/// Frees the queue; NULL is fine. What was submitted is done all the same, and nobody hears of it;
/// readers that were submitted are not given back. Blocks only if it is the engine's last handle:
/// see `ringlog_engine_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_cq_free(cq: *mut ringlog_cq) {
    // SAFETY: NULL or the caller's own queue, not used again, as the header asks.
    guard::quietly(|| drop(unsafe { handle::take(cq) }));
}

/// As `ringlog_append`, without waiting for the acknowledgement: `cq` gives it under `tag`, exactly
/// once for each success here. The bytes are taken, and the place in the partition is claimed,
/// before this returns, so that submissions of one thread keep their order.
///
/// Thread-safe. Blocks only for room in the ring, up to the engine's `append_timeout_ns`; with
/// `RINGLOG_APPEND_NO_WAIT` never.
/// Errors: `QUEUE_FULL` (poll first), and as `ringlog_append`: nothing was written, and there will
/// be no completion.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_submit_append(
    stream: *const ringlog_stream,
    cq: *const ringlog_cq,
    records: *const ringlog_record,
    n: usize,
    record_size: usize,
    flags: u32,
    tag: u64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or live, as the header asks.
        let (stream, _entered) = unsafe { enter_stream(stream) }?;
        // SAFETY: as above.
        let (cq, _) = unsafe { enter_cq(cq, &stream.health) }?;
        let options = append_options(flags, RINGLOG_DEFAULT_TIMEOUT)?;
        let submit = |records: &[ringlog::Record<'_>]| {
            Ok(stream.partition.submit_append(&cq.queue, records, options, tag)?)
        };
        // SAFETY: the records are valid for the call, as the header asks.
        unsafe { input::with_records(records, n, record_size, submit) }
    })
}

/// As `ringlog_submit_append`, of a ready-made Kafka RecordBatch v2: see `ringlog_append_batch`.
///
/// Thread-safe. Blocks as `ringlog_submit_append` does.
/// Errors: as `ringlog_submit_append`, and `INVALID_BATCH`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_submit_batch(
    stream: *const ringlog_stream,
    cq: *const ringlog_cq,
    batch: ringlog_bytes,
    flags: u32,
    tag: u64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((stream, _entered), batch) = unsafe { (enter_stream(stream)?, input::bytes(batch)?) };
        // SAFETY: as above.
        let (cq, _) = unsafe { enter_cq(cq, &stream.health) }?;
        let batch = batch.ok_or_else(|| Failure::invalid("the batch is NULL"))?;
        let options = append_options(flags, RINGLOG_DEFAULT_TIMEOUT)?;
        Ok(stream.partition.submit_batch(&cq.queue, batch, options, tag)?)
    })
}

/// Makes durable whatever has been appended up to now, in topics of either class.
///
/// Thread-safe. Blocks up to `timeout_ns`; the default is 30 s.
/// Errors: `TIMEOUT`, `LATCHED` if a log has failed, `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_flush(
    engine: *const ringlog_engine,
    timeout_ns: i64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or live, as the header asks.
        let (engine, _entered) = unsafe { enter(engine) }?;
        let timeout = input::timeout(timeout_ns)?.unwrap_or(crate::engine::DRAIN_TIMEOUT);
        Ok(engine.engine.flush(timeout)?)
    })
}

/// As `ringlog_flush`, without waiting: `cq` gives the outcome under `tag`.
///
/// Thread-safe, never blocks.
/// Errors: `QUEUE_FULL` (poll first), `CLOSED`: there will be no completion.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_submit_flush(
    engine: *const ringlog_engine,
    cq: *const ringlog_cq,
    tag: u64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or live, as the header asks.
        let (engine, _entered) = unsafe { enter(engine) }?;
        // SAFETY: as above.
        let (cq, _) = unsafe { enter_cq(cq, &engine.health) }?;
        Ok(engine.engine.submit_flush(&cq.queue, tag)?)
    })
}
