//! The programs under test, as a user would run them: the command line, and in its place a writer
//! that lies. Both take values on standard input and acknowledge them on standard output.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use super::liar;
use super::promises::Promises;

/// The command line, built with the engine that these tests are built with.
pub const BINARY: &str = env!("CARGO_BIN_EXE_ringlog-cli");

/// The program, started by these: strace, say, with its options.
pub fn under(under: &[&str], program: impl AsRef<OsStr>) -> Command {
    let Some((first, rest)) = under.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Ringlog,
    /// See [`liar`].
    Liar,
}

/// A directory that one of them writes to.
#[derive(Debug)]
pub struct Place {
    pub program: Program,
    pub data: PathBuf,
    /// What the command line is given besides.
    pub options: Vec<&'static str>,
    /// What it was promised to hold.
    pub promises: Promises,
    /// Rings are in files, so that a reader without a writer sees everything acknowledged. Where
    /// they are not it sees what later groups prove, until the next writer has recovered.
    pub has_rings: bool,
    /// The program to run; elsewhere where an ordinary user must reach it.
    pub binary: PathBuf,
    /// What makes an ordinary user of us, if one is wanted.
    pub user: Vec<String>,
}

/// When a writer is killed.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// By whatever it runs under, or never.
    ItsEnd,
    /// So long after that many acknowledgements were heard.
    Heard(usize, Duration),
}

/// How a writer ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub acknowledged: usize,
    pub err: String,
}

impl Ended {
    /// Killed, rather than done: by a signal, or reported as one by the program that started it.
    pub fn killed(&self) -> bool {
        self.status.code().is_none_or(|code| code > 128)
    }
}

impl Place {
    /// With a topic `t` in `dir`.
    pub fn new(program: Program, dir: &Path, options: &[&'static str]) -> Self {
        let place = Self::not_yet(program, dir, options);
        match program {
            Program::Ringlog => drop(place.run(&["create-topic", "t"]).unwrap()),
            Program::Liar => std::fs::create_dir(&place.data).unwrap(),
        }
        place
    }

    /// Nothing made.
    pub fn not_yet(program: Program, dir: &Path, options: &[&'static str]) -> Self {
        Self {
            program,
            data: dir.join("data"),
            options: options.to_vec(),
            promises: Promises::default(),
            has_rings: true,
            binary: BINARY.into(),
            user: Vec::new(),
        }
    }

    /// The command line on this directory.
    pub fn command(&self, start: &[&str], args: &[&str]) -> Command {
        let user = self.user.iter().map(String::as_str);
        let start: Vec<&str> = user.chain(start.iter().copied()).collect();
        let mut command = under(&start, &self.binary);
        command.args(args).args(&self.options).arg("--data").arg(&self.data);
        command.env_remove("RINGLOG_DATA");
        command
    }

    /// Runs it to its end; its output, or how it failed.
    pub fn run(&self, args: &[&str]) -> Result<Vec<u8>, String> {
        let done = self.command(&[], args).stdin(Stdio::null()).output().unwrap();
        if done.status.success() {
            return Ok(done.stdout);
        }
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        Err(format!("{args:?}: {}: {said}", done.status))
    }

    /// What a reader finds.
    pub fn read(&self) -> Result<Vec<Vec<u8>>, String> {
        if self.program == Program::Liar {
            return Ok(liar::read(&self.data));
        }
        let out = self.run(&["read", "t"])?;
        Ok(out.split_inclusive(|&b| b == b'\n').map(|l| l[..l.len() - 1].to_vec()).collect())
    }

    /// Gives a new writer so many values, hears its acknowledgements, and sees its end.
    pub fn append(&mut self, count: usize, start: &[&str], until: Until) -> Ended {
        let mut command = match self.program {
            Program::Ringlog => self.command(start, &["append", "t", "--print-acks"]),
            Program::Liar => liar::command(&self.data, start),
        };
        self.append_by(&mut command, count, until)
    }

    /// The same, by a command that is ready.
    pub fn append_by(&mut self, command: &mut Command, count: usize, until: Until) -> Ended {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let values = self.promises.offer_many(count);
        let (mut stdin, mut stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
        // Neither outlives the child: its ends of the pipes go with it.
        let feeder = thread::spawn(move || {
            for value in values {
                if stdin.write_all(&value).and_then(|()| stdin.write_all(b"\n")).is_err() {
                    return;
                }
            }
        });
        let complaints = thread::spawn(move || {
            let mut err = String::new();
            stderr.read_to_string(&mut err).map(|_| err)
        });
        let mut acknowledged = 0;
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // A line without its end was not heard.
        while out.read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
            if let Some(offset) = line.trim_end().strip_prefix("ACK 0 ") {
                self.promises.acknowledged(offset.parse().unwrap());
                acknowledged += 1;
                if let Until::Heard(wanted, then) = until
                    && acknowledged == wanted
                {
                    thread::sleep(then);
                    let _ = child.kill();
                }
            }
            line.clear();
        }
        let status = child.wait().unwrap();
        feeder.join().unwrap();
        let err = complaints.join().unwrap().unwrap();
        Ended { status, acknowledged, err }
    }

    /// Whether everything promised is there: as it was left, and (`recover`) after the next writer
    /// has recovered it, too. Then nothing may be damaged.
    pub fn check(&mut self, recover: bool) -> Result<(), String> {
        let found = self.read()?;
        if self.program == Program::Liar {
            return self.promises.check(&found, true);
        }
        if self.has_rings {
            self.promises.check(&found, false)?;
        }
        if recover || !self.has_rings {
            // Opens to write, and closes.
            self.run(&["append", "t"])?;
            let then = self.read()?;
            if !then.starts_with(&found) {
                return Err("a reader had seen what is not there any more".to_owned());
            }
            self.promises.check(&then, true)?;
        }
        self.run(&["verify"]).map(drop)
    }
}
