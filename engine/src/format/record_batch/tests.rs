use proptest::prelude::*;

use super::*;
use crate::format::golden;

fn encoded(records: &[Record<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(records, 1_000, &mut out).unwrap();
    assert_eq!(out.len(), encoded_len(records, 1_000).unwrap());
    out
}

/// The records of an uncompressed batch.
fn records(batch: &[u8]) -> Result<Records<'_>, BatchError> {
    let header = BatchHeader::decode(batch)?;
    match header.plain(batch)? {
        Cow::Borrowed(plain) => Ok(header.records(plain)),
        Cow::Owned(_) => panic!("compressed"),
    }
}

/// Writes `bytes` at `at` and makes the CRC right again.
fn patched(batch: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&batch[BATCH_UNCOVERED_BYTES..]);
    batch[CRC_AT..BATCH_UNCOVERED_BYTES].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn sample() -> Vec<u8> {
    encoded(&[
        Record::new(b"value").key(b"key").header("h", Some(b"1")).header("h", None),
        Record::null_value().timestamp_ms(-5),
        Record::new(b"").key(b"").timestamp_ms(2_000),
    ])
}

#[test]
fn the_bytes_are_golden() {
    golden::check("record_batch", &sample());
}

#[test]
fn every_field_comes_back() {
    let mut batch = sample();
    place(&mut batch, Offset(40), LeaderEpoch(0x8000_0007));
    let header = check(&batch).unwrap();
    assert_eq!((header.base_offset, header.last_offset()), (Offset(40), Offset(42)));
    assert_eq!((header.epoch, header.record_count), (LeaderEpoch(7), 3));
    assert_eq!((header.base_timestamp_ms, header.max_timestamp_ms), (1_000, 2_000));
    let read: Vec<_> = records(&batch).unwrap().map(Result::unwrap).collect();
    assert_eq!(read.iter().map(|r| r.offset().0).collect::<Vec<_>>(), [40, 41, 42]);
    assert_eq!(read.iter().map(RecordView::timestamp_ms).collect::<Vec<_>>(), [1_000, -5, 2_000]);
    assert_eq!((read[0].key(), read[0].value()), (Some(&b"key"[..]), Some(&b"value"[..])));
    assert_eq!((read[1].key(), read[1].value()), (None, None));
    assert_eq!((read[2].key(), read[2].value()), (Some(&b""[..]), Some(&b""[..])));
    let headers: Vec<_> = read[0].headers().collect();
    assert_eq!(headers, [(&b"h"[..], Some(&b"1"[..])), (&b"h"[..], None)]);
}

#[test]
fn append_time_takes_the_place_of_every_timestamp() {
    let batch = patched(&sample(), BATCH_UNCOVERED_BYTES, &APPEND_TIME.to_be_bytes());
    check(&batch).unwrap();
    assert!(records(&batch).unwrap().all(|record| record.unwrap().timestamp_ms() == 2_000));
}

#[test]
fn extreme_timestamps_round_trip_or_are_refused() {
    for timestamp_ms in [i64::MIN, -1, 0, i64::MAX] {
        let batch = encoded(&[Record::new(b"").timestamp_ms(timestamp_ms)]);
        let record = records(&batch).unwrap().next().unwrap().unwrap();
        assert_eq!(record.timestamp_ms(), timestamp_ms);
    }
    let far = [Record::default().timestamp_ms(-2), Record::default().timestamp_ms(i64::MAX)];
    let mut out = vec![7];
    assert_eq!(encode(&far, 0, &mut out), Err(BatchError::TimestampSpread));
    assert_eq!(out, [7]);
    let near = [Record::default().timestamp_ms(0), Record::default().timestamp_ms(i64::MAX)];
    check(&encoded(&near)).unwrap();
}

#[test]
fn limits_are_refused_before_a_byte_is_written() {
    let mut out = Vec::new();
    assert_eq!(encode(&[], 0, &mut out), Err(BatchError::Empty));
    let many = vec![Record::default(); BATCH_RECORDS_MAX + 1];
    assert_eq!(
        encode(&many, 0, &mut out),
        Err(BatchError::TooMany { found: BATCH_RECORDS_MAX + 1 })
    );
    let big = vec![0; PAYLOAD_BYTES_MAX];
    let too_large = |record| encode(&[record], 0, &mut Vec::new()).unwrap_err();
    assert!(matches!(too_large(Record::new(&big)), BatchError::TooLarge { .. }));
    let name = "n".repeat(PAYLOAD_BYTES_MAX);
    assert!(matches!(
        too_large(Record::default().header(&name, None)),
        BatchError::TooLarge { .. }
    ));
    assert!(out.is_empty());
    let fits = PAYLOAD_BYTES_MAX - 75;
    check(&encoded(&[Record::new(&big[..fits])])).unwrap();
}

