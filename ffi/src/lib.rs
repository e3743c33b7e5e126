//! The C library: `ringlog.h` over the engine's public API, and nothing that this does not do.
//!
//! One pattern everywhere. Handles are opaque; what an `_open`, `_new` or `_ref` gives out is the
//! caller's until its `_free`, which accepts NULL. Options are structs whose first field is their
//! size. Every call that can fail returns a [`status`], writes its outputs only on success, and
//! tells what went wrong through an optional error object. [`guard`] stands between C and each
//! call: it catches panics, and refuses handles from before a fork. Nothing here may unwind into
//! C, call back on an engine thread (but for the log hook), or keep a pointer that it was given.
//!
//! The docs of the functions are the docs of the header, which cbindgen makes of this package;
//! `tests/header.rs` fails where the two differ.
#![allow(non_camel_case_types, reason = "the types are named as C sees them")]
#![allow(
    clippy::missing_safety_doc,
    reason = "what C must keep is the same for all functions, and stands at the top of the header"
)]
#![allow(clippy::doc_markdown, reason = "the docs of functions are a C header's, no Markdown")]
#![allow(unsafe_code, reason = "C hands us pointers; each block says why it may follow them")]

mod append;
mod arrow;
mod batch;
mod cq;
mod engine;
mod error;
mod extents;
#[cfg(test)]
mod fuzz;
mod guard;
mod handle;
mod input;
mod keyed;
mod lend;
mod log_hook;
mod options;
mod reader;
mod shards;
mod sized;
mod status;
mod text;
mod time;
mod topic;
mod topic_reader;
mod version;
