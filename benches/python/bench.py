#!/usr/bin/env python3
"""What the Python module reaches, beside what else a Python program could take.

    benches/python/bench.py [--seconds 2] [--directory DIR]

Installs what it compares with into an environment of its own below target/, builds and installs the
module (release), and prints one table. Every cell is the median of several runs, the ways in turn;
the ratio is to appending the same bytes to a Python list in the same run. Each neighbour runs in
its durable mode for durable work, as its documentation says: LMDB with its default (sync) commits,
SQLite with WAL and synchronous=FULL, RocksDB with sync writes; persist-queue's file queue has no
such mode and syncs each hundred. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NEIGHBOURS = Path(__file__).with_name("requirements.txt")
VALUE = b"v" * 100
OUTSTANDING = 4096
IN_FLIGHT = 64
BATCH = 1000
RUNS = 5

#: The work done within `seconds`: how many records, and how long it took.
Work = Callable[[Path, float], "tuple[int, float]"]


def environment() -> Path:
    """The interpreter of an environment with the module and its neighbours."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    venv = target / "venv-bench"
    python = venv / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(NEIGHBOURS)], check=True)
    subprocess.run([*pip, "--force-reinstall", "--no-deps", str(ROOT)], check=True)
    return python


@contextmanager
def opened(directory: Path, **options: Any) -> Iterator[Any]:
    import ringlog

    with ringlog.open(directory / "ringlog", **options) as log:
        yield log


def timed(seconds: float, step: Callable[[], int], finish: Callable[[], None]) -> tuple[int, float]:
    """Repeats `step`, which says how many records it took; the clock stops after `finish`."""
    count, started = 0, time.perf_counter()
    ends = started + seconds
    while time.perf_counter() < ends:
        count += step()
    finish()
    return count, time.perf_counter() - started


def nothing() -> None:
    pass


def python_list(directory: Path, seconds: float) -> tuple[int, float]:
    values: list[bytes] = []

    def step() -> int:
        if len(values) > 1_000_000:
            values.clear()
        for _ in range(BATCH):
            values.append(VALUE)
        return BATCH

    return timed(seconds, step, nothing)


def append_nowait(directory: Path, seconds: float) -> tuple[int, float]:
    with opened(directory, flush="async") as log:
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


def append(directory: Path, seconds: float) -> tuple[int, float]:
    with opened(directory, flush="async") as log:
        call = log.topic("orders").partition(0).append

        def step() -> int:
            for _ in range(BATCH):
                call(VALUE)
            return BATCH

        return timed(seconds, step, nothing)


def append_many(directory: Path, seconds: float) -> tuple[int, float]:
    with opened(directory, flush="async") as log:
        call = log.topic("orders").partition(0).append_many
        values = [VALUE] * BATCH
        return timed(seconds, lambda: len(call(values)), nothing)


def filled(log: Any) -> Any:
    partition = log.topic("orders").partition(0)
    for _ in range(500):
        partition.append_many([VALUE] * BATCH)
    return partition


def iterate(directory: Path, seconds: float) -> tuple[int, float]:
    with opened(directory, flush="async") as log:
        partition = filled(log)

        def step() -> int:
            count = 0
            for _record in partition.read():
                count += 1
            return count

        return timed(seconds, step, nothing)


def iterate_values(directory: Path, seconds: float) -> tuple[int, float]:
    with opened(directory, flush="async") as log:
        partition = filled(log)

        def step() -> int:
            count = 0
            for record in partition.read():
                count += len(record.value) == len(VALUE)
            return count

        return timed(seconds, step, nothing)


def durable_one(directory: Path, seconds: float) -> tuple[int, float]:
    with opened(directory) as log:
        call = log.topic("orders").partition(0).append
        return timed(seconds, lambda: call(VALUE) >= 0, nothing)


def durable_many(directory: Path, seconds: float) -> tuple[int, float]:
    with opened(directory) as log:
        call = log.topic("orders").partition(0).append_many
        values = [VALUE] * BATCH
        return timed(seconds, lambda: len(call(values)), nothing)


def durable_asyncio(directory: Path, seconds: float) -> tuple[int, float]:
    from ringlog import aio

    async def main() -> tuple[int, float]:
        async with aio.open(directory / "ringlog") as log:
            partition = (await log.topic("orders")).partition(0)
            started = time.perf_counter()
            ends = started + seconds

            async def worker() -> int:
                count = 0
                while time.perf_counter() < ends:
                    await partition.append(VALUE)
                    count += 1
                return count

            counts = await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
            return sum(counts), time.perf_counter() - started

    return asyncio.run(main())


def lmdb_durable(batch: int) -> Work:
    def work(directory: Path, seconds: float) -> tuple[int, float]:
        import lmdb

        number = 0
        with lmdb.open(str(directory / "lmdb"), map_size=8 << 30) as env:

            def step() -> int:
                nonlocal number
                with env.begin(write=True) as transaction:
                    for _ in range(batch):
                        transaction.put(number.to_bytes(8, "big"), VALUE, append=True)
                        number += 1
                return batch

            return timed(seconds, step, nothing)

    return work