#[test]
fn check_refuses_what_the_engine_would_not_keep() {
    let batch = sample();
    let with = |attributes: i16| {
        check(&patched(&batch, BATCH_UNCOVERED_BYTES, &attributes.to_be_bytes())).unwrap_err()
    };
    assert_eq!(with(4), BatchError::Codec { codec: Compression::Zstd });
    assert_eq!(with(5), BatchError::Field("codec"));
    assert_eq!(with(TRANSACTIONAL), BatchError::Unsupported("transactional"));
    assert_eq!(with(CONTROL | TRANSACTIONAL), BatchError::Unsupported("control"));
    assert_eq!(with(1 << 6), BatchError::Field("attributes"));
    assert_eq!(with(i16::MIN), BatchError::Field("attributes"));
    let count = |last: i32, count: i32| {
        let batch = patched(&batch, 23, &last.to_be_bytes());
        check(&patched(&batch, 57, &count.to_be_bytes())).unwrap_err()
    };
    assert_eq!(count(3, 3), BatchError::Field("record count"));
    assert_eq!(count(1, 3), BatchError::Field("record count"));
    assert_eq!(count(1, 2), BatchError::RecordLength);
    assert_eq!(count(-1, 0), BatchError::Field("last offset"));
    assert_eq!(count(0, 0), BatchError::Empty);
    assert_eq!(count(3, 4), BatchError::Varint);
    assert_eq!(count(i32::MAX, i32::MAX), BatchError::TooMany { found: i32::MAX as usize });
    let second_delta = 61 + 22 + 4;
    assert_eq!(
        check(&patched(&batch, second_delta, &[4])),
        Err(BatchError::OffsetDelta { found: 2 })
    );
    let mut old = batch.clone();
    old[16] = 1;
    assert_eq!(check(&old), Err(BatchError::Magic(1)));
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let batch = sample();
    for len in 0..batch.len() {
        assert!(check(&batch[..len]).is_err(), "{len}");
        assert!(records(&batch[..len]).is_err(), "{len}");
    }
    let longer = [&batch[..], &[0]].concat();
    assert!(check(&longer).is_err());
    assert!(records(&longer).is_err());
}

#[test]
fn every_flipped_bit_is_refused_or_outside_the_crc() {
    let batch = sample();
    for bit in 0..batch.len() * 8 {
        let mut flipped = batch.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let placed = bit / 8 < 8 || (EPOCH_AT..PLACED_BYTES).contains(&(bit / 8));
        assert!(placed || check(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn long_varints_are_refused() {
    // One record of which the key length, -1, takes six bytes instead of one.
    let body = [0, 0, 0, 0x81, 0x80, 0x80, 0x80, 0x80, 0, 1, 0];
    let mut batch = encoded(&[Record::default()]);
    batch.truncate(BATCH_HEADER_BYTES);
    batch.push(body.len() as u8 * 2);
    batch.extend_from_slice(&body);
    let length = (batch.len() - UNCOUNTED_BYTES) as i32;
    assert_eq!(check(&patched(&batch, 8, &length.to_be_bytes())), Err(BatchError::Varint));
}

type Owned = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>, Option<i64>);

fn owned_record() -> impl Strategy<Value = Owned> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..200));
    let header = (".{0,10}", bytes());
    let timestamp = prop::option::of(i64::MIN / 4..i64::MAX / 4);
    (bytes(), bytes(), prop::collection::vec(header, 0..4), timestamp)
}

fn borrow(owned: &Owned) -> Record<'_> {
    let (key, value, headers, timestamp_ms) = owned;
    let mut record = value.as_deref().map_or_else(Record::null_value, Record::new);
    if let Some(key) = key {
        record = record.key(key);
    }
    if let Some(timestamp_ms) = timestamp_ms {
        record = record.timestamp_ms(*timestamp_ms);
    }
    headers.iter().fold(record, |record, (name, value)| record.header(name, value.as_deref()))
}

proptest! {
    #[test]
    fn any_records_round_trip(owned in prop::collection::vec(owned_record(), 1..20)) {
        let input: Vec<_> = owned.iter().map(borrow).collect();
        let batch = encoded(&input);
        check(&batch).unwrap();
        let read: Vec<_> = records(&batch).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), owned.len());
        for (read, (key, value, headers, timestamp_ms)) in read.iter().zip(&owned) {
            prop_assert_eq!(read.key(), key.as_deref());
            prop_assert_eq!(read.value(), value.as_deref());
            prop_assert_eq!(read.timestamp_ms(), timestamp_ms.unwrap_or(1_000));
            let expected: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref())).collect();
            prop_assert_eq!(read.headers().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = check(&bytes);
        let _ = records(&bytes).map(Iterator::count);
    }

    #[test]
    fn hostile_records_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300),
            count in 0_i32..40) {
        let mut batch = sample();
        batch.truncate(BATCH_HEADER_BYTES);
        batch.extend_from_slice(&bytes);
        let length = (batch.len() - UNCOUNTED_BYTES) as i32;
        let batch = patched(&batch, 8, &length.to_be_bytes());
        let batch = patched(&batch, 23, &(count - 1).max(0).to_be_bytes());
        let batch = patched(&batch, 57, &count.to_be_bytes());
        let _ = check(&batch);
        for record in records(&batch).into_iter().flatten().flatten() {
            prop_assert_eq!(record.headers().count(), record.headers().len());
        }
    }
}
