//! Which library this is, and whether a header fits it.

use std::ffi::{CStr, c_char};

use crate::status::{RINGLOG_E_ABI, RINGLOG_OK, ringlog_status};

/// The binary interface that this header speaks. It grows with every incompatible change; a
/// library takes every header down to the oldest it names.
pub const RINGLOG_ABI: u32 = 1;
/// The oldest header that this library takes.
const ABI_OLDEST: u32 = 1;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version has no zero in it"),
    };

/// A decimal number of the package's version, at compile time.
const fn number(digits: &str) -> u32 {
    match u32::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("cargo gives numbers"),
    }
}

/// The library's version: major * 1000000 + minor * 1000 + patch, as `RINGLOG_VERSION` of the
/// header it came with. Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn ringlog_version() -> u32 {
    const {
        number(env!("CARGO_PKG_VERSION_MAJOR")) * 1_000_000
            + number(env!("CARGO_PKG_VERSION_MINOR")) * 1_000
            + number(env!("CARGO_PKG_VERSION_PATCH"))
    }
}

/// The library's version as text. Thread-safe, never blocks. The text is static.
#[unsafe(no_mangle)]
pub extern "C" fn ringlog_version_string() -> *const c_char {
    VERSION.as_ptr()
}

/// Whether this library takes a program that was compiled with a header of this `RINGLOG_ABI`:
/// `RINGLOG_OK` or `RINGLOG_E_ABI`. Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn ringlog_check_abi(header_abi: u32) -> ringlog_status {
    if (ABI_OLDEST..=RINGLOG_ABI).contains(&header_abi) { RINGLOG_OK } else { RINGLOG_E_ABI }
}
