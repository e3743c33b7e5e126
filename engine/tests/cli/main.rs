//! The command line from outside: the built binary, its output, its exit codes.

mod append;
mod bad_input;
mod disk;
mod harness;
mod inspect;
mod read;
mod topics;
