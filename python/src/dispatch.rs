//! Completes the futures of `append_nowait`: one completion queue and one thread an engine, made
//! when the first append has to wait for its acknowledgement.
//!
//! The thread sleeps in the queue, sets outcomes without the GIL, and takes that only where there
//! are callbacks to run. It holds the queue but not the engine's handle: when the last handle goes,
//! it ends, and whoever drops that handle waits for it, so that the engine closes there and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::prelude::*;
use ringlog::{Completion, CompletionQueue, Engine, Outcome};

use crate::error::OrRaise as _;
use crate::future::{Callbacks, Pending, Value};
use crate::wait::spawn;

/// Most appends without an acknowledgement at once; further ones wait for theirs in the call.
const OUTSTANDING_MAX: usize = 1 << 16;
/// Most completions taken at once.
const POLL_MAX: usize = 1024;
/// The thread sleeps until it is woken.
const FOREVER: Duration = Duration::from_secs(1 << 30);

/// How the answer is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// In offsets: a partition.
    Offsets,
    /// In partition and offset: a topic.
    Ids,
}

impl Speaks {
    pub(crate) fn of(self, partition: u32, offset: u64) -> Value {
        match self {
            Self::Offsets => Value::Offset(offset),
            Self::Ids => Value::Id(partition, offset),
        }
    }
}

/// See the module.
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: CompletionQueue,
    slots: Mutex<Slots>,
    ends: AtomicBool,
}

/// Futures by the tag of their submission; places are used again.
#[derive(Default)]
struct Slots {
    places: Vec<Option<(Arc<Pending>, Speaks)>>,
    free: Vec<usize>,
}

impl Slots {
    fn put(&mut self, pending: Arc<Pending>, speaks: Speaks) -> u64 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[at] = Some((pending, speaks));
        at as u64
    }

    fn take(&mut self, tag: u64) -> Option<(Arc<Pending>, Speaks)> {
        let taken = self.places.get_mut(tag as usize)?.take();
        if taken.is_some() {
            self.free.push(tag as usize);
        }
        taken
    }
}

impl Dispatcher {
    pub(crate) fn start(py: Python<'_>, engine: &Engine) -> PyResult<Self> {
        let queue = engine.completion_queue(OUTSTANDING_MAX).or_raise(py)?;
        let shared = Shared { queue, slots: Mutex::default(), ends: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let there = Arc::clone(&shared);
        let thread = spawn("ringlog-futures", move || there.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Submits an append by `submit`, which gets the queue and its tag.
    pub(crate) fn submit(
        &self,
        speaks: Speaks,
        submit: impl FnOnce(&CompletionQueue, u64) -> ringlog::Result<()>,
    ) -> ringlog::Result<Arc<Pending>> {
        let pending = Arc::new(Pending::default());
        let tag = self.shared.slots.lock().put(Arc::clone(&pending), speaks);
        match submit(&self.shared.queue, tag) {
            Ok(()) => Ok(pending),
            Err(error) => {
                self.shared.slots.lock().take(tag);
                Err(error)
            }
        }
    }

    fn thread_id(&self) -> Option<ThreadId> {
        self.thread.as_ref().map(|thread| thread.thread().id())
    }
}

impl Drop for Dispatcher {
    /// Ends the thread. What is outstanding is appended all the same, and nobody hears of it.
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        self.shared.queue.wake();
        // A callback may drop the last handle: the thread cannot wait for itself.
        if self.thread_id() != Some(std::thread::current().id())
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut done = Vec::new();
        let mut ends = false;
        // After it was told to end it takes what is there, once.
        while !ends {
            ends = self.ends.load(Ordering::SeqCst);
            let timeout = if ends { Duration::ZERO } else { FOREVER };
            let most = if ends { OUTSTANDING_MAX } else { POLL_MAX };
            if self.queue.poll(&mut done, most, timeout).is_err() {
                return;
            }
            let callbacks = self.complete(&mut done);
            if !callbacks.is_empty() {
                // Not to be had once the interpreter is taken down: nobody is left to be called.
                let _ = Python::try_attach(|py| callbacks.run(py));
            }
        }
    }

    fn complete(&self, done: &mut Vec<Completion>) -> Callbacks {
        let mut callbacks = Callbacks::default();
        for completion in done.drain(..) {
            let Some((pending, speaks)) = self.slots.lock().take(completion.tag) else { continue };
            let Outcome::Append { partition, result } = completion.outcome else { continue };
            let value = result.map(|appended| speaks.of(partition.0, appended.first.0));
            pending.complete(value, &mut callbacks);
        }
        callbacks
    }
}
