//! One workload in one mode against one target, apart from when it is run: how the target is set
//! up, made ready, loaded and trimmed.

use std::time::Duration;

use crate::cli::{Options, WorkloadArgs};
use crate::error::Result;
use crate::progress::settle;
use crate::stats::Run;
use crate::target::{Setup, Target};
use crate::values::Values;
use crate::workload::drive::{Times, drive};
use crate::workload::result::Mode;
use crate::workload::spec::Spec;
use crate::workload::trimmer::{Trimming, trimmed};

/// Segments' worth that are written and trimmed before a steady run's clock starts.
const PRIME_SEGMENTS: u64 = 4;
/// The segment size to reckon with where the target chooses it.
const SEGMENT_BYTES_GUESS: u64 = 128 << 20;
/// Records of a batch when priming.
const PRIME_BATCH: usize = 256;

/// A workload in a mode, with its options.
#[derive(Clone, Copy, Debug)]
pub struct Course<'a> {
    /// The workload.
    pub spec: &'a Spec,
    /// Whether segments are recycled.
    pub mode: Mode,
    /// Options of the workloads.
    pub args: &'a WorkloadArgs,
    /// Options of all commands.
    pub options: &'a Options,
    /// What is appended.
    pub values: &'a Values,
}

impl Course<'_> {
    /// How the target is set up.
    pub fn setup(&self) -> Setup {
        Setup {
            level: self.spec.level,
            partitions: self.spec.partitions,
            segment_bytes: self.segment_bytes_asked(),
            ring_bytes: self.args.ring_bytes,
            group_bytes: self.args.group_bytes,
            groups_in_flight: self.args.groups_in_flight,
            batch_bytes: self.args.batch_bytes,
            shards: self.args.shards,
            backend: self.args.backend,
        }
    }

    fn segment_bytes_asked(&self) -> Option<u64> {
        self.args.segment_bytes.or(self.spec.segment_bytes)
    }

    /// Steady runs start with segments that were used before; growing ones with what the target
    /// pre-writes by itself.
    pub fn prime<T: Target>(&self, target: &T) -> Result<()> {
        if self.mode == Mode::Steady {
            let records = PRIME_SEGMENTS * self.segment_bytes() / self.record_bytes();
            let records = if self.options.quick { records / 2 } else { records };
            trimmed(target, self.trimming(), || {
                let mut batch = Vec::with_capacity(PRIME_BATCH);
                for index in (0..records as usize).step_by(PRIME_BATCH) {
                    self.values.fill(index, PRIME_BATCH, &mut batch);
                    target.append(0, &batch)?;
                }
                Ok(())
            })?;
        }
        settle(Duration::from_millis(500));
        Ok(())
    }

    /// Runs the load once, trimmed behind its tail where the mode asks for it.
    pub fn run<T: Target>(&self, target: &T, clock_starts: impl FnOnce()) -> Result<Run> {
        let measure = self.args.time(self.options);
        let times = Times { warm_up: measure / 10, measure };
        trimmed(target, self.trimming(), || {
            drive(self.spec, target, self.values, times, clock_starts)
        })
    }

    fn segment_bytes(&self) -> u64 {
        self.segment_bytes_asked().unwrap_or(SEGMENT_BYTES_GUESS)
    }

    /// Log bytes of a record when batches are large: the value and little else.
    fn record_bytes(&self) -> u64 {
        self.spec.value_bytes as u64 + 16
    }

    /// Half a segment's worth at a time, and all but the latest thousand records.
    fn trimming(&self) -> Option<Trimming> {
        let every_records = (self.segment_bytes() / self.spec.log_bytes_per_record / 2).max(1);
        (self.mode == Mode::Steady).then_some(Trimming { every_records, keep_records: 1000 })
    }
}
