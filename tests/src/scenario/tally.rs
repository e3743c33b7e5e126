//! How much was run and what was met.

use ringlog::Recovery;
use ringlog::sim::{Moment, SimStats};

macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts over any number of scenarios.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Tally {
            $($(#[$doc])* pub $name: u64,)*
            /// What the disks met.
            pub sim: SimStats,
            /// Kills by the moment at which they came, as in [`Moment::ALL`].
            pub moments: [u64; Moment::ALL.len()],
        }

        impl Tally {
            /// Takes in another count.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                self.sim += other.sim;
                for (sum, more) in self.moments.iter_mut().zip(other.moments) {
                    *sum += more;
                }
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
    /// Opens that failed because the device did, or had no space.
    failed_opens,
    /// Second reopenings that found the same.
    identical,
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
    /// Batches that were compressed.
    compressed,
    /// Appends whose keys chose the partitions.
    keyed,
    /// Appends refused with nothing written.
    refused,
    /// Of these, by logs that were latched.
    refused_latched,
    /// Of these, for want of space.
    refused_no_space,
    /// Appends whose outcome is unknown.
    unknown,
    /// Reads that were compared.
    reads,
    /// Reads that a failing device did not answer.
    reads_refused,
    /// Reads of what a failed flush had given up.
    reads_given_up,
    /// Readers that stayed and went on.
    followed,
    /// Readers whose place was trimmed away.
    followers_trimmed,
    /// Batches held over the end of their engine.
    leases,
    /// Calls that made everything durable.
    flushed,
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
    /// Times without space.
    full,
    /// Times without permission.
    read_only,
    /// Devices that failed for good.
    broken,
    /// Freezes.
    freezes,
    /// Clocks set forwards.
    jumps_ahead,
    /// Clocks set backwards.
    jumps_back,
}

impl Tally {
    /// What happened to the engines, with names; none of it may be zero after many scenarios.
    pub fn rows(&self) -> Vec<(&'static str, u64)> {
        self.own()
    }

    /// What the disks did to them; neither may any of this.
    pub fn faults(&self) -> Vec<(&'static str, u64)> {
        let mut rows = self.sim.rows();
        // Always a bug, and found out at once.
        rows.retain(|(name, _)| *name != "changed_in_flight");
        rows
    }

    /// How often a process was killed at each moment; nor any of this.
    pub fn moments(&self) -> Vec<(&'static str, u64)> {
        Moment::ALL.iter().map(|moment| moment.name()).zip(self.moments).collect()
    }

    /// What was never met.
    pub fn never(&self) -> Vec<&'static str> {
        let all = [self.rows(), self.faults(), self.moments()].concat();
        all.into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }

    /// A process is about to be replaced; it was killed at this moment, if at one.
    pub(super) fn note_kill(&mut self, at: Option<Moment>) {
        let at = at.and_then(|at| Moment::ALL.iter().position(|moment| *moment == at));
        if let Some(at) = at {
            self.moments[at] += 1;
        }
    }

    /// What one log's recovery did.
    pub(super) fn note_recovery(&mut self, recovery: &Recovery) {
        self.opened_clean += u64::from(recovery.clean);
        self.replayed += u64::from(recovery.replayed_bytes > 0);
        self.cut += u64::from(recovery.cut_bytes > 0);
        self.lost += u64::from(recovery.lost_bytes > 0);
    }
}
