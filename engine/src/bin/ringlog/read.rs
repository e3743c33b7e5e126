//! `ringlog read`: the values of a topic, byte for byte.

use ringlog::{Offset, Partition, Start, Topic};

use super::args::{From, Place, Read};
use super::exit::{Exit, Failure};
use super::interrupt::Interrupt;
use super::output::Output;
use super::session::Session;

pub fn run(place: &Place, args: &Read, interrupt: &Interrupt) -> Result<(), Failure> {
    place.with_engine(false, |session| {
        let topic = session.engine.topic(&args.topic).map_err(|error| session.failure(&error))?;
        let mut command = Command {
            session,
            interrupt,
            output: Output::new(),
            start: match args.from {
                From::Earliest => Start::Earliest,
                From::Latest => Start::Latest,
                From::Offset(offset) => Start::Offset(Offset(offset)),
            },
            end: if args.null { b"\0" } else { b"\n" },
            left: args.max.unwrap_or(u64::MAX),
        };
        command.topic(&topic, args.partition)?;
        command.output.flush()
    })
}

struct Command<'a> {
    session: &'a Session<'a>,
    interrupt: &'a Interrupt,
    output: Output,
    start: Start,
    end: &'static [u8],
    /// How many values may still be written.
    left: u64,
}

impl Command<'_> {
    fn topic(&mut self, topic: &Topic, only: Option<u32>) -> Result<(), Failure> {
        let (first, last) = only.map_or((0, topic.partitions() - 1), |id| (id, id));
        for id in first..=last {
            let partition = topic.partition(id).map_err(|error| self.session.failure(&error))?;
            self.partition(&partition)?;
        }
        Ok(())
    }

    fn partition(&mut self, partition: &Partition) -> Result<(), Failure> {
        let reader = partition.reader(self.start);
        let mut reader = reader.map_err(|error| self.session.failure(&error))?;
        while self.left > 0 {
            if self.interrupt.is_asked() {
                return Err(Failure::quiet(Exit::Interrupted));
            }
            let batch = reader.next_batch().map_err(|error| self.session.failure(&error))?;
            let Some(batch) = batch else { break };
            for record in &batch {
                let record = record.map_err(|error| self.session.failure(&error))?;
                if self.left == 0 {
                    break;
                }
                self.left -= 1;
                self.output.bytes(record.value().unwrap_or_default())?;
                self.output.bytes(self.end)?;
            }
        }
        Ok(())
    }
}
