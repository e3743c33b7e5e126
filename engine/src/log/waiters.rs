//! Who sleeps until a watermark passes a position: sorted, fired outside every other lock.
//!
//! A waiter registers, then looks at the watermark once more; the one who moves the watermark moves
//! it first and fires after. Both sides are sequentially consistent, so one of them sees the other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

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
        due.into_values().for_each(Waker::wake);
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
