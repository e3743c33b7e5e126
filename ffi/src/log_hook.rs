//! The log hook: what an engine tells of itself, handed to a function of C.

use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

use ringlog::{Event, Level, Options};

/// Routine of the inside: segments, checkpoints.
pub const RINGLOG_LOG_DEBUG: u32 = 0;
/// Opened, closed, a topic made.
pub const RINGLOG_LOG_INFO: u32 = 1;
/// It goes on, with less: a fallback, something lost to a crash, no space.
pub const RINGLOG_LOG_WARN: u32 = 2;
/// A log takes no more appends.
pub const RINGLOG_LOG_ERROR: u32 = 3;

/// Hears what an engine does: `level` is `RINGLOG_LOG_*`, `name` says for programs what it is and
/// is never renamed ("opened", "latched"), `message` for people, with all its numbers. Both
/// texts are the library's, and gone when the function returns.
///
/// Called from whichever thread it happens on, the engine's own among them, where it holds up the
/// log: it must not block, must not call the engine, and must return.
pub type ringlog_log_fn = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        level: u32,
        name: *const c_char,
        message: *const c_char,
    ),
>;

/// A function of C's and what it wants to be called with.
struct Hook {
    function: unsafe extern "C" fn(*mut c_void, u32, *const c_char, *const c_char),
    context: *mut c_void,
}

// SAFETY: the header says that the function is called from any thread; the context is its own.
unsafe impl Send for Hook {}
// SAFETY: as above.
unsafe impl Sync for Hook {}

impl Hook {
    fn hear(&self, event: &Event<'_>) {
        let level = match event.level {
            Level::Debug => RINGLOG_LOG_DEBUG,
            Level::Info => RINGLOG_LOG_INFO,
            Level::Warn => RINGLOG_LOG_WARN,
            Level::Error => RINGLOG_LOG_ERROR,
        };
        let text = |text: String| {
            CString::new(text.into_bytes().into_iter().filter(|b| *b != 0).collect::<Vec<u8>>())
        };
        let (Ok(name), Ok(message)) = (text(event.name.to_owned()), text(event.to_string())) else {
            return;
        };
        // SAFETY: C gave the function for this, with this context.
        unsafe { (self.function)(self.context, level, name.as_ptr(), message.as_ptr()) };
    }
}

/// Lets `function`, if there is one, hear what an engine opened with these options does.
pub(crate) fn hook(options: Options, function: ringlog_log_fn, context: *mut c_void) -> Options {
    let Some(function) = function else { return options };
    let hook = Hook { function, context };
    options.on_event(Arc::new(move |event| hook.hear(event)))
}
