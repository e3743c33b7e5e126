//! Sending batches to a socket. What lies in segment files goes from the page cache by `sendfile`
//! and never enters this process; what is still in the ring is copied from it and sent. The sender
//! keeps its place amid a batch, so that a socket which takes no more is no error.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, sendfile};
use rustix::io::{Errno, writev};
use rustix::net::sockopt::{Timeout, set_socket_timeout, set_tcp_cork, socket_timeout, tcp_cork};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use crate::buf::SigpipeBlocked;
use crate::error::{Error, Result};
use crate::ids::Offset;
use crate::limits::{SEND_CHUNK_BYTES, SEND_PIECES_MAX};
use crate::log::extents::{Gathered, Given, Piece};
use crate::log::reader::Cursor;

/// The kernel sends no more than this at once.
const SENDFILE_BYTES_MAX: u64 = 1 << 30;
/// A timeout of zero would mean none.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// What a call has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The offset after the last batch that was sent whole, by this call or before.
    pub next_offset: Offset,
    /// Bytes taken by the socket in this call.
    pub bytes: u64,
    /// Everything asked for was sent. If not, the peer may have a part of a batch: the next call
    /// goes on with the rest of it.
    pub complete: bool,
}

/// Sends the batches of one partition, one after the other, keeping its place: for non-blocking
/// sockets, and for deadlines. One thread at a time.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use ringlog::{Engine, Offset};
/// # use std::time::Duration;
/// let engine = Engine::options().open("data")?;
/// let orders = engine.topic("orders")?.partition(0)?;
/// let (socket, _) = std::net::TcpListener::bind("127.0.0.1:9000")?.accept()?;
/// let mut sender = orders.sender(Offset(0))?;
/// while !sender.send_to(&socket, 64 << 20, Duration::from_secs(1))?.complete {
///     // The peer is slow; here is time for something else.
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Sender {
    /// Where further batches come from; `None`: there are no others than the chunk's.
    cursor: Option<Cursor>,
    partition: Arc<str>,
    chunk: Option<Chunk>,
    next: Offset,
}

/// Batches on their way.
#[derive(Debug)]
struct Chunk {
    gathered: Gathered,
    /// Pieces and batches that are gone.
    pieces: usize,
    batches: usize,
    /// Bytes of the current piece that are gone, and of all.
    done: u64,
    sent: u64,
}

impl Chunk {
    fn new(gathered: Gathered) -> Self {
        Self { gathered, pieces: 0, batches: 0, done: 0, sent: 0 }
    }

    fn rest(&self) -> &[Piece] {
        &self.gathered.pieces[self.pieces..]
    }

    /// Takes in that `count` bytes are gone; the offset after the last whole batch, if it is new.
    fn advance(&mut self, count: u64) -> Option<Offset> {
        self.sent += count;
        self.done += count;
        while let Some(piece) = self.rest().first()
            && self.done >= piece.len()
        {
            self.done -= piece.len();
            self.pieces += 1;
        }
        let ends = &self.gathered.ends[self.batches..];
        let whole = ends.iter().take_while(|(end, _)| *end <= self.sent).count();
        self.batches += whole;
        whole.checked_sub(1).map(|last| ends[last].1)
    }
}

impl Sender {
    pub(crate) fn new(cursor: Cursor) -> Self {
        let (partition, next) = (cursor.label(), Offset(cursor.next_offset()));
        Self { cursor: Some(cursor), partition, chunk: None, next }
    }

    pub(crate) fn of(gathered: Gathered, partition: Arc<str>) -> Self {
        let next = gathered.first;
        Self { cursor: None, partition, chunk: Some(Chunk::new(gathered)), next }
    }

    /// The offset after the last batch that was sent whole.
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    /// Whether the peer has a part of a batch.
    pub fn is_amid_batch(&self) -> bool {
        self.chunk.as_ref().is_some_and(|chunk| {
            let whole = chunk.batches.checked_sub(1).map_or(0, |at| chunk.gathered.ends[at].0);
            chunk.sent > whole
        })
    }

