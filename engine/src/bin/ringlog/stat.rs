//! `ringlog stat`: what is in the directory, and what was chosen for it and why.

use crate::args::{Place, Stat};
use crate::exit::Failure;
use crate::output::Output;

pub fn run(place: &Place, args: &Stat) -> Result<(), Failure> {
    place.with_engine(false, |session| {
        let mut output = Output::new();
        let _ = args;
        output.line(format_args!("{:#?}", session.engine.stat()))?;
        output.line(format_args!("{:#?}", session.engine.capabilities()))?;
        output.flush()
    })
}
