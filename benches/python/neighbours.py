"""The same work by what else a Python program could take, each in the mode its documentation gives
for the promise.

| | written: a killed process loses nothing | durable: a power loss neither |
|---|---|---|
| py-lmdb | `sync=False`: pages are written at commit, not flushed | the default |
| sqlite3 | WAL, `synchronous=OFF` | WAL, `synchronous=FULL` |
| rocksdict | the default: the write-ahead log is written, not flushed | `sync=True` |
| persist-queue | the file queue with `autosave=True`, which writes at each put; every hundredth is flushed | has no such mode |

After a power loss, which *written* does not promise to survive, LMDB and SQLite in these modes may
have lost the whole file, RocksDB and Ringlog the last writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from clock import BATCH, FILLED, VALUE, Sample, timed

Work = Callable[[Path, float], Sample]
MAP_BYTES = 16 << 30
#: It reads ten thousand a second at best: fewer, so that filling it does not take minutes.
FILLED_SLOW = 5_000


def lmdb_append(batch: int, sync: bool) -> Work:
    def work(directory: Path, seconds: float) -> Sample:
        import lmdb

        number = 0
        with lmdb.open(str(directory / "lmdb"), map_size=MAP_BYTES, sync=sync) as env:

            def step() -> int:
                nonlocal number
                with env.begin(write=True) as transaction:
                    for _ in range(batch):
                        transaction.put(number.to_bytes(8, "big"), VALUE, append=True)
                        number += 1
                return batch

            return timed(seconds, step)

    return work


def lmdb_read(directory: Path, seconds: float) -> Sample:
    import lmdb

    with lmdb.open(str(directory / "lmdb"), map_size=MAP_BYTES, sync=False) as env:
        with env.begin(write=True) as transaction:
            for number in range(FILLED):
                transaction.put(number.to_bytes(8, "big"), VALUE, append=True)

        def step() -> int:
            count = 0
            with env.begin(buffers=True) as transaction, transaction.cursor() as cursor:
                for value in cursor.iternext(keys=False, values=True):
                    count += len(value) == len(VALUE)
            return count

        return timed(seconds, step)


@contextmanager
def sqlite(directory: Path, sync: bool) -> Iterator[Any]:
    import sqlite3

    with closing(sqlite3.connect(directory / "sqlite.db", isolation_level=None)) as base:
        base.execute("pragma journal_mode=wal")
        base.execute(f"pragma synchronous={'full' if sync else 'off'}")
        base.execute("create table log (at integer primary key, value blob)")
        yield base


def sqlite_append(batch: int, sync: bool) -> Work:
    def work(directory: Path, seconds: float) -> Sample:
        values = [(VALUE,)] * batch
        with sqlite(directory, sync) as base:

            def step() -> int:
                base.execute("begin")
                base.executemany("insert into log (value) values (?)", values)
                base.execute("commit")
                return batch

            return timed(seconds, step)

    return work


def sqlite_read(directory: Path, seconds: float) -> Sample:
    with sqlite(directory, sync=False) as base:
        base.execute("begin")
        base.executemany("insert into log (value) values (?)", [(VALUE,)] * FILLED)
        base.execute("commit")

        def step() -> int:
            count = 0
            for (value,) in base.execute("select value from log order by at"):
                count += len(value) == len(VALUE)
            return count

        return timed(seconds, step)


@contextmanager
def rocks(directory: Path, sync: bool) -> Iterator[Any]:
    import rocksdict

    base = rocksdict.Rdict(str(directory / "rocks"), rocksdict.Options(raw_mode=True))
    options = rocksdict.WriteOptions()
    options.sync = sync
    base.set_write_options(options)
    with closing(base):
        yield base, options


def rocks_append(batch: int, sync: bool) -> Work:
    def work(directory: Path, seconds: float) -> Sample:
        import rocksdict

        number = 0
        with rocks(directory, sync) as (base, options):

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

            return timed(seconds, step)

    return work


def rocks_read(directory: Path, seconds: float) -> Sample:
    import rocksdict

    with rocks(directory, sync=False) as (base, options):
        for first in range(0, FILLED, BATCH):
            writes = rocksdict.WriteBatch(raw_mode=True)
            for number in range(first, first + BATCH):
                writes[number.to_bytes(8, "big")] = VALUE
            base.write(writes, options)

        def step() -> int:
            count = 0
            for value in base.values():
                count += len(value) == len(VALUE)
            return count

        return timed(seconds, step)


def persist_queue_append(directory: Path, seconds: float) -> Sample:
    import persistqueue

    queue = persistqueue.Queue(str(directory / "queue"), autosave=True)

    def step() -> int:
        queue.put(VALUE)
        return 1

    return timed(seconds, step)


def persist_queue_read(directory: Path, seconds: float) -> Sample:
    import persistqueue

    queue = persistqueue.Queue(str(directory / "queue"))
    for _ in range(FILLED_SLOW):
        queue.put(VALUE)

    def step() -> int:
        count = 0
        for _ in range(FILLED_SLOW):
            count += len(queue.get_nowait()) == len(VALUE)
        return count

    # Once, for reading takes out: it is empty then.
    return timed(0, step)


def each(batch: int, sync: bool) -> list[tuple[str, Work]]:
    return [
        ("py-lmdb", lmdb_append(batch, sync)),
        ("sqlite3", sqlite_append(batch, sync)),
        ("rocksdict", rocks_append(batch, sync)),
    ]


def written(batch: int) -> list[tuple[str, Work]]:
    queue = [("persist-queue", persist_queue_append)] if batch == 1 else []
    return each(batch, sync=False) + queue


def durable(batch: int) -> list[tuple[str, Work]]:
    return each(batch, sync=True)


READS: list[tuple[str, Work]] = [
    ("py-lmdb values (buffers), each looked at", lmdb_read),
    ("sqlite3 values, each looked at", sqlite_read),
    ("rocksdict values, each looked at", rocks_read),
    ("persist-queue, each taken out", persist_queue_read),
]
