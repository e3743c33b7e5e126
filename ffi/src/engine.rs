//! The engine: open, close, flush, and what it says of itself.

use std::ffi::c_char;
use std::sync::Arc;
use std::time::Duration;

use ringlog::Engine;

use crate::error::{Failure, ringlog_error};
use crate::guard::{self, Entered, Health};
use crate::handle::{self, Handle, Tag, need, out};
use crate::input;
use crate::options::ringlog_open_options;
use crate::sized;
use crate::status::ringlog_status;
use crate::text::{self, ringlog_text};

/// How long a close or a flush may take that names no deadline.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// An open data directory. Thread-safe; the caller's until `ringlog_engine_free`.
pub struct ringlog_engine {
    tag: Tag,
    pub(crate) engine: Engine,
    pub(crate) health: Arc<Health>,
}

impl Handle for ringlog_engine {
    const KIND: u64 = handle::kind(*b"engine  ");
    const NAME: &'static str = "ringlog_engine";

    fn tag(&self) -> &Tag {
        &self.tag
    }

    fn is_inherited(&self) -> bool {
        self.health.is_inherited()
    }
}

/// The engine behind a handle, and the call that begins on it.
///
/// # Safety
/// `engine` is NULL or was given out and not freed, and is not freed during `'a`.
pub(crate) unsafe fn enter<'a>(
    engine: *const ringlog_engine,
) -> Result<(&'a ringlog_engine, Entered<'a>), Failure> {
    // SAFETY: the caller's promise is the same.
    let engine = unsafe { need(engine) }?;
    Ok((engine, engine.health.enter()?))
}

/// Opens the directory `path`, recovering what its last writer left; makes it if it is not there.
/// `options` may be NULL. On success `*engine` is the caller's until `ringlog_engine_free`.
///
/// Thread-safe. Blocks for milliseconds; after a crash as long as the tail takes to read; up to
/// `lock_timeout_ns` if another process holds the directory.
/// Errors: `LOCKED` (the message names the holder), `NOT_A_DATA_DIRECTORY`, `UNSUPPORTED_FORMAT`,
/// `READ_ONLY`, `CORRUPT`, `NOT_DURABLE`, `INVALID_ARGUMENT`, `IO`, `NO_SPACE`: nothing was
/// changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_open(
    path: *const c_char,
    options: *const ringlog_open_options,
    engine: *mut *mut ringlog_engine,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (path, options, engine) = unsafe {
            (
                input::name(path, "the path")?,
                sized::read_options(options)?.options()?,
                out(engine, "the engine")?,
            )
        };
        let opened = options.open(path)?;
        let tag = Tag::new::<ringlog_engine>();
        engine.write(handle::give(ringlog_engine { tag, engine: opened, health: Health::new() }));
        Ok(())
    })
}

/// Flushes everything and leaves a clean end, so that the next open scans nothing. From then on
/// every other call of this engine's handles is refused with `CLOSED`; batches stay readable.
/// Closing again does nothing. The handle itself lives until `ringlog_engine_free`.
///
/// Thread-safe. Blocks up to `timeout_ns`.
/// Errors: `TIMEOUT` (what was acknowledged is safe all the same; the next open recovers),
/// `LATCHED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_close(
    engine: *mut ringlog_engine,
    timeout_ns: i64,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // Not `enter`: an engine that has met a panic may be closed.
        // SAFETY: NULL or live, as the header asks.
        let engine = unsafe { need(engine) }?;
        if engine.is_inherited() {
            return Err(ringlog::Error::Forked.into());
        }
        let timeout = input::timeout(timeout_ns)?.unwrap_or(DRAIN_TIMEOUT);
        Ok(engine.engine.close(timeout)?)
    })
}

/// Frees the handle; NULL is fine. The engine itself ends with the last of its handles (topics,
/// streams, readers and queues hold it open): it is then closed, if it was not, which blocks up to
/// `close_timeout_ns`.
///
/// From any thread, when no other uses the handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_engine_free(engine: *mut ringlog_engine) {
    // SAFETY: NULL or the caller's own engine, not used again, as the header asks.
    guard::quietly(|| drop(unsafe { handle::take(engine) }));
}

/// Everything about the engine that is worth printing, as JSON: topics, what was chosen for the
/// directory and why, counters. On success `*json` is the caller's until `ringlog_text_free`.
///
/// Thread-safe. Takes each log's lock for an instant.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_stats_json(
    engine: *const ringlog_engine,
    json: *mut *mut ringlog_text,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((engine, _entered), json) = unsafe { (enter(engine)?, out(json, "the text")?) };
        json.write(text::give(to_json(&engine.engine.stat())?));
        Ok(())
    })
}

/// What was chosen for the directory, and why, as JSON: the driver, the filesystem, what *written*
/// and *durable* mean here. On success `*json` is the caller's until `ringlog_text_free`.
///
/// Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_capabilities_json(
    engine: *const ringlog_engine,
    json: *mut *mut ringlog_text,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((engine, _entered), json) = unsafe { (enter(engine)?, out(json, "the text")?) };
        json.write(text::give(to_json(&engine.engine.capabilities())?));
        Ok(())
    })
}

/// The counters as Prometheus text, for a scrape. On success `*text` is the caller's until
/// `ringlog_text_free`.
///
/// Thread-safe. Takes each log's lock for an instant.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_metrics_prometheus(
    engine: *const ringlog_engine,
    text: *mut *mut ringlog_text,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((engine, _entered), text) = unsafe { (enter(engine)?, out(text, "the text")?) };
        text.write(text::give(engine.engine.metrics().to_prometheus()));
        Ok(())
    })
}

fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::invalid(error.to_string()))
}
