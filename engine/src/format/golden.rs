//! What the format's tests share: golden files and the refusal of every small damage.

use std::fmt::Write as _;

use super::Seed;

/// The log of the golden frames and groups.
pub(super) fn seed() -> Seed {
    Seed::of(uuid::Uuid::from_u128(0x5eed))
}

/// Compares `bytes` with `golden/<name>.hex`, 32 bytes a line, runs of equal lines as `*`.
/// With `RINGLOG_BLESS` in the environment the file is written instead.
pub(super) fn check(name: &str, bytes: &[u8]) {
    let path = format!("{}/src/format/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let actual = dump(bytes);
    if std::env::var_os("RINGLOG_BLESS").is_some() {
        std::fs::write(&path, &actual).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(actual, golden, "{name}: the bytes changed; that is a new format version");
}

fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut before: &[u8] = &[];
    let mut repeating = false;
    for (line, chunk) in bytes.chunks(32).enumerate() {
        if chunk == before {
            if !repeating {
                out.push_str("*\n");
            }
            repeating = true;
            continue;
        }
        repeating = false;
        before = chunk;
        write!(out, "{:05x}:", line * 32).unwrap();
        for (i, byte) in chunk.iter().enumerate() {
            let space = if i % 4 == 0 { " " } else { "" };
            write!(out, "{space}{byte:02x}").unwrap();
        }
        out.push('\n');
    }
    writeln!(out, "{:05x}: end", bytes.len()).unwrap();
    out
}

/// Every truncation, every single-bit flip and an extra byte are refused.
pub(super) fn assert_fragile(bytes: &[u8], refused: impl Fn(&[u8]) -> bool) {
    assert!(!refused(bytes), "the whole is accepted");
    for len in 0..bytes.len() {
        assert!(refused(&bytes[..len]), "cut to {len} bytes");
    }
    assert!(refused(&[bytes, &[0]].concat()), "a byte too many");
    assert_every_flip(bytes, refused);
}

/// Every single-bit flip is refused.
pub(super) fn assert_every_flip(bytes: &[u8], refused: impl Fn(&[u8]) -> bool) {
    let mut flipped = bytes.to_vec();
    for bit in 0..bytes.len() * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(refused(&flipped), "bit {bit} flipped");
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
}
