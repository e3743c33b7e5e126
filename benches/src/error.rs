//! One error for all of the benchmarks: what was being done, and what went wrong.

use std::error::Error as StdError;
use std::fmt;

/// The benchmarks' result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure that ends the run.
#[derive(Debug)]
pub struct Error {
    doing: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure without an error below it.
    pub fn new(what: impl Into<String>) -> Self {
        Self { doing: what.into(), source: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.doing),
            None => f.write_str(&self.doing),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

/// Says what was being done when a call failed.
pub trait Context<T> {
    /// Wraps the error with `doing`.
    fn context(self, doing: impl Into<String>) -> Result<T>;
}

impl<T, E: StdError + Send + Sync + 'static> Context<T> for Result<T, E> {
    fn context(self, doing: impl Into<String>) -> Result<T> {
        self.map_err(|error| Error { doing: doing.into(), source: Some(Box::new(error)) })
    }
}
