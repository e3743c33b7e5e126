//! `ringlog topics`.

use ringlog::TopicInfo;

use super::args::{Place, Topics};
use super::exit::Failure;
use super::output::Output;

pub fn run(place: &Place, args: &Topics) -> Result<(), Failure> {
    place.with_reader(|session| {
        let mut topics = session.engine.topics();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let mut output = Output::new();
        if args.json {
            output.json(&topics)?;
        } else {
            table(&topics, &mut output)?;
        }
        output.flush()
    })
}

fn table(topics: &[TopicInfo], output: &mut Output) -> Result<(), Failure> {
    let width = topics.iter().map(|topic| topic.name.len()).max().unwrap_or(0).max(5);
    output.line(format_args!(
        "{:width$}  {:5}  {:>9}  {:>7}  {:>5}  {:>20}  {:>20}",
        "TOPIC", "FLUSH", "PARTITION", "LOG", "SHARD", "FROM", "END"
    ))?;
    for topic in topics {
        for partition in &topic.partitions {
            output.line(format_args!(
                "{:width$}  {:5}  {:>9}  {:>7}  {:>5}  {:>20}  {:>20}",
                topic.name,
                topic.flush.to_string(),
                partition.id.to_string(),
                format!("log-{:03}", partition.log),
                partition.shard,
                partition.log_start.to_string(),
                partition.end.to_string(),
            ))?;
        }
        if let Some(damage) = &topic.damaged {
            output.line(format_args!("{:width$}  DAMAGED: {damage}", topic.name))?;
        }
    }
    Ok(())
}
