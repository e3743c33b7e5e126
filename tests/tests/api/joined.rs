//! Single records that join one batch: which do and which do not, and that nobody can tell but by
//! the batches.

use ringlog::{
    AppendOptions, Compression, Engine, Flush, Offset, Options, Partition, Record, Start, TopicSpec,
};

use super::{CLASSES, DEADLINE, number, on_each, small, value, values};

/// Base offset and number of records of each batch.
fn batches(partition: &Partition) -> Vec<(u64, usize)> {
    let reader = partition.reader(Start::Earliest).unwrap();
    reader.map(Result::unwrap).map(|batch| (batch.base_offset().0, batch.len())).collect()
}

fn on_each_flush(options: &Options, test: impl Fn(&Engine, &Partition, Flush)) {
    on_each(options, |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for flush in CLASSES {
            let spec = TopicSpec::new(format!("t-{flush}")).flush(flush).partitions(2);
            let topic = engine.create_topic(spec).unwrap();
            test(&engine, &topic.partition(0).unwrap(), flush);
        }
        engine.close(DEADLINE).unwrap();
    });
}

/// Appends whose futures are dropped, so that a group collects them.
fn append_all(partition: &Partition, numbers: std::ops::Range<usize>, len: usize) {
    let mut appends = Vec::new();
    for at in numbers {
        appends.push(partition.append_async(Record::new(&value(at, len))));
    }
    for append in appends {
        append.wait().unwrap();
    }
}

#[test]
fn records_come_out_as_they_went_in_however_they_joined() {
    for batch_bytes in [0, 100, 300, 5000, 1 << 20] {
        on_each_flush(&small().batch_bytes(batch_bytes), |_, partition, _| {
            let lens = [0, 1, 10, 100, 40, 3000, 7, 800];
            let made = |at: usize| value(at, 8 + lens[at % lens.len()]);
            for at in 0..300 {
                let key = at.to_string();
                let value = made(at);
                let record = Record::new(&value).key(key.as_bytes()).header("h", Some(b"1"));
                let record = record.timestamp_ms(1_000 + ((at * 7919) % 500) as i64);
                assert_eq!(partition.append(record).unwrap(), Offset(at as u64));
            }
            let records = partition.reader(Start::Earliest).unwrap().records();
            for (at, record) in records.map(Result::unwrap).enumerate() {
                assert_eq!(record.offset, Offset(at as u64));
                assert_eq!(record.value.unwrap(), made(at));
                assert_eq!(record.key.unwrap(), at.to_string());
                assert_eq!(record.timestamp_ms, 1_000 + ((at * 7919) % 500) as i64);
                assert_eq!(record.headers.len(), 1);
            }
            // Each can be found, by offset and by time.
            for at in (0..300).step_by(11) {
                let from = partition.reader(Start::Offset(Offset(at))).unwrap();
                assert_eq!(from.records().next().unwrap().unwrap().offset, Offset(at));
                let ms = 1_000 + ((at * 7919) % 500) as i64;
                let found = partition.offset_for_time(ms).unwrap().unwrap();
                assert!(found.timestamp_ms >= ms && found.offset <= Offset(at));
            }
            let latest = (0..300).map(|at| 1_000 + ((at * 7919) % 500)).max().unwrap();
            assert_eq!(partition.max_timestamp().unwrap().unwrap().timestamp_ms, latest);
        });
    }
}

#[test]
fn what_comes_one_after_the_other_is_one_batch() {
    on_each_flush(&small().batch_bytes(4 << 10), |engine, partition, _| {
        append_all(partition, 0..20, 10);
        engine.flush(DEADLINE).unwrap();
        let found = batches(partition);
        assert_eq!(found.iter().map(|(_, len)| len).sum::<usize>(), 20);
        // A group may have been closed in between, the first one of a sync log at once.
        assert!(found.len() < 10, "{found:?}");
        let bytes = partition.reader(Start::Earliest).unwrap();
        assert!(bytes.map(Result::unwrap).all(|batch| batch.bytes().len() <= 4 << 10));
    });
}

#[test]
fn what_is_not_alike_joins_nothing() {
    let flush = Flush::Async;
    on_each(&small(), |options, dir| {
        let engine = options.clone().async_window(1 << 20, DEADLINE).open(dir).unwrap();
        let spec = TopicSpec::new("t").flush(flush).partitions(2);
        let topic = engine.create_topic(spec).unwrap();
        let [first, second] = [0, 1].map(|id| topic.partition(id).unwrap());
        let one = |partition: &Partition| partition.append(Record::new(b"x")).map(drop).unwrap();
        one(&first);
        one(&first);
        // Another partition's is in between.
        one(&second);
        one(&first);
        // A batch given as such, even of one record.
        first.append_many(&[Record::new(b"x"), Record::new(b"y")]).unwrap();
        one(&first);
        let ready = first.reader(Start::Earliest).unwrap().next_batch().unwrap().unwrap();
        first.append_batch(ready.bytes(), AppendOptions::default()).unwrap();
        one(&first);
        let packed = AppendOptions::default().compression(Compression::Lz4);
        first.append_with(&[Record::new(b"x")], packed).unwrap();
        one(&first);
        one(&first);
        let wanted = [(0, 2), (2, 1), (3, 2), (5, 1), (6, 2), (8, 1), (9, 1), (10, 2)];
        assert_eq!(batches(&first), wanted);
        // Whoever reads closes the batch: what he was given does not change.
        one(&first);
        assert_eq!(batches(&first)[wanted.len()..], [(12, 1)]);
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn many_threads_join_what_they_can_and_lose_nothing() {
    on_each_flush(&small(), |_, partition, _| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for at in 0..200 {
                        partition.append(Record::new(&value(thread * 1000 + at, 10))).unwrap();
                    }
                });
            }
            // A reader closes batches all the time.
            let mut reader = partition.reader(Start::Earliest).unwrap();
            let mut next = 0;
            while next < 800 {
                if let Some(batch) = reader.next_timeout(DEADLINE).unwrap() {
                    for record in &batch {
                        assert_eq!(record.unwrap().offset(), Offset(next));
                        next += 1;
                    }
                }
            }
        });
        let mut last = [None; 4];
        for found in values(partition, Start::Earliest) {
            let found = number(&found.unwrap()) as usize;
            let (thread, at) = (found / 1000, found % 1000);
            assert!(last[thread] < Some(at), "each thread's are in its order");
            last[thread] = Some(at);
        }
        assert_eq!(last, [Some(199); 4]);
    });
}
