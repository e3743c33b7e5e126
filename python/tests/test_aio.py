"""asyncio: everything through the loop's queue, nothing lost by cancelling."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Optional

import pytest

import ringlog
from ringlog import aio

Main = Callable[[aio.Engine], Coroutine[Any, Any, None]]


def run(path: Path, main: Main, **options: Any) -> None:
    async def opened() -> None:
        async with aio.open(path / "data", **options) as log:
            await asyncio.wait_for(main(log), 120)

    asyncio.run(opened())


def test_appends_and_reads(tmp_path: Path) -> None:
    async def main(log: aio.Engine) -> None:
        orders = log.topic("orders", partitions=2)
        at = await orders.append(b"v", key=b"k", headers=[("h", None)])
        assert isinstance(at, ringlog.RecordId) and at.offset == 0
        partition = orders.partition(at.partition)
        assert await partition.append_many([b"a", b"b"]) == range(1, 3)
        assert [bytes(r.value or b"") async for r in orders.read()] == [b"v", b"a", b"b"]
        assert [len(batch) async for batch in partition.read(1).batches()] == [2]
        await log.flush()
        await partition.trim(1)
        assert [r.offset async for r in partition.read()] == [1, 2]
        assert [topic.name for topic in log.topics()] == ["orders"]
        await log.delete_topic("orders")
        with pytest.raises(ringlog.UnknownTopicError):
            await partition.append(b"v")

    run(tmp_path, main)


@pytest.mark.parametrize("flush", ["sync", "async"])
def test_many_in_flight_keep_their_order(tmp_path: Path, flush: str) -> None:
    async def main(log: aio.Engine) -> None:
        partition = (await log.topic("orders", flush=flush)).partition(0)  # type: ignore[arg-type]
        appends = [partition.append(b"%d" % n) for n in range(2000)]
        assert await asyncio.gather(*appends) == list(range(2000))
        assert [bytes(r.value or b"") async for r in partition.read()] == [
            b"%d" % n for n in range(2000)
        ]

    run(tmp_path, main)


def test_back_pressure_keeps_the_order_and_the_loop_running(tmp_path: Path) -> None:
    async def main(log: aio.Engine) -> None:
        partition = (await log.topic("orders")).partition(0)
        appends = [partition.append(bytes(1 << 20)) for _ in range(64)]
        assert not all(append.done() for append in appends)
        appends[40].cancel()
        turns = 0
        while not all(append.done() for append in appends):
            await asyncio.sleep(0)
            turns += 1
        appends.pop(40)
        offsets = [append.result() for append in appends]
        assert turns > 0 and offsets == sorted(offsets) and len(set(offsets)) == 63

    run(tmp_path, main)


def own_threads() -> int:
    """Those of the process; the kernel's io_uring workers stand beside them."""
    names = [task.joinpath("comm") for task in Path("/proc/self/task").iterdir()]
    return sum(1 for name in names if name.exists() and not name.read_text().startswith("iou-"))


def test_no_thread_takes_part_in_appends_and_reads(tmp_path: Path) -> None:
    async def main(log: aio.Engine) -> None:
        partition = (await log.topic("orders")).partition(0)
        await asyncio.sleep(0.1)
        before = {thread.name for thread in threading.enumerate()}
        native = own_threads()
        reader = partition.read().follow()
        for n in range(100):
            await partition.append(b"v")
            assert (await anext(reader)).offset == n
        assert {thread.name for thread in threading.enumerate()} <= before
        assert own_threads() <= native

    run(tmp_path, main)


@pytest.mark.parametrize("of_topic", [False, True])
def test_following_sleeps_until_there_is_more(tmp_path: Path, of_topic: bool) -> None:
    async def main(log: aio.Engine) -> None:
        topic = await log.topic("orders")
        partition = topic.partition(0)
        reader = (topic if of_topic else partition).read().follow()
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await partition.append(b"v")
        assert (await waiting).value == b"v"

    run(tmp_path, main)


def test_cancelling_a_read_loses_nothing(tmp_path: Path) -> None:
    async def main(log: aio.Engine) -> None:
        partition = (await log.topic("orders")).partition(0)
        reader = partition.read().follow()
        for n in range(50):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(reader), 0.001)
            waiting = asyncio.ensure_future(anext(reader))
            await asyncio.sleep(0)
            append = partition.append(b"%d" % n)
            waiting.cancel()
            await append
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await anext(reader)).offset == n

    run(tmp_path, main)


def test_cancelling_an_append_takes_nothing_back(tmp_path: Path) -> None:
    async def main(log: aio.Engine) -> None:
        partition = (await log.topic("orders")).partition(0)
        for _ in range(20):
            partition.append(b"v").cancel()
        assert await partition.append(b"last") == 20

    run(tmp_path, main)


def test_a_reader_hears_of_the_close(tmp_path: Path) -> None:
    heard: list[Optional[BaseException]] = []

    async def opened() -> None:
        log = await aio.open(tmp_path / "data")
        reader = (await log.topic("orders")).partition(0).read().follow()
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0.05)
        await log.close()
        await log.close()
        await asyncio.wait([waiting], timeout=60)
        heard.append(waiting.exception())

    asyncio.run(opened())
    assert isinstance(heard[0], ringlog.ClosedError)


def test_an_open_that_is_cancelled_is_undone(tmp_path: Path) -> None:
    async def main() -> None:
        opening = asyncio.ensure_future(aio.open(tmp_path / "data")._open())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        # It is closed again, and the directory free.
        async with aio.open(tmp_path / "data", lock_timeout=60):
            pass

    asyncio.run(main())
