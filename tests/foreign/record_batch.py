"""Reads and builds record batches with kafka-python, to hold Ringlog's against.

    record_batch.py parse BATCHES EXPECTED   every field of every batch is as expected
    record_batch.py build EXPECTED BATCHES   builds the expected batches
    record_batch.py keys KEYS PARTITIONS     writes the partition of each key, as u32, for one topic
                                             of each size: 1, 2, 3, 10, 1000

A file of keys has each as its length (i32) and bytes. An expectation file is, little-endian: for
each batch its base offset (u64), leader epoch (u32), number of records (u32) and attributes (u32:
codec, and 8 for append time), and for each record its timestamp (i64), key and value (length i32, -1 for
null, and bytes), number of headers (u32), and for each header name and value (as a value is).
"""

import struct
import sys

try:
    from kafka.partitioner.default import DefaultPartitioner
    from kafka.record.default_records import DefaultRecordBatchBuilder
    from kafka.record.memory_records import MemoryRecords
except ImportError as error:
    sys.exit(f"cannot import kafka-python: {error}")

BATCH = struct.Struct("<QIII")
TIMESTAMP = struct.Struct("<q")
LENGTH = struct.Struct("<i")
BATCH_HEADER_BYTES = 61


class Expected:
    """Iterates over (base offset, epoch, attributes, records); a record is (timestamp, key, value, headers)."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        self.at = 0

    def take(self, layout):
        fields = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return fields

    def blob(self):
        (length,) = self.take(LENGTH)
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length : self.at]

    def record(self):
        (timestamp,) = self.take(TIMESTAMP)
        key, value = self.blob(), self.blob()
        (count,) = self.take(LENGTH)
        headers = [(self.blob().decode("utf-8"), self.blob()) for _ in range(count)]
        return timestamp, key, value, headers

    def __iter__(self):
        while self.at < len(self.data):
            base_offset, epoch, count, attributes = self.take(BATCH)
            yield base_offset, epoch, attributes, [self.record() for _ in range(count)]


def same(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: found {found!r}, expected {expected!r}")


def check_header(name, batch, base_offset, epoch, attributes, records):
    timestamps = [record[0] for record in records]
    last = len(records) - 1
    for field, found, expected in [
        ("magic", batch.magic, 2),
        ("base offset", batch.base_offset, base_offset),
        ("leader epoch", batch.leader_epoch, epoch),
        ("attributes", batch.attributes, attributes),
        ("last offset delta", batch.last_offset_delta, last),
        ("last offset", batch.last_offset, base_offset + last),
        ("base timestamp", batch.first_timestamp, timestamps[0]),
        ("max timestamp", batch.max_timestamp, max(timestamps)),
        ("producer id", batch.producer_id, -1),
        ("producer epoch", batch.producer_epoch, -1),
        ("base sequence", batch.base_sequence, -1),
        ("number of records", batch.records_count, len(records)),
        ("crc", batch.validate_crc(), True),
    ]:
        same(f"{name}, {field}", found, expected)


def parse(batches_path, expected_path):
    with open(batches_path, "rb") as file:
        data = file.read()
    batches = MemoryRecords(data)
    batch_count = record_count = byte_count = 0
    for base_offset, epoch, attributes, records in Expected(expected_path):
        name = f"batch {batch_count}"
        batch = batches.next_batch()
        if batch is None:
            sys.exit(f"{name} is missing")
        check_header(name, batch, base_offset, epoch, attributes, records)
        found = list(batch)
        same(f"{name}, records", len(found), len(records))
        for offset, (record, expected) in enumerate(zip(found, records), base_offset):
            fields = (record.timestamp, record.key, record.value, record.headers)
            same(f"{name}, offset", record.offset, offset)
            same(f"{name}, kind of time", record.timestamp_type, attributes >> 3)
            same(f"{name}, record {offset}", fields, expected)
        batch_count += 1
        record_count += len(found)
        byte_count += batch.size_in_bytes
    same("bytes", byte_count, len(data))
    if batches.next_batch() is not None:
        sys.exit("a batch too many")
    print(batch_count, record_count)


def build(expected_path, batches_path):
    batch_count = record_count = 0
    with open(batches_path, "wb") as file:
        for _, _, attributes, records in Expected(expected_path):
            builder = DefaultRecordBatchBuilder(
                magic=2,
                compression_type=attributes & 7,
                is_transactional=False,
                producer_id=-1,
                producer_epoch=-1,
                base_sequence=-1,
                batch_size=1 << 30,
            )
            for offset, (timestamp, key, value, headers) in enumerate(records):
                if builder.append(offset, timestamp, key, value, headers) is None:
                    sys.exit("the builder took no more records")
            file.write(builder.build())
            batch_count += 1
            record_count += len(records)
    print(batch_count, record_count)


class Cluster:
    """What the partitioner asks of a cluster with one topic of this size."""

    def __init__(self, partitions):
        self.partitions = range(partitions)

    def topics(self):
        return ["topic"]

    def partitions_for_topic(self, _):
        return self.partitions

    available_partitions_for_topic = partitions_for_topic


def keys(keys_path, partitions_path):
    source = Expected(keys_path)
    choose = DefaultPartitioner().partition
    count = 0
    with open(partitions_path, "wb") as file:
        while source.at < len(source.data):
            key = source.blob()
            for partitions in [1, 2, 3, 10, 1000]:
                chosen = choose("topic", key, key, None, None, Cluster(partitions))
                file.write(struct.pack("<I", chosen))
            count += 1
    print(count)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["parse", batches_path, expected_path]:
            parse(batches_path, expected_path)
        case ["build", expected_path, batches_path]:
            build(expected_path, batches_path)
        case ["keys", keys_path, partitions_path]:
            keys(keys_path, partitions_path)
        case _:
            sys.exit(__doc__)
