//! The locks and atomics that order what appenders, readers and shards do: those of `parking_lot`
//! and of the standard library, or, with `--cfg ringlog_shuttle`, those of a model checker, which
//! then decides who runs next (`shard/model.rs`). Must never be anything of its own in an ordinary
//! build.

#[cfg(not(ringlog_shuttle))]
pub(crate) use parking_lot::{Mutex, RwLock};
#[cfg(not(ringlog_shuttle))]
pub(crate) use std::sync::atomic;
#[cfg(not(ringlog_shuttle))]
pub(crate) use std::thread::yield_now;

#[cfg(ringlog_shuttle)]
pub(crate) use model::{Flag, Mutex, RwLock};
#[cfg(ringlog_shuttle)]
pub(crate) use shuttle::sync::atomic;
#[cfg(ringlog_shuttle)]
pub(crate) use shuttle::thread::yield_now;

/// The checker's locks with parking_lot's calls.
#[cfg(ringlog_shuttle)]
mod model {
    use std::sync::PoisonError;

    use shuttle::sync::{Condvar, MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// What a waker raises and its sleeper takes down.
    #[derive(Debug, Default)]
    pub(crate) struct Flag {
        raised: Mutex<bool>,
        condvar: Condvar,
    }

    impl Flag {
        pub(crate) fn raise(&self) {
            *self.raised.lock() = true;
            self.condvar.notify_all();
        }

        pub(crate) fn wait(&self) {
            let mut raised = self.raised.lock();
            while !*raised {
                raised = self.condvar.wait(raised).unwrap_or_else(PoisonError::into_inner);
            }
            *raised = false;
        }
    }
}
