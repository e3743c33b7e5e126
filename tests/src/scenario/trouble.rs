//! Faults while an engine runs: errors of single operations, a device that fails for good, hangs or
//! freezes, a filesystem without space or permission, clocks that jump; and their end.

use ringlog::sim::{Condition, FaultError, FaultOp};

use super::Scenario;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Kinds of operation that fail without latching a log.
const OTHERS: [FaultOp; 7] = [
    FaultOp::Any,
    FaultOp::Allocate,
    FaultOp::SyncDir,
    FaultOp::Read,
    FaultOp::Name,
    FaultOp::Look,
    FaultOp::Ring,
];

impl Scenario {
    pub(super) fn trouble(&mut self) {
        match self.dice.below(100) {
            0..18 => self.fail_device(),
            18..36 => self.fail_other(),
            36..44 => {
                self.note("  the disk is full");
                self.disk.set_condition(Condition::Full);
                self.troubled = true;
                self.tally.full += 1;
            }
            44..48 => {
                self.note("  the disk is read-only");
                self.disk.set_condition(Condition::ReadOnly);
                self.troubled = true;
                self.tally.read_only += 1;
            }
            48..54 => {
                let after = self.dice.below(60);
                self.note(format!("  the disk breaks in {after} operations"));
                self.disk.break_after(after);
                self.troubled = true;
                self.tally.broken += 1;
            }
            54..62 => {
                self.note("  freeze");
                self.disk.freeze();
                self.frozen = true;
                self.tally.freezes += 1;
            }
            62..68 => {
                let op = self.dice.pick(&[FaultOp::Write, FaultOp::Flush]);
                let nth = self.dice.within(1, 4);
                self.note(format!("  {op:?} number {nth} hangs"));
                self.disk.stick_nth(op, nth);
                self.stuck = true;
            }
            68..78 => {
                let by = self.dice.pick(&[1_000, DAY_MS, 400 * DAY_MS]);
                let by = if self.dice.chance(50) { by } else { -by };
                self.note(format!("  the clock jumps by {by} ms"));
                self.clock.jump_wall_ms(by);
                if by < 0 { self.tally.jumps_back += 1 } else { self.tally.jumps_ahead += 1 }
            }
            _ => {
                self.note("  the disk is well again");
                self.disk.set_condition(Condition::Normal);
                self.thaw();
            }
        }
    }

    fn fail_device(&mut self) {
        let op = self.dice.pick(&[FaultOp::Write, FaultOp::Flush]);
        let error = self.dice.pick(&[FaultError::Io, FaultError::Io, FaultError::NoSpace]);
        let nth = self.dice.within(1, 4);
        self.note(format!("  fault: {op:?} number {nth}: {error:?}"));
        self.disk.fail_nth(op, nth, error);
        self.troubled = true;
    }

    fn fail_other(&mut self) {
        let op = self.dice.pick(&OTHERS);
        let error = match op {
            FaultOp::Read => FaultError::Io,
            FaultOp::Look => self.dice.pick(&[FaultError::Io, FaultError::Descriptors]),
            FaultOp::Name | FaultOp::Ring => {
                self.dice.pick(&[FaultError::Io, FaultError::NoSpace, FaultError::Descriptors])
            }
            _ => self.dice.pick(&[FaultError::Io, FaultError::NoSpace]),
        };
        let range = self.dice.pick(&[1, 4, 40]);
        let nth = self.dice.within(1, range);
        self.note(format!("  fault: {op:?} number {nth}: {error:?}"));
        self.disk.fail_nth(op, nth, error);
        self.troubled = true;
    }
}