    /// Bytes that are left of the batches that were begun: the next call sends them before it looks
    /// for others, and does not count them under its `max_bytes`.
    pub fn left_bytes(&self) -> u64 {
        self.chunk.as_ref().map_or(0, |chunk| chunk.gathered.len - chunk.sent)
    }

    /// Sends what a call before has left, then further whole batches up to `max_bytes` and at least
    /// one, until nothing more is visible: to a socket, TCP or Unix, or a pipe, or a file.
    ///
    /// Waits up to `timeout` in all for a peer that does not take it; with a timeout of zero it
    /// sends what a non-blocking descriptor takes at once. A blocking socket gets the timeout as
    /// its `SO_SNDTIMEO` for the time of the call; other blocking descriptors may hold the call for
    /// longer. Only one thread may write to the descriptor meanwhile. SIGPIPE is kept away.
    ///
    /// What lies in files is not copied through this process, and its records' checksums are
    /// therefore not verified, the headers of its batches are.
    ///
    /// # Errors
    /// [`Error::Peer`] if the peer has closed or the descriptor cannot be written to; what a
    /// reader can meet, such as [`Error::Corrupt`] or [`Error::OffsetOutOfRange`]. Everything
    /// before it has been sent, and the sender keeps its place.
    pub fn send_to(
        &mut self,
        socket: impl AsFd,
        max_bytes: u64,
        timeout: Duration,
    ) -> Result<Sent> {
        let mut line = Line::open(socket.as_fd(), timeout).map_err(|e| self.refused(e))?;
        let mut bytes = 0;
        let mut budget = max_bytes;
        let mut started = false;
        let complete = loop {
            let Some(chunk) = &mut self.chunk else {
                let Some(cursor) = &mut self.cursor else { break true };
                if started && budget == 0 {
                    break true;
                }
                let before = cursor.next_offset();
                let gathered = cursor.gather(budget.min(SEND_CHUNK_BYTES))?;
                // The first of a call may be longer than asked for, no other.
                if gathered.ends.is_empty() || (started && gathered.len > budget) {
                    cursor.seek_back(before);
                    break true;
                }
                started = true;
                budget = budget.saturating_sub(gathered.len);
                self.chunk = Some(Chunk::new(gathered));
                continue;
            };
            started = true;
            if chunk.rest().is_empty() {
                self.chunk = None;
                continue;
            }
            match line.send(chunk) {
                Ok(0) if line.is_over() => break false,
                Ok(0) => line.wait().map_err(|e| self.refused(e))?,
                Ok(count) => {
                    bytes += count;
                    if let Some(next) = chunk.advance(count) {
                        self.next = next;
                    }
                    if line.has_deadline() && line.is_over() {
                        break false;
                    }
                    // Cut off amid a piece: a blocking socket has come to its timeout.
                    if chunk.done > 0 {
                        line.limit().map_err(|e| self.refused(e))?;
                    }
                }
                Err(Failure::Peer(errno)) => return Err(self.refused(errno)),
                Err(Failure::File(error)) => return Err(error),
            }
        };
        Ok(Sent { next_offset: self.next, bytes, complete })
    }

    fn refused(&self, errno: Errno) -> Error {
        let source = Arc::new(io::Error::from(errno));
        Error::Peer { partition: self.partition.to_string(), source }
    }
}

/// Why nothing was sent.
enum Failure {
    Peer(Errno),
    File(Error),
}

/// `SO_SNDTIMEO` as the host has set it; `None`: none.
#[derive(Clone, Copy)]
struct OwnTimeout(Option<Duration>);

/// A descriptor for the time of one call, with what is set on it meanwhile.
struct Line<'a> {
    to: BorrowedFd<'a>,
    is_socket: bool,
    blocks: bool,
    started: Instant,
    timeout: Duration,
    /// A blocking socket's own `SO_SNDTIMEO`; ours is set meanwhile.
    own: Option<OwnTimeout>,
    corked: bool,
    _no_signal: SigpipeBlocked,
}

