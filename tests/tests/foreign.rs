//! Record batches held against a Kafka client's own codec: what Ringlog writes, the client reads
//! field for field, CRC included; what the client builds, Ringlog takes, and both write the same
//! bytes for the same records.
//!
//! Needs Python with `tests/foreign/requirements.txt`; `RINGLOG_PYTHON` names the interpreter.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::Command;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringlog::{LeaderEpoch, Offset, Record, raw};

const SEED: u64 = 0x5249_4e47;
const BATCHES: usize = 10_000;
/// Records without a timestamp get this one.
const NOW_MS: i64 = 1_750_000_000_000;

struct OwnedRecord {
    timestamp_ms: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

struct OwnedBatch {
    base_offset: u64,
    epoch: u32,
    records: Vec<OwnedRecord>,
}

impl OwnedRecord {
    fn any(rng: &mut StdRng, base_ms: i64, value_len_max: usize) -> Self {
        let header = |rng: &mut StdRng| {
            let name = ["", "a", "a", "trace-id", "größe", "\u{1f980}"][rng.random_range(0..6)];
            (name.to_owned(), any_bytes(rng, 20))
        };
        let header_count = if rng.random_ratio(1, 4) { rng.random_range(0..5) } else { 0 };
        Self {
            timestamp_ms: any_timestamp(rng, base_ms),
            key: any_bytes(rng, 30),
            value: any_bytes(rng, value_len_max),
            headers: (0..header_count).map(|_| header(rng)).collect(),
        }
    }

    fn borrow(&self) -> Record<'_> {
        let mut record = self.value.as_deref().map_or_else(Record::null_value, Record::new);
        if let Some(key) = &self.key {
            record = record.key(key);
        }
        if let Some(timestamp_ms) = self.timestamp_ms {
            record = record.timestamp_ms(timestamp_ms);
        }
        for (name, value) in &self.headers {
            record = record.header(name, value.as_deref());
        }
        record
    }
}

impl OwnedBatch {
    fn any(rng: &mut StdRng, number: usize) -> Self {
        let (count, value_len_max) = match number {
            0..5 => (10_000, 20),
            5..10 => (1, 1 << 20),
            _ if number.is_multiple_of(50) => (rng.random_range(1..=500), 100),
            _ => (rng.random_range(1..=5), 300),
        };
        // Bases next to an end of the range leave room for the other records on one side only.
        let base_ms = match rng.random_range(0..8) {
            0 => i64::MIN,
            1 => i64::MAX,
            2 => rng.random_range(-2..3),
            3 => rng.random(),
            _ => NOW_MS,
        };
        let mut records: Vec<_> =
            (0..count).map(|_| OwnedRecord::any(rng, base_ms, value_len_max)).collect();
        records[0].timestamp_ms = Some(base_ms);
        Self {
            base_offset: rng.random_range(0..=(i64::MAX - 10_000) as u64),
            epoch: rng.random_range(0..=i32::MAX as u32),
            records,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let records: Vec<_> = self.records.iter().map(OwnedRecord::borrow).collect();
        let mut out = Vec::new();
        raw::encode(&records, NOW_MS, &mut out).unwrap();
        out
    }

    /// What the script's documentation describes.
    fn expectation(&self, out: &mut Vec<u8>) {
        out.extend(self.base_offset.to_le_bytes());
        out.extend(self.epoch.to_le_bytes());
        out.extend((self.records.len() as u32).to_le_bytes());
        for record in &self.records {
            out.extend(record.timestamp_ms.unwrap_or(NOW_MS).to_le_bytes());
            put_bytes(record.key.as_deref(), out);
            put_bytes(record.value.as_deref(), out);
            out.extend((record.headers.len() as u32).to_le_bytes());
            for (name, value) in &record.headers {
                put_bytes(Some(name.as_bytes()), out);
                put_bytes(value.as_deref(), out);
            }
        }
    }

    fn assert_read_from(&self, bytes: &[u8], base_offset: u64, number: usize) {
        let read: Vec<_> = raw::records(bytes).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.len(), self.records.len(), "batch {number}");
        for (offset, (read, record)) in (base_offset..).zip(read.iter().zip(&self.records)) {
            assert_eq!(read.offset(), Offset(offset), "batch {number}");
            assert_eq!(read.timestamp_ms(), record.timestamp_ms.unwrap_or(NOW_MS));
            assert_eq!(read.key(), record.key.as_deref(), "batch {number}");
            assert_eq!(read.value(), record.value.as_deref(), "batch {number}");
            let headers = record.headers.iter();
            let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_deref()));
            assert!(read.headers().eq(headers), "batch {number}");
        }
    }
}

