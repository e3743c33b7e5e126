//! How often each kind of bad luck was met, so that a harness can prove that it met them all.

use std::ops::AddAssign;

use rustix::io::Errno;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the disk was made; a crash carries them on, a fork starts from zero.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct SimStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl SimStats {
            /// Every count with its name.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }

        impl AddAssign for SimStats {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Writes completed, durable ones included.
    writes,
    /// Durable writes completed.
    durable_writes,
    /// Flushes completed.
    flushes,
    /// Completions that overtook an op submitted before them.
    overtakes,
    /// Writes whose bytes changed between submission and completion: always a bug of the caller.
    changed_in_flight,
    /// Failures of writes, for whatever reason.
    failed_writes,
    /// Of these, those that left a part of their sectors.
    failed_writes_torn,
    /// Failures of flushes, for whatever reason.
    failed_flushes,
    /// Injected failures of allocations.
    failed_allocations,
    /// Injected failures of `sync_dir`.
    failed_dir_syncs,
    /// Injected failures of reads.
    failed_reads,
    /// Injected failures of new names, renames and removals.
    failed_names,
    /// Of these, those that had their effect all the same.
    failed_names_done,
    /// Injected failures of opening and listing.
    failed_looks,
    /// Injected failures of making and mapping rings.
    failed_rings,
    /// Failures with EIO.
    failed_eio,
    /// Failures with ENOSPC, a full disk included.
    failed_enospc,
    /// Failures with EMFILE.
    failed_emfile,
    /// Failures with EROFS.
    failed_erofs,
    /// Operations on a disk that was gone.
    broken_ops,
    /// Ops that never completed.
    stuck_ops,
    /// Durable writes on a disk with a plain write-back cache, which emptied it.
    caches_emptied,
    /// Processes killed at an operation.
    killed_at_ops,
    /// Processes killed at a moment between two.
    killed_at_moments,
    /// Process kills.
    process_kills,
    /// Power losses.
    power_losses,
    /// Ops in flight at a crash that landed whole.
    in_flight_landed,
    /// Ops in flight at a crash that landed in part.
    in_flight_torn,
    /// Ops in flight at a crash that did not land.
    in_flight_dropped,
    /// Completed but unstable writes that a power loss kept whole.
    unstable_kept,
    /// Completed but unstable writes that a power loss tore.
    unstable_torn,
    /// Completed but unstable writes that a power loss dropped.
    unstable_dropped,
    /// Power losses that took a file's length back.
    lengths_lost,
    /// Unsynced directory changes that a power loss kept.
    entries_kept,
    /// Unsynced directory changes that a power loss undid.
    entries_lost,
    /// Pages of rings that kept their bytes over a power loss.
    ring_pages_current,
    /// Pages of rings that came back older.
    ring_pages_old,
    /// Pages of rings that came back as zeros.
    ring_pages_zero,
    /// Rings that came back too short.
    rings_short,
}

impl SimStats {
    /// Something failed with this.
    pub(super) fn count_error(&mut self, error: Errno) {
        match error {
            Errno::NOSPC => self.failed_enospc += 1,
            Errno::MFILE => self.failed_emfile += 1,
            Errno::ROFS => self.failed_erofs += 1,
            _ => self.failed_eio += 1,
        }
    }

    /// An op in flight at a crash left `kept` of `whole` sectors.
    pub(super) fn count_in_flight(&mut self, kept: usize, whole: usize) {
        match kept {
            kept if kept == whole => self.in_flight_landed += 1,
            0 => self.in_flight_dropped += 1,
            _ => self.in_flight_torn += 1,
        }
    }
}
