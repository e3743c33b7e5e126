use proptest::prelude::*;

use super::*;
use crate::format::golden;

fn run(first_offset: u64, position: u64) -> RunEntry {
    let max_timestamp_ms = 1000 - (first_offset as i64);
    let first_offset = Offset(first_offset);
    RunEntry { first_offset, position: Position(position), max_timestamp_ms }
}

fn sample() -> SegmentIndex {
    let stream = |stream, first, end, runs: &[RunEntry]| StreamIndex {
        stream: StreamId(stream),
        first: Offset(first),
        end: Offset(end),
        runs: runs.to_vec(),
    };
    SegmentIndex {
        log: Uuid::from_u128(11),
        base: Position(0x10_0000),
        end: Position(0x20_0000),
        streams: vec![
            stream(1, 100, 300, &[run(100, 0x10_1040), run(250, 0x10_5040)]),
            stream(2, 7, 7, &[]),
            stream(9, 0, 1, &[run(0, 0x1f_f040)]),
        ],
    }
}

/// The sample with `bytes` at `at`, and all three kinds of checksum made right again.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut all = sample().encode();
    all[at..at + bytes.len()].copy_from_slice(bytes);
    let runs = [(64, 208..256), (112, 256..256), (160, 256..280)];
    for (entry, runs) in runs {
        let checksum = crc32c::crc32c(&all[runs]);
        all[entry + 32..entry + 36].copy_from_slice(&checksum.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&all[64..208]);
    all[60..64].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc32c::crc32c(&all[COVERED_FROM..64]);
    all[8..12].copy_from_slice(&checksum.to_le_bytes());
    all
}

#[test]
fn the_bytes_are_golden_and_come_back() {
    let bytes = sample().encode();
    golden::check("index", &bytes);
    assert_eq!(SegmentIndex::decode(&bytes), Ok(sample()));
    let empty = SegmentIndex { streams: Vec::new(), ..sample() };
    assert_eq!(SegmentIndex::decode(&empty.encode()), Ok(empty));
}

#[test]
fn a_directory_is_read_without_the_runs() {
    let bytes = sample().encode();
    let len = Directory::len_from_header(&bytes[..INDEX_HEADER_BYTES]).unwrap();
    let directory = Directory::decode(&bytes[..len]).unwrap();
    assert_eq!((directory.len_bytes(), directory.file_len_bytes), (len, bytes.len() as u64));
    for stream in &sample().streams {
        let is_its = |entry: &&DirectoryEntry| entry.stream == stream.stream;
        let entry = directory.entries.iter().find(is_its).unwrap();
        assert_eq!((entry.first, entry.end), (stream.first, stream.end));
        assert_eq!(entry.max_timestamp_ms, stream.max_timestamp_ms());
        let at = entry.runs_at as usize;
        let runs = &bytes[at..at + entry.runs_len_bytes()];
        assert_eq!(directory.decode_runs(entry, runs).as_ref(), Ok(&stream.runs));
        assert_eq!(directory.decode_runs(entry, &bytes), Err(IndexError::Length));
    }
    assert_eq!(directory.entries.len(), sample().streams.len());
    for len in 0..len {
        assert!(Directory::decode(&bytes[..len]).is_err(), "{len}");
    }
}

#[test]
fn every_truncation_extension_and_flipped_bit_is_refused() {
    golden::assert_fragile(&sample().encode(), |bytes| SegmentIndex::decode(bytes).is_err());
}

#[test]
fn fields_that_lie_are_refused_even_when_checksummed() {
    let refused = |at, bytes: &[u8]| SegmentIndex::decode(&patched(at, bytes)).unwrap_err();
    assert_eq!(refused(12, &7_u32.to_le_bytes()), IndexError::Version(7));
    assert_eq!(refused(40, &[0; 8]), IndexError::Field("end"));
    assert_eq!(refused(40, &[0xff; 8]), IndexError::Field("end"));
    let end = |beyond: u64| (0x10_0000 + SEGMENT_BYTES_MAX + beyond).to_le_bytes();
    assert!(SegmentIndex::decode(&patched(40, &end(0))).is_ok());
    assert_eq!(refused(40, &end(1)), IndexError::Field("end"));
    assert_eq!(refused(48, &[0xff; 8]), IndexError::Field("file length"));
    assert_eq!(refused(56, &[0xff; 4]), IndexError::Field("number of streams"));
    assert_eq!(refused(64, &[9]), IndexError::Field("order of streams"));
    assert_eq!(refused(68, &[0xff; 4]), IndexError::Field("entry"));
    assert_eq!(refused(68, &[1]), IndexError::Field("place of runs"));
    assert_eq!(refused(80, &[0; 8]), IndexError::Field("entry"));
    assert_eq!(refused(88, &[0xff; 8]), IndexError::Field("place of runs"));
    assert_eq!(refused(100, &[1]), IndexError::Field("entry"));
    assert_eq!(refused(208, &[99]), IndexError::Field("order of runs"));
    assert_eq!(refused(216, &[0xff; 8]), IndexError::Field("order of runs"));
    assert_eq!(refused(232, &[100]), IndexError::Field("order of runs"));
    assert_eq!(refused(104, &[0xff]), IndexError::Field("latest timestamp"));
    assert_eq!(refused(224, &[0xff; 4]), IndexError::Field("latest timestamp"));
}

/// An index in which each stream has this many runs.
fn index_of(run_counts: &[usize]) -> SegmentIndex {
    let base = 0x10_0000;
    let mut streams = Vec::new();
    for (i, &count) in run_counts.iter().enumerate() {
        let runs = (0..count as u64).map(|k| run(10 + 3 * k, base + 64 * (k + 1))).collect();
        let end = Offset(10 + 3 * count as u64);
        streams.push(StreamIndex { stream: StreamId(2 * i as u32), first: Offset(10), end, runs });
    }
    let end = Position(base + 64 * 1000);
    SegmentIndex { log: Uuid::from_u128(1), base: Position(base), end, streams }
}

proptest! {
    #[test]
    fn any_index_round_trips(run_counts in prop::collection::vec(0_usize..100, 0..50)) {
        let index = index_of(&run_counts);
        prop_assert_eq!(SegmentIndex::decode(&index.encode()), Ok(index));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(SegmentIndex::decode(&bytes).is_err());
        prop_assert!(Directory::len_from_header(&bytes).is_err());
    }

    #[test]
    fn hostile_checksummed_bytes_never_panic(
        at in 16_usize..240,
        bytes in prop::collection::vec(any::<u8>(), 0..32),
    ) {
        let bytes = patched(at, &bytes);
        let _ = SegmentIndex::decode(&bytes);
        let _ = Directory::decode(&bytes);
    }
}