def lmdb_read(directory: Path, seconds: float) -> tuple[int, float]:
    import lmdb

    with lmdb.open(str(directory / "lmdb"), map_size=8 << 30, sync=False) as env:
        with env.begin(write=True) as transaction:
            for number in range(500_000):
                transaction.put(number.to_bytes(8, "big"), VALUE, append=True)

        def step() -> int:
            count = 0
            with env.begin(buffers=True) as transaction, transaction.cursor() as cursor:
                for value in cursor.iternext(keys=False, values=True):
                    count += len(value) == len(VALUE)
            return count

        return timed(seconds, step, nothing)


def sqlite_durable(batch: int) -> Work:
    def work(directory: Path, seconds: float) -> tuple[int, float]:
        import sqlite3

        base = sqlite3.connect(directory / "sqlite.db", isolation_level=None)
        base.execute("pragma journal_mode=wal")
        base.execute("pragma synchronous=full")
        base.execute("create table log (at integer primary key, value blob)")
        values = [(VALUE,)] * batch

        def step() -> int:
            base.execute("begin")
            base.executemany("insert into log (value) values (?)", values)
            base.execute("commit")
            return batch

        try:
            return timed(seconds, step, nothing)
        finally:
            base.close()

    return work


def persist_queue_durable(directory: Path, seconds: float) -> tuple[int, float]:
    import persistqueue

    # Flushes to the page cache and renames its index at each put; syncs a chunk of 100 at its end.
    queue = persistqueue.Queue(str(directory / "queue"), autosave=True)

    def step() -> int:
        queue.put(VALUE)
        return 1

    return timed(seconds, step, nothing)


def rocks_durable(batch: int) -> Work:
    def work(directory: Path, seconds: float) -> tuple[int, float]:
        import rocksdict

        base = rocksdict.Rdict(str(directory / "rocks"), rocksdict.Options(raw_mode=True))
        options = rocksdict.WriteOptions()
        options.sync = True
        base.set_write_options(options)
        number = 0

        def step() -> int:
            nonlocal number
            if batch == 1:
                base[number.to_bytes(8, "big")] = VALUE
                number += 1
                return 1
            writes = rocksdict.WriteBatch(raw_mode=True)
            for _ in range(batch):
                writes[number.to_bytes(8, "big")] = VALUE
                number += 1
            base.write(writes, options)
            return batch

        try:
            return timed(seconds, step, nothing)
        finally:
            base.close()

    return work


WORKS: list[tuple[str, Work]] = [
    ("a Python list, one at a time", python_list),
    ("ringlog written, append_nowait, <= 4,096 outstanding", append_nowait),
    ("ringlog written, append", append),
    ("ringlog written, append_many of 1,000", append_many),
    ("ringlog iterate records", iterate),
    ("ringlog iterate records, each value looked at", iterate_values),
    ("lmdb iterate values (buffers)", lmdb_read),
    ("ringlog durable, asyncio, 64 in flight", durable_asyncio),
    ("ringlog durable, one at a time", durable_one),
    ("lmdb durable, one at a time", lmdb_durable(1)),
    ("sqlite3 durable, one at a time", sqlite_durable(1)),
    ("rocksdict durable, one at a time", rocks_durable(1)),
    ("persist-queue, one at a time (fsync each 100 only)", persist_queue_durable),
    ("ringlog durable, batches of 1,000", durable_many),
    ("lmdb durable, batches of 1,000", lmdb_durable(BATCH)),
    ("sqlite3 durable, batches of 1,000", sqlite_durable(BATCH)),
    ("rocksdict durable, batches of 1,000", rocks_durable(BATCH)),
]


def measure(directory: Path, seconds: float, runs: int, only: str) -> None:
    works = [(name, work) for name, work in WORKS if only in name or work is python_list]
    rates: dict[str, list[float]] = {name: [] for name, _ in works}
    for _ in range(runs):
        for name, work in works:
            place = Path(tempfile.mkdtemp(prefix="bench-python-", dir=directory))
            try:
                count, took = work(place, seconds)
                rates[name].append(count / took)
            finally:
                shutil.rmtree(place)
    base = statistics.median(rates[WORKS[0][0]])
    print(f"values of {len(VALUE)} B; median of {runs} (lowest-highest); ratio to the list")
    for name, found in rates.items():
        middle = statistics.median(found)
        spread = f"({min(found):,.0f}-{max(found):,.0f})"
        print(f"{name:<54} {middle:>13,.0f}/s {spread:<27} {middle / base:8.5f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2, help="of each cell")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only", default="", help="the cells whose name holds this")
    parser.add_argument("--directory", type=Path, default=ROOT / "target", help="where to write")
    parser.add_argument("--here", action="store_true", help="with this interpreter's packages")
    arguments = parser.parse_args()
    if not arguments.here:
        command = [str(environment()), __file__, "--here", *sys.argv[1:]]
        sys.exit(subprocess.run(command, check=False).returncode)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    measure(arguments.directory, arguments.seconds, arguments.runs, arguments.only)


if __name__ == "__main__":
    main()