impl<'a> Line<'a> {
    fn open(to: BorrowedFd<'a>, timeout: Duration) -> Result<Self, Errno> {
        let is_socket = FileType::from_raw_mode(fstat(to)?.st_mode) == FileType::Socket;
        let blocks = !fcntl_getfl(to)?.contains(OFlags::NONBLOCK);
        let mut line = Self {
            to,
            is_socket,
            blocks,
            started: Instant::now(),
            timeout,
            own: None,
            corked: false,
            _no_signal: SigpipeBlocked::new(),
        };
        if is_socket && blocks {
            line.own = Some(OwnTimeout(socket_timeout(to, Timeout::Send)?));
            line.limit()?;
        }
        // What follows each other is to fill packets. Who corked before uncorks by himself; what
        // is not TCP refuses, and needs none.
        line.corked = is_socket && tcp_cork(to) == Ok(false) && set_tcp_cork(to, true).is_ok();
        Ok(line)
    }

    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.started.elapsed())
    }

    fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Without one, a descriptor that does not block is sent what it takes.
    fn has_deadline(&self) -> bool {
        self.blocks || !self.timeout.is_zero()
    }

    /// Lets a blocking socket block no longer than what is left.
    fn limit(&self) -> Result<(), Errno> {
        if self.own.is_none() {
            return Ok(());
        }
        // A timeout that no clock reaches is none.
        let left = Some(self.left().max(TIMEOUT_MIN));
        match set_socket_timeout(self.to, Timeout::Send, left) {
            Err(Errno::DOM | Errno::INVAL) => set_socket_timeout(self.to, Timeout::Send, None),
            done => done,
        }
    }

    /// Sends as much as is taken at once; 0: nothing.
    fn send(&self, chunk: &Chunk) -> Result<u64, Failure> {
        let sent = match chunk.rest() {
            [Piece::File { given, at, len }, ..] => {
                return self.send_file(given, at + chunk.done, len - chunk.done);
            }
            rest => self.send_memory(rest, chunk.done as usize),
        };
        match sent {
            Ok(count) => Ok(count as u64),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(errno) => Err(Failure::Peer(errno)),
        }
    }

    fn send_file(&self, given: &Given, at: u64, len: u64) -> Result<u64, Failure> {
        let Some(from) = given.file.read_descriptor() else { return Ok(0) };
        let mut offset = at;
        match sendfile(self.to, from, Some(&mut offset), len.min(SENDFILE_BYTES_MAX) as usize) {
            Ok(0) => {
                let path = given.path();
                Err(Failure::File(Error::corrupt(path, at, "the file ends here")))
            }
            Ok(count) => Ok(count as u64),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(Errno::IO) => Err(Failure::File(Error::io("read", given.path(), Errno::IO.into()))),
            Err(errno) => Err(Failure::Peer(errno)),
        }
    }

    fn send_memory(&self, pieces: &[Piece], done: usize) -> Result<usize, Errno> {
        let memory = pieces.iter().map_while(|piece| match piece {
            Piece::Memory(bytes) => Some(&bytes[..]),
            Piece::File { .. } => None,
        });
        let mut slices: Vec<IoSlice<'_>> = memory.take(SEND_PIECES_MAX).map(IoSlice::new).collect();
        if let Some(first) = slices.first_mut() {
            first.advance(done);
        }
        if !self.is_socket {
            return writev(self.to, &slices);
        }
        let flags = SendFlags::NOSIGNAL;
        sendmsg(self.to, &slices, &mut SendAncillaryBuffer::default(), flags)
    }

    /// Waits until the descriptor takes more, or the time is over.
    fn wait(&mut self) -> Result<(), Errno> {
        if self.blocks {
            return self.limit();
        }
        let left = Timespec::try_from(self.left()).ok();
        match poll(&mut [PollFd::from_borrowed_fd(self.to, PollFlags::OUT)], left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // A peer that is gone takes the settings with it.
        if self.corked {
            let _ = set_tcp_cork(self.to, false);
        }
        if let Some(OwnTimeout(own)) = self.own {
            let _ = set_socket_timeout(self.to, Timeout::Send, own);
        }
    }
}
