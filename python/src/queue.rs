//! What asyncio waits with: one completion queue for an event loop, which watches its descriptor.
//!
//! Appends and flushes are submitted with a future of the loop; readers that wait leave a waker.
//! When the descriptor is readable the loop calls `drain`, which sets the results. No thread, no
//! executor. Everything but the wakers runs on the loop's thread.

use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyRange;
use ringlog::{AppendOptions, Completion, CompletionQueue, Error, Outcome};

use crate::dispatch::Speaks;
use crate::engine::{Handle, PyEngine};
use crate::error::{self, OrRaise as _};
use crate::guard::{Ours, guard};
use crate::input::{self, Input};
use crate::reader::PyReader;
use crate::topic::{PyPartition, Target, options};

/// Most completions taken at once, so that the loop gets to do something else.
const DRAIN_MAX: usize = 4096;

/// What waits under a tag.
enum Slot {
    Append(Py<PyAny>, Speaks),
    Many(Py<PyAny>),
    Flush(Py<PyAny>),
}

/// Readers that wait, by number, and those of them for which there may be more.
#[derive(Default)]
struct Readers {
    next_number: u64,
    waiting: Vec<(u64, Py<PyReader>, Py<PyAny>)>,
}

/// What the wakers of readers reach.
struct Shared {
    queue: CompletionQueue,
    woken: Mutex<Vec<u64>>,
}

struct ReaderWaker {
    shared: Weak<Shared>,
    number: u64,
}

impl Wake for ReaderWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            let first = {
                let mut woken = shared.woken.lock();
                woken.push(self.number);
                woken.len() == 1
            };
            if first {
                shared.queue.wake();
            }
        }
    }
}

/// The completion queue of one event loop.
#[pyclass(frozen, module = "ringlog._ringlog", name = "_Queue")]
pub(crate) struct PyQueue {
    shared: Ours<Arc<Shared>>,
    slots: Mutex<(Vec<Option<Slot>>, Vec<usize>)>,
    readers: Mutex<Readers>,
    handle: Arc<Handle>,
}

impl PyQueue {
    fn put(&self, slot: Slot) -> u64 {
        let mut slots = self.slots.lock();
        let (places, free) = &mut *slots;
        let at = free.pop().unwrap_or_else(|| {
            places.push(None);
            places.len() - 1
        });
        places[at] = Some(slot);
        at as u64
    }

    fn take(&self, tag: u64) -> Option<Slot> {
        let mut slots = self.slots.lock();
        let slot = slots.0.get_mut(tag as usize)?.take()?;
        slots.1.push(tag as usize);
        Some(slot)
    }

    /// Submits under a tag for `slot`; false if there is no room now.
    fn submit(
        &self,
        py: Python<'_>,
        slot: Slot,
        submit: impl FnOnce(&CompletionQueue, u64) -> ringlog::Result<()>,
    ) -> PyResult<bool> {
        let queue = &self.shared.get(py)?.queue;
        let tag = self.put(slot);
        match submit(queue, tag) {
            Ok(()) => Ok(true),
            Err(refused) => {
                drop(self.take(tag));
                match refused {
                    Error::Busy { .. } | Error::QueueFull { .. } => Ok(false),
                    other => Err(other).or_raise(py),
                }
            }
        }
    }

    fn finish(&self, py: Python<'_>, completion: Completion) -> PyResult<()> {
        let Some(slot) = self.take(completion.tag) else { return Ok(()) };
        match (slot, completion.outcome) {
            (Slot::Append(future, speaks), Outcome::Append { partition, result }) => {
                let value = result.map(|appended| speaks.of(partition.0, appended.first.0));
                let value = value.or_raise(py).and_then(|value| value.into_python(py));
                set(future.bind(py), value)
            }
            (Slot::Many(future), Outcome::Append { result, .. }) => {
                let range = result.or_raise(py).and_then(|appended| {
                    PyRange::new(py, appended.first.0 as isize, appended.last.0 as isize + 1)
                });
                set(future.bind(py), range.map(Bound::into_any))
            }
            (Slot::Flush(future), Outcome::Flush(result)) => {
                set(future.bind(py), result.or_raise(py).map(|()| py.None().into_bound(py)))
            }
            _ => Err(error::internal(py, "a completion of another kind than its submission")),
        }
    }

    /// Looks whether a reader has something, and leaves its waker if not.
    fn poll_reader(&self, py: Python<'_>, reader: Py<PyReader>, future: Py<PyAny>) -> PyResult<()> {
        if is_done(future.bind(py))? {
            return Ok(());
        }
        let number = {
            let mut readers = self.readers.lock();
            readers.next_number += 1;
            readers.next_number
        };
        let waker = ReaderWaker { shared: Arc::downgrade(self.shared.get(py)?), number };
        let waker = Waker::from(Arc::new(waker));
        match reader.get().poll_batch(py, &mut Context::from_waker(&waker)) {
            Ok(Poll::Ready(batch)) => set(future.bind(py), Ok(batch.into_any())),
            Ok(Poll::Pending) => {
                self.readers.lock().waiting.push((number, reader, future));
                Ok(())
            }
            Err(error) => set(future.bind(py), Err(error)),
        }
    }

