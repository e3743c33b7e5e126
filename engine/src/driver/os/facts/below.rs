//! What lies below a filesystem: barriers that were switched off, devices that are memory, loop
//! devices whose file is somewhere else, caches that are no longer told to flush. Owns nothing;
//! reads `/sys`. What it cannot see (the cache of a virtual machine's host, a drive that lies) it
//! says nothing of, and must never take for a reason.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

use super::{Mount, classify, volatile_reason};

/// Devices stand on devices, and their files on others; not for ever.
const DEPTH_MAX: usize = 8;
/// Options that keep a filesystem from telling its device to flush.
const NO_BARRIER: [&str; 4] = ["nobarrier", "barrier=0", "barrier=none", "fsync_mode=nobarrier"];

/// Why nothing on this mount survives a power loss, if that can be seen.
pub(super) fn volatile(dir: BorrowedFd<'_>, mount: &Mount<'_>) -> Option<String> {
    let device = Device::of(rustix::fs::fstat(dir).ok()?.st_dev).or_else(|| {
        // btrfs and the like have no device number of their own.
        let source = Some(mount.source).filter(|source| source.starts_with("/dev/"))?;
        Device::of(rustix::fs::stat(source).ok()?.st_rdev)
    })?;
    if let Some(option) = NO_BARRIER.into_iter().find(|option| mount.has_option(option))
        && device.may_have_volatile_cache()
    {
        let name = &device.name;
        return Some(format!("mounted with {option}: flushes do not reach the cache of {name}"));
    }
    device.volatile(DEPTH_MAX)
}

/// A block device, in `/sys`.
#[derive(Debug)]
struct Device {
    name: String,
    sys: PathBuf,
}

impl Device {
    /// The whole one below a partition.
    fn of(number: u64) -> Option<Self> {
        let node = format!("/sys/dev/block/{}:{}", major(number), minor(number));
        let mut sys = fs::canonicalize(node).ok()?;
        if sys.join("partition").exists() {
            sys.pop();
        }
        Self::at(sys)
    }

    fn at(sys: PathBuf) -> Option<Self> {
        let name = sys.file_name()?.to_string_lossy().into_owned();
        Some(Self { name, sys })
    }

    fn read(&self, attribute: &str) -> Option<String> {
        Some(fs::read_to_string(self.sys.join(attribute)).ok()?.trim().to_owned())
    }

    /// Unless the kernel says that it has none.
    fn may_have_volatile_cache(&self) -> bool {
        self.read("queue/write_cache").is_none_or(|cache| cache != "write through")
    }

    /// What the device itself says of its cache, whatever was made of that since.
    fn own_cache(&self) -> Option<String> {
        // virtio; then SCSI and SATA, below a directory that is named by the bus.
        self.read("cache_type").or_else(|| {
            let found = fs::read_dir(self.sys.join("device/scsi_disk")).ok()?.flatten().next()?;
            Some(fs::read_to_string(found.path().join("cache_type")).ok()?.trim().to_owned())
        })
    }

    fn volatile(&self, depth: usize) -> Option<String> {
        let (name, depth) = (&self.name, depth.checked_sub(1)?);
        if ["ram", "zram"].iter().any(|memory| is_numbered(name, memory)) {
            return Some(format!("{name} is memory, which keeps nothing over a power loss"));
        }
        if !self.may_have_volatile_cache() {
            if let Some(cache) = self.own_cache().filter(|cache| cache.starts_with("write back")) {
                let turned_off = format!("{name} has a volatile cache ({cache}), and no flush");
                return Some(format!("{turned_off} reaches it: queue/write_cache was changed"));
            }
            if is_numbered(name, "loop") {
                return Some(format!("{name} passes no flush on to its file"));
            }
        }
        if let Some(file) = self.read("loop/backing_file") {
            return volatile_file(Path::new(&file), depth)
                .map(|reason| format!("{name} keeps its bytes in {file}: {reason}"));
        }
        // Mapped and mirrored ones stand on others.
        let below = fs::read_dir(self.sys.join("slaves")).ok()?.flatten();
        below
            .filter_map(|entry| Self::at(fs::canonicalize(entry.path()).ok()?))
            .map(Self::whole)
            .find_map(|device| device.volatile(depth))
            .map(|reason| format!("{name} stands on a device that does not last: {reason}"))
    }

