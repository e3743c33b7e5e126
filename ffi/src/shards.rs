//! Shards, and the caller's threads turning them where the engine has none of its own.

use std::os::fd::AsRawFd;

use crate::engine::{enter, ringlog_engine};
use crate::error::ringlog_error;
use crate::guard;
use crate::handle::{self, out};
use crate::input;
use crate::status::ringlog_status;

/// How many shards write its logs; 0 for NULL. Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_shards(engine: *const ringlog_engine) -> u32 {
    // SAFETY: NULL or live, as the header asks.
    let engine = unsafe { handle::get(engine) };
    engine.map_or(0, |engine| u32::try_from(engine.engine.shards()).unwrap_or(u32::MAX))
}

/// In caller-driven mode (`RINGLOG_OPEN_CALLER_DRIVEN`): turns the shard once on this thread, which
/// owns it from then on. Takes in what has completed, wakes who waited for it, hands new writes to
/// the kernel, and does a piece of due upkeep. An event loop calls it when `ringlog_poll_fd` is
/// readable. If there is nothing to do it sleeps up to `timeout_ns` first; 0, and
/// `RINGLOG_DEFAULT_TIMEOUT`, do not sleep.
///
/// On the one thread that turns this shard. Blocks up to `timeout_ns`; on the plain backend also
/// for one write and its flush.
/// Errors: `WRONG_THREAD` if the shard is another thread's; `CLOSED` once it has ended;
/// `INVALID_ARGUMENT` for a shard that is not there, and on an engine with threads of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_run_once(
    engine: *mut ringlog_engine,
    shard: u32,
    timeout_ns: i64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or live, as the header asks.
        let (engine, _entered) = unsafe { enter(engine) }?;
        let timeout = input::timeout(timeout_ns)?.unwrap_or_default();
        Ok(engine.engine.run_once(shard as usize, timeout)?)
    })
}

/// In caller-driven mode: a descriptor that is readable (level-triggered) when `ringlog_run_once`
/// has something to do for this shard. On success it is in `*fd`; it is the engine's, and lives as
/// long: poll it, but neither read nor close it.
///
/// Thread-safe, never blocks.
/// Errors: `INVALID_ARGUMENT` for a shard that is not there, and on an engine with threads of its
/// own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_poll_fd(
    engine: *const ringlog_engine,
    shard: u32,
    fd: *mut i32,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((engine, _entered), fd) = unsafe { (enter(engine)?, out(fd, "the descriptor")?) };
        fd.write(engine.engine.poll_fd(shard as usize)?.as_raw_fd());
        Ok(())
    })
}
