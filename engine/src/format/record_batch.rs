//! Kafka's `RecordBatch` v2 (magic 2), byte for byte: what an append writes and a reader gets.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | base offset: the first record's |
//! | 8 | 4 | length in bytes of what follows this field |
//! | 12 | 4 | partition leader epoch |
//! | 16 | 1 | magic, 2 |
//! | 17 | 4 | CRC32C over bytes 21 to the end |
//! | 21 | 2 | attributes |
//! | 23 | 4 | offset of the last record minus the base offset |
//! | 27 | 8 | base timestamp: the first record's |
//! | 35 | 8 | maximum timestamp |
//! | 43 | 8 | producer id, -1: none |
//! | 51 | 2 | producer epoch, -1: none |
//! | 53 | 4 | sequence number of the first record, -1: none |
//! | 57 | 4 | number of records |
//! | 61 | | the records, one after the other |
//!
//! The attributes:
//!
//! | bit | meaning |
//! |---|---|
//! | 0, 1, 2 | compression: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd |
//! | 3 | every record's timestamp is the maximum timestamp, the append's |
//! | 4 | part of a transaction |
//! | 5 | control batch |
//! | 6 | the base timestamp is a delete horizon |
//!
//! The CRC covers the records as they stand there: compressed, if they are.
//!
//! Integers are big-endian here; [`record`](super::record) has the records. The engine takes
//! ready-made batches that [`check`] accepts.

use zerocopy::big_endian::{I16, I32, I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use std::borrow::Cow;

use super::compression;
use super::record::{self, Base, RECORD_BYTES_MIN, varint_len};
use crate::checksum;
use crate::config::{Compression, TimestampType};
use crate::error::Error;
use crate::ids::{LeaderEpoch, Offset};
use crate::limits::{
    BATCH_HEADER_BYTES, BATCH_RECORDS_MAX, BATCH_UNCOVERED_BYTES, DECOMPRESSED_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
};

pub use super::record::{Headers, Record, RecordView};

const MAGIC: u8 = 2;
/// Bytes that the length field does not count: the base offset and itself.
const UNCOUNTED_BYTES: usize = 12;
const CRC_AT: usize = 17;
const EPOCH_AT: usize = 12;
const PLACED_BYTES: usize = EPOCH_AT + 4;

const COMPRESSION_MASK: i16 = 0b111;
const ATTRIBUTES_AT: usize = 21;
const LENGTH_AT: usize = 8;
const MAX_TIMESTAMP_AT: usize = 35;
const APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

const _: () = assert!(size_of::<Raw>() == BATCH_HEADER_BYTES);
const _: () = assert!(CRC_AT + size_of::<u32>() == BATCH_UNCOVERED_BYTES);
const _: () = assert!(PAYLOAD_BYTES_MAX <= i32::MAX as usize);
const _: () = assert!(BATCH_RECORDS_MAX <= i32::MAX as usize);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    base_offset: I64,
    length: I32,
    epoch: I32,
    magic: u8,
    crc: U32,
    attributes: I16,
    last_offset_delta: I32,
    base_timestamp: I64,
    max_timestamp: I64,
    producer_id: I64,
    producer_epoch: I16,
    base_sequence: I32,
    record_count: I32,
}

