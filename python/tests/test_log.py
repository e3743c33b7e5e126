"""What goes in comes out, and the calls say what they promise."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import ringlog


def values(partition: ringlog.Partition, start: int | None = None) -> list[bytes | None]:
    records = partition.read() if start is None else partition.read(start)
    return [None if r.value is None else bytes(r.value) for r in records]


def test_a_record_comes_back_as_it_was_given(orders: ringlog.Partition) -> None:
    headers = [("h", b"1"), ("h", None), ("ü", b"")]
    assert orders.append(b"v", key=b"k", headers=headers, timestamp_ms=1234) == 0
    (record,) = orders.read()
    assert (record.partition, record.offset, record.timestamp_ms) == (0, 0, 1234)
    assert record.value == b"v" and record.key == b"k"
    assert record.headers == headers


@pytest.mark.parametrize("flush", ["sync", "async"])
def test_null_and_empty_are_different(log: ringlog.Engine, flush: str) -> None:
    partition = log.topic(flush, flush=flush).partition(0)  # type: ignore[arg-type]
    partition.append(None, key=b"")
    partition.append(b"")
    null, empty = partition.read()
    assert null.value is None and null.key == b""
    assert empty.value == b"" and empty.key is None


def test_records_survive_closing(tmp_path: Path) -> None:
    with ringlog.open(tmp_path / "data") as log:
        log.topic("orders", partitions=3).partition(2).append(b"v")
    with ringlog.open(tmp_path / "data", create=False) as log:
        assert values(log.topic("orders", create=False).partition(2)) == [b"v"]
        (topic,) = log.topics()
        assert (topic.name, topic.flush, len(topic.partitions)) == ("orders", "sync", 3)
        assert [partition.end for partition in topic.partitions] == [0, 0, 1]


def test_any_buffer_is_a_value(orders: ringlog.Partition) -> None:
    import array

    numbers = array.array("d", [1.5, 2.5])
    for value in (b"bytes", bytearray(b"array"), memoryview(b"view")[1:], numbers):
        orders.append(value)
    assert values(orders) == [b"bytes", b"array", b"iew", numbers.tobytes()]


def test_append_many_is_one_batch_of_anything(orders: ringlog.Partition) -> None:
    orders.append(b"first", key=b"k", headers=[("h", b"1")], timestamp_ms=7)
    (first,) = orders.read()
    given = [b"a", None, {"value": b"b", "key": b"k", "headers": [("x", None)]}, first]
    assert orders.append_many(iter(given)) == range(1, 5)  # type: ignore[arg-type]
    one, many = orders.read().batches()
    assert (len(one), len(many)) == (1, 4)
    assert (many.base_offset, many.last_offset, many.partition) == (1, 4, 0)
    assert many.values() == [b"a", None, b"b", b"first"]
    assert [record.key for record in many] == [None, None, b"k", b"k"]
    assert many[2].headers == [("x", None)]
    assert (many[-1].headers, many[-1].timestamp_ms) == ([("h", b"1")], 7)
    with pytest.raises(IndexError):
        many[4]
    assert orders.append_many([]) == range(0)


def test_reading_begins_where_it_is_told_to(orders: ringlog.Partition) -> None:
    orders.append_many([b"0", b"1", b"2"])
    assert [record.offset for record in orders.read(1)] == [1, 2]
    assert list(orders.read("latest")) == []
    (batch,) = orders.read(1).batches()
    assert len(batch) == 2 and batch[0].offset == 1 and batch.base_offset == 0
    reader = orders.read()
    assert [record.offset for record in reader] == [0, 1, 2] and list(reader) == []
    orders.append(b"3")
    assert [record.offset for record in reader] == [3]
    assert reader.next_offset == 4
    with pytest.raises(ringlog.OffsetOutOfRangeError):
        orders.read(5)


def test_following_ends_once_it_is_quiet(orders: ringlog.Partition) -> None:
    orders.append(b"0")
    assert [record.value for record in orders.read().follow(timeout=0.01)] == [b"0"]


def test_trimmed_records_are_gone(orders: ringlog.Partition) -> None:
    orders.append_many([b"0", b"1", b"2"])
    orders.trim(2)
    assert (orders.log_start, orders.end, orders.durable_end) == (2, 3, 3)
    assert values(orders) == [b"2"]
    with pytest.raises(ringlog.OffsetOutOfRangeError):
        orders.trim(4)


def test_a_topic_is_deleted_for_everybody(log: ringlog.Engine) -> None:
    partition = log.topic("orders").partition(0)
    log.delete_topic("orders")
    with pytest.raises(ringlog.UnknownTopicError):
        partition.append(b"v")
    with pytest.raises(LookupError):
        log.topic("orders", create=False)


def test_the_second_writer_hears_who_is_first(log: ringlog.Engine, tmp_path: Path) -> None:
    import os

    with pytest.raises(ringlog.LockedError) as caught:
        ringlog.open(tmp_path / "data", lock_timeout=0)
    assert caught.value.pid == os.getpid() and caught.value.retriable


def test_stat_says_what_was_chosen(log: ringlog.Engine, tmp_path: Path) -> None:
    stat = log.stat()
    assert stat["path"] == str(tmp_path / "data") and stat["capabilities"]["driver"]
    assert log.path == tmp_path / "data"


def test_the_scrub_tells_of_rot_before_a_reader_meets_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    sizes = {"segment_bytes": 64 << 10, "ring_bytes": 64 << 10, "group_bytes": 16 << 10}
    with ringlog.open(data, max_payload_bytes=32 << 10, **sizes) as log:  # type: ignore[arg-type]
        partition = log.topic("t").partition(0)
        for n in range(40):
            partition.append(bytes([n]) * 2000)
    segment = data / "log-001" / "0000000000000000.log"
    content = bytearray(segment.read_bytes())
    content[content.index(bytes([3]) * 2000) + 500] ^= 4
    segment.write_bytes(content)
    with ringlog.open(data, scrub_bytes_per_second=64 << 20, scrub_every=3600.0) as log:
        deadline = time.monotonic() + 60
        while not (scrub := log.stat()["metrics"]["logs"][1]["scrub"])["passes"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert scrub["damaged_places"] == 1 and str(segment) in scrub["damage"]
        assert values(log.topic("t").partition(0), 4)[0] == bytes([4]) * 2000
