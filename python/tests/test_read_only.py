"""A second process reads beside the writer, and cannot write."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import HANG_SECONDS

import ringlog
from ringlog import aio

FOLLOWER = """
import sys, ringlog
with ringlog.open(sys.argv[1], read_only=True) as log:
    partition = log.topic("orders", create=False).partition(0)
    for record in partition.read().follow():
        print(record.offset, bytes(record.value).decode(), flush=True)
        if record.value == b"last":
            break
"""


@pytest.mark.parametrize("flush", ["sync", "async"])
def test_another_process_follows_a_live_writer(log: ringlog.Engine, flush: Any) -> None:
    partition = log.topic("orders", flush=flush).partition(0)
    partition.append(b"first")
    follower = subprocess.Popen(
        [sys.executable, "-c", FOLLOWER, str(log.path)], stdout=subprocess.PIPE, text=True
    )
    assert follower.stdout is not None
    try:
        assert follower.stdout.readline() == "0 first\n"
        # It waits now, or is about to: each of these wakes it.
        for n in range(1, 20):
            assert partition.append(b"%d" % n) == n
            assert follower.stdout.readline() == f"{n} {n}\n"
        partition.append(b"last")
        assert follower.stdout.read() == "20 last\n"
        assert follower.wait(HANG_SECONDS) == 0
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close()


def test_it_outlives_a_writer_that_is_killed(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import os, signal, sys, ringlog
        log = ringlog.open(sys.argv[1], lock_timeout=60)
        log.topic("orders").partition(0).append(sys.argv[2].encode())
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )

    def write_and_die(value: str) -> None:
        command = [sys.executable, "-c", program, str(tmp_path / "data"), value]
        assert subprocess.run(command, timeout=HANG_SECONDS, check=False).returncode == -9

    write_and_die("a")
    with ringlog.open(tmp_path / "data", read_only=True) as log:
        reader = log.topic("orders").partition(0).read().follow()
        assert next(reader).value == b"a"
        write_and_die("b")
        assert next(reader).value == b"b"


def test_what_would_write_raises(log: ringlog.Engine) -> None:
    topic = log.topic("orders")
    topic.append(b"v")
    with ringlog.open(log.path, read_only=True) as reading:
        only = reading.topic("orders")
        partition = only.partition(0)
        calls: list[Any] = [
            lambda: only.append(b"v"),
            lambda: only.append_many([b"v"]),
            lambda: only.append_nowait(b"v").result(),
            lambda: partition.append(b"v"),
            lambda: partition.append_many([b"v"]),
            lambda: partition.append_nowait(b"v").result(),
            lambda: partition.trim(1),
            lambda: reading.topic("other"),
            lambda: reading.delete_topic("orders"),
        ]
        for number, call in enumerate(calls):
            with pytest.raises(ringlog.ReadOnlyError) as caught:
                call()
            assert caught.value.code == "read_only" and isinstance(caught.value, OSError), number
        assert [record.value for record in partition.read()] == [b"v"]
        assert [info.name for info in reading.topics()] == ["orders"]
        with pytest.raises(ringlog.UnknownTopicError):
            reading.topic("other", create=False)
    assert topic.partition(0).end == 1


def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(ringlog.RinglogError):
        ringlog.open(tmp_path / "data", read_only=True)
    assert not (tmp_path / "data").exists()


def test_asyncio_follows_too(log: ringlog.Engine) -> None:
    partition = log.topic("orders").partition(0)
    partition.append(b"0")

    async def main() -> None:
        async with aio.open(log.path, read_only=True) as reading:
            topic = await reading.topic("orders", create=False)
            reader = topic.partition(0).read().follow()
            for n in range(10):
                assert bytes((await anext(reader)).value or b"") == b"%d" % n
                await asyncio.to_thread(partition.append, b"%d" % (n + 1))
            with pytest.raises(ringlog.ReadOnlyError):
                await topic.append(b"v")

    asyncio.run(asyncio.wait_for(main(), HANG_SECONDS))


@pytest.mark.parametrize("mmap", [True, False])
def test_the_options_reach_the_engine(tmp_path: Path, mmap: bool) -> None:
    with ringlog.open(
        tmp_path / "data", shards=2, pin_shards=True, mmap=mmap, pinned_bytes_max=64 << 20
    ) as log:
        topic = log.topic("orders", partitions=4)
        for number in range(4):
            topic.partition(number).append(b"%d" % number)
        assert sorted(bytes(r.value or b"") for r in topic.read()) == [b"0", b"1", b"2", b"3"]
        stat = log.stat()
        assert stat["capabilities"]["shards"] == 2
        partitions = stat["topics"][0]["partitions"]
        assert {partition["shard"] for partition in partitions} == {0, 1}
    for wrong in ({"shards": 65}, {"shards": 0}, {"pinned_bytes_max": 1}):
        with pytest.raises(ringlog.InvalidArgumentError):
            ringlog.open(tmp_path / "other", **wrong)  # type: ignore[arg-type]