/// Why records make no batch, or bytes are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// A batch has at least one record.
    #[error("no records")]
    Empty,
    /// More records than `limits::BATCH_RECORDS_MAX`.
    #[error("{found} records are over the limit of {BATCH_RECORDS_MAX}")]
    TooMany {
        /// Their number.
        found: usize,
    },
    /// More bytes than `limits::PAYLOAD_BYTES_MAX`.
    #[error("at least {found} bytes are over the limit of {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Bytes counted when the limit was passed.
        found: usize,
    },
    /// Two timestamps in the batch are further apart than an `i64` holds; readers would disagree.
    #[error("timestamps are too far apart for one batch")]
    TimestampSpread,
    /// The bytes end before the batch does, or the batch before the bytes.
    #[error("{given} bytes for a batch of {needed}")]
    Length {
        /// Bytes given.
        given: usize,
        /// Bytes that the batch has, as far as is known.
        needed: usize,
    },
    /// Another version of the format.
    #[error("record format {0}, only 2 is read")]
    Magic(u8),
    /// The checksum differs.
    #[error("batch checksum differs")]
    Checksum,
    /// A header field is out of range.
    #[error("{0} out of range")]
    Field(&'static str),
    /// The records do not decompress.
    #[error("the records are no {codec}")]
    Codec {
        /// What they should be compressed with.
        codec: Compression,
    },
    /// The records are compressed and too large once they are not.
    #[error("the records are over the limit of {max} bytes when decompressed")]
    Expands {
        /// The limit.
        max: usize,
    },
    /// An attribute whose meaning the engine would not keep: transactions, control batches.
    #[error("{0} batches are not taken")]
    Unsupported(&'static str),
    /// A varint that does not end, is too long, or is negative where a length stands.
    #[error("malformed number in a record")]
    Varint,
    /// A record's fields and its length disagree, or reach beyond the batch.
    #[error("record length differs")]
    RecordLength,
    /// A record's offset is not the one that follows, or lies beyond the batch's last.
    #[error("record with offset delta {found} out of place")]
    OffsetDelta {
        /// That delta.
        found: usize,
    },
}

impl From<BatchError> for Error {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Empty | BatchError::TimestampSpread => {
                Self::invalid("records", error.to_string())
            }
            BatchError::TooMany { found } => {
                Self::TooLarge { what: "number of records", len: found, max: BATCH_RECORDS_MAX }
            }
            BatchError::TooLarge { found } => {
                Self::TooLarge { what: "record batch", len: found, max: PAYLOAD_BYTES_MAX }
            }
            other => Self::InvalidBatch { reason: other.to_string() },
        }
    }
}

