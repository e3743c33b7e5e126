"""A durable commit log inside your process: topics, partitions and offsets, no server.

>>> import ringlog, tempfile
>>> directory = tempfile.TemporaryDirectory(dir=".")
>>> with ringlog.open(directory.name) as log:
...     orders = log.topic("orders").partition(0)
...     orders.append(b"flat white", key=b"table 7")      # durable when it returns
...     [bytes(record.value) for record in orders.read("earliest")]
0
[b'flat white']
>>> directory.cleanup()

`ringlog.aio` is the same for asyncio. `python -m ringlog` is the command line.
"""

from __future__ import annotations

import atexit
import os
from typing import Literal, Optional, Union

from . import _ringlog
from ._errors import (
    BackpressureError,
    ClosedError,
    CorruptionError,
    DiskFullError,
    ForkedError,
    InternalError,
    InvalidArgumentError,
    IoError,
    LatchedError,
    LockedError,
    NotDurableError,
    OffsetOutOfRangeError,
    PartlyAppendedError,
    PartOutcome,
    ReadOnlyError,
    RinglogError,
    TimeoutError,
    TooLargeError,
    TopicExistsError,
    TruncatedError,
    UnknownPartitionError,
    UnknownTopicError,
    UnsupportedFormatError,
)
from ._future import Future
from ._info import PartitionInfo, RecordId, Sent, TimedOffset, TopicInfo
from ._ringlog import (
    Batch,
    BatchReader,
    Engine,
    Extents,
    FileExtent,
    Partition,
    Reader,
    Record,
    Sender,
    Topic,
    __version__,
)

__all__ = [
    "BackpressureError",
    "Batch",
    "BatchReader",
    "ClosedError",
    "CorruptionError",
    "DiskFullError",
    "Engine",
    "Extents",
    "FileExtent",
    "ForkedError",
    "Future",
    "InternalError",
    "InvalidArgumentError",
    "IoError",
    "LatchedError",
    "LockedError",
    "NotDurableError",
    "OffsetOutOfRangeError",
    "PartOutcome",
    "Partition",
    "PartitionInfo",
    "PartlyAppendedError",
    "ReadOnlyError",
    "Reader",
    "Record",
    "RecordId",
    "RinglogError",
    "Sender",
    "Sent",
    "TimedOffset",
    "TimeoutError",
    "TooLargeError",
    "Topic",
    "TopicExistsError",
    "TopicInfo",
    "TruncatedError",
    "UnknownPartitionError",
    "UnknownTopicError",
    "UnsupportedFormatError",
    "__version__",
    "open",
]


# What is open when Python ends is flushed and closed while callbacks can still be called.
atexit.register(_ringlog._close_all)


def open(
    path: Union[str, os.PathLike[str]],
    flush: Literal["sync", "async"] = "sync",
    *,
    create: bool = True,
    read_only: bool = False,
    backend: Literal["auto", "io_uring", "plain"] = "auto",
    append_timeout: Optional[float] = None,
    lock_timeout: Optional[float] = None,
    close_timeout: Optional[float] = None,
    segment_bytes: Optional[int] = None,
    ring_bytes: Optional[int] = None,
    group_bytes: Optional[int] = None,
    groups_in_flight: Optional[int] = None,
    batch_bytes: Optional[int] = None,
    window_bytes: Optional[int] = None,
    window_seconds: Optional[float] = None,
    max_payload_bytes: Optional[int] = None,
    spare_segments: Optional[int] = None,
    shards: Optional[int] = None,
    pin_shards: bool = False,
    mmap: Optional[bool] = None,
    pinned_bytes_max: Optional[int] = None,
    allow_volatile: bool = False,
    scrub_bytes_per_second: Optional[int] = None,
    scrub_every: Optional[float] = None,
) -> Engine:
    """Opens a data directory, recovering what its last writer left; one process writes at a time.

    Blocks: for a few milliseconds, after a crash for as long as the tail takes to read, and up to
    `lock_timeout` while another process holds the directory.

    `flush` is the class of the topics made without one: "sync" acknowledges an append when it is
    durable, "async" when it is written, which survives the process; a power loss may take its last
    window (`window_bytes`, 16 MiB; `window_seconds`, 0.2).

    With `read_only` it opens beside a writer of another process, or without one, and changes
    nothing: topics are seen as readers of the writer see them, `follow()` sleeps until there is
    more and goes on with the next writer if one dies; what would write raises `ReadOnlyError`.

    `append_timeout` (30 s) is the deadline of appends that name none; `lock_timeout` (5 s) how long
    to wait for another holder; `close_timeout` (30 s) how long closing may take to flush. The sizes
    are the engine's: `segment_bytes` (124 MiB), `ring_bytes` (8 MiB, a power of two), `group_bytes`
    (1 MiB), `groups_in_flight` (2), `max_payload_bytes` (17 MiB), `spare_segments` (2).

    Single records of up to 2 KiB (512 bytes in `sync` topics) that are appended to one partition one
    after the other join one batch of up to `batch_bytes` (16 KiB; 0: each is a batch of its own).

    `shards` (1) is how many threads flush, each to logs of its own; `pin_shards` keeps each on a
    processor. Sealed segments are read in place, through mappings, unless `mmap` is False; batches
    that are held pin memory, up to `pinned_bytes_max` (1 GiB): beyond, reading raises
    `BackpressureError`.

    With `scrub_bytes_per_second` sealed segments are read again in the background, at most that
    fast, and a pass begins `scrub_every` seconds (a day) after the one before began: what has rotted
    is told by `stat()` and `metrics()` before a reader meets it.

    Raises `LockedError` (which names the holder), `ReadOnlyError`, `NotDurableError` on a filesystem
    that keeps nothing over a power loss (unless `allow_volatile`), `UnsupportedFormatError` and
    `CorruptionError`; each leaves the directory as it was.
    """
    options = {
        "create": create,
        "read_only": read_only,
        "backend": backend,
        "append_timeout": append_timeout,
        "lock_timeout": lock_timeout,
        "close_timeout": close_timeout,
        "segment_bytes": segment_bytes,
        "ring_bytes": ring_bytes,
        "group_bytes": group_bytes,
        "groups_in_flight": groups_in_flight,
        "batch_bytes": batch_bytes,
        "window_bytes": window_bytes,
        "window_seconds": window_seconds,
        "max_payload_bytes": max_payload_bytes,
        "spare_segments": spare_segments,
        "shards": shards,
        "pin_shards": pin_shards,
        "mmap": mmap,
        "pinned_bytes_max": pinned_bytes_max,
        "allow_volatile": allow_volatile,
        "scrub_bytes_per_second": scrub_bytes_per_second,
        "scrub_every": scrub_every,
    }
    return _ringlog._open(path, flush, options)
