//! The machine: kernel, `io_uring`, limits, memory. Reads `/proc`, `/sys` and the process's limits.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

/// See the module. A limit that is absent is none, or unknown.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) kernel: String,
    pub(super) architecture: String,
    /// The processor says that it is not one; absent where processors do not say.
    pub(super) is_virtual: Option<bool>,
    /// `kernel.io_uring_disabled`: 0 open to all, 1 to the privileged, 2 to nobody.
    pub(super) io_uring_disabled: Option<u64>,
    /// A seccomp filter is on: system calls may fail with EPERM or ENOSYS.
    pub(super) seccomp_filter: Option<bool>,
    pub(super) locked_bytes_max: Option<u64>,
    pub(super) open_files_max: Option<u64>,
    pub(super) file_bytes_max: Option<u64>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) cgroup_memory_bytes_max: Option<u64>,
    /// Share of memory, or bytes, that may be dirty before writers are made to wait.
    pub(super) dirty_ratio: Option<u64>,
    pub(super) dirty_bytes: Option<u64>,
    /// The same, before the kernel begins to write in the background.
    pub(super) dirty_background_ratio: Option<u64>,
    pub(super) dirty_background_bytes: Option<u64>,
    /// After how long dirty pages are written in any case.
    pub(super) dirty_expire_centisecs: Option<u64>,
}

impl Machine {
    pub(super) fn examine() -> Self {
        let uname = rustix::system::uname();
        let limit = |resource| getrlimit(resource).current;
        let vm = |name: &str| number(&Path::new("/proc/sys/vm").join(name));
        Self {
            kernel: uname.release().to_string_lossy().into_owned(),
            architecture: uname.machine().to_string_lossy().into_owned(),
            is_virtual: is_virtual(),
            io_uring_disabled: number(Path::new("/proc/sys/kernel/io_uring_disabled")),
            seccomp_filter: field("/proc/self/status", "Seccomp:").map(|mode| mode == 2),
            locked_bytes_max: limit(Resource::Memlock),
            open_files_max: limit(Resource::Nofile),
            file_bytes_max: limit(Resource::Fsize),
            memory_bytes: field("/proc/meminfo", "MemTotal:").map(|kib| kib * 1024),
            cgroup_memory_bytes_max: cgroup_memory_max(),
            dirty_ratio: vm("dirty_ratio"),
            dirty_bytes: vm("dirty_bytes").filter(|bytes| *bytes > 0),
            dirty_background_ratio: vm("dirty_background_ratio"),
            dirty_background_bytes: vm("dirty_background_bytes").filter(|bytes| *bytes > 0),
            dirty_expire_centisecs: vm("dirty_expire_centisecs"),
        }
    }

    /// What keeps `io_uring` away, where the settings say so.
    pub(super) fn io_uring_hint(&self) -> Option<&str> {
        match (self.io_uring_disabled, self.seccomp_filter) {
            (Some(2), _) => Some("the sysctl kernel.io_uring_disabled is 2: nobody may"),
            (Some(1), _) => Some(
                "the sysctl kernel.io_uring_disabled is 1: only kernel.io_uring_group and the \
                 privileged may",
            ),
            (_, Some(true)) => Some(
                "a seccomp filter is on, as in many containers; allow io_uring_setup, \
                 io_uring_enter and io_uring_register",
            ),
            _ => None,
        }
    }
}

/// The number that a file holds.
pub(super) fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The first number behind this word at the beginning of a line.
fn field(path: &str, word: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The lowest limit from our cgroup (version 2) up to the root.
fn cgroup_memory_max() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let own = Path::new("/sys/fs/cgroup").join(own.trim_start_matches('/'));
    let within = own.ancestors().take_while(|dir| dir.starts_with("/sys/fs/cgroup"));
    within.filter_map(|dir| number(&dir.join("memory.max"))).min()
}

/// x86 processors have a flag that hypervisors set.
fn is_virtual() -> Option<bool> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let flags = text.lines().find(|line| line.starts_with("flags"))?;
    Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
}
