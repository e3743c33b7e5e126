//! `ringlog read`: the values of a topic, byte for byte.

use std::time::Duration;

use ringlog::{Batch, Error, Offset, Partition, PartitionId, Start, Topic};

use crate::args::{From, Place, Read};
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::record;
use crate::session::Session;

/// A wait this long is taken up again.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);
/// Nothing is in flight where only reading is done.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub fn run(place: &Place, args: &Read, interrupt: &Interrupt) -> Result<(), Failure> {
    place.with_reader(|session| {
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
        if args.follow {
            // What sleeps hears of the end as of a closed engine.
            let engine = session.engine.clone();
            interrupt.on_first(move || drop(engine.close(CLOSE_TIMEOUT)));
            command.follow(&topic, args.partition)?;
        } else {
            command.topic(&topic, args.partition)?;
        }
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
            self.batch(partition.id(), &batch)?;
        }
        Ok(())
    }

    /// Goes on until it is interrupted or has written enough.
    fn follow(&mut self, topic: &Topic, only: Option<u32>) -> Result<(), Failure> {
        let failure = |error| self.session.failure(&error);
        if let Some(id) = only {
            let reader = topic.partition(id).and_then(|partition| partition.reader(self.start));
            let mut reader = reader.map_err(failure)?;
            let id = PartitionId(id);
            return self
                .follow_with(|wait| Ok(reader.next_timeout(wait)?.map(|batch| (id, batch))));
        }
        let start = match self.start {
            // Each partition has offsets of its own.
            Start::Offset(_) => Start::Earliest,
            start => start,
        };
        let mut reader = topic.reader(start).map_err(failure)?;
        if start != self.start {
            for id in 0..topic.partitions() {
                reader.seek(PartitionId(id), self.start).map_err(failure)?;
            }
        }
        self.follow_with(|wait| reader.next_timeout(wait))
    }

    fn follow_with(
        &mut self,
        mut next: impl FnMut(Duration) -> ringlog::Result<Option<(PartitionId, Batch)>>,
    ) -> Result<(), Failure> {
        while self.left > 0 {
            // What is there is written out before it sleeps.
            let batch = match next(Duration::ZERO) {
                Ok(None) => {
                    self.output.flush()?;
                    next(FOREVER)
                }
                there => there,
            };
            match batch {
                Ok(Some((partition, batch))) => self.batch(partition, &batch)?,
                Ok(None) => {}
                Err(Error::Closed { .. }) if self.interrupt.is_asked() => {
                    self.output.flush()?;
                    return Err(Failure::quiet(Exit::Interrupted));
                }
                Err(error) => {
                    // What came before the error has been read.
                    self.output.flush()?;
                    return Err(self.session.failure(&error));
                }
            }
        }
        Ok(())
    }

    fn batch(&mut self, partition: PartitionId, batch: &Batch) -> Result<(), Failure> {
        for record in batch {
            let record = record.map_err(|error| self.session.failure(&error))?;
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            if self.json {
                self.output.json(&record::json(partition, &record))?;
                continue;
            }
            self.output.bytes(record.value().unwrap_or_default())?;
            self.output.bytes(self.end)?;
        }
        Ok(())
    }
}
