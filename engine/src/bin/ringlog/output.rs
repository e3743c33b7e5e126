//! Standard output, buffered, with its errors as [`Failure`]s.

use std::fmt::Arguments;
use std::io::{self, BufWriter, StdoutLock, Write as _};

use serde::Serialize;

use super::exit::Failure;

const BUFFER_BYTES: usize = 256 << 10;

pub struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub fn new() -> Self {
        Self(BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()))
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes).map_err(|error| Failure::output(&error))
    }

    pub fn line(&mut self, line: Arguments<'_>) -> Result<(), Failure> {
        self.0
            .write_fmt(line)
            .and_then(|()| self.0.write_all(b"\n"))
            .map_err(|error| Failure::output(&error))
    }

    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).expect("our own types are JSON");
        self.line(format_args!("{text}"))
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(|error| Failure::output(&error))
    }
}
