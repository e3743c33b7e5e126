//! A text that C gets: JSON, metrics. With its length, and with a zero at its end.

use std::ffi::{CString, c_char};

use crate::guard;
use crate::handle::{self, Handle, Tag};

/// A text. Immutable, thread-safe; the caller's until `ringlog_text_free`.
pub struct ringlog_text {
    tag: Tag,
    text: CString,
}

impl Handle for ringlog_text {
    const KIND: u64 = handle::kind(*b"text    ");
    const NAME: &'static str = "ringlog_text";

    fn tag(&self) -> &Tag {
        &self.tag
    }
}

/// Gives a text to C. It has no zeroes: it is JSON or metrics, which escape them.
pub(crate) fn give(text: String) -> *mut ringlog_text {
    let text = text.into_bytes().into_iter().filter(|byte| *byte != 0).collect::<Vec<u8>>();
    let text = CString::new(text).unwrap_or_default();
    handle::give(ringlog_text { tag: Tag::new::<ringlog_text>(), text })
}

/// The text, UTF-8, ended by a zero; "" for NULL. Thread-safe, never blocks. It belongs to the
/// handle, and lives as long.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_text_ptr(text: *const ringlog_text) -> *const c_char {
    // SAFETY: NULL or a live text, as the header asks.
    unsafe { handle::get(text) }.map_or(c"".as_ptr(), |text| text.text.as_ptr())
}

/// The text's length in bytes, without the zero at its end; 0 for NULL. Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_text_len(text: *const ringlog_text) -> usize {
    // SAFETY: NULL or a live text, as the header asks.
    unsafe { handle::get(text) }.map_or(0, |text| text.text.count_bytes())
}

/// Frees a text; NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_text_free(text: *mut ringlog_text) {
    // SAFETY: NULL or the caller's own text, not used again, as the header asks.
    guard::quietly(|| drop(unsafe { handle::take(text) }));
}
