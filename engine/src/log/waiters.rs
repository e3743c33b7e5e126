//! Who sleeps until a watermark passes a position: sorted, fired outside every other lock.
//!
//! A waiter registers, then looks at the watermark once more; the one who moves the watermark moves
//! it first and fires after. Both sides are sequentially consistent, so one of them sees the other.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Waiters on one watermark.
#[derive(Debug)]
pub(crate) struct Waiters {
    /// Lowest position waited for, so that moving a watermark nobody waits on costs one load.
    lowest: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next_id: u64,
    sorted: BTreeMap<(u64, u64), Waker>,
}

/// Names one registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64, u64);

impl Default for Waiters {
    fn default() -> Self {
        Self { lowest: AtomicU64::new(u64::MAX), inner: Mutex::default() }
    }
}

impl Waiters {
    /// Registers for `position`, in place of `previous` if that is still there. The caller checks
    /// the watermark again afterwards.
    pub(crate) fn register(
        &self,
        position: u64,
        waker: &Waker,
        previous: Option<Ticket>,
    ) -> Ticket {
        let waker = waker.clone();
        // Dropped after the lock: a waker may own a future whose drop comes here again.
        let _replaced;
        let mut inner = self.inner.lock();
        if let Some(Ticket(position, id)) = previous
            && let Some(there) = inner.sorted.get_mut(&(position, id))
        {
            _replaced = std::mem::replace(there, waker);
            return Ticket(position, id);
        }
        inner.next_id += 1;
        let id = inner.next_id;
        inner.sorted.insert((position, id), waker);
        self.lowest.fetch_min(position, Ordering::SeqCst);
        Ticket(position, id)
    }

    /// Takes a registration back.
    pub(crate) fn forget(&self, Ticket(position, id): Ticket) {
        // Dropped after the lock, as above.
        let _removed;
        let mut inner = self.inner.lock();
        _removed = inner.sorted.remove(&(position, id));
        self.note_lowest(&inner);
    }

    /// Wakes everyone who waits for a position up to `watermark`.
    pub(crate) fn fire(&self, watermark: u64) {
        if self.lowest.load(Ordering::SeqCst) > watermark {
            return;
        }
        let due = {
            let mut inner = self.inner.lock();
            let later = match watermark.checked_add(1) {
                Some(beyond) => inner.sorted.split_off(&(beyond, 0)),
                None => BTreeMap::new(),
            };
            let due = std::mem::replace(&mut inner.sorted, later);
            self.note_lowest(&inner);
            due
        };
        wake_all(due.into_values());
    }

    /// Wakes everyone: the log was latched or closed.
    pub(crate) fn fire_all(&self) {
        self.fire(u64::MAX);
    }

    fn note_lowest(&self, inner: &Inner) {
        let lowest =
            inner.sorted.first_key_value().map_or(u64::MAX, |((position, _), _)| *position);
        self.lowest.store(lowest, Ordering::SeqCst);
    }
}

/// Wakes them all, even if one panics: the others have no registration any more, so that nobody
/// would wake them later. The panic then goes on.
pub(crate) fn wake_all(wakers: impl Iterator<Item = Waker>) {
    let mut panic = None;
    for waker in wakers {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            panic.get_or_insert(payload);
        }
    }
    if let Some(payload) = panic {
        resume_unwind(payload);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    struct Counts(AtomicUsize, bool);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            assert!(!self.1, "asked to panic");
        }
    }

    #[test]
    fn those_up_to_the_watermark_are_woken_even_if_one_panics() {
        let waiters = Waiters::default();
        let counts = [false, true, false, false].map(|panics| {
            let counts = Arc::new(Counts(AtomicUsize::new(0), panics));
            waiters.register(7, &Waker::from(Arc::clone(&counts)), None);
            counts
        });
        let later = Arc::new(Counts(AtomicUsize::new(0), false));
        let ticket = waiters.register(9, &Waker::from(Arc::clone(&later)), None);
        assert!(catch_unwind(AssertUnwindSafe(|| waiters.fire(8))).is_err());
        assert!(counts.iter().all(|counts| counts.0.load(Ordering::SeqCst) == 1));
        waiters.forget(ticket);
        waiters.fire_all();
        assert_eq!(later.0.load(Ordering::SeqCst), 0);
    }

    /// A waker that owns what is registered with the same waiters.
    struct Owns(Arc<Waiters>, Ticket);

    impl Wake for Owns {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Owns {
        fn drop(&mut self) {
            self.0.forget(self.1);
        }
    }

    #[test]
    fn a_waker_may_come_back_when_it_is_dropped() {
        let waiters = Arc::new(Waiters::default());
        let inner = waiters.register(3, Waker::noop(), None);
        let waker = Waker::from(Arc::new(Owns(Arc::clone(&waiters), inner)));
        let ticket = waiters.register(5, &waker, None);
        drop(waker);
        waiters.register(5, Waker::noop(), Some(ticket));
        let waker = Waker::from(Arc::new(Owns(Arc::clone(&waiters), inner)));
        let ticket = waiters.register(5, &waker, None);
        drop(waker);
        waiters.forget(ticket);
    }
}
