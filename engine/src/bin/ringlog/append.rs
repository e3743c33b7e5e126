//! `ringlog append`: each value of the input becomes a record.
//!
//! One thread takes the input and claims; the main thread waits for the acknowledgements in order
//! and prints them. Between them at most [`UNACKNOWLEDGED_MAX`] records are in flight.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use serde_json::json;

use ringlog::{Ack, AppendFuture, AppendOptions, Appended, Error, Partition, Record};

use super::args::{Append, FlushArg, Place};
use super::exit::{Exit, Failure};
use super::input::{InputError, VALUE_BYTES_MAX, Values};
use super::interrupt::Interrupt;
use super::output::Output;
use super::progress::Progress;
use super::session::Session;

/// Most records in flight.
const UNACKNOWLEDGED_MAX: usize = 4096;
/// Most bytes in flight, unless it is one record.
const UNACKNOWLEDGED_BYTES_MAX: usize = 32 << 20;
const INPUT_BUFFER_BYTES: usize = 256 << 10;

const _: () = assert!(UNACKNOWLEDGED_BYTES_MAX >= VALUE_BYTES_MAX);

pub fn run(place: &Place, args: &Append, interrupt: &Interrupt) -> Result<(), Failure> {
    let (input, name, len_bytes) = open_input(args)?;
    place.with_engine(false, |session| {
        let partition = session
            .engine
            .topic(&args.topic)
            .and_then(|topic| topic.partition(args.partition))
            .map_err(|error| session.failure(&error))?;
        let mut options = AppendOptions::default();
        if let Some(flush) = args.flush {
            options = options.ack(match flush {
                FlushArg::Sync => Ack::Durable,
                FlushArg::Async => Ack::Written,
            });
        }
        let gate = Arc::new(Gate::default());
        let (sender, events) = mpsc::channel();
        let stop = sender.clone();
        interrupt.on_first(move || drop(stop.send(Event::Interrupted)));
        let producer = Producer { partition, options, gate: Arc::clone(&gate), events: sender };
        let end = if args.null { 0 } else { b'\n' };
        // Not joined: it may sit in a read that never returns.
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || producer.run(Values::new(input, end)))
            .map_err(|error| Failure::new(Exit::Failed, format_args!("input thread: {error}")))?;
        let consumer = Consumer {
            session,
            args,
            name,
            gate: &gate,
            events: &events,
            output: Output::new(),
            progress: Progress::new(len_bytes),
            acknowledged: 0,
            is_lost: false,
        };
        consumer.run()
    })
}

type Input = Box<dyn BufRead + Send>;

/// The input, its name, and its length where that is known.
fn open_input(args: &Append) -> Result<(Input, String, Option<u64>), Failure> {
    let Some(path) = &args.file else {
        let input = BufReader::with_capacity(INPUT_BUFFER_BYTES, io::stdin());
        return Ok((Box::new(input), "standard input".to_owned(), None));
    };
    let name = path.display().to_string();
    let failed = |error| Failure::new(Exit::Failed, format_args!("{}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let input = BufReader::with_capacity(INPUT_BUFFER_BYTES, file);
    let len_bytes = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(input), name, len_bytes))
}

/// What the main thread hears of.
enum Event {
    /// A record is on its way; its length.
    Submitted(AppendFuture, usize),
    /// A record is acknowledged, or failed, and then nothing follows it; its length.
    Done(Result<Appended, Error>, usize),
    /// The input is over, or cannot go on.
    End(Result<(), InputError>),
    /// ^C.
    Interrupted,
    /// The input thread panicked.
    Lost,
}

/// Takes the input.
struct Producer {
    partition: Partition,
    options: AppendOptions,
    gate: Arc<Gate>,
    events: Sender<Event>,
}