/// What the header needs to know of the records.
struct Plan {
    len: usize,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl Plan {
    fn of(
        records: &[Record<'_>],
        timestamps: TimestampType,
        now_ms: i64,
    ) -> Result<Self, BatchError> {
        let first = records.first().ok_or(BatchError::Empty)?;
        let base_timestamp_ms = first.time(timestamps, now_ms);
        if records.len() > BATCH_RECORDS_MAX {
            return Err(BatchError::TooMany { found: records.len() });
        }
        let mut plan =
            Self { len: BATCH_HEADER_BYTES, base_timestamp_ms, max_timestamp_ms: i64::MIN };
        for (index, record) in records.iter().enumerate() {
            let timestamp_ms = record.time(timestamps, now_ms);
            let delta =
                timestamp_ms.checked_sub(base_timestamp_ms).ok_or(BatchError::TimestampSpread)?;
            let body_len = record.body_len(delta, index);
            plan.len = plan.len.saturating_add(body_len).saturating_add(varint_len(body_len));
            if plan.len > PAYLOAD_BYTES_MAX {
                return Err(BatchError::TooLarge { found: plan.len });
            }
            plan.max_timestamp_ms = plan.max_timestamp_ms.max(timestamp_ms);
        }
        Ok(plan)
    }

    fn header(&self, record_count: usize, form: Form) -> Raw {
        let none = -1;
        Raw {
            base_offset: I64::ZERO,
            length: ((self.len - UNCOUNTED_BYTES) as i32).into(),
            epoch: I32::ZERO,
            magic: MAGIC,
            crc: U32::ZERO,
            attributes: form.attributes().into(),
            last_offset_delta: (record_count as i32 - 1).into(),
            base_timestamp: self.base_timestamp_ms.into(),
            max_timestamp: self.max_timestamp_ms.into(),
            producer_id: i64::from(none).into(),
            producer_epoch: (none as i16).into(),
            base_sequence: none.into(),
            record_count: (record_count as i32).into(),
        }
    }
}

/// Length of what [`encode`] would append, or why it would refuse.
pub fn encoded_len(records: &[Record<'_>], now_ms: i64) -> Result<usize, BatchError> {
    Plan::of(records, TimestampType::CreateTime, now_ms).map(|plan| plan.len)
}

/// How records become a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The codec. The records are compressed with it even where that makes them longer, as Kafka's
    /// producers do.
    pub compression: Compression,
    /// Whose time they have.
    pub timestamps: TimestampType,
}

impl Form {
    fn attributes(self) -> i16 {
        let codec = match self.compression {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        };
        codec | if self.timestamps == TimestampType::AppendTime { APPEND_TIME } else { 0 }
    }
}

/// Appends one batch of these records to `out`: uncompressed, without a producer, from offset 0,
/// checksummed. A record without a timestamp gets `now_ms`. On an error `out` is as before.
pub fn encode(records: &[Record<'_>], now_ms: i64, out: &mut Vec<u8>) -> Result<(), BatchError> {
    encode_as(records, Form::default(), now_ms, out).map(drop)
}

/// As [`encode`], in this form; answers the batch's latest timestamp.
pub fn encode_as(
    records: &[Record<'_>],
    form: Form,
    now_ms: i64,
    out: &mut Vec<u8>,
) -> Result<i64, BatchError> {
    let start = out.len();
    let max_timestamp_ms = encode_unsealed(records, form, now_ms, out)?;
    seal(&mut out[start..]);
    Ok(max_timestamp_ms)
}

/// As [`encode_as`], but for the checksum, which [`seal`] sets: a record that joins another batch
/// needs none.
pub fn encode_unsealed(
    records: &[Record<'_>],
    form: Form,
    now_ms: i64,
    out: &mut Vec<u8>,
) -> Result<i64, BatchError> {
    let plan = Plan::of(records, form.timestamps, now_ms)?;
    let start = out.len();
    out.reserve(plan.len);
    out.extend_from_slice(plan.header(records.len(), form).as_bytes());
    for (index, record) in records.iter().enumerate() {
        let timestamp_ms = record.time(form.timestamps, now_ms);
        let delta = timestamp_ms.wrapping_sub(plan.base_timestamp_ms);
        record.put(record.body_len(delta, index), delta, index, out);
    }
    debug_assert_eq!(out.len() - start, plan.len, "the records are as long as planned");
    if form.compression != Compression::None {
        let section = out.split_off(start + BATCH_HEADER_BYTES);
        if let Err(error) = compression::compress(form.compression, &section, out) {
            out.truncate(start);
            return Err(error);
        }
        let len = out.len() - start;
        // Nothing is that much longer; the length field must hold it.
        if len > i32::MAX as usize {
            out.truncate(start);
            return Err(BatchError::TooLarge { found: len });
        }
        let length = ((len - UNCOUNTED_BYTES) as i32).to_be_bytes();
        out[start + LENGTH_AT..start + EPOCH_AT].copy_from_slice(&length);
    }
    Ok(plan.max_timestamp_ms)
}

/// Sets the checksum of a batch whose other bytes stand.
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn seal(batch: &mut [u8]) {
    let crc = checksum::crc32c(&batch[BATCH_UNCOVERED_BYTES..]);
    batch[CRC_AT..BATCH_UNCOVERED_BYTES].copy_from_slice(&crc.to_be_bytes());
}

/// Makes `max_timestamp_ms` the latest of a checked batch; with `append_time`, that of all its
/// records.
pub fn stamp(batch: &mut [u8], max_timestamp_ms: i64, append_time: bool) {
    batch[MAX_TIMESTAMP_AT..][..8].copy_from_slice(&max_timestamp_ms.to_be_bytes());
    if append_time {
        // The low byte of the two.
        batch[ATTRIBUTES_AT + 1] |= APPEND_TIME as u8;
    }
    seal(batch);
}

/// Gives a batch its place: base offset and the low 31 bits of the epoch, both outside its CRC.
///
/// # Panics
/// If `batch` is shorter than the two fields; it must have been encoded or checked.
pub fn place(batch: &mut [u8], base_offset: Offset, epoch: LeaderEpoch) {
    batch[..8].copy_from_slice(&base_offset.0.to_be_bytes());
    let epoch = epoch.0 & i32::MAX as u32;
    batch[EPOCH_AT..PLACED_BYTES].copy_from_slice(&epoch.to_be_bytes());
}

/// A batch of one plain record, taken apart so that the record can join another batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lone<'a> {
    /// Kind of timestamp.
    pub attributes: i16,
    /// The record's.
    pub timestamp_ms: i64,
    /// The record behind its offset: key, value and headers.
    rest: &'a [u8],
    /// The record, as it stands there.
    pub record: &'a [u8],
}

impl<'a> Lone<'a> {
    /// Takes apart what [`encode_as`] made; `None` if it is not one uncompressed record.
    pub fn of(batch: &'a [u8]) -> Option<Self> {
        let (raw, record) = Raw::ref_from_prefix(batch).ok()?;
        let attributes = raw.attributes.get();
        let plain = raw.record_count.get() == 1 && attributes & !APPEND_TIME == 0;
        let rest = plain.then(|| record::behind_offset(record))??;
        Some(Self { attributes, timestamp_ms: raw.base_timestamp.get(), rest, record })
    }
}

/// What the header of a batch that single records have joined is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Of the writer.
    pub epoch: LeaderEpoch,
    /// Kind of timestamp.
    pub attributes: i16,
    /// The first record's.
    pub base_timestamp_ms: i64,
    /// The latest.
    pub max_timestamp_ms: i64,
    /// How many there are.
    pub records: u32,
    /// Their bytes.
    pub records_len: u32,
}

impl Joined {
    /// A batch of this record alone.
    pub fn first(lone: &Lone<'_>, base_offset: Offset, epoch: LeaderEpoch) -> Self {
        Self {
            base_offset,
            epoch,
            attributes: lone.attributes,
            base_timestamp_ms: lone.timestamp_ms,
            max_timestamp_ms: lone.timestamp_ms,
            records: 1,
            records_len: lone.record.len() as u32,
        }
    }

    /// Length of the batch.
    pub fn len_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.records_len as usize
    }

    /// Takes one more record in, if the batch then has `max` bytes at most; its bytes are added
    /// to `out`. `None`: it must be a batch of its own, and nothing has changed.
    pub fn join(&self, lone: &Lone<'_>, max: usize, out: &mut Vec<u8>) -> Option<Self> {
        // All records of a batch of append time have one timestamp.
        let one_time = self.attributes & APPEND_TIME != 0;
        let alike = lone.attributes == self.attributes
            && (!one_time || lone.timestamp_ms == self.base_timestamp_ms);
        let delta = lone.timestamp_ms.checked_sub(self.base_timestamp_ms)?;
        let start = out.len();
        record::put_joined(lone.rest, delta, self.records as usize, out);
        let joined = Self {
            max_timestamp_ms: self.max_timestamp_ms.max(lone.timestamp_ms),
            records: self.records + 1,
            records_len: self.records_len + (out.len() - start) as u32,
            ..*self
        };
        let fits = joined.len_bytes() <= max && joined.records as usize <= BATCH_RECORDS_MAX;
        if !alike || !fits {
            out.truncate(start);
            return None;
        }
        Some(joined)
    }

    /// The batch's header, over these records.
    pub fn header(&self, records: &[u8]) -> [u8; BATCH_HEADER_BYTES] {
        let none = -1;
        let mut raw = Raw {
            base_offset: (self.base_offset.0 as i64).into(),
            length: ((self.len_bytes() - UNCOUNTED_BYTES) as i32).into(),
            epoch: I32::ZERO,
            magic: MAGIC,
            crc: U32::ZERO,
            attributes: self.attributes.into(),
            last_offset_delta: (self.records as i32 - 1).into(),
            base_timestamp: self.base_timestamp_ms.into(),
            max_timestamp: self.max_timestamp_ms.into(),
            producer_id: i64::from(none).into(),
            producer_epoch: (none as i16).into(),
            base_sequence: none.into(),
            record_count: (self.records as i32).into(),
        };
        let head = checksum::crc32c(&raw.as_bytes()[BATCH_UNCOVERED_BYTES..]);
        raw.crc = checksum::crc32c_append(head, records).into();
        let mut header: [u8; BATCH_HEADER_BYTES] = zerocopy::transmute!(raw);
        place(&mut header, self.base_offset, self.epoch);
        header
    }
}

/// A batch's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Length of the whole batch, its first 12 bytes included.
    pub len_bytes: usize,
    /// The leader's epoch as it stands there; producers write -1, which reads as `u32::MAX`.
    pub epoch: LeaderEpoch,
    /// CRC32C as it stands there; [`verify_crc`] proves it.
    pub crc: u32,
    /// Compression, kind of timestamp, transactions.
    pub attributes: i16,
    /// Offset of the last record minus the base offset.
    pub last_offset_delta: u32,
    /// What the records' timestamps are relative to.
    pub base_timestamp_ms: i64,
    /// The latest timestamp, or the append's.
    pub max_timestamp_ms: i64,
    /// The idempotent producer, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// Its sequence number for the first record, or -1.
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: u32,
}

impl BatchHeader {
    /// Reads the header that starts `bytes`, which need not hold the records. Lengths and counts
    /// are within limits and agree with each other; nothing is proven by a checksum.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let (raw, _) = Raw::ref_from_prefix(bytes)
            .map_err(|_| BatchError::Length { given: bytes.len(), needed: BATCH_HEADER_BYTES })?;
        if raw.magic != MAGIC {
            return Err(BatchError::Magic(raw.magic));
        }
        let header = Self {
            base_offset: Offset(unsigned(raw.base_offset.get(), "base offset")?),
            len_bytes: unsigned(raw.length.get().into(), "length")? as usize + UNCOUNTED_BYTES,
            epoch: LeaderEpoch(raw.epoch.get() as u32),
            crc: raw.crc.get(),
            attributes: raw.attributes.get(),
            last_offset_delta: unsigned(raw.last_offset_delta.get().into(), "last offset")? as u32,
            base_timestamp_ms: raw.base_timestamp.get(),
            max_timestamp_ms: raw.max_timestamp.get(),
            producer_id: raw.producer_id.get(),
            producer_epoch: raw.producer_epoch.get(),
            base_sequence: raw.base_sequence.get(),
            record_count: unsigned(raw.record_count.get().into(), "record count")? as u32,
        };
        header.in_range()
    }

