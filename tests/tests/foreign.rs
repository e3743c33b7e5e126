//! Record batches held against a Kafka client's own codec: what Ringlog writes, the client reads
//! field for field, CRC included, with every codec; what the client builds, Ringlog takes, and
//! uncompressed both write the same bytes for the same records. And both put a key into the same
//! partition.
//!
//! Needs Python with `tests/foreign/requirements.txt`; `RINGLOG_PYTHON` names the interpreter.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::Command;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringlog::{
    Compression, Engine, LeaderEpoch, Offset, Record, TimestampType, Topic, TopicSpec, raw,
};

const SEED: u64 = 0x5249_4e47;
const BATCHES: usize = 10_000;
/// Records without a timestamp get this one.
const NOW_MS: i64 = 1_750_000_000_000;
/// By Kafka's number.
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

struct OwnedRecord {
    timestamp_ms: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

struct OwnedBatch {
    base_offset: u64,
    epoch: u32,
    codec: usize,
    append_time: bool,
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
            codec: number % CODECS.len(),
            append_time: number % 7 == 3,
            records,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let records: Vec<_> = self.records.iter().map(OwnedRecord::borrow).collect();
        let mut out = Vec::new();
        let timestamps =
            if self.append_time { TimestampType::AppendTime } else { TimestampType::CreateTime };
        let form = raw::Form { compression: CODECS[self.codec], timestamps };
        raw::encode_as(&records, form, NOW_MS, &mut out).unwrap();
        out
    }

    fn time(&self, record: &OwnedRecord) -> i64 {
        record.timestamp_ms.filter(|_| !self.append_time).unwrap_or(NOW_MS)
    }

    /// What the script's documentation describes.
    fn expectation(&self, out: &mut Vec<u8>) {
        out.extend(self.base_offset.to_le_bytes());
        out.extend(self.epoch.to_le_bytes());
        out.extend((self.records.len() as u32).to_le_bytes());
        let attributes = self.codec as u32 | u32::from(self.append_time) << 3;
        out.extend(attributes.to_le_bytes());
        for record in &self.records {
            out.extend(self.time(record).to_le_bytes());
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
        let header = raw::BatchHeader::decode(bytes).unwrap();
        let plain = header.plain(bytes).unwrap();
        let read: Vec<_> = header.records(&plain).map(Result::unwrap).collect();
        assert_eq!(read.len(), self.records.len(), "batch {number}");
        for (offset, (read, record)) in (base_offset..).zip(read.iter().zip(&self.records)) {
            assert_eq!(read.offset(), Offset(offset), "batch {number}");
            assert_eq!(read.timestamp_ms(), self.time(record));
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
            if rng.random() {
                rng.fill(&mut bytes[..]);
            } else {
                // What a codec can make smaller.
                bytes.fill(rng.random_range(b'a'..b'e'));
            }
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
    let records: usize = batches.iter().map(|batch| batch.records.len()).sum();
    assert_eq!(script(command, from, to), format!("{} {records}", batches.len()));
}

/// Runs the script; answers what it says.
fn script(command: &str, from: &Path, to: &Path) -> String {
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
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
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
    let mut batches = any_batches();
    // Its builder has no append time: that is the broker's.
    for batch in &mut batches {
        batch.append_time = false;
    }
    write_expectations(&batches, &expected_path);
    run_script(&batches, "build", &expected_path, &bytes_path);
    let bytes = std::fs::read(&bytes_path).unwrap();
    let mut rest = &bytes[..];
    let mut compressed = [0; CODECS.len()];
    for (number, batch) in batches.iter_mut().enumerate() {
        let len = raw::BatchHeader::decode(rest).unwrap().len_bytes;
        let mut one = rest.split_off(..len).unwrap().to_vec();
        raw::check(&one).unwrap();
        batch.assert_read_from(&one, 0, number);
        match raw::BatchHeader::decode(&one).unwrap().compression().unwrap() {
            // It leaves a batch uncompressed that would only grow.
            Compression::None => {
                batch.codec = 0;
                assert!(one == batch.encode(), "batch {number} has other bytes");
            }
            codec => {
                assert_eq!(codec, CODECS[batch.codec], "batch {number}");
                compressed[batch.codec] += 1;
            }
        }
        raw::place(&mut one, Offset(batch.base_offset), LeaderEpoch(batch.epoch));
        raw::check(&one).unwrap();
        batch.assert_read_from(&one, batch.base_offset, number);
    }
    assert!(rest.is_empty());
    assert!(compressed[1..].iter().all(|count| *count > 20), "{compressed:?}");
}

#[test]
fn a_key_goes_to_the_partition_that_a_kafka_client_chooses() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
    for len in (0..2000).map(|at| at % 67 + 1) {
        let mut key = vec![0; len];
        rng.fill(&mut key[..]);
        keys.push(key);
    }
    let mut bytes = Vec::new();
    for key in &keys {
        put_bytes(Some(key), &mut bytes);
    }
    let (keys_path, partitions_path) = (dir.path().join("keys"), dir.path().join("partitions"));
    std::fs::write(&keys_path, bytes).unwrap();
    assert_eq!(script("keys", &keys_path, &partitions_path), keys.len().to_string());
    let chosen = std::fs::read(&partitions_path).unwrap();
    let mut chosen =
        chosen.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().unwrap()));
    let engine = Engine::options().open(dir.path().join("data")).unwrap();
    let topic = |partitions: u32| -> Topic {
        let spec = TopicSpec::new(format!("t-{partitions}")).partitions(partitions);
        engine.create_topic(spec).unwrap()
    };
    let topics = [1, 2, 3, 10, 1000].map(topic);
    for key in &keys {
        for topic in &topics {
            let partition = topic.partition_for(Some(key)).0;
            assert_eq!(Some(partition), chosen.next(), "{key:?} of {}", topic.partitions());
        }
    }
}
