//! A server as a target. One blocking producer drives its connection on its own thread; what is
//! submitted goes over a connection that another thread drives.

use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::target::{Setup, Target};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A server and how to talk to it.
pub trait Service: Send + Sync + Sized + 'static {
    /// A connection, with all streams there.
    type Connection: Send + Sync + 'static;

    /// Starts it in `dir`, which exists and is empty.
    fn start(dir: &Path, setup: &Setup) -> Result<Self>;

    /// The processes that do its work.
    fn processes(&self) -> Vec<u32>;

    /// Connects, and makes the streams where they are not there.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection>> + Send;

    /// Appends these to a stream; done when all are acknowledged.
    fn send(
        connection: Arc<Self::Connection>,
        stream: u32,
        values: Vec<Bytes>,
    ) -> impl Future<Output = Result<()>> + Send + 'static;
}

struct Driven<C> {
    connection: Arc<C>,
    runtime: Runtime,
}

/// A server with connections to it.
pub struct Served<S: Service> {
    here: Mutex<Option<Driven<S::Connection>>>,
    beside: OnceLock<Driven<S::Connection>>,
    end: AtomicU64,
    service: S,
}

/// Resolves when the server has acknowledged.
pub struct Pending(Result<JoinHandle<Result<()>>, Option<Error>>);

impl Future for Pending {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Result<()>> {
        match &mut self.0 {
            Ok(handle) => Pin::new(handle).poll(cx).map(|joined| joined.context("sending")?),
            Err(error) => Poll::Ready(error.take().map_or(Ok(()), Err)),
        }
    }
}

impl<S: Service> Served<S> {
    fn drive(&self, mut builder: Builder) -> Result<Driven<S::Connection>> {
        let runtime = builder.enable_all().build().context("a runtime")?;
        let connection = Arc::new(runtime.block_on(self.service.connect())?);
        Ok(Driven { connection, runtime })
    }

    fn beside(&self) -> Result<&Driven<S::Connection>> {
        if let Some(driven) = self.beside.get() {
            return Ok(driven);
        }
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1);
        let driven = self.drive(builder)?;
        Ok(self.beside.get_or_init(|| driven))
    }
}

/// Waits for a future on this thread.
#[cfg(feature = "kafka")]
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// The values in one piece of memory, cut.
fn taken(values: &[&[u8]]) -> Vec<Bytes> {
    let all = Bytes::from(values.concat());
    let mut at = 0;
    let cut = |value: &&[u8]| {
        at += value.len();
        all.slice(at - value.len()..at)
    };
    values.iter().map(cut).collect()
}

impl<S: Service> Target for Served<S> {
    type Pending = Pending;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        // A server has its directory as its working directory.
        let dir = dir.canonicalize().context(format!("finding {}", dir.display()))?;
        let service = S::start(&dir, setup)?;
        let served = Self {
            here: Mutex::new(None),
            beside: OnceLock::new(),
            end: AtomicU64::new(0),
            service,
        };
        // The streams are made now, not while a clock runs.
        served.beside()?;
        Ok(served)
    }

    fn append(&self, stream: u32, values: &[&[u8]]) -> Result<()> {
        self.end.fetch_add(values.len() as u64, Ordering::Relaxed);
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let driven = match &mut *here {
            Some(driven) => driven,
            empty => empty.insert(self.drive(Builder::new_current_thread())?),
        };
        let connection = Arc::clone(&driven.connection);
        driven.runtime.block_on(S::send(connection, stream, taken(values)))
    }

    fn submit(&self, stream: u32, values: &[&[u8]]) -> Pending {
        self.end.fetch_add(values.len() as u64, Ordering::Relaxed);
        Pending(self.beside().map_err(Some).map(|driven| {
            let connection = Arc::clone(&driven.connection);
            driven.runtime.spawn(S::send(connection, stream, taken(values)))
        }))
    }

    fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    fn trim(&self, _: u64) -> Result<()> {
        Err(Error::new("a server's streams only grow here"))
    }

    fn log_bytes(&self) -> Option<u64> {
        None
    }

    fn helpers(&self) -> Vec<u32> {
        self.service.processes()
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_where_they_were_joined() {
        assert_eq!(taken(&[b"a", b"", b"bcd"]), [&b"a"[..], b"", b"bcd"]);
    }
}
