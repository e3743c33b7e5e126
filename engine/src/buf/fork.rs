//! What a forked child must not have: descriptors that keep the LOCK and the rings of io_uring
//! alive, and addresses at which the parent's rings were mapped. A handler that runs in the child,
//! registered once, replaces both by harmless ones, so that the parent's engine does not notice,
//! the child's copies of handles can be dropped, and no descriptor is closed twice.
//!
//! `vfork`, and `posix_spawn` as the C library does it, run no handlers and need none: the child
//! shares the parent's memory until it is another program, and every descriptor is close-on-exec.

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use rustix::event::{EventfdFlags, eventfd};

/// How often this process is a fork's child: one more than its parent was.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// Takes the place of descriptors in a child.
static HARMLESS: OnceLock<OwnedFd> = OnceLock::new();
/// The first of the places, the others following.
static PLACES: Place = Place::new();
static HANDLER: Once = Once::new();

const FREE: i32 = -1;
const RESERVED: i32 = -2;
const MAPPED: i32 = -3;

/// Of something that must not live on in a child; never given back, only used again.
#[derive(Debug)]
struct Place {
    /// The descriptor, or one of the above.
    fd: AtomicI32,
    start: AtomicUsize,
    len: AtomicUsize,
    next: OnceLock<Box<Place>>,
}

impl Place {
    const fn new() -> Self {
        Self {
            fd: AtomicI32::new(FREE),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            next: OnceLock::new(),
        }
    }

    /// A free one, reserved.
    fn reserve() -> &'static Self {
        let mut place = &PLACES;
        while place.fd.compare_exchange(FREE, RESERVED, Ordering::SeqCst, Ordering::SeqCst).is_err()
        {
            place = place.next.get_or_init(|| Box::new(Self::new()));
        }
        place
    }
}

/// Keeps something from living on in a child, until it is dropped; to be dropped before that is.
#[derive(Debug)]
pub struct NotInChild(&'static Place);

impl NotInChild {
    /// A descriptor.
    pub fn descriptor(fd: &impl AsRawFd) -> std::io::Result<Self> {
        install()?;
        let place = Place::reserve();
        place.fd.store(fd.as_raw_fd(), Ordering::SeqCst);
        Ok(Self(place))
    }

    /// A mapping that is not inherited.
    pub(super) fn mapping(start: NonNull<u8>, len: usize) -> std::io::Result<Self> {
        install()?;
        let place = Place::reserve();
        place.start.store(start.as_ptr().expose_provenance(), Ordering::SeqCst);
        place.len.store(len, Ordering::SeqCst);
        place.fd.store(MAPPED, Ordering::SeqCst);
        Ok(Self(place))
    }
}

impl Drop for NotInChild {
    fn drop(&mut self) {
        self.0.fd.store(FREE, Ordering::SeqCst);
    }
}

fn install() -> std::io::Result<()> {
    if HARMLESS.get().is_none() {
        let _ = HARMLESS.set(eventfd(0, EventfdFlags::CLOEXEC)?);
    }
    HANDLER.call_once(|| {
        // SAFETY: registers a function that lives as long as the program and only makes system
        // calls that are allowed after a fork. It fails only without memory, and is not needed
        // by anyone who does not fork.
        let _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    Ok(())
}

/// Runs in the child, whose only thread this is: no lock may be taken, nothing allocated.
extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::SeqCst);
    let Some(harmless) = HARMLESS.get() else { return };
    let mut place = Some(&PLACES);
    while let Some(here) = place {
        match here.fd.load(Ordering::SeqCst) {
            FREE | RESERVED => {}
            MAPPED => {
                let start = here.start.load(Ordering::SeqCst);
                // SAFETY: the range belongs to a mapping of the parent's that the child has not
                // inherited; whoever still holds its address finds private zeros there.
                unsafe {
                    libc::mmap(
                        std::ptr::with_exposed_provenance_mut(start),
                        here.len.load(Ordering::SeqCst),
                        libc::PROT_READ | libc::PROT_WRITE,
                        libc::MAP_PRIVATE
                            | libc::MAP_ANONYMOUS
                            | libc::MAP_FIXED
                            | libc::MAP_NORESERVE,
                        -1,
                        0,
                    );
                }
            }
            // SAFETY: replaces the child's copy of a descriptor that its owner still has open, so
            // that closing it later closes the replacement.
            fd => drop(unsafe { libc::dup3(harmless.as_raw_fd(), fd, libc::O_CLOEXEC) }),
        }
        place = here.next.get().map(|next| &**next);
    }
}

/// The process in which something was made: what holds handles of an engine can tell by it that it
/// was copied by a fork. Counts the forks after the first engine was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth(u32);

impl Birth {
    /// This process.
    pub fn here() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Whether this process is a child forked since.
    pub fn is_inherited(self) -> bool {
        self.0 != FORKS.load(Ordering::Relaxed)
    }
}

/// What a forked child must not drop, since other threads' halves of it are gone: it is leaked
/// there.
#[derive(Debug)]
pub struct LeakedInChild<T> {
    value: Option<T>,
    birth: Birth,
}

impl<T> LeakedInChild<T> {
    /// Of this process.
    pub fn new(value: T) -> Self {
        Self { value: Some(value), birth: Birth::here() }
    }
}

impl<T> std::ops::Deref for LeakedInChild<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("taken out only by drop")
    }
}

impl<T> Drop for LeakedInChild<T> {
    fn drop(&mut self) {
        if self.birth.is_inherited() {
            std::mem::forget(self.value.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again() {
        let fd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let count = || {
            let mut count = 1;
            let mut place = &PLACES;
            while let Some(next) = place.next.get() {
                (place, count) = (next, count + 1);
            }
            count
        };
        let held: Vec<_> = (0..20).map(|_| NotInChild::descriptor(&fd).unwrap()).collect();
        let most = count();
        assert!(most >= 20);
        drop(held);
        for _ in 0..100 {
            drop(NotInChild::descriptor(&fd).unwrap());
        }
        // Other tests of this process may hold some meanwhile.
        assert!(count() < most + 50);
    }
}
