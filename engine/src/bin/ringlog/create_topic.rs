//! `ringlog create-topic`.

use ringlog::{Flush, TopicSpec};

use super::args::{CreateTopic, FlushArg, Place};
use super::exit::Failure;
use super::output::Output;

pub fn run(place: &Place, args: &CreateTopic) -> Result<(), Failure> {
    place.with_engine(true, |session| {
        let flush = match args.flush {
            FlushArg::Sync => Flush::Sync,
            FlushArg::Async => Flush::Async,
        };
        let spec = TopicSpec::new(&args.name)
            .partitions(args.partitions)
            .flush(flush)
            .compression(args.compression)
            .timestamps(args.timestamps);
        let topic = session.engine.create_topic(spec).map_err(|error| session.failure(&error))?;
        if !args.json {
            return Ok(());
        }
        let info = topic.describe().map_err(|error| session.failure(&error))?;
        let mut output = Output::new();
        output.json(&info)?;
        output.flush()
    })
}