impl Producer {
    fn run(self, mut values: Values<Input>) {
        let end = loop {
            match values.next_value() {
                Ok(Some(value)) => {
                    if !self.gate.enter(value.len()) {
                        return;
                    }
                    let event = self.append(value);
                    let failed = matches!(event, Event::Done(Err(_), _));
                    if self.events.send(event).is_err() || failed {
                        return;
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // Nobody listens any more after an interruption.
        let _ = self.events.send(Event::End(end));
    }

    /// Claims a place for the value before anything else is claimed: a future that had to wait for
    /// room would let its successors overtake it.
    fn append(&self, value: &[u8]) -> Event {
        let record = [Record::new(value)];
        let at_once = self.options.wait_for_room(false);
        let mut future = self.partition.append_async_with(&record, at_once);
        if !future.is_done() {
            return Event::Submitted(future, value.len());
        }
        let appended = match future.wait() {
            Err(Error::Busy { .. }) => self.partition.append_with(&record, self.options),
            appended => appended,
        };
        Event::Done(appended, value.len())
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.events.send(Event::Lost);
        }
    }
}

/// Waits for the acknowledgements.
struct Consumer<'a> {
    session: &'a Session<'a>,
    args: &'a Append,
    name: String,
    gate: &'a Gate,
    events: &'a Receiver<Event>,
    output: Output,
    progress: Progress,
    acknowledged: u64,
    /// The input thread panicked; what it counted never comes.
    is_lost: bool,
}

impl Consumer<'_> {
    fn run(mut self) -> Result<(), Failure> {
        let done = self.until_the_end().and_then(|()| self.output.flush());
        // Whatever ended it, what has been submitted gets its chance to be written.
        self.gate.close();
        let drained = self.drain(false);
        let count = self.acknowledged;
        match done.and(drained) {
            // Unlike a reader who has seen enough: part of the input was not taken.
            Err(failure) if failure.exit == Exit::Done => Err(Failure::new(
                Exit::Failed,
                format_args!("standard output is closed; stopped after {count} records"),
            )),
            Err(failure) => Err(failure.after(format_args!("after {count} records"))),
            Ok(()) => Ok(()),
        }
    }

    fn until_the_end(&mut self) -> Result<(), Failure> {
        loop {
            match self.next_event()? {
                Event::Submitted(future, len) => self.wait(future, len)?,
                Event::Done(appended, len) => self.acknowledge(appended, len)?,
                Event::End(Ok(())) => return Ok(()),
                Event::End(Err(error)) => {
                    self.drain(true)?;
                    let what = format_args!("{}: {error}", self.name);
                    return Err(Failure::new(Exit::Failed, what));
                }
                Event::Interrupted => {
                    self.gate.close();
                    self.drain(true)?;
                    return Err(Failure::quiet(Exit::Interrupted));
                }
                Event::Lost => return Err(self.lost()),
            }
        }
    }

    fn next_event(&mut self) -> Result<Event, Failure> {
        match self.events.try_recv() {
            Ok(event) => Ok(event),
            Err(TryRecvError::Empty) => {
                self.output.flush()?;
                self.events.recv().map_err(|_| self.lost())
            }
            Err(TryRecvError::Disconnected) => Err(self.lost()),
        }
    }

    /// Waits for everything that passed the gate.
    fn drain(&mut self, tell: bool) -> Result<(), Failure> {
        while self.gate.in_flight() > 0 && !self.is_lost {
            match self.events.recv().map_err(|_| self.lost())? {
                Event::Submitted(future, len) if tell => self.wait(future, len)?,
                Event::Done(appended, len) if tell => self.acknowledge(appended, len)?,
                Event::Submitted(future, len) => {
                    let _ = future.wait();
                    self.gate.leave(len);
                }
                Event::Done(_, len) => self.gate.leave(len),
                Event::End(_) | Event::Interrupted => {}
                Event::Lost => return Err(self.lost()),
            }
        }
        self.output.flush()
    }

    fn lost(&mut self) -> Failure {
        self.is_lost = true;
        Failure::new(Exit::Failed, "the input thread is gone")
    }

    fn wait(&mut self, mut future: AppendFuture, len_bytes: usize) -> Result<(), Failure> {
        let told = if future.is_done() { Ok(()) } else { self.output.flush() };
        let acknowledged = self.acknowledge(future.wait(), len_bytes);
        told.and(acknowledged)
    }

    fn acknowledge(
        &mut self,
        appended: Result<Appended, Error>,
        len_bytes: usize,
    ) -> Result<(), Failure> {
        self.gate.leave(len_bytes);
        let appended = appended.map_err(|error| self.session.failure(&error))?;
        self.acknowledged += 1;
        self.progress.advance(len_bytes as u64 + 1);
        if self.args.json {
            let (partition, offset) = (self.args.partition, appended.first.0);
            self.output.json(&json!({ "partition": partition, "offset": offset }))?;
        } else if self.args.print_acks {
            self.output.line(format_args!("ACK {} {}", self.args.partition, appended.first))?;
        }
        Ok(())
    }
}

/// Bounds what is in flight.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    left: Condvar,
}

#[derive(Default)]
struct GateState {
    records: usize,
    bytes: usize,
    closed: bool,
}

impl Gate {
    /// Waits until one more record of this length may be in flight; false once closed.
    fn enter(&self, len_bytes: usize) -> bool {
        let full = |state: &mut GateState| {
            let full = state.records >= UNACKNOWLEDGED_MAX
                || (state.records > 0 && state.bytes + len_bytes > UNACKNOWLEDGED_BYTES_MAX);
            full && !state.closed
        };
        let state = self.left.wait_while(self.state(), full);
        let mut state = state.expect("no holder panics");
        if !state.closed {
            state.records += 1;
            state.bytes += len_bytes;
        }
        !state.closed
    }

    fn leave(&self, len_bytes: usize) {
        let mut state = self.state();
        state.records -= 1;
        state.bytes -= len_bytes;
        drop(state);
        self.left.notify_one();
    }

    fn close(&self) {
        self.state().closed = true;
        self.left.notify_one();
    }

    fn in_flight(&self) -> usize {
        self.state().records
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().expect("no holder panics")
    }
}
