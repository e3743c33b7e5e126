//! Record batches as columns of Apache Arrow, in memory of their own: within a record batch the
//! values do not lie side by side, so this is a copy, and what it gives outlives the batch.
//!
//! Columns: partition, offset, timestamp, key, value, headers. Whoever exports them over Arrow's C
//! data interface (the C library, the Python module) does it with what is made here.

use arrow_buffer::{ArrowNativeType, Buffer, NullBufferBuilder};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, Field, Fields, TimeUnit};

use super::read::Batch;
use crate::error::{Error, Result};
use crate::format::record_batch::RecordView;
use crate::ids::PartitionId;

/// Offsets into a column are signed and have 32 bits.
const COLUMN_BYTES_MAX: usize = i32::MAX as usize;

/// The end of a column's content, as Arrow keeps it; refused beyond what such a column can hold.
fn end(len: usize) -> Result<i32> {
    i32::try_from(len).map_err(|_| Error::TooLarge {
        what: "an Arrow column",
        len,
        max: COLUMN_BYTES_MAX,
    })
}

/// Our own columns fit their type, unless the bytes they were made of are not what they seem.
fn unfit(error: &ArrowError) -> Error {
    Error::InvalidBatch { reason: format!("as Arrow columns: {error}") }
}

/// Bytes one after another, with where each ends; null where there are none.
struct Bytes {
    ends: Vec<i32>,
    joined: Vec<u8>,
    there: NullBufferBuilder,
}

impl Bytes {
    fn with_capacity(count: usize) -> Self {
        let mut ends = Vec::with_capacity(count + 1);
        ends.push(0);
        Self { ends, joined: Vec::new(), there: NullBufferBuilder::new(count) }
    }

    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    fn push(&mut self, bytes: Option<&[u8]>) -> Result<()> {
        let content = bytes.unwrap_or_default();
        self.ends.push(end(self.joined.len() + content.len())?);
        self.joined.extend_from_slice(content);
        self.there.append(bytes.is_some());
        Ok(())
    }

    fn finish(mut self, data_type: DataType) -> Result<ArrayData, ArrowError> {
        ArrayData::builder(data_type)
            .len(self.len())
            .nulls(self.there.finish())
            .add_buffer(Buffer::from_vec(self.ends))
            .add_buffer(Buffer::from_vec(self.joined))
            .build()
    }
}

/// The columns as they fill.
struct Columns {
    partitions: Vec<u32>,
    offsets: Vec<i64>,
    times: Vec<i64>,
    keys: Bytes,
    values: Bytes,
    header_ends: Vec<i32>,
    header_keys: Bytes,
    header_values: Bytes,
}

impl Columns {
    fn with_capacity(count: usize) -> Self {
        let mut header_ends = Vec::with_capacity(count + 1);
        header_ends.push(0);
        Self {
            partitions: Vec::with_capacity(count),
            offsets: Vec::with_capacity(count),
            times: Vec::with_capacity(count),
            keys: Bytes::with_capacity(count),
            values: Bytes::with_capacity(count),
            header_ends,
            header_keys: Bytes::with_capacity(0),
            header_values: Bytes::with_capacity(0),
        }
    }

    fn push(&mut self, partition: PartitionId, record: &RecordView<'_>) -> Result<()> {
        self.partitions.push(partition.0);
        self.offsets.push(record.offset().0 as i64);
        self.times.push(record.timestamp_ms());
        self.keys.push(record.key())?;
        self.values.push(record.value())?;
        for (name, value) in record.headers() {
            // A foreign client may have written what is no text; Arrow's readers must get text.
            self.header_keys.push(Some(String::from_utf8_lossy(name).as_bytes()))?;
            self.header_values.push(value)?;
        }
        self.header_ends.push(end(self.header_keys.len())?);
        Ok(())
    }

    fn finish(self) -> Result<ArrayData, ArrowError> {
        let count = self.offsets.len();
        let headers = ArrayData::builder(DataType::Struct(header_fields()))
            .len(self.header_keys.len())
            .add_child_data(self.header_keys.finish(DataType::Utf8)?)
            .add_child_data(self.header_values.finish(DataType::Binary)?)
            .build()?;
        let headers = ArrayData::builder(headers_type())
            .len(count)
            .add_buffer(Buffer::from_vec(self.header_ends))
            .add_child_data(headers)
            .build()?;
        ArrayData::builder(data_type())
            .len(count)
            .add_child_data(numbers(DataType::UInt32, self.partitions)?)
            .add_child_data(numbers(DataType::Int64, self.offsets)?)
            .add_child_data(numbers(time_type(), self.times)?)
            .add_child_data(self.keys.finish(DataType::Binary)?)
            .add_child_data(self.values.finish(DataType::Binary)?)
            .add_child_data(headers)
            .build()
    }
}

