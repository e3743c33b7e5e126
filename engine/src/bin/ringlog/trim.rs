//! `ringlog trim`.

use ringlog::Offset;

use super::args::{Place, Trim};
use super::exit::Failure;
use super::output::Output;

pub fn run(place: &Place, args: &Trim) -> Result<(), Failure> {
    place.with_engine(false, |session| {
        let trimmed = session
            .engine
            .topic(&args.topic)
            .and_then(|topic| topic.partition(args.partition))
            .and_then(|partition| {
                partition.trim(Offset(args.before))?;
                partition.info()
            });
        let info = trimmed.map_err(|error| session.failure(&error))?;
        if !args.json {
            return Ok(());
        }
        let mut output = Output::new();
        output.json(&info)?;
        output.flush()
    })
}
