//! One record of a batch, as it goes in ([`Record`]) and as it comes out ([`RecordView`]).
//!
//! | field | type |
//! |---|---|
//! | length of what follows | varint |
//! | attributes, unused, 0 | 1 byte |
//! | timestamp minus the batch's base timestamp | varint, 64 bits |
//! | offset minus the batch's base offset | varint |
//! | key length, -1: no key; key | varint, bytes |
//! | value length, -1: no value; value | varint, bytes |
//! | number of headers | varint |
//! | for each: name length, name, value length (-1: no value), value | varint, bytes, ... |
//!
//! A varint is zigzag, then seven bits a byte, low bits first, the top bit set on all but the last
//! byte: as in Protocol Buffers. All but the timestamp's have 32 bits and at most five bytes.

use integer_encoding::VarInt;

use super::record_batch::BatchError;
use crate::config::TimestampType;
use crate::ids::Offset;

/// Longest encoding of a 32-bit varint.
const VARINT_BYTES_MAX: usize = 5;
/// Longest encoding of a 64-bit varint.
const VARLONG_BYTES_MAX: usize = 10;
/// A record's fields up to its key: length, attributes, timestamp, offset, key length.
const PREFIX_BYTES_MAX: usize = 3 * VARINT_BYTES_MAX + VARLONG_BYTES_MAX + 1;
/// The shortest record: seven fields of one byte.
pub(super) const RECORD_BYTES_MIN: usize = 7;

/// A record to append. It borrows everything; the append copies once.
///
/// The default has neither key nor value nor headers, and takes the engine's time.
#[derive(Clone, Debug, Default)]
pub struct Record<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<(&'a str, Option<&'a [u8]>)>,
    timestamp_ms: Option<i64>,
}

impl<'a> Record<'a> {
    /// A record with this value.
    pub fn new(value: &'a [u8]) -> Self {
        Self { value: Some(value), ..Self::default() }
    }

    /// A record without a value, which is not the same as an empty one: a tombstone for its key.
    pub fn null_value() -> Self {
        Self::default()
    }

    /// Sets the key. An empty key is not the same as none.
    #[must_use]
    pub fn key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }

    /// Adds a header after those that are there; a name may occur more than once.
    #[must_use]
    pub fn header(mut self, name: &'a str, value: Option<&'a [u8]>) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sets the time in milliseconds since the Unix epoch; without it the append's time is taken.
    #[must_use]
    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    pub(crate) fn key_bytes(&self) -> Option<&'a [u8]> {
        self.key
    }

    pub(super) fn time(&self, timestamps: TimestampType, now_ms: i64) -> i64 {
        match timestamps {
            TimestampType::CreateTime => self.timestamp_ms.unwrap_or(now_ms),
            TimestampType::AppendTime => now_ms,
        }
    }

    /// Length of the record without its length field; saturates instead of overflowing.
    #[inline]
    pub(super) fn body_len(&self, timestamp_delta: i64, offset_delta: usize) -> usize {
        let mut len = 1
            + timestamp_delta.required_space()
            + varint_len(offset_delta)
            + varint_len(self.headers.len());
        len = len.saturating_add(nullable_len(self.key)).saturating_add(nullable_len(self.value));
        for (name, value) in &self.headers {
            len = len
                .saturating_add(varint_len(name.len()) + name.len())
                .saturating_add(nullable_len(*value));
        }
        len
    }

    /// Appends the record. `body_len` is [`Self::body_len`] with the same arguments.
    #[inline]
    pub(super) fn put(
        &self,
        body_len: usize,
        timestamp_delta: i64,
        offset_delta: usize,
        out: &mut Vec<u8>,
    ) {
        let mut prefix = [0; PREFIX_BYTES_MAX];
        let mut at = (body_len as i64).encode_var(&mut prefix) + 1;
        at += timestamp_delta.encode_var(&mut prefix[at..]);
        at += (offset_delta as i64).encode_var(&mut prefix[at..]);
        at += length_of(self.key).encode_var(&mut prefix[at..]);
        out.extend_from_slice(&prefix[..at]);
        out.extend_from_slice(self.key.unwrap_or_default());
        put_nullable(self.value, out);
        put_varint(self.headers.len() as i64, out);
        for (name, value) in &self.headers {
            put_varint(name.len() as i64, out);
            out.extend_from_slice(name.as_bytes());
            put_nullable(*value, out);
        }
    }
}

/// What stands behind the offset of the record that starts `record`, the first of its batch: with
/// the batch's own timestamp, at its base offset. `None` if it is not such a one.
pub(super) fn behind_offset(record: &[u8]) -> Option<&[u8]> {
    let (_, len) = i64::decode_var(record)?;
    record[len..].strip_prefix(&[0, 0, 0])
}

/// Appends a record whose `rest` is known, with another timestamp and offset.
pub(super) fn put_joined(
    rest: &[u8],
    timestamp_delta: i64,
    offset_delta: usize,
    out: &mut Vec<u8>,
) {
    let mut prefix = [0; PREFIX_BYTES_MAX];
    let body_len = 1 + timestamp_delta.required_space() + varint_len(offset_delta) + rest.len();
    let mut at = (body_len as i64).encode_var(&mut prefix) + 1;
    at += timestamp_delta.encode_var(&mut prefix[at..]);
    at += (offset_delta as i64).encode_var(&mut prefix[at..]);
    out.extend_from_slice(&prefix[..at]);
    out.extend_from_slice(rest);
}

