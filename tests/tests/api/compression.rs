//! Compressed topics, appends and ready-made batches.

use ringlog::{
    AppendOptions, Compression, Error, Offset, Record, Start, TimestampType, TopicSpec, raw,
};

use super::{DEADLINE, on_each, small, value};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

#[test]
fn a_topics_codec_is_kept_and_an_append_may_choose_another() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for codec in CODECS {
            let spec = TopicSpec::new(format!("t-{codec}")).compression(codec);
            engine.create_topic(spec).unwrap();
        }
        engine.close(DEADLINE).unwrap();
        let engine = options.clone().open(dir).unwrap();
        for codec in CODECS {
            let topic = engine.topic(&format!("t-{codec}")).unwrap();
            assert_eq!(topic.compression(), codec);
            assert_eq!(topic.describe().unwrap().compression, codec);
            let partition = topic.partition(0).unwrap();
            let long = value(1, 20_000);
            let records = [
                Record::new(&long).key(b"k").header("h", Some(b"v")).timestamp_ms(5),
                Record::null_value().timestamp_ms(7),
            ];
            partition.append_many(&records).unwrap();
            topic.append_many(&records).unwrap();
            let other = CODECS[(codec as usize + 1) % CODECS.len()];
            let options = AppendOptions::default().compression(other);
            partition.append_with(&records, options).unwrap();
            partition.append_async_with(&records, options).wait().unwrap();
            let batches: Vec<_> =
                partition.reader(Start::Earliest).unwrap().map(Result::unwrap).collect();
            let codecs: Vec<_> = batches.iter().map(ringlog::Batch::compression).collect();
            assert_eq!(codecs, [codec, codec, other, other]);
            for batch in &batches {
                assert_eq!(batch.max_timestamp_ms(), 7);
                let plain = batch.compression() == Compression::None;
                assert_eq!(batch.bytes().len() < 2000, !plain, "{}", batch.bytes().len());
                raw::check(batch.bytes()).unwrap();
                // A clone shares what was decompressed, and outlives the batch.
                let clone = batch.clone();
                let first = batch.iter().next().unwrap().unwrap();
                let again = clone.iter().next().unwrap().unwrap();
                assert_eq!(first.value(), Some(&long[..]));
                assert_eq!(first.value().map(<[u8]>::as_ptr), again.value().map(<[u8]>::as_ptr));
                assert_eq!(&clone, batch);
            }
            let read: Vec<_> = partition
                .reader(Start::Offset(Offset(1)))
                .unwrap()
                .records()
                .map(Result::unwrap)
                .collect();
            assert_eq!(read.len(), 7);
            assert_eq!((read[0].timestamp_ms, &read[0].value), (7, &None));
            assert_eq!(read[1].value.as_deref(), Some(&long[..]));
            assert_eq!(read[1].headers, [("h".into(), Some("v".into()))]);
        }
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn ready_made_compressed_batches_are_kept_byte_for_byte() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let topic = engine.create_topic(TopicSpec::new("t")).unwrap();
        let partition = topic.partition(0).unwrap();
        let long = value(1, 20_000);
        for (at, compression) in (0..).zip(CODECS) {
            let mut batch = Vec::new();
            let form = raw::Form { compression, timestamps: TimestampType::CreateTime };
            raw::encode_as(&[Record::new(&long)], form, 9, &mut batch).unwrap();
            let options = AppendOptions::default().compression(Compression::Gzip);
            let appended = partition.append_batch(&batch, options).unwrap();
            assert_eq!(appended.first, Offset(at));
            let read = partition.reader(Start::Offset(appended.first)).unwrap().next();
            let read = read.unwrap().unwrap();
            // All but base offset and leader epoch.
            assert_eq!(read.bytes()[8..12], batch[8..12]);
            assert_eq!(read.bytes()[16..], batch[16..]);
            assert_eq!(read.iter().next().unwrap().unwrap().value(), Some(&long[..]));
        }
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn bombs_and_broken_streams_are_refused_and_nothing_is_written() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().max_payload_bytes(32 << 10).open(dir).unwrap();
        let partition = engine.create_topic(TopicSpec::new("t")).unwrap().partition(0).unwrap();
        let zeros = vec![0; 16 << 20];
        let mut bomb = Vec::new();
        let form = raw::Form { compression: Compression::Zstd, ..raw::Form::default() };
        raw::encode_as(&[Record::new(&zeros)], form, 9, &mut bomb).unwrap();
        let (header, stream) = bomb.split_at(61);
        // Frames in a row are one stream: of 80 MiB here, in a few KiB.
        let mut batch = [header, &stream.repeat(5)].concat();
        assert!(batch.len() < 32 << 10);
        reseal(&mut batch);
        let refused = partition.append_batch(&batch, AppendOptions::default()).unwrap_err();
        assert!(matches!(refused, Error::InvalidBatch { .. }), "{refused:?}");
        assert!(refused.to_string().contains("over the limit of 67108864"), "{refused}");
        for codec in CODECS.into_iter().skip(1) {
            let mut batch = Vec::new();
            let form = raw::Form { compression: codec, ..raw::Form::default() };
            raw::encode_as(&[Record::new(&zeros[..500])], form, 9, &mut batch).unwrap();
            let last = batch.len() - 1;
            batch.truncate(last - 4);
            batch[70] ^= 0x55;
            reseal(&mut batch);
            let refused = partition.append_batch(&batch, AppendOptions::default()).unwrap_err();
            assert!(matches!(refused, Error::InvalidBatch { .. }), "{codec}: {refused:?}");
        }
        assert_eq!(partition.info().unwrap().end, Offset(0));
        engine.close(DEADLINE).unwrap();
    });
}

/// Makes length and checksum those of the bytes.
fn reseal(batch: &mut [u8]) {
    let len = (batch.len() - 12) as u32;
    batch[8..12].copy_from_slice(&len.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}
