//! The follower: a Python program in a process of its own, which reads the directory beside its
//! writers and stays while they are killed and come back.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;

use crate::demo::flights::Events;
use crate::demo::ok;
use crate::demo::writer::TOPIC;
use crate::error::{Context, Error, Result};

const PROGRAM: &str = include_str!("follower.py");

/// What it tells when it is asked.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Told {
    /// Events it has seen.
    pub seen: usize,
    in_order: bool,
}

/// The process; killed when dropped.
pub struct Follower {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What it has seen, which it writes down.
    file: PathBuf,
}

impl Follower {
    /// Starts it on a directory that has the topic.
    pub fn start(python: &Path, data: &Path) -> Result<Self> {
        let file = data.with_extension("followed");
        let mut child = Command::new(python)
            .args(["-c", PROGRAM])
            .arg(data)
            .arg(TOPIC)
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(format!("starting {}", python.display()))?;
        let input = child.stdin.take().expect("it was asked for");
        let output = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut follower = Self { child, input, output, file };
        match follower.line()?.as_str() {
            "ready" => Ok(follower),
            other => Err(Error::new(format!("the follower said {other:?} at its start"))),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("hearing the follower")?;
        if line.ends_with('\n') {
            line.pop();
            return Ok(line);
        }
        let status = self.child.wait().context("waiting for the follower")?;
        Err(Error::new(format!("the follower ended with {status}")))
    }

    /// Waits until it has seen so many events, or nothing comes any more; what it has seen then.
    pub fn ask(&mut self, events: usize) -> Result<Told> {
        writeln!(self.input, "{events}").context("asking the follower")?;
        let line = self.line()?;
        serde_json::from_str(&line).context(format!("the follower said {line:?}"))
    }

    /// Whether what it has seen is the source from its first event on, byte for byte, and each
    /// event at its offset.
    pub fn check(&self, told: &Told, events: &Events) -> Result<()> {
        let seen = fs::read(&self.file).context("reading what the follower has seen")?;
        let same = is_source(told, &seen, events);
        ok(same, "the follower saw the source's", "byte for byte, and without a gap")?;
        if same { Ok(()) } else { Err(Error::new("the follower saw something else")) }
    }
}

/// Whether what it has told is what it saw, and that is the source's beginning. It may have gone on
/// since.
fn is_source(told: &Told, seen: &[u8], events: &Events) -> bool {
    told.in_order
        && told.seen <= events.len()
        && seen.starts_with(&events.text()[..events.start(told.seen)])
        && events.text().starts_with(seen)
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Its work is done, or what went wrong has been said.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_from_the_source_is_found() {
        let lines: Vec<String> = (0..100).map(|number| format!("event {number}")).collect();
        let events: Events = lines.iter().map(String::as_bytes).collect();
        let text = events.text();
        let told = |seen| Told { seen, in_order: true };
        for seen in [0, 1, 70, 100] {
            assert!(is_source(&told(seen), &text[..events.start(seen)], &events));
        }
        // It went on, and may be amid a line.
        assert!(is_source(&told(70), &text[..events.start(80) - 3], &events));
        let without =
            |at: usize| [&text[..events.start(at)], &text[events.start(at + 1)..]].concat();
        assert!(!is_source(&told(99), &without(50), &events), "one is missing");
        assert!(!is_source(&told(99), &without(98), &events), "the last but one is missing");
        assert!(!is_source(&told(100), &text[..events.start(99)], &events), "not seen");
        assert!(!is_source(&told(101), text, &events), "more than there are");
        let mut flipped = text.to_vec();
        flipped[events.start(30)] ^= 1;
        assert!(!is_source(&told(100), &flipped, &events), "another bit");
        let gap = Told { seen: 100, in_order: false };
        assert!(!is_source(&gap, text, &events), "a gap of offsets");
    }
}
