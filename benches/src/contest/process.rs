//! The other side of [`super::turn`]: an entrant's process, as the contest sees it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::contest::Entrant;
use crate::contest::turn::Turn;
use crate::error::{Context, Error, Result};

/// A process that was started; killed when dropped before its end.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts this program again as `entrant` and waits until it is ready.
    pub fn start(entrant: &Entrant) -> Result<Self> {
        let own = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(own)
            .args(&entrant.arguments)
            .envs(entrant.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(format!("starting {}", entrant.name))?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| Error::new("it has no standard output"))?;
        let name = entrant.name.clone();
        let mut process = Self { name, child, input, output: BufReader::new(output) };
        match process.line()?.as_str() {
            "ready" => Ok(process),
            line => Err(Error::new(format!("{} said {line:?} at its start", process.name))),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).context(format!("hearing {}", self.name))?;
        if line.ends_with('\n') {
            line.pop();
            return Ok(line);
        }
        let status = self.child.wait().context(format!("waiting for {}", self.name))?;
        Err(Error::new(format!("{} ended early with {status}", self.name)))
    }

    /// Lets it take a turn.
    pub fn turn(&mut self) -> Result<Turn> {
        let telling = || format!("telling {}", self.name);
        let Some(input) = self.input.as_mut() else {
            return Err(Error::new(format!("{} was told to close", self.name)));
        };
        input.write_all(b"turn\n").context(telling())?;
        let line = self.line()?;
        serde_json::from_str(&line).context(format!("{} said {line:?}", self.name))
    }

    /// Lets it close, and waits for that.
    pub fn finish(mut self) -> Result<()> {
        self.input = None;
        let status = self.child.wait().context(format!("waiting for {}", self.name))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(format!("{} ended with {status}", self.name)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Does nothing to a process that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
