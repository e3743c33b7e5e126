//! A program that holds an engine and does as it is told, line by line, and the hand that tells it.
//! It goes on after errors, as a server would. Here it is in Rust; `host.c` is the same in C.
//!
//! | told | answers |
//! |---|---|
//! | `append N`, then N values | each one's `ACK offset`, or `ERR unknown message`, `ERR not message` |
//! | `read` | `READ count`, or `READ count message`, where reading ended early |
//! | `trim N` | `TRIMMED`, or `ERR … message` (in Rust alone) |
//! | `stat` | `STAT json` |
//! | `metrics` | `METRICS count`, then so many lines |
//! | `close` | `CLOSED`, or `ERR … message`, and ends |
//!
//! Each answer is a line that begins with `> `. At its start it says `OPEN`, or `ERR … message`.

use std::hint::black_box;
use std::io::{self, BufRead as _, BufReader, Lines, StdinLock, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use ringlog::{AppendFuture, Backend, Engine, Error, Offset};
use ringlog::{Partition, Record, Start, TopicSpec};

use super::DEADLINE;
use super::promises::Promises;

const DIR: &str = "RINGLOG_KERNEL_HOST";
/// Options of the engine, as `name=value`, separated by commas.
const OPTIONS: &str = "RINGLOG_KERNEL_OPTIONS";

/// A running host; killed when dropped.
pub struct Host {
    child: Child,
    stdin: Option<ChildStdin>,
    out: BufReader<ChildStdout>,
}

/// What it answered to an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Acknowledged(u64),
    Failed { outcome_unknown: bool, message: String },
}

impl Answer {
    /// Its message, if it failed.
    pub fn message(&self) -> &str {
        match self {
            Self::Acknowledged(_) => "",
            Self::Failed { message, .. } => message,
        }
    }
}

/// The command that starts the host in Rust.
pub fn command(dir: &Path, options: &str, under: &[&str]) -> Command {
    let own = std::env::current_exe().unwrap();
    let mut command = super::program::under(under, &own);
    command.args(["host::entry_of_the_host", "--exact", "--nocapture"]);
    command.env(DIR, dir).env(OPTIONS, options);
    command
}