    fn woken_readers(&self, py: Python<'_>) -> PyResult<()> {
        let woken = std::mem::take(&mut *self.shared.get(py)?.woken.lock());
        for number in woken {
            let found = {
                let waiting = &mut self.readers.lock().waiting;
                let at = waiting.iter().position(|(own, ..)| *own == number);
                at.map(|at| waiting.swap_remove(at))
            };
            if let Some((_, reader, future)) = found {
                self.poll_reader(py, reader, future)?;
            }
        }
        Ok(())
    }
}

fn is_done(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    future.call_method0(intern!(future.py(), "done"))?.extract()
}

/// Sets the outcome of a future of the loop; one that was cancelled meanwhile is left alone.
fn set(future: &Bound<'_, PyAny>, outcome: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
    let py = future.py();
    if is_done(future)? {
        return Ok(());
    }
    match outcome {
        Ok(value) => future.call_method1(intern!(py, "set_result"), (value,)),
        Err(error) => future.call_method1(intern!(py, "set_exception"), (error.into_value(py),)),
    }
    .map(drop)
}

/// Nothing that an event loop calls waits.
fn at_once(ack: Option<&str>, compression: Option<&str>) -> PyResult<AppendOptions> {
    Ok(options(ack, compression)?.wait_for_room(false))
}

#[pymethods]
impl PyQueue {
    #[new]
    fn new(py: Python<'_>, engine: &Bound<'_, PyEngine>, capacity: usize) -> PyResult<Self> {
        let handle = Arc::clone(&engine.get().handle);
        let queue = handle.engine(py)?.completion_queue(capacity).or_raise(py)?;
        let shared = Arc::new(Shared { queue, woken: Mutex::default() });
        Ok(Self {
            shared: Ours::new(shared),
            slots: Mutex::default(),
            readers: Mutex::default(),
            handle,
        })
    }

    /// The descriptor to watch: readable while `drain` may have something to do.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        Ok(self.shared.get(py)?.queue.fd().as_raw_fd())
    }

    /// How many submissions have not been completed.
    fn outstanding(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.shared.get(py)?.queue.outstanding())
    }

    /// Starts an append whose answer `future` gets; false if there is no room now.
    #[expect(clippy::too_many_arguments, reason = "called by ringlog.aio alone")]
    fn append(
        &self,
        py: Python<'_>,
        target: &Bound<'_, PyAny>,
        future: Py<PyAny>,
        value: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        timestamp_ms: Option<i64>,
        ack: Option<&str>,
        compression: Option<&str>,
    ) -> PyResult<bool> {
        let options = at_once(ack, compression)?;
        let input = Input::new(value, key, headers, timestamp_ms)?;
        guard(py, || {
            let target = Target::of(py, target, &input)?;
            self.submit(py, Slot::Append(future, target.speaks), |queue, tag| {
                target.partition.submit_append(queue, &[input.record()], options, tag)
            })
        })
    }

    /// Starts appending one batch to a partition; false if there is no room now.
    fn append_many(
        &self,
        py: Python<'_>,
        partition: &Bound<'_, PyPartition>,
        future: Py<PyAny>,
        records: &Bound<'_, PyAny>,
        ack: Option<&str>,
        compression: Option<&str>,
    ) -> PyResult<bool> {
        let options = at_once(ack, compression)?;
        let inputs = input::collect(records)?;
        guard(py, || {
            if inputs.is_empty() {
                set(future.bind(py), PyRange::new(py, 0, 0).map(Bound::into_any))?;
                return Ok(true);
            }
            let partition = partition.get().native(py)?;
            let records: Vec<_> = inputs.iter().map(Input::record).collect();
            self.submit(py, Slot::Many(future), |queue, tag| {
                partition.submit_append(queue, &records, options, tag)
            })
        })
    }

    /// Starts a flush of everything appended so far; false if the queue is full.
    fn flush(&self, py: Python<'_>, future: Py<PyAny>) -> PyResult<bool> {
        let engine = self.handle.engine(py)?;
        guard(py, || {
            self.submit(py, Slot::Flush(future), |queue, tag| engine.submit_flush(queue, tag))
        })
    }

    /// `future` gets the reader's next batch, once there is one.
    fn read(&self, py: Python<'_>, reader: Py<PyReader>, future: Py<PyAny>) -> PyResult<()> {
        guard(py, || self.poll_reader(py, reader, future))
    }

    /// Sets the results that are there, without waiting.
    fn drain(&self, py: Python<'_>) -> PyResult<usize> {
        guard(py, || {
            let mut done = Vec::new();
            let queue = &self.shared.get(py)?.queue;
            queue.poll(&mut done, DRAIN_MAX, Duration::ZERO).or_raise(py)?;
            let count = done.len();
            for completion in done {
                // One future that cannot be set keeps no other from being set.
                if let Err(error) = self.finish(py, completion) {
                    error.write_unraisable(py, None);
                }
            }
            self.woken_readers(py)?;
            Ok(count)
        })
    }
}
