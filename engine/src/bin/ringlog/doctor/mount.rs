//! The mount that a directory is on: its filesystem, where that is, and its options. What the
//! engine refuses for their sake it says itself; here is what is only worth knowing.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use serde::Serialize;

/// See the module.
#[derive(Debug, Serialize)]
pub(super) struct Mount {
    pub(super) filesystem: String,
    /// A device, or whatever the filesystem calls its source.
    pub(super) source: String,
    /// The filesystem's own options.
    pub(super) options: Vec<String>,
    /// Of ext4: whether it has a journal, where the kernel tells.
    pub(super) journal: Option<bool>,
}

/// Options of filesystems that are worth a note: filesystem, option, what it means here.
const NOTES: [(&str, &str, &str); 7] = [
    (
        "ext4",
        "data=writeback",
        "ext4 is mounted data=writeback: after a power loss a file may show old bytes where \
         nothing was flushed; checksums tell them apart",
    ),
    (
        "ext4",
        "journal_async_commit",
        "ext4 is mounted journal_async_commit: its journal relies on checksums instead of flushes",
    ),
    (
        "btrfs",
        "nodatacow",
        "btrfs is mounted nodatacow: it keeps no checksums of data; the log's own remain",
    ),
    (
        "btrfs",
        "nodatasum",
        "btrfs is mounted nodatasum: it keeps no checksums of data; the log's own remain",
    ),
    ("ext4", "nobarrier", NO_BARRIER),
    ("xfs", "nobarrier", NO_BARRIER),
    ("btrfs", "nobarrier", NO_BARRIER),
];
const NO_BARRIER: &str = "mounted without barriers: right only as long as the device says \
                          truly that its cache does not forget";

impl Mount {
    pub(super) fn of(dir: &Path) -> Option<Self> {
        let stat = rustix::fs::statx(CWD, dir, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
        let id = stat.stx_mnt_id.to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let line = mounts.lines().find(|line| line.split(' ').next() == Some(&id))?;
        let mut fields = line.split_once(" - ")?.1.splitn(3, ' ');
        let (filesystem, source) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        let options = fields.next()?.split(',').map(str::to_owned).collect();
        let journal = (filesystem == "ext4").then(|| has_journal(&source)).flatten();
        Some(Self { filesystem, source, options, journal })
    }

    /// Its device in `/dev`, if it has one.
    pub(super) fn device(&self) -> Option<PathBuf> {
        self.source.starts_with("/dev/").then(|| PathBuf::from(&self.source))
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let has = |wanted: &str| self.options.iter().any(|option| option == wanted);
        let of_options =
            NOTES.iter().filter(|note| note.0 == self.filesystem && has(note.1)).map(|note| note.2);
        let mut notes: Vec<String> = of_options.map(str::to_owned).collect();
        if self.journal == Some(false) {
            let what = "ext4 has no journal: after a power loss it wants a check (fsck) before it \
                        is mounted, and may lose names of files that were just made";
            notes.push(what.to_owned());
        }
        if self.filesystem == "zfs" {
            let what = "with sync=disabled zfs acknowledges flushes that it does not make; that \
                        cannot be seen from here: see `zfs get sync`";
            notes.push(what.to_owned());
        }
        notes
    }
}

/// The kernel lists what has one, where it lists anything.
fn has_journal(source: &str) -> Option<bool> {
    let name = fs::canonicalize(source).ok()?;
    let prefix = format!("{}-", name.file_name()?.to_str()?);
    let mut listed = fs::read_dir("/proc/fs/jbd2").ok()?.flatten();
    Some(listed.any(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)))
}