    #[inline]
    fn in_range(self) -> Result<Self, BatchError> {
        if self.len_bytes > PAYLOAD_BYTES_MAX {
            return Err(BatchError::TooLarge { found: self.len_bytes });
        }
        let Some(records_len) = self.len_bytes.checked_sub(BATCH_HEADER_BYTES) else {
            return Err(BatchError::Field("length"));
        };
        let count = self.record_count as usize;
        if count > BATCH_RECORDS_MAX {
            return Err(BatchError::TooMany { found: count });
        }
        // Compaction may take records out of a batch, so there may be fewer than offsets.
        let compressed = self.attributes & COMPRESSION_MASK != 0;
        let fits = compressed || count <= records_len / RECORD_BYTES_MIN;
        if !fits || u64::from(self.record_count) > u64::from(self.last_offset_delta) + 1 {
            return Err(BatchError::Field("record count"));
        }
        if self.base_offset.0 + u64::from(self.last_offset_delta) > i64::MAX as u64 {
            return Err(BatchError::Field("last offset"));
        }
        Ok(self)
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset + u64::from(self.last_offset_delta)
    }

    /// The codec of the records.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        match self.attributes & COMPRESSION_MASK {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            _ => Err(BatchError::Field("codec")),
        }
    }

    /// Whose time the records have.
    pub fn timestamps(&self) -> TimestampType {
        if self.attributes & APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::AppendTime
        }
    }

    /// The bytes of the records in `batch`, exactly this batch: in place, or decompressed.
    pub fn plain<'a>(&self, batch: &'a [u8]) -> Result<Cow<'a, [u8]>, BatchError> {
        if batch.len() != self.len_bytes {
            return Err(BatchError::Length { given: batch.len(), needed: self.len_bytes });
        }
        let section = &batch[BATCH_HEADER_BYTES..];
        match self.compression()? {
            Compression::None => Ok(Cow::Borrowed(section)),
            codec => {
                compression::decompress(codec, section, DECOMPRESSED_BYTES_MAX).map(Cow::Owned)
            }
        }
    }

    /// The records in `plain`, what [`plain`](Self::plain) gave.
    pub fn records<'a>(&self, plain: &'a [u8]) -> Records<'a> {
        let append_time = self.timestamps() == TimestampType::AppendTime;
        Records {
            input: plain,
            left: self.record_count,
            failed: false,
            base: Base {
                offset: self.base_offset,
                last_offset_delta: self.last_offset_delta,
                timestamp_ms: self.base_timestamp_ms,
                append_time_ms: append_time.then_some(self.max_timestamp_ms),
            },
        }
    }

    /// Refuses what the engine would store but not honour. A transactional batch without its
    /// markers, or a marker without its transaction, would stall or mislead a Kafka consumer.
    /// A producer's id and sequence are harmless and pass, and so does append time.
    fn supported(&self) -> Result<(), BatchError> {
        if self.attributes & CONTROL != 0 {
            return Err(BatchError::Unsupported("control"));
        }
        if self.attributes & TRANSACTIONAL != 0 {
            return Err(BatchError::Unsupported("transactional"));
        }
        if self.attributes & !(COMPRESSION_MASK | APPEND_TIME) != 0 {
            return Err(BatchError::Field("attributes"));
        }
        Ok(())
    }
}

