//! How often each kind of bad luck was met, so that a harness can prove that it met them all.

use std::ops::AddAssign;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the disk was made; a crash carries them on, a fork starts from zero.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct SimStats {
            $($(#[$doc])* pub $name: u64,)*
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
    /// Injected failures of writes.
    failed_writes,
    /// Injected failures of flushes.
    failed_flushes,
    /// Other injected failures.
    failed_others,
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
    /// An op in flight at a crash left `kept` of `whole` sectors.
    pub(super) fn count_in_flight(&mut self, kept: usize, whole: usize) {
        match kept {
            kept if kept == whole => self.in_flight_landed += 1,
            0 => self.in_flight_dropped += 1,
            _ => self.in_flight_torn += 1,
        }
    }
}
