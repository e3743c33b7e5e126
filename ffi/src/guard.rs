//! What stands between C and every call: no panic passes, no handle from before a fork is used,
//! and an engine that has met a panic is not used further.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringlog::Birth;

use crate::error::{self, Failure, ringlog_error};
use crate::status::{RINGLOG_OK, ringlog_status};

/// Runs one call: its failure, or its panic, becomes a status and an error object.
pub(crate) fn call(
    error: *mut *mut ringlog_error,
    body: impl FnOnce() -> Result<(), Failure>,
) -> ringlog_status {
    let outcome = catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|payload| Err(Failure::panic(payload.as_ref())));
    match outcome {
        Ok(()) => RINGLOG_OK,
        // SAFETY: every function of the header takes NULL or a place for an error here.
        Err(failure) => unsafe { error::give(error, failure) },
    }
}

/// Runs what answers nothing: a panic ends it, and nobody hears of it.
pub(crate) fn quietly(body: impl FnOnce()) {
    // A payload whose own drop panics must not get away either.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
        std::mem::forget(payload);
    }
}

/// The state that all handles of one engine share, the engine itself excepted.
#[derive(Debug)]
pub(crate) struct Health {
    poisoned: AtomicBool,
    birth: Birth,
}

impl Health {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { poisoned: AtomicBool::new(false), birth: Birth::here() })
    }

    /// Begins a call; a panic before its end poisons the engine for all handles.
    pub(crate) fn enter(&self) -> Result<Entered<'_>, Failure> {
        if self.is_inherited() {
            return Err(ringlog::Error::Forked.into());
        }
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Failure::poisoned());
        }
        Ok(Entered(self))
    }

    /// Whether this process is a fork's child, and the handles from before.
    pub(crate) fn is_inherited(&self) -> bool {
        self.birth.is_inherited()
    }
}

/// A call under way.
pub(crate) struct Entered<'a>(&'a Health);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poisoned.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;
    use crate::error::{RINGLOG_ERROR_PANIC, ringlog_error_flags, ringlog_error_free};
    use crate::status::RINGLOG_E_PANIC;

    #[test]
    fn a_panic_becomes_a_status_and_the_engine_is_not_used_further() {
        let health = Health::new();
        let mut error = ptr::null_mut();
        let status = call(&raw mut error, || {
            let _entered = health.enter()?;
            panic!("on purpose");
        });
        assert_eq!(status, RINGLOG_E_PANIC);
        // SAFETY: `call` failed, so it gave an error, which is ours.
        unsafe {
            assert_ne!(ringlog_error_flags(error) & RINGLOG_ERROR_PANIC, 0);
            ringlog_error_free(error);
        }
        let again = call(ptr::null_mut(), || health.enter().map(drop));
        assert_eq!(again, RINGLOG_E_PANIC);
    }

    #[test]
    fn a_panic_where_nothing_is_answered_ends_there() {
        quietly(|| panic!("on purpose"));
    }

    #[test]
    fn a_failure_does_not_poison() {
        let health = Health::new();
        let failed = call(ptr::null_mut(), || {
            let _entered = health.enter()?;
            Err(Failure::invalid("on purpose"))
        });
        assert_ne!(failed, RINGLOG_OK);
        assert_eq!(call(ptr::null_mut(), || health.enter().map(drop)), RINGLOG_OK);
    }
}
