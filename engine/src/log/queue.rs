//! Appends that found no room, in the order in which they were called. While one waits, later ones
//! wait behind it, so that whoever calls in order is appended in order. Whoever makes room claims
//! it for them and puts their frames in place (as helpers do in wait-free queues), so that none has
//! to be polled for those behind it to go on. All it holds are the payloads of appends whose
//! callers have not given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::append::Payload;
use super::writer::Claim;
use crate::error::Result;
use crate::sync::Mutex;

/// An append that waits for room.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(super) what: Payload,
    /// Whether it waits for the ring to drain.
    pub(super) is_large: bool,
    /// Taken by who has claimed for it.
    pub(super) payload: Mutex<Vec<u8>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Known once it has left the queue, unless its caller took it out.
    outcome: Option<Result<Claim>>,
    waker: Option<Waker>,
}

impl Waiting {
    pub(super) fn new(what: Payload, is_large: bool, payload: &[u8]) -> Arc<Self> {
        let payload = Mutex::new(payload.to_vec());
        Arc::new(Self { what, is_large, payload, state: Mutex::default() })
    }

    /// What became of it, if that is known.
    pub(super) fn outcome(&self) -> Option<Result<Claim>> {
        self.state.lock().outcome.clone()
    }

    /// The same; who hears nothing is woken when it is known.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Result<Claim>> {
        // Dropped after the lock: a waker may own the future that this belongs to.
        let _replaced;
        let mut state = self.state.lock();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        _replaced = state.waker.replace(context.waker().clone());
        Poll::Pending
    }

    /// Without any lock, after it has left the queue.
    pub(super) fn wake(&self) {
        let waker = self.state.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// See the module. Under the writer's lock.
#[derive(Debug, Default)]
pub(crate) struct Queue(VecDeque<Arc<Waiting>>);

impl Queue {
    pub(super) fn front(&self) -> Option<&Arc<Waiting>> {
        self.0.front()
    }

    /// Whether nobody waits who comes before this one; `None` is one that has not waited.
    pub(super) fn is_turn_of(&self, one: Option<&Arc<Waiting>>) -> bool {
        match (self.0.front(), one) {
            (None, None) => true,
            (Some(front), Some(one)) => Arc::ptr_eq(front, one),
            _ => false,
        }
    }

    pub(super) fn push(&mut self, one: Arc<Waiting>) {
        self.0.push_back(one);
    }

    /// The first leaves, with this outcome.
    pub(super) fn pop(&mut self, outcome: Result<Claim>) {
        if let Some(first) = self.0.pop_front() {
            first.state.lock().outcome = Some(outcome);
        }
    }

    /// Takes it out, wherever it stands; whether it was there.
    pub(super) fn take_out(&mut self, one: &Arc<Waiting>) -> bool {
        let at = self.0.iter().position(|there| Arc::ptr_eq(there, one));
        at.and_then(|at| self.0.remove(at)).is_some()
    }
}
