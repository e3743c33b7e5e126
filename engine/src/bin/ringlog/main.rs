//! The `ringlog` command line.

fn main() {}
