//! The device alone: one file, written before it is measured, no engine.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};

use super::super::exit::{Exit, Failure};
use super::run::{Run, Step};

pub(super) const LONE: &str = "device: durable writes of 4 KiB, one at a time";
pub(super) const WRITES: &str = "device: durable writes of 1 MiB";
pub(super) const READS: &str = "device: reads of 1 MiB";

const ALIGN: usize = 4096;
const SMALL: usize = 4096;
const LARGE: usize = 1 << 20;
const FILE_BYTES: u64 = 64 << 20;

/// Whether the page cache was gone around.
pub(super) fn measure(run: &mut Run<'_>, dir: &Path) -> Result<bool, Failure> {
    let path = dir.join("device");
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format_args!("{}: {error}", path.display()))
    };
    let open = |flags| {
        let flags = flags | OFlags::RDWR | OFlags::CREATE | OFlags::DSYNC | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
        opened.map(File::from).map_err(std::io::Error::from)
    };
    let mut buffer = vec![0x5a_u8; LARGE + ALIGN];
    let start = buffer.as_ptr().align_offset(ALIGN);
    let buffer = &mut buffer[start..start + LARGE];
    let direct = open(OFlags::DIRECT).and_then(|file| {
        file.write_all_at(buffer, 0)?;
        Ok(file)
    });
    let is_direct = direct.is_ok();
    let file = direct.or_else(|_| open(OFlags::empty())).map_err(failed)?;
    for at in (0..FILE_BYTES).step_by(LARGE) {
        file.write_all_at(buffer, at).map_err(failed)?;
    }
    let mut at = 0;
    let mut next = |len: usize| {
        let here = at % FILE_BYTES;
        at = if here + 2 * len as u64 > FILE_BYTES { 0 } else { here + len as u64 };
        here
    };
    for (name, len) in [(LONE, SMALL), (WRITES, LARGE)] {
        run.phase(name, || {
            let started = Instant::now();
            file.write_all_at(&buffer[..len], next(len)).map_err(failed)?;
            Ok(Some(Step { took: started.elapsed(), count: 1, bytes: len as u64 }))
        })?;
    }
    run.phase(READS, || {
        let started = Instant::now();
        file.read_exact_at(buffer, next(LARGE)).map_err(failed)?;
        Ok(Some(Step { took: started.elapsed(), count: 1, bytes: LARGE as u64 }))
    })?;
    Ok(is_direct)
}
