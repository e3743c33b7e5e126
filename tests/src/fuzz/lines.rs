//! What the command line reads: values that end with a newline or a NUL byte, and where to begin.

use std::io::BufReader;

#[path = "../../../engine/src/bin/ringlog/input.rs"]
mod input;

use input::Values;

/// Values of an input; its first byte says how they end.
pub fn lines(data: &[u8]) {
    let Some((how, input)) = data.split_first() else { return };
    let end = if how & 1 == 0 { b'\n' } else { 0 };
    let mut expected: Vec<&[u8]> = input.split(|byte| *byte == end).collect();
    // The last one need not end; nothing after the last end is no value.
    if expected.last().is_some_and(|last| last.is_empty()) {
        expected.pop();
    }
    for buffer in [1, 7, 4096] {
        let mut values = Values::new(BufReader::with_capacity(buffer, input), end);
        let mut found: Vec<Vec<u8>> = Vec::new();
        while let Some(value) = values.next_value().expect("memory can be read") {
            found.push(value.to_vec());
        }
        assert_eq!(found, expected, "read {buffer} bytes at a time");
    }
}
