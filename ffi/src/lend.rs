//! Readers that calls borrow one at a time, and that a queue has while a submitted read waits.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ringlog::{PartitionId, Reader, TopicReader};

use crate::cq::{enter_cq, ringlog_cq};
use crate::error::{Failure, ringlog_error};
use crate::guard;
use crate::handle::need;
use crate::reader::ringlog_reader;
use crate::status::{RINGLOG_E_IN_USE, ringlog_status};
use crate::topic_reader::ringlog_topic_reader;

/// A reader, where it can be borrowed and given back; `None` while a queue has it.
pub(crate) struct Lendable<R>(Mutex<Option<R>>);

impl<R> Lendable<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self(Mutex::new(Some(reader)))
    }

    /// Borrows the reader for a call; refused while another call or a queue has it.
    pub(crate) fn with<T>(
        &self,
        call: impl FnOnce(&mut R) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut place = self.0.try_lock().ok_or_else(in_use)?;
        call(place.as_mut().ok_or_else(in_use)?)
    }

    fn take(&self) -> Result<R, Failure> {
        let mut place = self.0.try_lock().ok_or_else(in_use)?;
        place.take().ok_or_else(in_use)
    }

    pub(crate) fn give_back(&self, reader: R) {
        *self.0.lock() = Some(reader);
    }
}

fn in_use() -> Failure {
    Failure::new(RINGLOG_E_IN_USE, 0, "another call or a submitted read uses the reader")
}

/// Readers that a queue has, by a number of ours: tags are the caller's and may repeat.
#[derive(Default)]
pub(crate) struct Loans {
    loans: HashMap<u64, Loan>,
    numbers: u64,
}

/// One of them.
pub(crate) struct Loan {
    pub(crate) tag: u64,
    pub(crate) of: Lender,
}

/// Where a reader goes back to.
pub(crate) enum Lender {
    Reader(PartitionId, Arc<Lendable<Reader>>),
    Topic(Arc<Lendable<TopicReader>>),
}

impl Loans {
    fn begin(&mut self, tag: u64, of: Lender) -> u64 {
        self.numbers += 1;
        self.loans.insert(self.numbers, Loan { tag, of });
        self.numbers
    }

    pub(crate) fn end(&mut self, number: u64) -> Option<Loan> {
        self.loans.remove(&number)
    }
}

/// Asks for what comes next: `cq` gives one record batch under `tag` as soon as there is one, which
/// may be at once. Until then the reader is the queue's: other calls with it are refused with
/// `IN_USE`; it may be freed. Submit it again for more.
///
/// One thread at a time. Does not wait, but where there is a batch may read it from the disk.
/// Errors: `QUEUE_FULL` (poll first), `IN_USE`: there will be no completion. What reading meets
/// comes with the completion.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_submit_read(
    reader: *mut ringlog_reader,
    cq: *const ringlog_cq,
    tag: u64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or live, as the header asks.
        let handle = unsafe { need(reader.cast_const()) }?;
        // SAFETY: as above.
        let (cq, _entered) = unsafe { enter_cq(cq, &handle.health) }?;
        let reader = handle.shared.take()?;
        let of = Lender::Reader(handle.partition, Arc::clone(&handle.shared));
        let number = cq.loans.lock().begin(tag, of);
        let Err(refused) = cq.queue.submit_read(reader, number) else { return Ok(()) };
        cq.loans.lock().end(number);
        handle.shared.give_back(*refused.reader);
        Err(refused.error.into())
    })
}

/// As `ringlog_submit_read`, of all partitions of a topic: one record batch of any of them
/// completes it. `partition` of the completion is its partition, and 0 where there is an error
/// instead.
///
/// One thread at a time. Does not wait, but where there is a batch may read it from the disk.
/// Errors: `QUEUE_FULL` (poll first), `IN_USE`: there will be no completion. What reading meets
/// comes with the completion.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_submit_topic_read(
    reader: *mut ringlog_topic_reader,
    cq: *const ringlog_cq,
    tag: u64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or live, as the header asks.
        let handle = unsafe { need(reader.cast_const()) }?;
        // SAFETY: as above.
        let (cq, _entered) = unsafe { enter_cq(cq, &handle.health) }?;
        let reader = handle.shared.take()?;
        let number = cq.loans.lock().begin(tag, Lender::Topic(Arc::clone(&handle.shared)));
        let Err(refused) = cq.queue.submit_topic_read(reader, number) else { return Ok(()) };
        cq.loans.lock().end(number);
        handle.shared.give_back(*refused.reader);
        Err(refused.error.into())
    })
}
