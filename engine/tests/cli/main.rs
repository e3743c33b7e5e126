//! The command line from outside: the built binary, its output, its exit codes.

#![expect(clippy::unwrap_used, clippy::format_collect, reason = "a test may fail where it stands")]

mod append;
mod bad_input;
mod bench;
mod beside;
mod disk;
mod doctor;
mod harness;
mod inspect;
mod json;
mod read;
mod repair;
mod topics;
