//! The C library's own target. Its package has no Rust library, so the modules that read what C
//! hands in are compiled here; they name each other from the root.
#![no_main]
#![allow(dead_code, non_camel_case_types, reason = "a part of the C library")]

#[path = "../../../ffi/src/error.rs"]
mod error;
#[path = "../../../ffi/src/fuzz.rs"]
mod fuzz;
#[path = "../../../ffi/src/guard.rs"]
mod guard;
#[path = "../../../ffi/src/handle.rs"]
mod handle;
#[path = "../../../ffi/src/input.rs"]
mod input;
#[path = "../../../ffi/src/log_hook.rs"]
mod log_hook;
#[path = "../../../ffi/src/options.rs"]
mod options;
#[path = "../../../ffi/src/sized.rs"]
mod sized;
#[path = "../../../ffi/src/status.rs"]
mod status;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::c_options(data));
