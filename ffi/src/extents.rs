//! Extents and senders: whole record batches by their place in files, for a host that sends them
//! itself, or sent by the engine without passing through a buffer of anybody's.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use parking_lot::Mutex;
use ringlog::{Extent, Extents, Offset, Sender};

use crate::error::{Failure, ringlog_error};
use crate::guard::{self, Health};
use crate::handle::{self, Handle, Tag, need, out};
use crate::input;
use crate::sized::{OutArray, Plain};
use crate::status::{RINGLOG_E_IN_USE, ringlog_status};
use crate::topic::{enter_stream, ringlog_stream};

/// Where whole record batches of a partition lie. Immutable, thread-safe; the caller's until
/// `ringlog_extents_free`, and until then the files are used for nothing else.
pub struct ringlog_extents {
    tag: Tag,
    health: Arc<Health>,
    all: Vec<ringlog_extent>,
    /// Owns what `all` points to.
    extents: Extents,
}

// SAFETY: the pointers in `all` lead into `extents`, which never changes and may go anywhere.
unsafe impl Send for ringlog_extents {}
// SAFETY: as above.
unsafe impl Sync for ringlog_extents {}

impl Handle for ringlog_extents {
    const KIND: u64 = handle::kind(*b"extents ");
    const NAME: &'static str = "ringlog_extents";

    fn tag(&self) -> &Tag {
        &self.tag
    }

    fn is_inherited(&self) -> bool {
        self.health.is_inherited()
    }
}

/// One piece: a range of a file, or bytes in memory. Both belong to the extents: do not close the
/// descriptor, nor use it after them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ringlog_extent {
    /// A file open for reading only; -1: the piece is in memory.
    pub fd: i32,
    /// 0.
    pub reserved: u32,
    /// Its first byte in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Its bytes in memory; NULL of a file.
    pub memory: *const u8,
}

// SAFETY: integers and a pointer without padding, for which zero is a value.
unsafe impl Plain for ringlog_extent {
    const NAME: &'static str = "ringlog_extent";
    const FIRST_SIZE: usize = 32;
}

const _: () = assert!(size_of::<ringlog_extent>() == 32);

/// What of a partition a sender has sent.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ringlog_sent {
    /// The offset after the last record batch that was sent whole, by this call or before.
    pub next_offset: u64,
    /// Bytes taken by the descriptor in this call.
    pub bytes: u64,
    /// 1: everything asked for was sent. 0: the peer may have a part of a batch, and the next call
    /// goes on with the rest of it.
    pub complete: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: integers without padding.
unsafe impl Plain for ringlog_sent {
    const NAME: &'static str = "ringlog_sent";
    const FIRST_SIZE: usize = 24;
}

const _: () = assert!(size_of::<ringlog_sent>() == 24);

/// Sends the batches of a partition one after the other, keeping its place. One thread at a time;
/// holds its engine open; the caller's until `ringlog_sender_free`.
pub struct ringlog_sender {
    tag: Tag,
    health: Arc<Health>,
    sender: Mutex<Sender>,
}

impl Handle for ringlog_sender {
    const KIND: u64 = handle::kind(*b"sender  ");
    const NAME: &'static str = "ringlog_sender";

    fn tag(&self) -> &Tag {
        &self.tag
    }

    fn is_inherited(&self) -> bool {
        self.health.is_inherited()
    }
}

/// Where whole record batches lie from the offset `from` on: as many as fit into `max_bytes`, and
/// at least one if there is one; what readers may see, and nothing beyond. One after the other the
/// pieces are Kafka RecordBatches v2, the first of which may begin before `from`. What is still in
/// the ring comes as memory. On success `*extents` is the caller's until `ringlog_extents_free`,
/// and `*next_offset` is where to go on: `from` if there was nothing.
///
/// Thread-safe. Does not wait, but may read the disk.
/// Errors: `OFFSET_OUT_OF_RANGE`, `CORRUPT`, `PINNED`, `IO`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_extents_new(
    stream: *const ringlog_stream,
    from: u64,
    max_bytes: u64,
    extents: *mut *mut ringlog_extents,
    next_offset: *mut u64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((stream, _entered), to, next) = unsafe {
            (enter_stream(stream)?, out(extents, "the extents")?, out(next_offset, "the offset")?)
        };
        let extents = stream.partition.extents(Offset(from), max_bytes)?;
        next.write(extents.next_offset().0);
        let all = extents.iter().map(|extent| extent_of(&extent)).collect();
        let (tag, health) = (Tag::new::<ringlog_extents>(), Arc::clone(&stream.health));
        to.write(handle::give(ringlog_extents { tag, health, all, extents }));
        Ok(())
    })
}

