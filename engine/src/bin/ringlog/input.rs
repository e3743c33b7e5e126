//! Cuts an input into values: each ends with a newline or a NUL byte, the last one may not.

use std::fmt;
use std::io::{self, BufRead, Read as _};

/// The largest value; a longer line is an error, not memory.
pub const VALUE_BYTES_MAX: usize = 16 << 20;

/// Why the input cannot go on.
#[derive(Debug)]
pub enum InputError {
    TooLong { number: u64, at_bytes: u64 },
    Io { at_bytes: u64, error: io::Error },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { number, at_bytes } => write!(
                f,
                "value {number}, from byte {at_bytes}, is over the limit of {VALUE_BYTES_MAX} bytes"
            ),
            Self::Io { at_bytes, error } => write!(f, "at byte {at_bytes}: {error}"),
        }
    }
}

/// The values of an input, one after another.
pub struct Values<R> {
    input: R,
    end: u8,
    value: Vec<u8>,
    count: u64,
    taken_bytes: u64,
}

impl<R: BufRead> Values<R> {
    pub fn new(input: R, end: u8) -> Self {
        Self { input, end, value: Vec::new(), count: 0, taken_bytes: 0 }
    }

    /// The next value, without its end; `None` after the last.
    pub fn next_value(&mut self) -> Result<Option<&[u8]>, InputError> {
        self.value.clear();
        let start = self.taken_bytes;
        let limit = VALUE_BYTES_MAX as u64 + 1;
        let read = self.input.by_ref().take(limit).read_until(self.end, &mut self.value);
        let read = read.map_err(|error| InputError::Io { at_bytes: start, error })?;
        if read == 0 {
            return Ok(None);
        }
        self.taken_bytes += read as u64;
        self.count += 1;
        if self.value.last() == Some(&self.end) {
            self.value.pop();
        } else if self.value.len() > VALUE_BYTES_MAX {
            return Err(InputError::TooLong { number: self.count, at_bytes: start });
        }
        Ok(Some(&self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(input: &[u8], end: u8) -> Vec<Vec<u8>> {
        let mut values = Values::new(input, end);
        let mut all = Vec::new();
        while let Some(value) = values.next_value().unwrap() {
            all.push(value.to_vec());
        }
        all
    }

    #[test]
    fn a_value_is_a_line_without_its_newline() {
        assert_eq!(values(b"a\nb\n", b'\n'), [b"a", b"b"]);
        assert_eq!(values(b"a\r\n\0\n", b'\n'), [b"a\r".to_vec(), b"\0".to_vec()]);
    }

    #[test]
    fn an_empty_line_counts_and_so_does_a_last_line_without_a_newline() {
        assert_eq!(values(b"\n\nb", b'\n'), [b"".to_vec(), b"".to_vec(), b"b".to_vec()]);
        assert!(values(b"", b'\n').is_empty());
    }

    #[test]
    fn values_may_end_with_nul() {
        assert_eq!(values(b"a\nb\0\0c", 0), [b"a\nb".to_vec(), b"".to_vec(), b"c".to_vec()]);
    }

    #[test]
    fn the_largest_value_passes_and_a_larger_one_is_refused_with_its_place() {
        let mut input = b"a\n".to_vec();
        input.resize(2 + VALUE_BYTES_MAX, b'x');
        assert_eq!(values(&input, b'\n')[1].len(), VALUE_BYTES_MAX);
        input.push(b'\n');
        assert_eq!(values(&input, b'\n')[1].len(), VALUE_BYTES_MAX);
        input.pop();
        input.push(b'x');
        let mut values = Values::new(&input[..], b'\n');
        values.next_value().unwrap();
        let error = values.next_value().unwrap_err();
        assert!(matches!(error, InputError::TooLong { number: 2, at_bytes: 2 }));
    }
}
