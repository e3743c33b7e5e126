"""What is measured of Ringlog, and the list of all cells beside those of `neighbours.py`."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import neighbours
from clock import BATCH, FILLED, IN_FLIGHT, OUTSTANDING, VALUE, Clock, Sample, timed

Work = Callable[[Path, float], Sample]


def python_list(directory: Path, seconds: float) -> Sample:
    values: list[bytes] = []

    def step() -> int:
        if len(values) >= FILLED:
            values.clear()
        for _ in range(BATCH):
            values.append(VALUE)
        return BATCH

    return timed(seconds, step)


def opened(directory: Path, flush: str) -> Any:
    import ringlog

    return ringlog.open(directory / "ringlog", flush)


def append_nowait(flush: str) -> Work:
    def work(directory: Path, seconds: float) -> Sample:
        with opened(directory, flush) as log:
            append = log.topic("orders").partition(0).append_nowait
            futures: collections.deque[Any] = collections.deque()

            def step() -> int:
                for _ in range(BATCH):
                    if len(futures) >= OUTSTANDING:
                        futures.popleft().result()
                    futures.append(append(VALUE))
                return BATCH

            def finish() -> None:
                while futures:
                    futures.popleft().result()

            return timed(seconds, step, finish)

    return work


def append(flush: str, at_once: int) -> Work:
    def work(directory: Path, seconds: float) -> Sample:
        with opened(directory, flush) as log:
            call = log.topic("orders").partition(0).append

            def step() -> int:
                for _ in range(at_once):
                    call(VALUE)
                return at_once

            return timed(seconds, step)

    return work


def append_many(flush: str) -> Work:
    def work(directory: Path, seconds: float) -> Sample:
        with opened(directory, flush) as log:
            call = log.topic("orders").partition(0).append_many
            values = [VALUE] * BATCH
            return timed(seconds, lambda: len(call(values)))

    return work


def filled(log: Any) -> Any:
    partition = log.topic("orders").partition(0)
    for _ in range(FILLED // BATCH):
        partition.append_many([VALUE] * BATCH)
    return partition


def iterate(directory: Path, seconds: float) -> Sample:
    with opened(directory, "async") as log:
        partition = filled(log)

        def step() -> int:
            count = 0
            for _record in partition.read():
                count += 1
            return count

        return timed(seconds, step)


def iterate_values(directory: Path, seconds: float) -> Sample:
    with opened(directory, "async") as log:
        partition = filled(log)

        def step() -> int:
            count = 0
            for record in partition.read():
                count += len(record.value) == len(VALUE)
            return count

        return timed(seconds, step)


def batch_values(directory: Path, seconds: float) -> Sample:
    with opened(directory, "async") as log:
        partition = filled(log)

        def step() -> int:
            count = 0
            for batch in partition.read().batches():
                for value in batch.values():
                    count += len(value) == len(VALUE)
            return count

        return timed(seconds, step)


def asyncio_append(flush: str) -> Work:
    def work(directory: Path, seconds: float) -> Sample:
        from ringlog import aio

        async def main() -> Sample:
            async with aio.open(directory / "ringlog", flush=flush) as log:  # type: ignore[arg-type]
                partition = (await log.topic("orders")).partition(0)
                clock = Clock()

                async def worker() -> int:
                    count = 0
                    while clock.elapsed() < seconds:
                        await partition.append(VALUE)
                        count += 1
                    return count

                counts = await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
                return clock.stop(sum(counts))

        return asyncio.run(main())

    return work


#: What every cell is compared with.
LIST: tuple[str, Work] = ("a Python list, one at a time", python_list)

#: By kind of work: only cells of one kind promise the same.
WORKS: dict[str, list[tuple[str, Work]]] = {
    "written, one at a time: survives the process": [
        ("ringlog append_nowait, <= 4,096 outstanding", append_nowait("async")),
        ("ringlog append", append("async", BATCH)),
        ("ringlog asyncio, 64 in flight", asyncio_append("async")),
        *neighbours.written(1),
    ],
    "written, batches of 1,000": [
        ("ringlog append_many", append_many("async")),
        *neighbours.written(BATCH),
    ],
    "read through, warm": [
        ("ringlog records", iterate),
        ("ringlog records, each value looked at", iterate_values),
        ("ringlog batches of 1,000, each value looked at", batch_values),
        *neighbours.READS,
    ],
    "durable, one at a time: survives a power loss": [
        ("ringlog asyncio, 64 in flight", asyncio_append("sync")),
        ("ringlog append_nowait, <= 4,096 outstanding", append_nowait("sync")),
        ("ringlog append", append("sync", 1)),
        *neighbours.durable(1),
    ],
    "durable, batches of 1,000": [
        ("ringlog append_many", append_many("sync")),
        *neighbours.durable(BATCH),
    ],
}
