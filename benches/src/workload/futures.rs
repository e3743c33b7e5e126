//! Polls a fixed number of futures on the calling thread, each again only after it was woken.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Most slots: one bit each in one word.
pub const SLOTS_MAX: usize = 64;

/// The slots that were woken, and the thread to be told.
#[derive(Debug)]
struct Ready {
    woken: AtomicU64,
    thread: Thread,
}

#[derive(Debug)]
struct SlotWaker {
    bit: u64,
    ready: Arc<Ready>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Only the first of several has to unpark: the thread takes all bits at once.
        if self.ready.woken.fetch_or(self.bit, Ordering::AcqRel) == 0 {
            self.ready.thread.unpark();
        }
    }
}

/// Futures in flight, each in a slot that is used again without allocating.
pub struct Slots<F> {
    slots: Vec<(Pin<Box<Option<F>>>, Waker)>,
    ready: Arc<Ready>,
}

impl<F: Future> Slots<F> {
    /// `len` empty slots, to be polled by this thread.
    pub fn new(len: usize) -> Self {
        assert!((1..=SLOTS_MAX).contains(&len), "as many slots as a word has bits");
        let ready = Arc::new(Ready { woken: AtomicU64::new(0), thread: thread::current() });
        let slots = (0..len)
            .map(|index| {
                let ready = Arc::clone(&ready);
                (Box::pin(None), Waker::from(Arc::new(SlotWaker { bit: 1 << index, ready })))
            })
            .collect();
        Self { slots, ready }
    }

    /// Puts `future` into the empty slot `index` and polls it for the first time.
    pub fn start(&mut self, index: usize, future: F) -> Poll<F::Output> {
        assert!(self.slots[index].0.is_none(), "a slot is filled again only after its end");
        self.slots[index].0.set(Some(future));
        self.poll(index)
    }

    /// Sleeps until a slot was woken; returns the woken ones, a bit each.
    pub fn wait(&self) -> u64 {
        loop {
            let woken = self.ready.woken.swap(0, Ordering::AcqRel);
            if woken != 0 {
                return woken;
            }
            thread::park();
        }
    }

    /// Polls slot `index`, and empties it if its future is done. A late wake-up of a future that
    /// was done before finds the slot empty or its successor not ready: both are pending.
    pub fn poll(&mut self, index: usize) -> Poll<F::Output> {
        let (slot, waker) = &mut self.slots[index];
        let Some(future) = slot.as_mut().as_pin_mut() else { return Poll::Pending };
        let result = future.poll(&mut Context::from_waker(waker));
        if result.is_ready() {
            slot.set(None);
        }
        result
    }
}

/// The positions of the bits that are set, lowest first.
pub fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_lowest_first() {
        assert_eq!(bits(0b1001_0010).collect::<Vec<_>>(), [1, 4, 7]);
        assert_eq!(bits(u64::MAX).count(), 64);
        assert_eq!(bits(0).count(), 0);
    }
}
