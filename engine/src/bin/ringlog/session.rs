//! Opening and closing the data directory around a command.

use std::path::Path;
use std::time::Duration;

use ringlog::{Backend, Engine, Error, Options};

use crate::args::{BackendArg, Place};
use crate::exit::{Exit, Failure};

/// How long closing may take: it flushes what is in flight.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// An open engine and where it is, for messages.
pub struct Session<'a> {
    pub engine: Engine,
    pub data: &'a Path,
}

impl Session<'_> {
    /// An error of the engine as the program's.
    pub fn failure(&self, error: &Error) -> Failure {
        Failure::engine(self.data, error)
    }
}

impl Place {
    /// The directory given by `--data` or the environment.
    pub fn data(&self) -> Result<&Path, Failure> {
        self.data.as_deref().ok_or_else(|| {
            Failure::new(Exit::Usage, "no data directory: use --data DIR or set RINGLOG_DATA")
        })
    }

    /// How to open it.
    pub fn options(&self, create: bool) -> Options {
        let backend = match self.backend {
            BackendArg::Auto => Backend::Auto,
            BackendArg::Uring => Backend::Uring,
            BackendArg::Plain => Backend::Plain,
        };
        let mut options =
            Engine::options().create(create).backend(backend).allow_volatile(self.allow_volatile);
        if let Some(len_bytes) = self.segment_bytes {
            options = options.segment_bytes(len_bytes);
        }
        options
    }

    /// Opens the directory only to read, beside whoever writes there, and runs `body`.
    pub fn with_reader(
        &self,
        body: impl FnOnce(&Session<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let data = self.data()?;
        let engine = Engine::options().read_only(true).open(data);
        let engine = engine.map_err(|error| Failure::engine(data, &error))?;
        body(&Session { engine, data })
    }

    /// Opens the directory, runs `body`, and closes cleanly whether that succeeded or not.
    pub fn with_engine(
        &self,
        create: bool,
        body: impl FnOnce(&Session<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let data = self.data()?;
        let options = self.options(create);
        let engine = options.open(data).map_err(|error| Failure::engine(data, &error))?;
        let session = Session { engine, data };
        let done = body(&session);
        let closed = session.engine.close(CLOSE_TIMEOUT).map_err(|error| session.failure(&error));
        // The first thing that went wrong tells more than what followed from it.
        match (done, closed) {
            (Err(failure), closed) if failure.exit == Exit::Done => closed,
            (Err(failure), _) => Err(failure),
            (Ok(()), closed) => closed,
        }
    }
}
