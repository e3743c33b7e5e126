//! Record batches, and what each codec makes of bytes that claim to be compressed with it.

use ringlog::raw::parsers::decompress;
use ringlog::raw::parsers::limits::{
    BATCH_HEADER_BYTES, BATCH_UNCOVERED_BYTES, DECOMPRESSED_BYTES_MAX,
};
use ringlog::raw::{BatchError, BatchHeader, Form, check, encode_as, place, verify_crc};
use ringlog::{Compression, Headers, LeaderEpoch, Offset, Record, RecordView, TimestampType};

/// A cap that small inputs can pass.
const SMALL_CAP: usize = 10_000;
/// In the order of their numbers in a batch's attributes.
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];
const CRC_AT: usize = 17;
const LENGTH_AT: usize = 8;
const ATTRIBUTES_AT: usize = 22;

/// A record batch, ready-made, as somebody may append it.
pub fn batch(data: &[u8]) {
    one_batch(data);
    let mut repaired = data.to_vec();
    if repaired.len() >= BATCH_HEADER_BYTES {
        let length = (data.len() - 12) as u32;
        repaired[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
        seal(&mut repaired);
    }
    one_batch(&repaired);
}

/// Makes the CRC right, if there is a place for it.
pub(super) fn seal(batch: &mut [u8]) {
    if batch.len() < BATCH_UNCOVERED_BYTES {
        return;
    }
    let crc = crc32c::crc32c(&batch[BATCH_UNCOVERED_BYTES..]);
    batch[CRC_AT..BATCH_UNCOVERED_BYTES].copy_from_slice(&crc.to_be_bytes());
}

fn one_batch(bytes: &[u8]) {
    let Ok(header) = check(bytes) else { return refused(bytes) };
    assert_eq!(BatchHeader::decode(bytes), Ok(header));
    assert_eq!(header.len_bytes, bytes.len());
    assert!(verify_crc(bytes));
    assert!(check(&bytes[..bytes.len() - 1]).is_err(), "cut short");
    let plain = header.plain(bytes).expect("checked");
    assert!(plain.len() <= DECOMPRESSED_BYTES_MAX);
    let views: Vec<RecordView<'_>> =
        header.records(&plain).collect::<Result<_, _>>().expect("checked");
    assert_eq!(views.len(), header.record_count as usize);
    for (n, view) in views.iter().enumerate() {
        assert_eq!(view.offset(), header.base_offset + n as u64, "offsets are dense");
        two_ways_through_headers(view);
    }
    // Its place is not covered by its CRC.
    let mut placed = bytes.to_vec();
    place(&mut placed, Offset(77), LeaderEpoch(5));
    let there = check(&placed).expect("a batch keeps its worth where it is put");
    assert_eq!((there.base_offset, there.epoch), (Offset(77), LeaderEpoch(5)));
    again(&header, &views);
}

/// What is refused whole may still be read by whoever trusts a frame's checksum: it must end.
fn refused(bytes: &[u8]) {
    let Ok(header) = BatchHeader::decode(bytes) else { return };
    let Ok(plain) = header.plain(bytes) else { return };
    assert!(plain.len() <= DECOMPRESSED_BYTES_MAX);
    let most = header.record_count as usize + 1;
    assert!(header.records(&plain).take(most + 1).count() <= most, "an iterator goes on");
}

fn two_ways_through_headers(view: &RecordView<'_>) {
    let count = view.headers().len();
    let all: Vec<_> = view.headers().collect();
    assert_eq!(all.len(), count, "headers that were counted are there");
    let mut encoded = view.headers().encoded();
    let mut others = Vec::new();
    while let Some(header) = Headers::next_encoded(&mut encoded) {
        others.push(header);
    }
    assert_eq!(all, others);
}

/// What was parsed, encoded again with every codec, parses as the same.
fn again(header: &BatchHeader, views: &[RecordView<'_>]) {
    let Some(records) = views.iter().map(record).collect::<Option<Vec<_>>>() else { return };
    for compression in CODECS {
        let form = Form { compression, timestamps: TimestampType::CreateTime };
        let mut batch = Vec::new();
        match encode_as(&records, form, 0, &mut batch) {
            // A base timestamp far from the records' own, or fields of more bytes than needed.
            Err(BatchError::TimestampSpread | BatchError::TooLarge { .. }) => continue,
            encoded => drop(encoded.expect("records of a batch make a batch")),
        }
        let other = check(&batch).expect("what we encode passes our check");
        assert_eq!(other.compression(), Ok(compression));
        let plain = other.plain(&batch).expect("checked");
        let others = other.records(&plain).map(|view| view.expect("checked"));
        let same = |a: &RecordView<'_>, b: &RecordView<'_>| {
            (a.key(), a.value(), a.timestamp_ms()) == (b.key(), b.value(), b.timestamp_ms())
                && a.headers().eq(b.headers())
        };
        assert!(views.len() == other.record_count as usize);
        assert!(views.iter().zip(others).all(|(a, b)| same(a, &b)), "{header:?}, {compression}");
    }
}

/// `None` for a header whose name is no text, which our own API does not take.
fn record<'a>(view: &RecordView<'a>) -> Option<Record<'a>> {
    let mut record = view.value().map_or_else(Record::null_value, Record::new);
    record = record.timestamp_ms(view.timestamp_ms());
    if let Some(key) = view.key() {
        record = record.key(key);
    }
    for (name, value) in view.headers() {
        record = record.header(str::from_utf8(name).ok()?, value);
    }
    Some(record)
}

