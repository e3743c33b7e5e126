//! Opaque handles: how they are given out, recognised and taken back.
//!
//! A handle begins with a tag that names its kind. A pointer to something else, or to a handle
//! that was freed and whose memory is still as it was, is then a typed error instead of a crash;
//! that is a help to whoever debugs, no promise.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Failure;

/// The first field of every handle.
#[repr(transparent)]
pub(crate) struct Tag(AtomicU64);

/// What a freed handle is tagged with.
const FREED: u64 = kind(*b"freed   ");

/// A kind's tag: its name, and what random memory is unlikely to hold.
pub(crate) const fn kind(name: [u8; 8]) -> u64 {
    u64::from_be_bytes(name) ^ 0x5249_4e47_4c4f_4721
}

impl Tag {
    pub(crate) fn new<T: Handle>() -> Self {
        Self(AtomicU64::new(T::KIND))
    }

    fn is<T: Handle>(&self) -> bool {
        self.0.load(Ordering::Relaxed) == T::KIND
    }

    /// For a handle that is about to be freed.
    pub(crate) fn forget(&self) {
        self.0.store(FREED, Ordering::Relaxed);
    }
}

/// Something that C holds by an opaque pointer.
pub(crate) trait Handle {
    /// What its tag says.
    const KIND: u64;
    /// Its name in C.
    const NAME: &'static str;

    fn tag(&self) -> &Tag;

    /// Whether this process is a fork's child, and the handle from before: it is then leaked, for
    /// other threads' halves of what it holds are gone.
    fn is_inherited(&self) -> bool {
        false
    }
}

/// Gives a new handle to C.
pub(crate) fn give<T: Handle>(handle: T) -> *mut T {
    Box::into_raw(Box::new(handle))
}

/// The handle behind a pointer; `None` for NULL and what is recognised as no such handle.
///
/// # Safety
/// `handle` is NULL or was given out and not freed; it is not freed during `'a`.
pub(crate) unsafe fn get<'a, T: Handle>(handle: *const T) -> Option<&'a T> {
    // SAFETY: NULL becomes `None`; otherwise it is live, the caller's promise.
    let handle = unsafe { handle.as_ref() }?;
    handle.tag().is::<T>().then_some(handle)
}

/// As [`get`], or the error that C gets for it.
///
/// # Safety
/// As [`get`].
pub(crate) unsafe fn need<'a, T: Handle>(handle: *const T) -> Result<&'a T, Failure> {
    if handle.is_null() {
        return Err(Failure::invalid(format!("the {} is NULL", T::NAME)));
    }
    // SAFETY: the caller's promise is the same.
    let found = unsafe { get(handle) };
    found.ok_or_else(|| Failure::invalid(format!("no {} at this address", T::NAME)))
}

/// Takes a handle back from C; `None` for NULL and what is recognised as no such handle, and for
/// what is leaked.
///
/// # Safety
/// As [`get`], and nobody uses it any more.
pub(crate) unsafe fn take<T: Handle>(handle: *mut T) -> Option<Box<T>> {
    // SAFETY: the caller's promise is stronger.
    let found = unsafe { get(handle) }.filter(|found| !found.is_inherited())?;
    found.tag().forget();
    // SAFETY: `give` made it from a box, and its owner gives it up.
    Some(unsafe { Box::from_raw(handle) })
}

/// A place that C wants an answer in: looked at before anything is done, written on success only.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    pub(crate) fn write(self, value: T) {
        // SAFETY: `out` made sure of it.
        unsafe { self.0.write(value) };
    }
}

/// A place for an answer that C must give.
///
/// # Safety
/// `to` is NULL or may be written until the call returns.
pub(crate) unsafe fn out<T>(to: *mut T, name: &str) -> Result<Out<T>, Failure> {
    if to.is_null() || !to.is_aligned() {
        return Err(Failure::invalid(format!("{name}: no place for the answer")));
    }
    Ok(Out(to))
}

/// A place for an answer that C may do without.
///
/// # Safety
/// As [`out`].
pub(crate) unsafe fn maybe_out<T>(to: *mut T) -> Option<Out<T>> {
    (!to.is_null() && to.is_aligned()).then_some(Out(to))
}
