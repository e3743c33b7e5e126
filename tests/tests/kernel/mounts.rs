//! Filesystems of their own in files, mounted through loop devices: ext4 with a journal, XFS and
//! btrfs; and what can be done to a mount: fill it, freeze it, turn it read-only, shut it down.

mod lies;
mod rounds;
mod states;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{text, tool};

const PREFIX: &str = "ringlog-kernel-";
const MIB: u64 = 1 << 20;

/// A filesystem to make.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    pub name: &'static str,
    mkfs: &'static [&'static str],
    /// The smallest that it can be made.
    pub bytes: u64,
}

pub const EXT4: Recipe = Recipe {
    name: "ext4",
    mkfs: &["mkfs.ext4", "-q", "-F", "-O", "has_journal", "-m", "0"],
    bytes: 192 * MIB,
};
pub const XFS: Recipe =
    Recipe { name: "xfs", mkfs: &["mkfs.xfs", "-q", "-f", "-m", "reflink=1"], bytes: 320 * MIB };
pub const BTRFS: Recipe =
    Recipe { name: "btrfs", mkfs: &["mkfs.btrfs", "-q", "-f"], bytes: 256 * MIB };
pub const ALL: [Recipe; 3] = [EXT4, XFS, BTRFS];

/// Mounted; unmounted and removed when dropped.
#[derive(Debug)]
pub struct Mount {
    base: PathBuf,
    /// Where it is mounted.
    pub dir: PathBuf,
    options: String,
}

impl Mount {
    /// Made and mounted, or why not. `backing` is the directory that holds the file.
    pub fn new(recipe: Recipe, bytes: u64, options: &str, backing: &Path) -> Result<Self, String> {
        static STALE: Once = Once::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        STALE.call_once(unmount_stale);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = backing.join(format!("{PREFIX}{}-{next}", std::process::id()));
        let dir = base.join("mount");
        fs::create_dir_all(&dir).unwrap();
        let options = format!("loop,{options}").trim_end_matches(',').to_owned();
        let mount = Self { base, dir, options };
        File::create(mount.image()).unwrap().set_len(bytes.max(recipe.bytes)).unwrap();
        let (mkfs, flags) = recipe.mkfs.split_first().unwrap();
        tool(mkfs, &[flags, &[text(&mount.image())]].concat())?;
        mount.mount()?;
        Ok(mount)
    }

    /// Beside what is built.
    pub fn plain(recipe: Recipe) -> Result<Self, String> {
        Self::new(recipe, 0, "", Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    fn image(&self) -> PathBuf {
        self.base.join("image")
    }

    fn mount(&self) -> Result<(), String> {
        tool("mount", &["-o", &self.options, text(&self.image()), text(&self.dir)]).map(drop)
    }

    /// Unmounted and mounted again: nothing is left in memory.
    pub fn again(&self) -> Result<(), String> {
        // The kernel may not be done with the files of a process that was killed.
        let since = Instant::now();
        while let Err(busy) = tool("umount", &[text(&self.dir)]) {
            if since.elapsed() > Duration::from_secs(20) {
                return Err(busy);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.mount()
    }

    /// The loop device: `loop3`.
    pub fn device(&self) -> String {
        let source = tool("findmnt", &["-n", "-o", "SOURCE", text(&self.dir)]).unwrap();
        source.trim().trim_start_matches("/dev/").to_owned()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let dir = text(&self.dir);
        let _ = tool("umount", &[dir]).or_else(|_| tool("umount", &["-l", dir]));
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// Those of runs that were killed themselves; they may be frozen.
fn unmount_stale() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for dir in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        let Some((_, name)) = dir.rsplit_once(PREFIX) else { continue };
        let pid = name.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            let _ = tool("fsfreeze", &["-u", dir]);
            let _ = tool("umount", &["-l", dir]);
        }
    }
}