fn extent_of(extent: &Extent<'_>) -> ringlog_extent {
    let nothing =
        ringlog_extent { fd: -1, reserved: 0, offset: 0, len: 0, memory: std::ptr::null() };
    match extent {
        Extent::File { fd, offset, len } => {
            ringlog_extent { fd: fd.as_raw_fd(), offset: *offset, len: *len, ..nothing }
        }
        // The extents hold the same bytes for as long as they live.
        Extent::Memory(bytes) => {
            ringlog_extent { len: bytes.len() as u64, memory: bytes.as_ptr(), ..nothing }
        }
    }
}

/// How many pieces there are; 0 for NULL. Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_extents_len(extents: *const ringlog_extents) -> usize {
    // SAFETY: NULL or live, as the header asks.
    unsafe { handle::get(extents) }.map_or(0, |extents| extents.all.len())
}

/// The pieces from index `from` on, `cap` at most; `elem_size` is sizeof(ringlog_extent). On
/// success `*count` says how many.
///
/// Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_extents_get(
    extents: *const ringlog_extents,
    from: usize,
    to: *mut ringlog_extent,
    cap: usize,
    elem_size: usize,
    count: *mut usize,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (extents, mut to, count) = unsafe {
            (need(extents)?, OutArray::new(to, cap, elem_size)?, out(count, "the count")?)
        };
        let _entered = extents.health.enter()?;
        let wanted = extents.all.get(from..).unwrap_or_default();
        let wanted = &wanted[..wanted.len().min(to.capacity())];
        for (at, extent) in wanted.iter().enumerate() {
            to.write(at, *extent);
        }
        count.write(wanted.len());
        Ok(())
    })
}

/// Gives the files free; NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_extents_free(extents: *mut ringlog_extents) {
    guard::quietly(|| {
        // SAFETY: NULL or the caller's own extents, not used again, as the header asks.
        if let Some(taken) = unsafe { handle::take(extents) } {
            drop(taken.extents);
        }
    });
}

/// A sender of a partition's record batches from the offset `from` on. On success `*sender` is the
/// caller's until `ringlog_sender_free`.
///
/// Thread-safe. Does not wait.
/// Errors: `OFFSET_OUT_OF_RANGE`, `UNKNOWN_TOPIC`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_sender_open(
    stream: *const ringlog_stream,
    from: u64,
    sender: *mut *mut ringlog_sender,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((stream, _entered), to) =
            unsafe { (enter_stream(stream)?, out(sender, "the sender")?) };
        let sender = Mutex::new(stream.partition.sender(Offset(from))?);
        let (tag, health) = (Tag::new::<ringlog_sender>(), Arc::clone(&stream.health));
        to.write(handle::give(ringlog_sender { tag, health, sender }));
        Ok(())
    })
}

/// Sends what a call before has left, then further whole record batches up to `max_bytes` and at
/// least one, until nothing more is visible: to a socket, a pipe or a file. What lies in segment
/// files is not copied through this process. `sent_size` is sizeof(ringlog_sent). On success
/// `*sent` says what went.
///
/// One thread at a time, also for the descriptor. Blocks up to `timeout_ns` in all for a peer that
/// does not take it; with 0, and a descriptor that does not block, it sends what is taken at once.
/// Errors: `PEER` if the peer has closed; `CORRUPT`, `OFFSET_OUT_OF_RANGE`: what lies before it was
/// sent, and the sender keeps its place; `IN_USE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_sender_send(
    sender: *mut ringlog_sender,
    fd: i32,
    max_bytes: u64,
    timeout_ns: i64,
    sent: *mut ringlog_sent,
    sent_size: usize,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (sender, mut to) =
            unsafe { (need(sender.cast_const())?, OutArray::new(sent, 1, sent_size)?) };
        let _entered = sender.health.enter()?;
        let timeout = input::timeout(timeout_ns)?.unwrap_or_default();
        let fd = RawFd::from(fd);
        if fd < 0 {
            return Err(Failure::invalid(format!("descriptor {fd}")));
        }
        // SAFETY: the caller keeps it open during the call, as the header asks; one that is not
        // open is an error of the system.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let in_use = || Failure::new(RINGLOG_E_IN_USE, 0, "another call uses the sender");
        let mut sender = sender.sender.try_lock().ok_or_else(in_use)?;
        let done = sender.send_to(fd, max_bytes, timeout)?;
        to.write(
            0,
            ringlog_sent {
                next_offset: done.next_offset.0,
                bytes: done.bytes,
                complete: u32::from(done.complete),
                reserved: 0,
            },
        );
        Ok(())
    })
}

/// Frees the sender; NULL is fine. Blocks only if it is the engine's last handle: see
/// `ringlog_engine_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_sender_free(sender: *mut ringlog_sender) {
    // SAFETY: NULL or the caller's own sender, not used again, as the header asks.
    guard::quietly(|| drop(unsafe { handle::take(sender) }));
}
