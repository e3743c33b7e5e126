//! How much was run and what was met.

use ringlog::Recovery;
use ringlog::sim::SimStats;

macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts over any number of scenarios.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Tally {
            $($(#[$doc])* pub $name: u64,)*
            /// What the disks met.
            pub sim: SimStats,
        }

        impl Tally {
            /// Takes in another count.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                self.sim += other.sim;
            }

            fn own(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

tally! {
    /// Scenarios run.
    scenarios,
    /// Kills and power losses.
    crashes,
    /// Successful opens held against the oracle.
    recoveries,
    /// Recoveries that were killed.
    kills_in_recovery,
    /// Kills that came after the open had succeeded, before anything else.
    kills_after_open,
    /// Opens with another number of shards than before.
    resharded,
    /// Topics found on several logs.
    spread,
    /// Clean closes.
    closes,
    /// Logs that were opened after a clean close.
    opened_clean,
    /// Logs in which a ring was replayed.
    replayed,
    /// Logs in which a torn tail was cut.
    cut,
    /// Logs that had lost written bytes to a power loss.
    lost,
    /// Append calls.
    appends,
    /// Appends acknowledged when written.
    acked_written,
    /// Appends acknowledged when durable.
    acked_durable,
    /// Frames too large for a ring.
    large,
    /// Appends refused with nothing written.
    refused,
    /// Appends whose outcome is unknown.
    unknown,
    /// Reads that were compared.
    reads,
    /// Trims.
    trims,
    /// Segments set aside to be recycled.
    recycled,
    /// Segments removed.
    removed,
    /// Topics made.
    created,
    /// Topics deleted.
    deleted,
    /// Lives in which a write or flush was made to fail.
    faults,
    /// Times without space, or read-only.
    conditions,
    /// Freezes.
    freezes,
}

impl Tally {
    /// Every count with its name; none may be zero after many scenarios.
    pub fn rows(&self) -> Vec<(&'static str, u64)> {
        let sim = &self.sim;
        let mut rows = self.own();
        rows.extend([
            ("overtakes", sim.overtakes),
            ("failed_writes", sim.failed_writes),
            ("failed_flushes", sim.failed_flushes),
            ("failed_others", sim.failed_others),
            ("process_kills", sim.process_kills),
            ("power_losses", sim.power_losses),
            ("in_flight_landed", sim.in_flight_landed),
            ("in_flight_torn", sim.in_flight_torn),
            ("in_flight_dropped", sim.in_flight_dropped),
            ("unstable_kept", sim.unstable_kept),
            ("unstable_torn", sim.unstable_torn),
            ("unstable_dropped", sim.unstable_dropped),
            ("lengths_lost", sim.lengths_lost),
            ("entries_kept", sim.entries_kept),
            ("entries_lost", sim.entries_lost),
            ("ring_pages_current", sim.ring_pages_current),
            ("ring_pages_old", sim.ring_pages_old),
            ("ring_pages_zero", sim.ring_pages_zero),
            ("rings_short", sim.rings_short),
        ]);
        rows
    }

    /// What one log's recovery did.
    pub(super) fn note_recovery(&mut self, recovery: &Recovery) {
        self.opened_clean += u64::from(recovery.clean);
        self.replayed += u64::from(recovery.replayed_bytes > 0);
        self.cut += u64::from(recovery.cut_bytes > 0);
        self.lost += u64::from(recovery.lost_bytes > 0);
    }
}
