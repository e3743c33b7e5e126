//! A target that does nothing: what it reaches is the most that the harness can show.
//!
//! A written batch is acknowledged at once. A durable one is handed to another thread, which
//! acknowledges all that it finds, as a group commit on an infinitely fast device would.

use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

use crate::error::Result;
use crate::target::{Level, Setup, Target};

#[derive(Debug, Default)]
struct Ticket(Mutex<TicketState>);

#[derive(Debug, Default)]
struct TicketState {
    done: bool,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    tickets: Vec<Arc<Ticket>>,
    closed: bool,
}

/// The target that does nothing.
#[derive(Debug)]
pub struct Null {
    level: Level,
    end: AtomicU64,
    queue: Arc<Queue>,
    acknowledger: Option<JoinHandle<()>>,
}

/// Resolves when the other thread has come by.
#[derive(Debug)]
pub struct Pending(Option<Arc<Ticket>>);

impl Future for Pending {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(ticket) = &self.0 else { return Poll::Ready(Ok(())) };
        let mut state = ticket.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.done {
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn acknowledge_all(queue: &Queue) {
    loop {
        let mut state = queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.tickets.is_empty() && !state.closed {
            state = queue.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.tickets.is_empty() {
            return;
        }
        let tickets = std::mem::take(&mut state.tickets);
        drop(state);
        for ticket in tickets {
            let mut state = ticket.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.done = true;
            let waker = state.waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Target for Null {
    type Pending = Pending;

    fn open(_dir: &Path, setup: &Setup) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let theirs = Arc::clone(&queue);
        let acknowledger = Some(thread::spawn(move || acknowledge_all(&theirs)));
        Ok(Self { level: setup.level, end: AtomicU64::new(0), queue, acknowledger })
    }

    fn append(&self, partition: u32, values: &[&[u8]]) -> Result<()> {
        let mut pending = self.submit(partition, values);
        if pending.0.is_none() {
            return Ok(());
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match Pin::new(&mut pending).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park(),
            }
        }
    }

    fn submit(&self, _: u32, values: &[&[u8]]) -> Pending {
        self.end.fetch_add(values.len() as u64, Ordering::Relaxed);
        if self.level == Level::Written {
            return Pending(None);
        }
        let ticket = Arc::new(Ticket::default());
        let mut state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tickets.push(Arc::clone(&ticket));
        drop(state);
        self.queue.filled.notify_one();
        Pending(Some(ticket))
    }

    fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    fn trim(&self, _start: u64) -> Result<()> {
        Ok(())
    }

    fn log_bytes(&self) -> Option<u64> {
        None
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

impl Drop for Null {
    fn drop(&mut self) {
        self.queue.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.queue.filled.notify_one();
        if let Some(acknowledger) = self.acknowledger.take() {
            // It ends once the queue is empty; a panic in it has been printed already.
            let _ = acknowledger.join();
        }
    }
}
