//! `ringlog dump`: what lies on disk, group by group.

use crate::args::{Dump, Place};
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;

pub fn run(_place: &Place, args: &Dump, interrupt: &Interrupt) -> Result<(), Failure> {
    let _ = (args, interrupt.is_asked());
    Err(Failure::new(Exit::Failed, "dump is not there yet"))
}
