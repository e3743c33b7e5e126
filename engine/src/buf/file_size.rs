//! The process's file size limit, asked before the kernel enforces it with a signal.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// Fails with EFBIG if the process may not write up to `end`, or make a file that long, one in
/// memory included. The kernel's own EFBIG comes with SIGXFSZ, which kills a host that does not
/// expect it, so every write of ours asks first. (A limit lowered from outside between this and the
/// write is the only way left.)
pub fn check_file_size_limit(end: u64) -> io::Result<()> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if end > limit => Err(Errno::FBIG.into()),
        _ => Ok(()),
    }
}
