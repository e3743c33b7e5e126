//! A writer that lies, to prove that a harness notices: it acknowledges first, writes later, so
//! that at any time the last eight values are not written, and looks at no error. It makes the same
//! system calls as the engine's plain driver.

use std::fs::{self, File};
use std::io::{self, BufRead as _, IoSlice, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::ReadWriteFlags;

const DIR: &str = "RINGLOG_KERNEL_LIAR";
const HELD_BACK: usize = 8;

/// A process that appends its standard input to a file below `dir`.
pub fn command(dir: &Path, under: &[&str]) -> Command {
    let own = std::env::current_exe().unwrap();
    let mut command = super::program::under(under, &own);
    command.args(["liar::entry_of_the_liar", "--exact", "--nocapture"]).env(DIR, dir);
    command
}

/// What it has written.
pub fn read(dir: &Path) -> Vec<Vec<u8>> {
    let written = fs::read(dir.join("lies")).unwrap_or_default();
    let whole = written.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    written[..whole].split_inclusive(|&b| b == b'\n').map(|l| l[..l.len() - 1].to_vec()).collect()
}

/// In the child.
#[test]
fn entry_of_the_liar() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let first = read(&dir).len();
    let path = dir.join("lies");
    let Ok(file) = File::options().create(true).append(true).open(path) else { return };
    let mut at = file.metadata().map_or(0, |found| found.len());
    let mut held: Vec<Vec<u8>> = Vec::new();
    let mut out = io::stdout();
    let _ = out.write_all(b"\n");
    for (offset, line) in (first..).zip(io::stdin().lock().lines()) {
        let _ = out.write_all(format!("ACK 0 {offset}\n").as_bytes());
        let _ = out.flush();
        held.push([line.unwrap().as_bytes(), b"\n"].concat());
        if held.len() == 2 * HELD_BACK {
            let late = held.drain(..HELD_BACK).collect::<Vec<_>>().concat();
            let flags = ReadWriteFlags::empty();
            let _ = rustix::io::pwritev2(&file, &[IoSlice::new(&late)], at, flags);
            at += late.len() as u64;
            let _ = rustix::fs::fdatasync(&file);
        }
    }
}
