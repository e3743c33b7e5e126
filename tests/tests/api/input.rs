//! What a caller may hand in, and what is refused.

use ringlog::{Engine, Error, ErrorKind, Flush, Offset, Record, Start, TopicSpec};

use super::{CLASSES, DEADLINE, on_each, on_each_class, partition, small, value, values};

#[test]
fn values_of_every_shape_come_back() {
    let binary: Vec<u8> = (0..=255).collect();
    on_each_class(&small(), |_, partition, _| {
        let shapes: [Option<&[u8]>; 5] = [Some(b""), None, Some(&binary), Some(b"\0"), Some(b"\n")];
        for shape in shapes {
            let record = shape.map_or_else(Record::null_value, Record::new);
            partition.append(record).unwrap();
        }
        let found = values(partition, Start::Earliest);
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), shapes);
    });
}

#[test]
fn keys_headers_and_timestamps_come_back() {
    on_each_class(&small(), |_, partition, _| {
        let record = Record::new(b"v").key(b"").header("h", None).header("h", Some(b"\xff"));
        partition.append(record.timestamp_ms(-5)).unwrap();
        let batch = partition.reader(Start::Earliest).unwrap().next_batch().unwrap().unwrap();
        let view = batch.iter().next().unwrap().unwrap();
        assert_eq!((view.key(), view.value()), (Some(&b""[..]), Some(&b"v"[..])));
        assert_eq!(view.timestamp_ms(), -5);
        let headers: Vec<_> = view.headers().map(|(_, value)| value.map(<[u8]>::to_vec)).collect();
        assert_eq!(headers, [None, Some(vec![0xff])]);
    });
}

#[test]
fn a_value_of_16_mib_goes_through_and_one_byte_too_many_does_not() {
    on_each(&Engine::options().append_timeout(DEADLINE), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let largest = value(1, 16 << 20);
        for class in CLASSES {
            let partition = partition(&engine, "t", class);
            partition.append(Record::new(b"before")).unwrap();
            partition.append(Record::new(&largest)).unwrap();
            partition.append(Record::new(b"after")).unwrap();
            let found = values(&partition, Start::Offset(Offset(1)));
            assert!(found[0].as_ref() == Some(&largest) && found.len() == 2);
            let refused = partition.append(Record::new(&vec![0; 17 << 20])).unwrap_err();
            assert!(matches!(refused, Error::TooLarge { .. }), "{refused:?}");
            assert_eq!(refused.kind(), ErrorKind::Invalid);
            assert_eq!(partition.info().unwrap().end, Offset(3));
        }
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn sizes_around_the_ring_and_its_parts_come_back() {
    let options = small().segment_bytes(512 << 10).max_payload_bytes(200 << 10);
    on_each_class(&options, |_, partition, _| {
        // Frames a little smaller and larger than a quarter of the ring, the ring, and twice it,
        // in steps of the frame's alignment.
        let lens = [16 << 10, 64 << 10, 128 << 10].map(|at: usize| (at - 240..at + 40).step_by(8));
        for (at, len) in lens.into_iter().flatten().enumerate() {
            let offset = partition.append(Record::new(&value(at, len))).unwrap();
            let found = values(partition, Start::Offset(offset));
            assert!(found == [Some(value(at, len))], "value of {len} bytes");
        }
    });
}

#[test]
fn the_configured_maximum_is_the_maximum() {
    on_each_class(&small().max_payload_bytes(8 << 10), |_, partition, _| {
        let refused = partition.append(Record::new(&[0; 8 << 10])).unwrap_err();
        assert!(matches!(refused, Error::TooLarge { max: 8192, .. }), "{refused:?}");
        partition.append(Record::new(&[0; 8000])).unwrap();
    });
}

#[test]
fn names_and_counts_out_of_range_are_refused() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let long = "x".repeat(250);
        for name in ["", ".", "..", "a/b", "a b", "\u{e4}", "a\0", "a\n", &long] {
            let refused = engine.create_topic(TopicSpec::new(name)).unwrap_err();
            assert!(matches!(refused, Error::InvalidArgument { .. }), "{name:?}: {refused:?}");
        }
        for count in [0, 100_001, u32::MAX] {
            let refused = engine.create_topic(TopicSpec::new("t").partitions(count)).unwrap_err();
            assert!(matches!(refused, Error::InvalidArgument { .. }), "{count}: {refused:?}");
        }
        engine.create_topic(TopicSpec::new("x".repeat(249))).unwrap();
        let topic = engine.create_topic(TopicSpec::new("three").partitions(3)).unwrap();
        for beyond in [3, u32::MAX] {
            let refused = topic.partition(beyond).unwrap_err();
            assert!(matches!(refused, Error::UnknownPartition { partitions: 3, .. }));
        }
        let refused = engine.topic("nothing").unwrap_err();
        assert!(matches!(refused, Error::UnknownTopic { .. }), "{refused:?}");
        let refused = engine.delete_topic("nothing").unwrap_err();
        assert!(matches!(refused, Error::UnknownTopic { .. }), "{refused:?}");
        let refused = engine.create_topic(TopicSpec::new("three")).unwrap_err();
        assert!(matches!(refused, Error::TopicExists { .. }), "{refused:?}");
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn options_out_of_range_are_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let second = std::time::Duration::from_secs(1);
    for options in [
        small().segment_bytes(0),
        small().segment_bytes(u64::MAX),
        small().segment_bytes((64 << 10) + 1),
        small().ring_bytes(0),
        small().ring_bytes(usize::MAX),
        small().ring_bytes(100_000),
        small().group_bytes(0),
        small().group_bytes(usize::MAX),
        small().groups_in_flight(0),
        small().groups_in_flight(1000),
        small().async_window(0, second),
        small().async_window(1, std::time::Duration::ZERO),
        small().async_window(u64::MAX, second),
        small().async_window(1, std::time::Duration::MAX),
        small().max_payload_bytes(0),
        small().max_payload_bytes(usize::MAX),
        small().max_payload_bytes((32 << 10) + 1),
    ] {
        let refused = options.open(&path).unwrap_err();
        assert!(matches!(refused, Error::InvalidArgument { .. }), "{refused:?}");
        assert!(!path.exists());
    }
}

#[test]
fn the_longest_timeouts_are_no_overflow() {
    on_each(&small(), |options, dir| {
        let forever = std::time::Duration::MAX;
        let options = options.clone().append_timeout(forever).close_timeout(forever);
        let engine = options.lock_timeout(forever).open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Sync);
        partition.append(Record::new(b"x")).unwrap();
        let mut reader = partition.reader(Start::Earliest).unwrap();
        assert!(reader.next_timeout(forever).unwrap().is_some());
        engine.close(forever).unwrap();
    });
}
