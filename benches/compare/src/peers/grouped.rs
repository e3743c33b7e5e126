//! Group commit around an engine that has none: what producers submit waits in a queue, and one
//! thread commits all that it finds as one transaction, as an application would that wants the most
//! of a store with one writer. A blocking append commits on the caller's thread.

use std::mem;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};

use ringlog_benches::error::{Error, Result};
use ringlog_benches::target::{Setup, Target};

/// A store that one at a time commits to.
pub trait Store: Send + Sized + 'static {
    /// A new store in `dir`, which exists and is empty.
    fn open(dir: &Path, setup: &Setup) -> Result<Self>;

    /// Commits these records, of partition and value, as one. When it returns they are what the
    /// setup's level promises.
    fn commit(&mut self, records: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()>;

    /// Closes cleanly.
    fn close(self) -> Result<()>;
}

/// What was submitted and waits: a batch of values of one size.
struct Submitted {
    partition: u32,
    values: Vec<u8>,
    value_bytes: usize,
    ticket: Arc<Mutex<Ticket>>,
}

impl Submitted {
    fn records(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.values.chunks_exact(self.value_bytes).map(|value| (self.partition, value))
    }
}

#[derive(Default)]
struct Ticket {
    /// The failure's words, if it failed.
    done: Option<Result<(), String>>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Queue {
    submitted: Vec<Submitted>,
    closed: bool,
}

struct Shared<S> {
    store: Mutex<Option<S>>,
    queue: Mutex<Queue>,
    filled: Condvar,
    end: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Store> Shared<S> {
    fn commit(&self, records: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()> {
        match lock(&self.store).as_mut() {
            Some(store) => store.commit(records),
            None => Err(Error::new("the store is closed")),
        }
    }

    /// Commits until the queue is closed and empty.
    fn serve(&self) {
        loop {
            let mut queue = lock(&self.queue);
            while queue.submitted.is_empty() && !queue.closed {
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let group = mem::take(&mut queue.submitted);
            drop(queue);
            if group.is_empty() {
                return;
            }
            let result = self.commit(&mut group.iter().flat_map(Submitted::records));
            for submitted in group {
                let mut ticket = lock(&submitted.ticket);
                ticket.done = Some(result.as_ref().map(drop).map_err(ToString::to_string));
                let waker = ticket.waker.take();
                drop(ticket);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
    }
}

/// A store with its committing thread.
pub struct Grouped<S: Store> {
    shared: Arc<Shared<S>>,
    committer: Option<JoinHandle<()>>,
}

/// Resolves when its group is committed.
pub struct Pending(Arc<Mutex<Ticket>>);

impl Future for Pending {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut ticket = lock(&self.0);
        if let Some(result) = ticket.done.take() {
            return Poll::Ready(result.map_err(Error::new));
        }
        ticket.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<S: Store> Target for Grouped<S> {
    type Pending = Pending;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let shared = Arc::new(Shared {
            store: Mutex::new(Some(S::open(dir, setup)?)),
            queue: Mutex::default(),
            filled: Condvar::new(),
            end: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&shared);
        let committer = Some(thread::spawn(move || theirs.serve()));
        Ok(Self { shared, committer })
    }

    fn append(&self, partition: u32, values: &[&[u8]]) -> Result<()> {
        self.shared.end.fetch_add(values.len() as u64, Ordering::Relaxed);
        self.shared.commit(&mut values.iter().map(|&value| (partition, value)))
    }

    fn submit(&self, partition: u32, values: &[&[u8]]) -> Pending {
        self.shared.end.fetch_add(values.len() as u64, Ordering::Relaxed);
        let ticket = Arc::default();
        let submitted = Submitted {
            partition,
            values: values.concat(),
            value_bytes: values.first().map_or(1, |value| value.len().max(1)),
            ticket: Arc::clone(&ticket),
        };
        lock(&self.shared.queue).submitted.push(submitted);
        self.shared.filled.notify_one();
        Pending(ticket)
    }

    fn end(&self) -> u64 {
        self.shared.end.load(Ordering::Relaxed)
    }

    fn trim(&self, _: u64) -> Result<()> {
        Err(Error::new("a grouped store only grows"))
    }

    fn log_bytes(&self) -> Option<u64> {
        None
    }

    fn close(mut self) -> Result<()> {
        self.stop();
        match lock(&self.shared.store).take() {
            Some(store) => store.close(),
            None => Ok(()),
        }
    }
}

impl<S: Store> Grouped<S> {
    fn stop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.filled.notify_one();
        if let Some(committer) = self.committer.take() {
            // A panic in it has been printed already.
            let _ = committer.join();
        }
    }
}

impl<S: Store> Drop for Grouped<S> {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use ringlog_benches::cli::Backend;
    use ringlog_benches::target::Level;

    use super::*;

    /// Says what each commit held, and waits a little, as a device would.
    struct Slow;

    type Commit = Vec<(u32, Vec<u8>)>;

    static COMMITS: Mutex<Vec<Commit>> = Mutex::new(Vec::new());

    impl Store for Slow {
        fn open(_: &Path, _: &Setup) -> Result<Self> {
            Ok(Self)
        }

        fn commit(&mut self, records: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()> {
            let records: Vec<_> = records.map(|(at, value)| (at, value.to_vec())).collect();
            let fails = records.iter().any(|(_, value)| value == b"bad");
            lock(&COMMITS).push(records);
            thread::sleep(Duration::from_millis(20));
            if fails { Err(Error::new("refused")) } else { Ok(()) }
        }

        fn close(self) -> Result<()> {
            Ok(())
        }
    }

    fn wait(mut pending: Pending) -> Result<()> {
        struct Tell(mpsc::Sender<()>);
        impl std::task::Wake for Tell {
            fn wake(self: Arc<Self>) {
                let _ = self.0.send(());
            }
        }
        let (tell, told) = mpsc::channel();
        let waker = Waker::from(Arc::new(Tell(tell)));
        loop {
            match Pin::new(&mut pending).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => return result,
                Poll::Pending => told.recv().expect("the waker is in the ticket"),
            }
        }
    }

    #[test]
    fn what_waits_is_committed_as_one_in_its_order_and_all_hear_of_a_failure() {
        let setup = Setup {
            level: Level::Durable,
            partitions: 2,
            segment_bytes: None,
            ring_bytes: None,
            group_bytes: None,
            groups_in_flight: None,
            batch_bytes: None,
            shards: None,
            backend: Backend::Plain,
        };
        let target = Grouped::<Slow>::open(Path::new(""), &setup).expect("it opens");
        let first = target.submit(0, &[b"a"]);
        while lock(&COMMITS).is_empty() {
            thread::yield_now();
        }
        // The first is being committed, so these wait and make a group.
        let second = target.submit(1, &[b"bbb", b"ccc"]);
        let third = target.submit(0, &[b"bad"]);
        wait(first).expect("committed alone");
        assert!(wait(second).is_err() && wait(third).is_err());
        assert_eq!(target.end(), 4);
        target.close().expect("it closes");
        let commits = lock(&COMMITS);
        let group: Vec<_> = [(1, "bbb"), (1, "ccc"), (0, "bad")]
            .map(|(at, value)| (at, value.as_bytes().to_vec()))
            .to_vec();
        assert_eq!(*commits, [vec![(0, b"a".to_vec())], group]);
    }
}