fn any_bytes(rng: &mut StdRng, len_max: usize) -> Option<Vec<u8>> {
    match rng.random_range(0..8) {
        0 => None,
        1 => Some(Vec::new()),
        _ => {
            let mut bytes = vec![0; rng.random_range(1..=len_max)];
            rng.fill(&mut bytes[..]);
            Some(bytes)
        }
    }
}

/// A time whose distance from `base_ms` fits an `i64`; `None` only where now's does.
fn any_timestamp(rng: &mut StdRng, base_ms: i64) -> Option<i64> {
    match rng.random_range(0..8) {
        0 if base_ms == NOW_MS => None,
        1 => Some(base_ms.saturating_add(rng.random_range(i64::MIN..=i64::MAX))),
        _ => Some(base_ms.saturating_add(rng.random_range(-1_000..1_000))),
    }
}

fn put_bytes(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend(bytes.map_or(-1, |bytes| bytes.len() as i32).to_le_bytes());
    out.extend(bytes.unwrap_or_default());
}

fn any_batches() -> Vec<OwnedBatch> {
    let mut rng = StdRng::seed_from_u64(SEED);
    (0..BATCHES).map(|number| OwnedBatch::any(&mut rng, number)).collect()
}

fn write_expectations(batches: &[OwnedBatch], path: &Path) {
    let mut expected = Vec::new();
    for batch in batches {
        batch.expectation(&mut expected);
    }
    std::fs::write(path, expected).unwrap();
}

/// Runs the script, which says how many batches and records it saw.
fn run_script(batches: &[OwnedBatch], command: &str, from: &Path, to: &Path) {
    let foreign = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign");
    let python = std::env::var_os("RINGLOG_PYTHON").unwrap_or_else(|| "python3".into());
    let can_import = Command::new(&python).args(["-c", "import kafka.record"]).output();
    assert!(
        can_import.is_ok_and(|output| output.status.success()),
        "{} cannot import kafka-python; run `{0} -m pip install -r {}`, or name a Python that \
         has it in RINGLOG_PYTHON",
        python.display(),
        foreign.join("requirements.txt").display(),
    );
    let output = Command::new(&python)
        .arg(foreign.join("record_batch.py"))
        .arg(command)
        .args([from, to])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command} failed, seed {SEED:#x}: {errors}");
    let records: usize = batches.iter().map(|batch| batch.records.len()).sum();
    let counts = String::from_utf8_lossy(&output.stdout);
    assert_eq!(counts.trim(), format!("{} {records}", batches.len()));
}

#[test]
fn a_kafka_client_reads_every_field_of_our_batches() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes_path, expected_path) = (dir.path().join("batches"), dir.path().join("expected"));
    let batches = any_batches();
    let mut bytes = Vec::new();
    for batch in &batches {
        let mut one = batch.encode();
        raw::place(&mut one, Offset(batch.base_offset), LeaderEpoch(batch.epoch));
        raw::check(&one).unwrap();
        bytes.append(&mut one);
    }
    std::fs::write(&bytes_path, bytes).unwrap();
    write_expectations(&batches, &expected_path);
    run_script(&batches, "parse", &bytes_path, &expected_path);
}

#[test]
fn we_read_every_field_of_a_kafka_clients_batches_and_write_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes_path, expected_path) = (dir.path().join("batches"), dir.path().join("expected"));
    let batches = any_batches();
    write_expectations(&batches, &expected_path);
    run_script(&batches, "build", &expected_path, &bytes_path);
    let bytes = std::fs::read(&bytes_path).unwrap();
    let mut rest = &bytes[..];
    for (number, batch) in batches.iter().enumerate() {
        let len = raw::BatchHeader::decode(rest).unwrap().len_bytes;
        let mut one = rest.split_off(..len).unwrap().to_vec();
        raw::check(&one).unwrap();
        batch.assert_read_from(&one, 0, number);
        assert!(one == batch.encode(), "batch {number} has other bytes");
        raw::place(&mut one, Offset(batch.base_offset), LeaderEpoch(batch.epoch));
        raw::check(&one).unwrap();
        batch.assert_read_from(&one, batch.base_offset, number);
    }
    assert!(rest.is_empty());
}
