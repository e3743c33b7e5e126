//! Batches as columns of Apache Arrow, read without the crates that read them.

use ringlog::arrow::arrow_data::ArrayData;
use ringlog::arrow::{data_type, to_arrow};
use ringlog::{AppendOptions, Batch, Compression, Record, RecordView, Start, TopicSpec};

use super::{DEADLINE, on_each, small, value};

/// What lies at a place of a column of bytes.
fn bytes_at(column: &ArrayData, at: usize) -> Option<&[u8]> {
    let ends = column.buffer::<i32>(0);
    let content = &column.buffers()[1].as_slice()[ends[at] as usize..ends[at + 1] as usize];
    assert!(column.is_valid(at) || content.is_empty());
    column.is_valid(at).then_some(content)
}

/// A row is the record that the batch's own iterator gives.
fn check(columns: &[ArrayData], at: usize, partition: u32, record: &RecordView<'_>) {
    assert_eq!(columns[0].buffer::<u32>(0)[at], partition);
    assert_eq!(columns[1].buffer::<i64>(0)[at], record.offset().0 as i64);
    assert_eq!(columns[2].buffer::<i64>(0)[at], record.timestamp_ms());
    assert_eq!(bytes_at(&columns[3], at), record.key());
    assert_eq!(bytes_at(&columns[4], at), record.value());
    let ends = columns[5].buffer::<i32>(0);
    let headers = &columns[5].child_data()[0].child_data();
    let mut own = record.headers();
    for header in ends[at] as usize..ends[at + 1] as usize {
        let pair = (bytes_at(&headers[0], header).unwrap(), bytes_at(&headers[1], header));
        assert_eq!(Some(pair), own.next());
    }
    assert_eq!(own.next(), None);
}

#[test]
fn every_record_of_every_partition_and_codec_is_a_row() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let topic = engine.create_topic(TopicSpec::new("t").partitions(3)).unwrap();
        for at in 0..60 {
            let key = [at as u8];
            let value = value(at, at * 7);
            let mut record = Record::new(&value).timestamp_ms(1_000 + at as i64);
            if at % 3 == 0 {
                record = Record::null_value().header("n", None).header("é", Some(b"")).key(b"");
            }
            if at % 4 == 0 {
                record = record.key(&key).header("h", Some(&value));
            }
            let codec = [Compression::None, Compression::Zstd, Compression::Lz4][at % 3];
            let options = AppendOptions::default().compression(codec);
            let partition = topic.partition(at as u32 * 5 % 3).unwrap();
            let records = [record.clone(), Record::new(b"second"), record];
            partition.append_with(&records, options).unwrap();
        }
        let batches: Vec<Batch> =
            topic.reader(Start::Earliest).unwrap().map(|found| found.unwrap().1).collect();
        engine.close(DEADLINE).unwrap();
        let all = to_arrow(&batches).unwrap();
        assert_eq!((all.len(), all.data_type()), (180, &data_type()));
        all.validate_full().unwrap();
        let rows = batches.iter().flat_map(|batch| batch.iter().map(move |row| (batch, row)));
        for (at, (batch, record)) in rows.enumerate() {
            check(all.child_data(), at, batch.partition().0, &record.unwrap());
        }
        for batch in batches {
            let one = batch.to_arrow().unwrap();
            assert_eq!(one.len(), batch.len());
            check(one.child_data(), 1, batch.partition().0, &batch.iter().nth(1).unwrap().unwrap());
        }
    });
}
