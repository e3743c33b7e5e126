//! A record as JSON, one object a line. Bytes that are UTF-8 are a string; others are an object
//! `{"base64": "..."}`, so that a string is always the text itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringlog::{PartitionId, RecordView};
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    partition: PartitionId,
    offset: u64,
    timestamp_ms: i64,
    key: Option<Bytes<'a>>,
    value: Option<Bytes<'a>>,
    headers: Vec<Header<'a>>,
}

#[derive(Serialize)]
struct Header<'a> {
    key: Bytes<'a>,
    value: Option<Bytes<'a>>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Bytes<'a> {
    Text(&'a str),
    Other { base64: String },
}

impl<'a> Bytes<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes)
            .map_or_else(|_| Self::Other { base64: STANDARD.encode(bytes) }, Self::Text)
    }
}

/// What a record of this partition looks like.
pub fn json<'a>(partition: PartitionId, record: &RecordView<'a>) -> impl Serialize + use<'a> {
    let header = |(key, value): (&'a [u8], Option<&'a [u8]>)| Header {
        key: Bytes::of(key),
        value: value.map(Bytes::of),
    };
    Line {
        partition,
        offset: record.offset().0,
        timestamp_ms: record.timestamp_ms(),
        key: record.key().map(Bytes::of),
        value: record.value().map(Bytes::of),
        headers: record.headers().map(header).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_string_and_other_bytes_are_not() {
        let json = |bytes| serde_json::to_string(&Bytes::of(bytes)).expect("it is JSON");
        assert_eq!(json("\"ä\n".as_bytes()), r#""\"ä\n""#);
        assert_eq!(json(b""), r#""""#);
        assert_eq!(json(b"\xff\x00\xfe"), r#"{"base64":"/wD+"}"#);
    }
}