    fn whole(self) -> Self {
        let parent = self.sys.parent().filter(|_| self.sys.join("partition").exists());
        parent.and_then(|parent| Self::at(parent.to_path_buf())).unwrap_or(self)
    }
}

/// Why the file of a loop device does not last. One that cannot be seen from here is no reason.
fn volatile_file(file: &Path, depth: usize) -> Option<String> {
    let magic = rustix::fs::statfs(file).ok()?.f_type as u32;
    let (name, kind) = classify(magic);
    volatile_reason(&name, kind)
        .or_else(|| Device::of(rustix::fs::stat(file).ok()?.st_dev)?.volatile(depth))
}

/// `zram0` for `zram`.
fn is_numbered(name: &str, kind: &str) -> bool {
    let number = name.strip_prefix(kind);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device as `/sys` shows it.
    fn device(dir: &Path, name: &str, attributes: &[(&str, &str)]) -> Device {
        let sys = dir.join(name);
        for (attribute, value) in attributes {
            let path = sys.join(attribute);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        }
        fs::create_dir_all(&sys).unwrap();
        Device::at(sys).unwrap()
    }

    fn reason(name: &str, attributes: &[(&str, &str)]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        device(dir.path(), name, attributes).volatile(DEPTH_MAX)
    }

    #[test]
    fn devices_that_keep_nothing_are_told_from_those_that_may() {
        let cache = "queue/write_cache";
        assert_eq!(reason("sda", &[(cache, "write back")]), None);
        assert_eq!(reason("nvme0n1", &[(cache, "write through")]), None);
        assert_eq!(reason("vda", &[(cache, "write back"), ("cache_type", "write back")]), None);
        assert_eq!(
            reason("vda", &[(cache, "write through"), ("cache_type", "write through")]),
            None
        );
        assert_eq!(reason("ramdisk", &[]), None);
        assert!(reason("ram0", &[]).unwrap().contains("memory"));
        assert!(reason("zram12", &[]).unwrap().contains("memory"));
        let lies = reason("vda", &[(cache, "write through"), ("cache_type", "write back")]);
        assert!(lies.unwrap().contains("no flush reaches it"));
        let scsi = "device/scsi_disk/0:0:0:0/cache_type";
        let lies = reason("sda", &[(cache, "write through"), (scsi, "write back, no read (daft)")]);
        assert!(lies.unwrap().contains("write back, no read"));
        let lies = reason("loop0", &[(cache, "write through"), ("loop/backing_file", "/nowhere")]);
        assert!(lies.unwrap().contains("passes no flush on"));
        assert_eq!(
            reason("loop0", &[(cache, "write back"), ("loop/backing_file", "/nowhere")]),
            None
        );
    }

    #[test]
    fn a_device_is_what_it_stands_on() {
        let dir = tempfile::tempdir().unwrap();
        let memory = device(dir.path(), "ram1", &[]);
        let mirror = device(dir.path(), "md0", &[]);
        let mapped = device(dir.path(), "dm-0", &[]);
        for (above, below) in [(&mirror, &memory), (&mapped, &mirror)] {
            fs::create_dir(above.sys.join("slaves")).unwrap();
            let name = above.sys.join("slaves").join(&below.name);
            std::os::unix::fs::symlink(&below.sys, name).unwrap();
        }
        let reason = mapped.volatile(DEPTH_MAX).unwrap();
        assert!(reason.starts_with("dm-0 ") && reason.contains("ram1 is memory"), "{reason}");
        assert_eq!(mapped.volatile(2), None, "looked no deeper than that");
    }
}
