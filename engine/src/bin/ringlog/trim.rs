//! `ringlog trim`.

use ringlog::Offset;

use super::args::{Place, Trim};
use super::exit::Failure;

pub fn run(place: &Place, args: &Trim) -> Result<(), Failure> {
    place.with_engine(false, |session| {
        session
            .engine
            .topic(&args.topic)
            .and_then(|topic| topic.partition(args.partition))
            .and_then(|partition| partition.trim(Offset(args.before)))
            .map_err(|error| session.failure(&error))
    })
}
