//! The writer: the command line in a process of its own, fed by one thread and heard by another.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;

use crate::demo::flights::Events;
use crate::error::{Context, Error, Result};
use crate::stats::Latencies;

/// The topic.
pub const TOPIC: &str = "flights";
/// A write to the pipe, at most: the sending time of an event is that of its write.
const WRITE_BYTES: usize = 4096;
/// What the pipe holds; it may not have reached the writer.
const PIPE_BYTES: usize = 64 << 10;

/// The command line and the directory it works on.
#[derive(Debug)]
pub struct Cli {
    /// The program.
    pub program: PathBuf,
    /// The data directory.
    pub data: PathBuf,
}

impl Cli {
    /// A command on the data directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--data").arg(&self.data).args(arguments).stdin(Stdio::null());
        command
    }

    /// Another program that reads the topic from the data directory; `first` come its first
    /// arguments.
    pub fn reader(&self, program: &Path, first: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(first).arg(&self.data).arg(TOPIC).stdin(Stdio::null());
        command
    }

    /// Runs a command and waits for its success.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        let words = arguments.join(" ");
        let status = self.command(arguments).status().context(self.starting())?;
        success(status, &words)
    }

    /// What is being done when a process cannot be started.
    pub fn starting(&self) -> String {
        format!("starting {}", Path::display(&self.program))
    }
}

/// An error if the process ended in any other way than well.
pub fn success(status: ExitStatus, words: &str) -> Result<()> {
    if status.success() {
        Ok(())
    } else {
        Err(Error::new(format!("`ringlog {words}` ended with {status}")))
    }
}

/// When to kill the writer: once so many events are acknowledged, all of which have been heard, and
/// at least so many more have been sent; and then some time has passed.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Acknowledged.
    pub acknowledged: usize,
    /// Sent and not acknowledged.
    pub unacknowledged: usize,
    /// And then.
    pub delay: Duration,
}

/// What became of a session.
#[derive(Debug)]
pub struct Session {
    /// Events that reached the writer, counted from the first of the source.
    pub taken: usize,
    /// Events that were acknowledged, counted likewise.
    pub acknowledged: usize,
    /// From sending to acknowledgement.
    pub latencies: Latencies,
    /// Between the first and the last acknowledgement.
    pub elapsed: Duration,
    /// How the process ended.
    pub status: ExitStatus,
}

/// Sends the events of `range` to `ringlog append`, as fast as it takes them, and hears the
/// acknowledgements; kills it at the moment given.
pub fn append(
    cli: &Cli,
    events: &Events,
    range: Range<usize>,
    moment: Option<Moment>,
) -> Result<Session> {
    let (input, to_writer) = std::io::pipe().context("making a pipe")?;
    let mut child = cli
        .command(&["append", TOPIC, "--print-acks"])
        .stdin(input.try_clone().context("sharing a pipe")?)
        .stdout(Stdio::piped())
        .spawn()
        .context(cli.starting())?;
    let output = child.stdout.take().expect("it was asked for");
    let stop = AtomicBool::new(false);
    let sent = AtomicUsize::new(range.start);
    let first = range.start;
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(events, range, to_writer, &stop, &sent));
        let heard = hear(&mut child, output, first, &sent, moment);
        // It is dead, or has said all it will: what is left in the pipe never reached it. The end
        // of the pipe kept here lets us count that.
        stop.store(true, Ordering::SeqCst);
        let left = discard(input);
        if heard.is_err() {
            let _ = child.kill();
        }
        let status = child.wait().context("waiting for the writer")?;
        let sends = sender.join().expect("the sender does not panic")?;
        let heard = heard?;
        let written = sends.last().map_or(events.start(first), |send| events.start(send.end));
        let elapsed = match (heard.first(), heard.last()) {
            (Some(first), Some(last)) => *last - *first,
            _ => Duration::ZERO,
        };
        Ok(Session {
            taken: events.whole_lines(written - left?),
            acknowledged: first + heard.len(),
            latencies: latencies(first, &sends, &heard),
            elapsed,
            status,
        })
    })
}

/// One write to the pipe.
struct Send {
    /// The event after the last one in it.
    end: usize,
    /// Before the write.
    at: Instant,
}

fn send(
    events: &Events,
    range: Range<usize>,
    mut pipe: PipeWriter,
    stop: &AtomicBool,
    sent: &AtomicUsize,
) -> Result<Vec<Send>> {
    let mut sends = Vec::new();
    let mut next = range.start;
    while next < range.end && !stop.load(Ordering::SeqCst) {
        let start = events.start(next);
        let end = events.whole_lines(start + WRITE_BYTES).clamp(next + 1, range.end);
        let at = Instant::now();
        pipe.write_all(&events.text()[start..events.start(end)]).context("feeding the writer")?;
        sends.push(Send { end, at });
        sent.store(end, Ordering::SeqCst);
        next = end;
    }
    Ok(sends)
}

/// Takes the acknowledgements, which must come in order, with the time of each; kills the writer
/// at the moment given, and then takes those that it had printed before.
fn hear(
    child: &mut Child,
    output: ChildStdout,
    first: usize,
    sent: &AtomicUsize,
    mut moment: Option<Moment>,
) -> Result<Vec<Instant>> {
    let mut heard = Vec::new();
    let mut lines = BufReader::with_capacity(PIPE_BYTES, output);
    let mut line = String::new();
    loop {
        line.clear();
        lines.read_line(&mut line).context("hearing the writer")?;
        // A line that death cut short is not an acknowledgement.
        let Some(text) = line.strip_suffix('\n') else { return Ok(heard) };
        let next = first + heard.len();
        let offset = text.strip_prefix("ACK 0 ").and_then(|offset| offset.parse().ok());
        if offset != Some(next) {
            return Err(Error::new(format!("the writer said {text:?} instead of ACK 0 {next}")));
        }
        heard.push(Instant::now());
        let acknowledged = next + 1;
        let due = |moment: &mut Moment| {
            let ahead = sent.load(Ordering::SeqCst).saturating_sub(acknowledged);
            acknowledged >= moment.acknowledged
                && ahead >= moment.unacknowledged
                && lines.buffer().is_empty()
                && ioctl_fionread(lines.get_ref()).is_ok_and(|waiting| waiting == 0)
        };
        if let Some(moment) = moment.take_if(due) {
            thread::sleep(moment.delay);
            child.kill().context("killing the writer")?;
        }
    }
}

/// Reads to the end and counts.
fn discard(mut input: PipeReader) -> Result<usize> {
    let mut buffer = vec![0; PIPE_BYTES];
    let mut count = 0;
    loop {
        match input.read(&mut buffer).context("reading what the writer left")? {
            0 => return Ok(count),
            some => count += some,
        }
    }
}

fn latencies(first: usize, sends: &[Send], heard: &[Instant]) -> Latencies {
    let mut latencies = Latencies::new();
    let mut sends = sends.iter().peekable();
    for (place, heard) in heard.iter().enumerate() {
        while sends.next_if(|send| send.end <= first + place).is_some() {}
        if let Some(send) = sends.peek() {
            latencies.record(heard.saturating_duration_since(send.at));
        }
    }
    latencies
}
