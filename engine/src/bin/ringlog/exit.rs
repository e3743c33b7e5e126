//! How the program ends: exit codes (documented in `--help` and in the README) and messages.

use std::fmt;
use std::io;
use std::path::Path;

use ringlog::Error;
use ringlog::inspect::Finding;

/// The exit codes; never renumbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Damage = 3,
    Locked = 4,
    Unknown = 5,
    Unwritable = 6,
    Interrupted = 130,
}

/// Why the program ends early.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// What goes to standard error; nothing where there is nothing to say.
    message: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: Some(message.to_string()) }
    }

    pub fn quiet(exit: Exit) -> Self {
        Self { exit, message: None }
    }

    /// An error of the engine. Where it names no file itself, the directory is named.
    pub fn engine(data: &Path, error: &Error) -> Self {
        let exit = match error {
            Error::InvalidArgument { .. } => Exit::Usage,
            Error::Corrupt { .. }
            | Error::UnsupportedFormat { .. }
            | Error::NotADataDirectory { .. } => Exit::Damage,
            Error::Locked { .. } => Exit::Locked,
            Error::UnknownTopic { .. }
            | Error::UnknownPartition { .. }
            | Error::OffsetOutOfRange { .. } => Exit::Unknown,
            Error::ReadOnly { .. } | Error::NoSpace { .. } | Error::NotDurable { .. } => {
                Exit::Unwritable
            }
            _ => Exit::Failed,
        };
        let (text, data) = (error.to_string(), data.display().to_string());
        if text.contains(&data) {
            Self::new(exit, text)
        } else {
            Self::new(exit, format_args!("{data}: {text}"))
        }
    }

    /// A damaged place.
    pub fn damage(finding: &Finding) -> Self {
        let path = finding.path.display();
        let what = format_args!("{path}: damaged at byte {}: {}", finding.at, finding.what);
        Self::new(Exit::Damage, what)
    }

    /// An error of standard output. A reader that has seen enough is no failure.
    pub fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::quiet(Exit::Done)
        } else {
            Self::new(Exit::Failed, format_args!("standard output: {error}"))
        }
    }

    /// Adds how far it got.
    pub fn after(mut self, how_far: fmt::Arguments<'_>) -> Self {
        self.message = self.message.map(|message| format!("{message} ({how_far})"));
        self
    }

    pub fn report(self) -> Exit {
        if let Some(message) = self.message {
            eprintln!("ringlog: {message}");
        }
        self.exit
    }
}
