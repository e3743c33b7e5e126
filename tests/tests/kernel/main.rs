//! The real kernel's faults, from outside: the command line, and programs in Rust and C that hold
//! an engine, on filesystems and under limits that fail on command. What was acknowledged is heard
//! on a pipe; after each fault the directory is opened again, and everything acknowledged must be
//! there, byte for byte at its offset, with nothing lost, doubled, moved or invented in between
//! ([`promises`]); `ringlog verify` must find nothing.
//!
//! Each harness first catches a writer that lies ([`liar`]): it acknowledges before it writes, and
//! does not look at errors.
//!
//! Mounts, FUSE and limits need root here, and programs that `tests/scripts/setup` installs; where
//! something cannot be had, the test says `SKIP name: reason`.
#![allow(clippy::unwrap_used, reason = "a failed unwrap here is a failed test")]

mod c;
mod clock;
mod confined;
mod device;
mod fragile;
mod host;
mod kills;
mod liar;
mod limits;
mod mounts;
mod program;
mod promises;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Long enough for the slowest machine; no test waits for it unless it fails.
const DEADLINE: Duration = Duration::from_secs(60);
/// Sweeps are thinned out unless the feature `long` asks for all.
const LONG: bool = cfg!(feature = "long");
/// An ordinary user.
const NOBODY: u32 = 65534;

/// Tells the test runner that a test could not run here, past the harness.
fn skip(name: &str, reason: &str) {
    let mut output = io::stdout();
    writeln!(output, "\nSKIP {name}: {reason}").unwrap();
}

/// Runs a tool to its end; what it said is the error.
fn tool(program: &str, arguments: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(arguments).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().replace('\n', "; ");
    Err(format!("{program} {}: {}: {said}", arguments.join(" "), done.status))
}

/// Why strace cannot inject here, if it cannot.
fn no_strace() -> Option<String> {
    let call = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=getppid:error=EPERM", "true"];
    tool("strace", &call).err()
}

/// A directory of its own on the filesystem that is built on.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Sleeps until `done`, and fails if that takes for ever.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < DEADLINE, "{what} never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
