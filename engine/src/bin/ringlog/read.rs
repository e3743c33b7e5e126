//! `ringlog read`: the values of a topic, byte for byte.

use ringlog::{Offset, Partition, Start, Topic};

use crate::args::{From, Place, Read};
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::record;
use crate::session::Session;

pub fn run(place: &Place, args: &Read, interrupt: &Interrupt) -> Result<(), Failure> {
    place.with_engine(false, |session| {
        let topic = session.engine.topic(&args.topic).map_err(|error| session.failure(&error))?;
        let mut command = Command {
            session,
            interrupt,
            output: Output::new(),
            start: match (args.from_time, args.from) {
                (Some(ms), _) => Start::Time(ms),
                (None, From::Earliest) => Start::Earliest,
                (None, From::Latest) => Start::Latest,
                (None, From::Offset(offset)) => Start::Offset(Offset(offset)),
            },
            end: if args.null { b"\0" } else { b"\n" },
            json: args.json,
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
    json: bool,
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
                if self.json {
                    self.output.json(&record::json(partition.id(), &record))?;
                    continue;
                }
                self.output.bytes(record.value().unwrap_or_default())?;
                self.output.bytes(self.end)?;
            }
        }
        Ok(())
    }
}