/// Bytes of a length as a varint, and of its field.
pub(super) fn varint_len(value: usize) -> usize {
    (value as i64).required_space()
}

fn length_of(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| bytes.len() as i64)
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    length_of(bytes).required_space() + bytes.map_or(0, <[u8]>::len)
}

fn put_varint(value: i64, out: &mut Vec<u8>) {
    let mut bytes = [0; VARLONG_BYTES_MAX];
    let len = value.encode_var(&mut bytes);
    out.extend_from_slice(&bytes[..len]);
}

fn put_nullable(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    put_varint(length_of(bytes), out);
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// A record of a batch, read in place.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    offset: Offset,
    timestamp_ms: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: usize,
}

impl<'a> RecordView<'a> {
    /// The record's offset in its partition.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// Milliseconds since the Unix epoch.
    pub fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// The key, if it has one.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The value, if it has one.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// The headers, in the order they were given: name and value.
    pub fn headers(&self) -> Headers<'a> {
        Headers { bytes: self.headers, left: self.header_count }
    }

    /// Reads the record that starts `input` and moves past it. Its headers are proven, too.
    #[inline]
    pub(super) fn read(input: &mut &'a [u8], base: &Base) -> Result<Self, BatchError> {
        let body_len = read_length(input)?;
        let mut body = take(input, body_len)?;
        take(&mut body, 1)?;
        let timestamp_delta = read_varlong(&mut body)?;
        let offset_delta = read_length(&mut body)?;
        if offset_delta > base.last_offset_delta as usize {
            return Err(BatchError::OffsetDelta { found: offset_delta });
        }
        let key = read_nullable(&mut body)?;
        let value = read_nullable(&mut body)?;
        let header_count = read_length(&mut body)?;
        let headers = body;
        for _ in 0..header_count {
            read_header(&mut body)?;
        }
        if !body.is_empty() {
            return Err(BatchError::RecordLength);
        }
        Ok(Self {
            offset: base.offset + offset_delta as u64,
            timestamp_ms: base
                .append_time_ms
                .unwrap_or_else(|| base.timestamp_ms.wrapping_add(timestamp_delta)),
            key,
            value,
            headers,
            header_count,
        })
    }
}

/// What a batch's header gives to all its records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    pub offset: Offset,
    pub last_offset_delta: u32,
    pub timestamp_ms: i64,
    /// Takes the place of every record's own time.
    pub append_time_ms: Option<i64>,
}

/// The headers of one record, in order: name and value.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        read_header(&mut self.bytes).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

impl<'a> Headers<'a> {
    /// Those that are left, as they stand in the batch: for [`next_encoded`](Self::next_encoded).
    pub fn encoded(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads the header that starts `encoded` and moves past it; `None` at the end, and where the
    /// bytes are none of [`encoded`](Self::encoded).
    pub fn next_encoded(encoded: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        if encoded.is_empty() { None } else { read_header(encoded).ok() }
    }
}

fn read_header<'a>(input: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), BatchError> {
    let len = read_length(input)?;
    Ok((take(input, len)?, read_nullable(input)?))
}

#[inline]
fn take<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], BatchError> {
    input.split_off(..len).ok_or(BatchError::RecordLength)
}

/// Nearly every field of nearly every record has one byte or two, and needs no loop.
#[inline]
fn read_varlong(input: &mut &[u8]) -> Result<i64, BatchError> {
    let zigzag = |bits: u32| i64::from(bits >> 1) ^ -i64::from(bits & 1);
    let (value, len) = match **input {
        [first, ..] if first < 0x80 => (zigzag(u32::from(first)), 1),
        [first, second, ..] if second < 0x80 => {
            (zigzag(u32::from(first & 0x7f) | u32::from(second) << 7), 2)
        }
        _ => read_long(input)?,
    };
    *input = &input[len..];
    Ok(value)
}

#[cold]
fn read_long(input: &[u8]) -> Result<(i64, usize), BatchError> {
    i64::decode_var(input).ok_or(BatchError::Varint)
}

/// A 32-bit varint; longer encodings, which other readers refuse, are refused.
#[inline]
fn read_varint(input: &mut &[u8]) -> Result<i32, BatchError> {
    let before = input.len();
    let value = read_varlong(input)?;
    if before - input.len() > VARINT_BYTES_MAX {
        return Err(BatchError::Varint);
    }
    i32::try_from(value).map_err(|_| BatchError::Varint)
}

/// A varint that must not be negative.
#[inline]
fn read_length(input: &mut &[u8]) -> Result<usize, BatchError> {
    usize::try_from(read_varint(input)?).map_err(|_| BatchError::Varint)
}

#[inline]
fn read_nullable<'a>(input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, BatchError> {
    match read_varint(input)? {
        -1 => Ok(None),
        len => {
            let len = usize::try_from(len).map_err(|_| BatchError::Varint)?;
            take(input, len).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_of_every_length_are_read_as_they_were_written() {
        let mut bytes = [0; VARLONG_BYTES_MAX];
        for shift in 0..63 {
            for value in [(1_i64 << shift) - 1, 1 << shift, -(1 << shift), -(1 << shift) - 1] {
                let len = value.encode_var(&mut bytes);
                let mut input = &bytes[..];
                assert_eq!(read_varlong(&mut input).unwrap(), value);
                assert_eq!(bytes.len() - input.len(), len, "{value}");
                let mut cut = &bytes[..len - 1];
                assert!(read_varlong(&mut cut).is_err(), "{value}");
            }
        }
    }
}