impl Host {
    /// Starts it; how its open failed, if it did.
    pub fn start(mut command: Command) -> Result<Self, String> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, out) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut host = Self { child, stdin, out: BufReader::new(out) };
        match host.hear().as_deref() {
            Some("OPEN") => Ok(host),
            Some(refused) => Err(refused.to_owned()),
            None => Err(format!("the host ended: {:?}", host.end())),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next answer; none once it has ended.
    pub fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.out.read_line(&mut line).unwrap() > 0 {
            if let Some(answer) = line.strip_prefix("> ") {
                return Some(answer.trim_end().to_owned());
            }
            line.clear();
        }
        None
    }

    pub fn tell(&mut self, what: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        // Who has died hears nothing; that shows when it does not answer.
        let _ = stdin.write_all(what).and_then(|()| stdin.write_all(b"\n"));
    }

    /// Tells it to append so many values, without waiting for the answers.
    pub fn tell_append(&mut self, promises: &mut Promises, count: usize) {
        let values = promises.offer_many(count);
        self.tell(format!("append {count}").as_bytes());
        for value in values {
            self.tell(&value);
        }
    }

    /// The answer to one value.
    pub fn hear_append(&mut self, promises: &mut Promises) -> Answer {
        let answer = self.hear().expect("the host lives");
        if let Some(offset) = answer.strip_prefix("ACK ") {
            let offset = offset.parse().unwrap();
            promises.acknowledged(offset);
            return Answer::Acknowledged(offset);
        }
        let failed = answer.strip_prefix("ERR ").expect("an answer");
        let (unknown, message) = failed.split_once(' ').unwrap();
        let outcome_unknown = unknown == "unknown";
        promises.failed(outcome_unknown);
        Answer::Failed { outcome_unknown, message: message.to_owned() }
    }

    pub fn append(&mut self, promises: &mut Promises, count: usize) -> Vec<Answer> {
        self.tell_append(promises, count);
        (0..count).map(|_| self.hear_append(promises)).collect()
    }

    /// How many records it reads, and why no more, if that is an error.
    pub fn read(&mut self) -> (usize, Option<String>) {
        self.tell(b"read");
        let answer = self.hear().expect("the host lives");
        let read = answer.strip_prefix("READ ").unwrap();
        let (count, message) = read.split_once(' ').unwrap_or((read, ""));
        (count.parse().unwrap(), Some(message.to_owned()).filter(|said| !said.is_empty()))
    }

    /// Gives up what is below this offset; how that failed, if it did.
    pub fn trim(&mut self, below: u64) -> Option<String> {
        self.tell(format!("trim {below}").as_bytes());
        Some(self.hear().expect("the host lives")).filter(|answer| answer != "TRIMMED")
    }

    pub fn stat(&mut self) -> serde_json::Value {
        self.tell(b"stat");
        let answer = self.hear().expect("the host lives");
        serde_json::from_str(answer.strip_prefix("STAT ").unwrap()).unwrap()
    }

    pub fn metrics(&mut self) -> Vec<String> {
        self.tell(b"metrics");
        let answer = self.hear().expect("the host lives");
        let count: usize = answer.strip_prefix("METRICS ").unwrap().parse().unwrap();
        (0..count).map(|_| self.hear().unwrap()).collect()
    }

    /// What it says to a close, and how it ended.
    pub fn close(mut self) -> (String, ExitStatus) {
        self.tell(b"close");
        let answer = self.hear().expect("the host lives");
        (answer, self.end())
    }

    fn end(&mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.child.wait().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(what: impl std::fmt::Display) {
    let mut out = io::stdout().lock();
    // Who has gone needs no answer.
    let _ = writeln!(out, "> {}", what.to_string().replace('\n', " "));
    let _ = out.flush();
}

fn say_error(error: &Error) {
    let unknown = if error.outcome_is_unknown() { "unknown" } else { "not" };
    say(format_args!("ERR {unknown} {error}"));
}

fn open() -> Result<(Engine, Partition), Error> {
    let mut options = Engine::options().allow_volatile(true).append_timeout(DEADLINE);
    let asked = std::env::var(OPTIONS).unwrap_or_default();
    for (name, value) in asked.split(',').filter_map(|option| option.split_once('=')) {
        let number = || value.parse::<u64>().unwrap();
        options = match name {
            "backend" => options.backend(value.parse::<Backend>().unwrap()),
            "mmap" => options.mmap(value == "yes"),
            "segment" => options.segment_bytes(number()),
            "payload" => options.max_payload_bytes(number() as usize),
            "ring" => options.ring_bytes(number() as usize),
            "group" => options.group_bytes(number() as usize),
            "timeout" => options.append_timeout(Duration::from_millis(number())),
            "close" => options.close_timeout(Duration::from_millis(number())),
            _ => panic!("no option {name}"),
        };
    }
    let engine = options.open(PathBuf::from(std::env::var_os(DIR).unwrap()))?;
    let partition = engine.open_or_create_topic(TopicSpec::new("t"))?.partition(0)?;
    Ok((engine, partition))
}

/// All of them are on their way before the first answer is waited for.
fn append(partition: &Partition, lines: &mut Lines<StdinLock<'_>>, count: usize) {
    let values: Vec<String> = lines.by_ref().take(count).map(Result::unwrap).collect();
    let submit = |value: &String| partition.append_async(Record::new(value.as_bytes()));
    let futures: Vec<AppendFuture> = values.iter().map(submit).collect();
    for future in futures {
        match future.wait() {
            Ok(appended) => say(format_args!("ACK {}", appended.first)),
            Err(error) => say_error(&error),
        }
    }
}

fn read(partition: &Partition) -> (usize, Option<Error>) {
    let mut count = 0;
    let mut reader = match partition.reader(Start::Earliest) {
        Ok(reader) => reader,
        Err(error) => return (0, Some(error)),
    };
    loop {
        match reader.next_batch() {
            Ok(Some(batch)) => {
                for record in &batch {
                    match record {
                        // Every byte is looked at: pages of a mapping may be gone.
                        Ok(record) => drop(black_box(record.value().unwrap_or_default().to_vec())),
                        Err(error) => return (count, Some(error)),
                    }
                    count += 1;
                }
            }
            Ok(None) => return (count, None),
            Err(error) => return (count, Some(error)),
        }
    }
}

/// In the child.
#[test]
fn entry_of_the_host() {
    if std::env::var_os(DIR).is_none() {
        return;
    }
    println!();
    let (engine, partition) = match open() {
        Ok(opened) => opened,
        Err(error) => return say_error(&error),
    };
    say("OPEN");
    let mut lines = io::stdin().lock().lines();
    while let Some(Ok(line)) = lines.next() {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("append", count) => append(&partition, &mut lines, count.parse().unwrap()),
            ("read", _) => match read(&partition) {
                (count, None) => say(format_args!("READ {count}")),
                (count, Some(error)) => say(format_args!("READ {count} {error}")),
            },
            ("trim", below) => match partition.trim(Offset(below.parse().unwrap())) {
                Ok(()) => say("TRIMMED"),
                Err(error) => say_error(&error),
            },
            ("stat", _) => {
                say(format_args!("STAT {}", serde_json::to_string(&engine.stat()).unwrap()));
            }
            ("metrics", _) => {
                let text = engine.metrics().to_prometheus();
                say(format_args!("METRICS {}", text.lines().count()));
                text.lines().for_each(say);
            }
            ("close", _) => match engine.close(DEADLINE) {
                Ok(()) => return say("CLOSED"),
                Err(error) => return say_error(&error),
            },
            _ => panic!("told {line:?}"),
        }
    }
}