#[inline]
fn unsigned(value: i64, what: &'static str) -> Result<u64, BatchError> {
    u64::try_from(value).map_err(|_| BatchError::Field(what))
}

/// Whether the CRC of `batch`, exactly one batch, is right.
pub fn verify_crc(batch: &[u8]) -> bool {
    let Some((head, covered)) = batch.split_at_checked(BATCH_UNCOVERED_BYTES) else {
        return false;
    };
    head.ends_with(&checksum::crc32c(covered).to_be_bytes())
}

/// Checks a ready-made batch that a caller wants appended: exactly one batch, its checksum, nothing
/// in it that is not kept (see [`BatchError::Unsupported`]), records that decompress within limits
/// and all parse, and whose offsets are dense from the base offset.
pub fn check(batch: &[u8]) -> Result<BatchHeader, BatchError> {
    check_times(batch).map(|(header, _)| header)
}

/// As [`check`]; answers also the latest timestamp that a record has, which a careless producer
/// may have told the header wrong.
pub fn check_times(batch: &[u8]) -> Result<(BatchHeader, i64), BatchError> {
    let header = BatchHeader::decode(batch)?;
    if batch.len() != header.len_bytes {
        return Err(BatchError::Length { given: batch.len(), needed: header.len_bytes });
    }
    if !verify_crc(batch) {
        return Err(BatchError::Checksum);
    }
    header.supported()?;
    if header.record_count == 0 {
        return Err(BatchError::Empty);
    }
    if header.record_count - 1 != header.last_offset_delta {
        return Err(BatchError::Field("record count"));
    }
    let mut max_timestamp_ms = i64::MIN;
    for (expected, record) in (0..).zip(header.records(&header.plain(batch)?)) {
        let record = record?;
        let found = record.offset().0 - header.base_offset.0;
        if found != expected {
            return Err(BatchError::OffsetDelta { found: found as usize });
        }
        max_timestamp_ms = max_timestamp_ms.max(record.timestamp_ms());
    }
    Ok((header, max_timestamp_ms))
}

/// Iterates over the records of a batch. It ends after its first error, and bytes behind the last
/// record are one.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    input: &'a [u8],
    left: u32,
    failed: bool,
    base: Base,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = if self.left > 0 {
            self.left -= 1;
            RecordView::read(&mut self.input, &self.base)
        } else if self.input.is_empty() {
            return None;
        } else {
            Err(BatchError::RecordLength)
        };
        self.failed = item.is_err();
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize + 1))
    }
}

#[cfg(test)]
mod tests;
