//! Raw system calls that rustix does not wrap.
