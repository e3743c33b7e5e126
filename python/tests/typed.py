"""A program as a user would write it, checked by mypy --strict and then run by the tests."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Optional

import ringlog


def main(path: str) -> None:
    with ringlog.open(path, flush="async", lock_timeout=1.0) as log:
        topic: ringlog.Topic = log.topic("orders", partitions=2, flush="sync")
        partition: ringlog.Partition = topic.partition(1)
        offset: int = partition.append(b"v", key=bytearray(b"k"), headers=[("h", None)])
        offsets: range = partition.append_many([b"a", {"value": None}], ack="durable")
        assert offset == 0 and offsets == range(1, 3)
        for record in partition.read("earliest"):
            value: Optional[memoryview] = record.value
            again: list[tuple[str, Optional[memoryview]]] = record.headers
            assert value is not None or not again
        for batch in partition.read(1).batches():
            with batch:
                length: int = len(batch)
                assert length == 2
        found: Optional[ringlog.TimedOffset] = partition.offset_for_time(datetime.now(timezone.utc))
        assert found is None and list(topic.read(time=0)) and "ringlog" in log.metrics()
        newest = partition.max_timestamp()
        assert newest is not None and newest.offset < 3
        infos: list[ringlog.TopicInfo] = log.topics()
        assert infos[0].partitions[1].end == 3
    try:
        partition.append(b"late")
    except ringlog.ClosedError as error:
        code: str = error.code
        assert code == "closed" and not error.retriable


if __name__ == "__main__":
    main(sys.argv[1])
