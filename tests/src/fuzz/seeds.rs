//! What every corpus begins with: the golden files of the format, and inputs made by the code that
//! writes. Made again by the test that replays the corpora, so that they follow the format.

use ringlog::raw::parsers::frame::{FrameHeader, FrameKind, frame_len};
use ringlog::raw::parsers::group::GroupHeader;
use ringlog::raw::parsers::limits::{BATCH_HEADER_BYTES, GROUP_HEADER_BYTES};
use ringlog::raw::{Form, encode_as};
use ringlog::{Compression, Position, Record, TimestampType};

use super::headers::{EPOCH, seed};
use crate::dice::Dice;

const CODECS: [(&str, Compression); 5] = [
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];
/// Lives and directories to begin with, and how many choices each has.
const RANDOM: u64 = 12;
const CHOICES: u64 = 400;

/// An input: its target, its name, its bytes.
pub type Input = (&'static str, String, Vec<u8>);

/// The first inputs of every target.
///
/// # Panics
/// If a golden file is missing.
pub fn seeds() -> Vec<Input> {
    let mut all = Vec::new();
    let mut add = |target, name: &str, bytes| all.push((target, format!("seed-{name}"), bytes));
    for (target, name) in [
        ("group", "group"),
        ("frame", "frame_batch"),
        ("frame", "frame_metadata"),
        ("frame", "frame_trim"),
        ("index", "index"),
        ("checkpoint", "checkpoint"),
        ("batch", "record_batch"),
    ] {
        add(target, name, golden(name));
    }
    add("segment_header", "segment_header", golden("segment_header")[..64].to_vec());
    let meta = golden("engine_meta");
    add("engine_meta", "both", [&[0], &meta[..40], &meta[..40]].concat());
    add("engine_meta", "one", [&[1], &meta[..40], &meta[..40]].concat());
    add("group", "frames", group(0x3000));
    let control = &golden("ring_control")[..272];
    add("ring", "tail", [control, &group(0x3_1000)].concat());
    for (name, compression) in CODECS {
        let batch = batch(compression);
        add("batch", name, batch.clone());
        if compression != Compression::None {
            add(name, "records", batch[BATCH_HEADER_BYTES..].to_vec());
        }
    }
    add("catalog", "changes", CATALOG.into());
    add("lines", "newlines", b"\0one\n\ntwo\r\nthree".into());
    add("lines", "nuls", b"\x01one\0two\nthree\0\0".into());
    for n in 0..RANDOM {
        for target in ["life", "directory"] {
            let mut dice = Dice::new(n);
            let bytes = (0..CHOICES).map(|_| dice.word() as u8).collect();
            add(target, &n.to_string(), bytes);
        }
    }
    all
}

const CATALOG: &str = concat!(
    r#"{"logs":{"1":{"flush":"sync","next_stream":0}},"topics":{}}"#,
    "\n",
    r#"{"log_created":{"id":2,"flush":"async"}}"#,
    "\n",
    r#"{"topic_created":{"name":"t","uuid":"00000000-0000-0000-0000-000000000007","flush":"sync","#,
    r#""compression":"lz4","partitions":3,"placement":[{"log":1,"first_stream":0,"partitions":2},"#,
    r#"{"log":2,"first_stream":5,"partitions":1}]}}"#,
    "\n",
    r#"{"topic_deleted":{"uuid":"00000000-0000-0000-0000-000000000009"}}"#,
);

/// A golden file's bytes.
fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/../engine/src/format/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut bytes: Vec<u8> = Vec::new();
    for line in text.lines().filter(|line| *line != "*") {
        let (at, row) = line.split_once(':').expect("an offset and what is there");
        let at = usize::from_str_radix(at, 16).expect("an offset");
        // A star stands for the line before it, again and again.
        while bytes.len() < at {
            bytes.extend_from_within(bytes.len() - 32..);
        }
        let digits: String = row.chars().filter(char::is_ascii_hexdigit).collect();
        if row.trim() != "end" {
            let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex");
            bytes.extend((0..digits.len()).step_by(2).map(byte));
        }
    }
    bytes
}

fn batch(compression: Compression) -> Vec<u8> {
    let value: Vec<u8> = b"all the words of a queue ".iter().copied().cycle().take(300).collect();
    let records = [
        Record::new(&value).key(b"key").header("name", Some(b"value")).header("none", None),
        Record::null_value().timestamp_ms(-5),
        Record::new(b"").timestamp_ms(7000),
    ];
    let form = Form { compression, timestamps: TimestampType::CreateTime };
    let mut batch = Vec::new();
    encode_as(&records, form, 1000, &mut batch).expect("a small batch");
    batch
}

/// A group of three frames, as it stands at this position.
fn group(position: u64) -> Vec<u8> {
    let batch = batch(Compression::None);
    let payloads: [(FrameKind, &[u8]); 3] =
        [(FrameKind::Batch, &batch), (FrameKind::Metadata, b"{}"), (FrameKind::Trim, &[0; 8])];
    let mut bytes = vec![0; GROUP_HEADER_BYTES];
    for (kind, payload) in payloads {
        let frame = FrameHeader {
            position: Position(position + bytes.len() as u64),
            payload_len: payload.len() as u32,
            epoch: EPOCH,
            stream: ringlog::raw::parsers::StreamId(1),
            kind,
            continues: false,
        };
        let end = bytes.len() + frame_len(payload.len());
        bytes.extend_from_slice(&frame.encode(seed(), &payload[..kind.covered(payload.len())]));
        bytes.extend_from_slice(payload);
        bytes.resize(end, 0);
    }
    let header = GroupHeader {
        position: Position(position),
        used_len: bytes.len() as u32,
        epoch: EPOCH,
        durable_upto: Position(0x1000),
        last: false,
        cut: false,
    };
    bytes[..GROUP_HEADER_BYTES].copy_from_slice(&header.encode(seed()));
    bytes
}