fn numbers<T: ArrowNativeType>(
    data_type: DataType,
    values: Vec<T>,
) -> Result<ArrayData, ArrowError> {
    ArrayData::builder(data_type).len(values.len()).add_buffer(Buffer::from_vec(values)).build()
}

fn header_fields() -> Fields {
    let name = Field::new("key", DataType::Utf8, false);
    Fields::from(vec![name, Field::new("value", DataType::Binary, true)])
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn headers_type() -> DataType {
    DataType::new_list(DataType::Struct(header_fields()), false)
}

/// The type of what [`Batch::to_arrow`] and [`to_arrow`] give: a struct, whose fields are the
/// columns. It is the same for every batch.
///
/// | column | type |
/// |---|---|
/// | `partition` | uint32 |
/// | `offset` | int64 |
/// | `timestamp` | timestamp in milliseconds, UTC |
/// | `key` | binary, may be null |
/// | `value` | binary, may be null |
/// | `headers` | list of struct { `key`: utf8, `value`: binary, may be null } |
pub fn data_type() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("partition", DataType::UInt32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("timestamp", time_type(), false),
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("headers", headers_type(), false),
    ]))
}

/// The records of several batches, one after the other, as one struct array of
/// [`data_type()`]; see [`Batch::to_arrow`].
///
/// # Errors
/// As [`Batch::to_arrow`].
pub fn to_arrow<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Result<ArrayData> {
    let mut batches = batches.into_iter().peekable();
    let mut columns = Columns::with_capacity(batches.peek().map_or(0, |first| first.len()));
    for batch in batches {
        for record in batch {
            columns.push(batch.partition(), &record?)?;
        }
    }
    columns.finish().map_err(|error| unfit(&error))
}

impl Batch {
    /// Its records, from the offset that the reader stood at on, as a struct array of Arrow's whose
    /// columns are those of [`arrow::data_type`](crate::arrow::data_type). They are copied, so what
    /// this gives keeps nothing of the log's. The name of a header that is no UTF-8 has the
    /// replacement character where it is not. Does not block.
    ///
    /// With the crate `arrow` of the same version as [`arrow_data`](crate::arrow::arrow_data),
    /// `RecordBatch::from(StructArray::from(batch.to_arrow()?))` is a record batch of Arrow's.
    ///
    /// ```
    /// # fn main() -> ringlog::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let engine = ringlog::Engine::options().allow_volatile(true).open(dir.path())?;
    /// use ringlog::{Record, Start, TopicSpec};
    /// let orders = engine.open_or_create_topic(TopicSpec::new("orders"))?.partition(0)?;
    /// orders.append_many(&[Record::new(b"one flat white").key(b"table 7"), Record::new(b"tea")])?;
    /// let batch = orders.reader(Start::Earliest)?.next_batch()?.expect("just appended");
    /// let columns = batch.to_arrow()?;
    /// assert_eq!(columns.len(), 2);
    /// let keys = &columns.child_data()[3]; // the column `key`
    /// assert_eq!(keys.null_count(), 1);
    /// assert_eq!(keys.buffers()[1].as_slice(), b"table 7");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::TooLarge`] where a column would have over 2 GiB, and [`Error::InvalidBatch`] if the
    /// bytes are damaged and the reader did not verify.
    pub fn to_arrow(&self) -> Result<ArrayData> {
        to_arrow([self])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_ends_where_its_offsets_do() {
        assert_eq!(end(COLUMN_BYTES_MAX).ok(), Some(i32::MAX));
        let refused = end(COLUMN_BYTES_MAX + 1);
        assert!(matches!(refused, Err(Error::TooLarge { max: COLUMN_BYTES_MAX, .. })));
    }

    #[test]
    fn no_batches_are_columns_without_records() {
        let columns = to_arrow([]).expect("columns of nothing");
        assert_eq!((columns.len(), columns.data_type()), (0, &data_type()));
        assert_eq!(columns.child_data().len(), 6);
    }
}
