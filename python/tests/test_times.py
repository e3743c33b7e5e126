"""Reading from a time on, whose time it is, compression, and the counters."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import ringlog
from ringlog import aio

#: A second apart, from here on.
FIRST = 1_700_000_000_000


def filled(log: ringlog.Engine, flush: Any = "sync") -> ringlog.Partition:
    partition = log.topic("orders", flush=flush).partition(0)
    partition.append_many(
        [{"value": b"%d" % n, "timestamp_ms": FIRST + 1000 * n} for n in range(5)]
    )
    partition.append_many(
        [{"value": b"%d" % n, "timestamp_ms": FIRST + 1000 * n} for n in range(5, 10)]
    )
    return partition


def read(reader: ringlog.Reader) -> list[int]:
    return [record.offset for record in reader]


@pytest.mark.parametrize("flush", ["sync", "async"])
def test_reading_begins_at_a_time(log: ringlog.Engine, flush: str) -> None:
    partition = filled(log, flush)
    topic = log.topic("orders")
    at = datetime.fromtimestamp(FIRST / 1000, timezone.utc) + timedelta(seconds=7)
    elsewhere = at.astimezone(timezone(timedelta(hours=-9, minutes=-30)))
    for same in (FIRST + 7000, at, elsewhere, FIRST + 6001):
        assert read(partition.read(time=same)) == [7, 8, 9]
        assert read(topic.read(time=same)) == [7, 8, 9]
        assert partition.offset_for_time(same) == ringlog.TimedOffset(7, FIRST + 7000)
    # What is finer than a millisecond is rounded up: record 7 is before this.
    assert read(partition.read(time=at + timedelta(microseconds=1))) == [8, 9]
    assert read(partition.read(time=at - timedelta(microseconds=1))) == [7, 8, 9]
    assert read(partition.read(time=0)) == list(range(10))
    assert partition.max_timestamp() == (9, FIRST + 9000)
    late = partition.read(time=FIRST + 9001)
    assert partition.offset_for_time(FIRST + 9001) is None and read(late) == []
    partition.append(b"v")
    assert read(late) == [10]


def test_no_records_have_no_time(orders: ringlog.Partition) -> None:
    assert orders.max_timestamp() is None and orders.offset_for_time(0) is None


def test_times_that_are_none_are_refused(orders: ringlog.Partition) -> None:
    wrong: list[Any] = [
        (TypeError, lambda: orders.read(0, time=1)),  # type: ignore[arg-type, unused-ignore]
        (TypeError, lambda: orders.read(time="yesterday")),  # type: ignore[arg-type]
        (TypeError, lambda: orders.read(time=True)),
        (TypeError, lambda: orders.offset_for_time(1.5)),  # type: ignore[arg-type]
        (TypeError, lambda: orders.offset_for_time(None)),  # type: ignore[arg-type]
        (ValueError, lambda: orders.read(time=datetime(2026, 1, 1))),
        (OverflowError, lambda: orders.read(time=1 << 63)),
    ]
    for error, call in wrong:
        with pytest.raises(error):
            call()


def test_asyncio_reads_from_a_time_on(tmp_path: Path) -> None:
    with ringlog.open(tmp_path / "data") as log:
        filled(log)

    async def main() -> None:
        async with aio.open(tmp_path / "data") as log:
            topic = log.topic("orders")
            partition = topic.partition(0)
            assert [r.offset async for r in partition.read(time=FIRST + 7000)] == [7, 8, 9]
            assert [r.offset async for r in topic.read(time=FIRST + 8000)] == [8, 9]
            assert await partition.offset_for_time(FIRST + 1) == (1, FIRST + 1000)
            assert await partition.max_timestamp() == (9, FIRST + 9000)
            assert await partition.append_many([b"a" * 9999], compression="zstd") == range(10, 11)
            made = await log.topic("zipped", compression="lz4", timestamps="append-time")
            await made.append(b"v", timestamp_ms=1)
            (info,) = [info for info in log.topics() if info.name == "zipped"]
            assert (info.compression, info.timestamps) == ("lz4", "append-time")
            assert "ringlog_appends_total" in log.metrics()

    asyncio.run(main())


def test_the_engines_time_replaces_the_appenders(log: ringlog.Engine) -> None:
    topic = log.topic("orders", timestamps="append-time")
    before = int(time.time() * 1000)
    topic.append(b"v", timestamp_ms=1234)
    after = int(time.time() * 1000)
    (record,) = topic.read()
    # The clock's milliseconds may be read a tick earlier than they are asked for here.
    assert record.timestamp_ms != 1234 and before - 1000 <= record.timestamp_ms <= after + 1000
    assert topic.timestamps == "append-time" and log.topic("other").timestamps == "create-time"


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_is_compressed_comes_back(tmp_path: Path, codec: Any) -> None:
    rows: list[Any] = [{"value": b"all alike " * 100, "key": b"%d" % n} for n in range(100)]
    with ringlog.open(tmp_path / "data") as log:
        topic = log.topic("orders", compression=codec)
        assert topic.compression == codec
        topic.partition(0).append_many(rows)
        # What a call says counts more than what the topic does.
        plain = log.topic("plain").partition(0)
        plain.append_many(rows, compression=codec)
        log.topic("plain").append_many([{"value": b"v" * 9999, "key": b"k"}], compression=codec)
    with ringlog.open(tmp_path / "data") as log:
        for name in ("orders", "plain"):
            partition = log.topic(name).partition(0)
            assert [(bytes(r.value or b""), bytes(r.key or b"")) for r in partition.read()][
                :100
            ] == [(row["value"], row["key"]) for row in rows]
            batch = next(partition.read().batches())
            assert (len(batch.raw) < 50_000) == (codec != "none")
        assert {info.name: info.compression for info in log.topics()} == {
            "orders": codec,
            "plain": "none",
        }


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_one_record_is_compressed_if_its_append_says_so(tmp_path: Path, codec: Any) -> None:
    value = b"all alike " * 500
    with ringlog.open(tmp_path / "data", flush="async") as log:
        topics = [log.topic("quick"), log.topic("sure", flush="sync")]
        for topic in topics:
            partition = topic.partition(0)
            topic.append(value)
            topic.append(value, compression=codec)
            partition.append(value, compression=codec)
            topic.append_nowait(value, compression=codec).result()
            partition.append_nowait(value, compression=codec).result()

    async def more() -> None:
        async with aio.open(tmp_path / "data") as again:
            await again.topic("sure").append(value, compression=codec)
            # A topic that is made before its first use passes it on.
            await again.topic("new").append(value, compression=codec)

    asyncio.run(more())
    with ringlog.open(tmp_path / "data") as log:
        raw = {
            name: [len(batch.raw) for batch in log.topic(name).read().batches()]
            for name in ("quick", "sure", "new")
        }
        values = {bytes(r.value or b"") for name in raw for r in log.topic(name).read()}
    assert values == {value}
    assert {name: len(sizes) for name, sizes in raw.items()} == {"quick": 5, "sure": 6, "new": 1}
    assert raw["quick"][0] > 5000 and raw["sure"][0] > 5000
    assert all(size < 1000 for size in raw["quick"][1:] + raw["sure"][1:] + raw["new"])


def test_what_is_no_word_is_refused(log: ringlog.Engine) -> None:
    wrong: list[Any] = [
        lambda: log.topic("x", compression="rar"),  # type: ignore[arg-type]
        lambda: log.topic("x", timestamps="mine"),  # type: ignore[arg-type]
        lambda: log.topic("y").append_many([b"v"], compression="rar"),  # type: ignore[arg-type]
        lambda: log.topic("y").append(b"v", compression="rar"),  # type: ignore[arg-type]
        lambda: log.topic("y").append_nowait(b"v", compression=""),  # type: ignore[arg-type]
    ]
    for call in wrong:
        with pytest.raises(ValueError):
            call()
    assert [info.name for info in log.topics()] == ["y"]


def test_the_counters_are_prometheus_text(log: ringlog.Engine) -> None:
    partition = log.topic("orders").partition(0)
    for _ in range(3):
        partition.append_many([b"a", b"b"])
    text = log.metrics()
    assert text.endswith("\n")
    sample = re.compile(
        r"([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*=\"(?:[^\"\\\n]|\\[\\n\"])*\",?)*\})? (\S+)"
    )
    kinds: dict[str, str] = {}
    found: dict[tuple[str, str], float] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            match = sample.fullmatch(line)
            assert match, line
            name, labels, value = match.groups()
            family = name if name in kinds else re.sub(r"_(bucket|sum|count)$", "", name)
            assert family in kinds and (name, labels) not in found, line
            found[name, labels] = float(value)
    assert set(kinds.values()) <= {"counter", "gauge", "histogram"}
    records = [value for (name, _), value in found.items() if name == "ringlog_records_total"]
    assert sum(records) == 6
