//! Files of variable length: an index, a checkpoint, and the topics of the metadata log.

use ringlog::raw::parsers::checkpoint::Checkpoint;
use ringlog::raw::parsers::index::{Directory, INDEX_HEADER_BYTES, SegmentIndex};
use ringlog::raw::parsers::{catalog as load, limits::STREAMS_MAX};

use super::{at, repair};

const ENTRY_BYTES: usize = 48;
const RUN_BYTES: usize = 24;

/// A sealed segment's index.
pub fn index(data: &[u8]) {
    one_index(data);
    let mut repaired = data.to_vec();
    repair_index(&mut repaired);
    one_index(&repaired);
}

/// Makes the lengths, the places of the runs and all checksums right.
pub(super) fn repair_index(bytes: &mut [u8]) {
    let len = bytes.len();
    let count = at(bytes, 56).map_or(0, u32::from_le_bytes) as usize;
    let directory_end = INDEX_HEADER_BYTES + count.min(len / ENTRY_BYTES) * ENTRY_BYTES;
    let mut runs_at = directory_end;
    for entry in (INDEX_HEADER_BYTES..directory_end).step_by(ENTRY_BYTES) {
        let runs = at(bytes, entry + 4).map_or(0, u32::from_le_bytes) as usize;
        let runs_end = runs_at.saturating_add(runs.saturating_mul(RUN_BYTES));
        if let Some(place) = bytes.get_mut(entry + 24..entry + 32) {
            place.copy_from_slice(&(runs_at as u64).to_le_bytes());
        }
        repair(bytes, entry + 32, runs_at, runs_end);
        runs_at = runs_end;
    }
    if let Some(place) = bytes.get_mut(48..56) {
        place.copy_from_slice(&(len as u64).to_le_bytes());
    }
    repair(bytes, 60, INDEX_HEADER_BYTES, directory_end);
    repair(bytes, 8, 12, INDEX_HEADER_BYTES);
}

fn one_index(bytes: &[u8]) {
    let whole = SegmentIndex::decode(bytes);
    let len = Directory::len_from_header(bytes);
    let Ok(directory) = Directory::decode(bytes) else {
        assert!(whole.is_err(), "an index without a directory");
        return;
    };
    assert_eq!(len, Ok(directory.len_bytes()), "the header knows the directory's length");
    assert!(directory.len_bytes() <= bytes.len());
    // As a reader does it: the directory alone, then the runs it wants.
    let head = Directory::decode(&bytes[..directory.len_bytes()]);
    assert_eq!(head.as_ref(), Ok(&directory));
    let runs: Option<Vec<_>> = directory
        .entries
        .iter()
        .map(|entry| {
            let from = usize::try_from(entry.runs_at).ok()?;
            let bytes = bytes.get(from..)?.get(..entry.runs_len_bytes())?;
            directory.decode_runs(entry, bytes).ok()
        })
        .collect();
    let Ok(index) = whole else {
        let fits = directory.file_len_bytes == bytes.len() as u64;
        assert!(runs.is_none() || !fits, "refused whole, and taken in parts");
        return;
    };
    assert_eq!(index.encode(), bytes, "as it was written");
    let parts: Vec<_> = index.streams.iter().map(|stream| stream.runs.clone()).collect();
    assert_eq!(runs, Some(parts), "whole and in parts");
    for (stream, entry) in index.streams.iter().zip(&directory.entries) {
        assert_eq!(stream.max_timestamp_ms(), entry.max_timestamp_ms);
        assert!(stream.runs.iter().all(|run| (index.base..index.end).contains(&run.position)));
    }
}

/// A checkpoint.
pub fn checkpoint(data: &[u8]) {
    one_checkpoint(data);
    let mut repaired = data.to_vec();
    if let Some(place) = repaired.get_mut(32..40) {
        place.copy_from_slice(&(data.len() as u64).to_le_bytes());
    }
    repair(&mut repaired, 8, 12, data.len());
    one_checkpoint(&repaired);
}

fn one_checkpoint(bytes: &[u8]) {
    let Ok(checkpoint) = Checkpoint::decode(bytes) else { return };
    assert_eq!(checkpoint.encode(), bytes, "as it was written");
    for entry in &checkpoint.streams {
        assert!(entry.stream.0 < STREAMS_MAX && entry.log_start <= entry.end);
    }
    let ends = checkpoint.segments.iter();
    assert!(ends.map(|s| s.base.0.checked_add(s.len_bytes)).all(|end| end.is_some()));
    let longer = [bytes, &[0]].concat();
    assert!(Checkpoint::decode(&longer).is_err(), "a byte too many");
    assert!(Checkpoint::decode(&bytes[..bytes.len() - 1]).is_err(), "a byte too few");
}

/// The metadata log's records: the first line is a checkpoint's snapshot, the others are changes.
pub fn catalog(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    let snapshot = lines.next().unwrap_or_default();
    let changes: Vec<Vec<u8>> = lines.collect();
    let Ok(all) = load(&snapshot, &changes) else { return };
    assert_eq!(load(&all, &[]).as_ref(), Ok(&all), "a snapshot loads as what it was made of");
    // A snapshot may be older than the first change that follows it, or newer.
    for before in 0..=changes.len() {
        let Ok(half) = load(&snapshot, &changes[..before]) else { continue };
        assert_eq!(load(&half, &changes[before..]).as_ref(), Ok(&all), "at change {before}");
    }
}