/// A gzip stream.
pub fn gzip(data: &[u8]) {
    codec(Compression::Gzip, data);
}

/// Snappy, with the header of `snappy-java` or bare.
pub fn snappy(data: &[u8]) {
    codec(Compression::Snappy, data);
}

/// LZ4 frames.
pub fn lz4(data: &[u8]) {
    codec(Compression::Lz4, data);
}

/// Zstd frames.
pub fn zstd(data: &[u8]) {
    codec(Compression::Zstd, data);
}

/// Compressed bytes: within their cap, to the byte, and as the records of a batch.
fn codec(codec: Compression, data: &[u8]) {
    let whole = decompress(codec, data, DECOMPRESSED_BYTES_MAX);
    let small = decompress(codec, data, SMALL_CAP);
    let Ok(plain) = whole else {
        assert!(small.is_err(), "too much for the large cap, and not for the small one");
        return;
    };
    assert!(plain.len() <= DECOMPRESSED_BYTES_MAX);
    if let Ok(small) = &small {
        assert!(*small == plain && plain.len() <= SMALL_CAP);
    }
    if plain.len() > SMALL_CAP {
        assert_eq!(small, Err(BatchError::Expands { max: SMALL_CAP }));
        return;
    }
    assert_eq!(decompress(codec, data, plain.len()).as_ref(), Ok(&plain), "to the byte");
    if let Some(less) = plain.len().checked_sub(1) {
        assert_eq!(decompress(codec, data, less), Err(BatchError::Expands { max: less }));
    }
    same_in_a_batch(codec, data, &plain);
}

/// A batch of these bytes is taken if and only if it is taken with the records as they are.
fn same_in_a_batch(codec: Compression, data: &[u8], plain: &[u8]) {
    // How many there are, nobody knows: the delta of the last one tells, for most inputs.
    let count = (1..=4).find(|count| check(&header(0, *count, plain)).is_ok()).unwrap_or(1);
    let number = CODECS.iter().position(|known| *known == codec).expect("a codec") as u8;
    let bare = check(&header(0, count, plain));
    let packed = check(&header(number, count, data));
    assert_eq!(bare.is_ok(), packed.is_ok(), "{bare:?}, {packed:?}");
    if let Ok(packed) = packed {
        assert_eq!(packed.compression(), Ok(codec));
    }
}

/// A batch of `count` records whose bytes are `section`.
fn header(codec: u8, count: u32, section: &[u8]) -> Vec<u8> {
    let mut batch = vec![0; BATCH_HEADER_BYTES];
    batch[LENGTH_AT..LENGTH_AT + 4]
        .copy_from_slice(&((BATCH_HEADER_BYTES - 12 + section.len()) as u32).to_be_bytes());
    batch[16] = 2;
    batch[ATTRIBUTES_AT] = codec;
    batch[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    batch[43..57].fill(0xff);
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    batch.extend_from_slice(section);
    seal(&mut batch);
    batch
}
