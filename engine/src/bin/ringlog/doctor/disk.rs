//! The block device below a directory, as far as `/sys` tells, and the alignment that direct writes
//! want there.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use serde::Serialize;

use super::machine::number;
use super::mount::Mount;

/// What `statx` wants of direct reads and writes, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct DirectAlignment {
    pub(super) memory_bytes: u32,
    pub(super) offset_bytes: u32,
}

/// See the module. What is absent is unknown: an overlay or a network has no device of its own.
#[derive(Debug, Default, Serialize)]
pub(super) struct Disk {
    pub(super) direct_io_alignment: Option<DirectAlignment>,
    pub(super) device: Option<String>,
    pub(super) logical_sector_bytes: Option<u64>,
    pub(super) physical_sector_bytes: Option<u64>,
    /// The device keeps writes in a cache that loses its content with the power, until flushed.
    pub(super) volatile_cache: Option<bool>,
    /// A write can be forced through that cache alone.
    pub(super) fua: Option<bool>,
    pub(super) rotational: Option<bool>,
    pub(super) stable_pages: Option<bool>,
}

impl Disk {
    /// Of the filesystem that `dir` is on.
    pub(super) fn examine(
        dir: &Path,
        mount: Option<&Mount>,
        direct_io_alignment: Option<DirectAlignment>,
    ) -> Self {
        let Some(sys) = block_device(dir, mount) else {
            return Self { direct_io_alignment, ..Self::default() };
        };
        let queue = |name: &str| sys.join("queue").join(name);
        let flag = |path: &Path| number(path).map(|is| is != 0);
        let cache = fs::read_to_string(queue("write_cache")).ok();
        Self {
            direct_io_alignment,
            device: sys.file_name().map(|name| name.to_string_lossy().into_owned()),
            logical_sector_bytes: number(&queue("logical_block_size")),
            physical_sector_bytes: number(&queue("physical_block_size")),
            volatile_cache: cache.map(|cache| cache.trim() == "write back"),
            fua: flag(&queue("fua")),
            rotational: flag(&queue("rotational")),
            stable_pages: flag(&sys.join("bdi/stable_pages_required"))
                .or_else(|| flag(&queue("stable_writes"))),
        }
    }
}

/// The whole disk (or the mapped device) below a directory, in `/sys`. Filesystems like btrfs have
/// no device number of their own: their mount names a device.
fn block_device(dir: &Path, mount: Option<&Mount>) -> Option<PathBuf> {
    let find = |number| {
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()
    };
    let named = || rustix::fs::stat(mount?.device()?).ok().and_then(|stat| find(stat.st_rdev));
    let sys = find(rustix::fs::stat(dir).ok()?.st_dev).or_else(named)?;
    if sys.join("partition").exists() { sys.parent().map(Path::to_path_buf) } else { Some(sys) }
}

/// What direct writes to a file of this directory must be aligned to, where the kernel says.
pub(super) fn direct_io_alignment(dir: &Path) -> Option<DirectAlignment> {
    let probe = dir.join("alignment");
    fs::write(&probe, b"").ok()?;
    let stat = rustix::fs::statx(CWD, &probe, AtFlags::empty(), StatxFlags::DIOALIGN).ok()?;
    let known = stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0 && stat.stx_dio_mem_align != 0;
    known.then_some(DirectAlignment {
        memory_bytes: stat.stx_dio_mem_align,
        offset_bytes: stat.stx_dio_offset_align,
    })
}
