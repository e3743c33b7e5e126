"""Ringlog for asyncio: one completion queue an event loop, which watches its descriptor.

>>> import asyncio, tempfile
>>> from ringlog import aio
>>> async def main(path):
...     async with aio.open(path) as log:
...         orders = log.topic("orders")
...         first, second = await asyncio.gather(orders.append(b"tea"), orders.append(b"milk"))
...         return [bytes(record.value) async for record in orders.read("earliest")], second
>>> with tempfile.TemporaryDirectory(dir=".") as directory:
...     asyncio.run(main(directory))
([b'tea', b'milk'], RecordId(partition=0, offset=1))

Appends, reads and flushes take no thread and no executor: they are submitted, and the loop hears of
them from the queue. What the engine can only do blocking and seldom does (opening, closing, making
and deleting topics, trimming) runs on a thread of its own for as long as it takes. Reading what lies
on disk and is not in the page cache blocks the loop for as long as the disk takes.

Cancelling a task that waits for an append does not take the append back. Cancelling one that waits
for a record loses none: the next call gets it. Everything here belongs to the loop it was opened in.
"""

from __future__ import annotations

import asyncio
import collections
import os
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeVar, Union

import ringlog

from . import _ringlog
from ._errors import BackpressureError, UnknownTopicError
from ._info import RecordId, TimedOffset, TopicInfo

if TYPE_CHECKING:
    from ._ringlog import (
        _Ack,
        _Buffer,
        _Compression,
        _Flush,
        _Headers,
        _Record,
        _Start,
        _Time,
        _Timestamps,
    )

__all__ = ["BatchReader", "Engine", "Partition", "Reader", "Topic", "open"]

_T = TypeVar("_T")

#: Most appends of a loop without an acknowledgement at once; further ones wait for room.
_OUTSTANDING_MAX = 1 << 16
#: Most appends that wait for room; beyond, `BackpressureError`.
_WAITING_MAX = 1 << 16
#: How soon room is looked for when it is others who take it, in seconds.
_ROOM_SECONDS = 0.001


async def _aside(call: Callable[[], _T], undo: Optional[Callable[[_T], None]] = None) -> _T:
    """Runs what blocks on a thread of its own; undone if nobody waits for it any more."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(result: Any, error: Optional[BaseException]) -> None:
        if future.done():
            if error is None and undo is not None:
                threading.Thread(target=undo, args=(result,), daemon=True).start()
        elif error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def work() -> None:
        result, failed = None, None
        try:
            result = call()
        except BaseException as error:
            failed = error
        try:
            loop.call_soon_threadsafe(settle, result, failed)
        except RuntimeError:  # The loop is closed.
            if failed is None and undo is not None:
                undo(result)  # type: ignore[arg-type]

    threading.Thread(target=work, name="ringlog-aside", daemon=True).start()
    return await future


class _Hub:
    """The completion queue of a loop, and the appends that wait for room in it."""

    def __init__(self, engine: _ringlog.Engine) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue = _ringlog._Queue(engine, _OUTSTANDING_MAX)
        self.waiting: collections.deque[tuple[asyncio.Future[Any], Callable[[], bool]]]
        self.waiting = collections.deque()
        self.timer: Optional[asyncio.TimerHandle] = None
        self.loop.add_reader(self.queue.fileno(), self.drain)

    def drain(self) -> None:
        self.queue.drain()
        if self.waiting:
            self.retry()

    def retry(self) -> None:
        """Submits what waits for room, in order, as far as there is any."""
        while self.waiting:
            future, submit = self.waiting[0]
            if not future.done():
                try:
                    if not submit():
                        break
                except Exception as error:
                    future.set_exception(error)
            self.waiting.popleft()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.waiting and self.queue.outstanding() == 0:
            # No completion of ours will tell of room: other threads fill the log.
            self.timer = self.loop.call_later(_ROOM_SECONDS, self.retry)

    def submit(self, future: asyncio.Future[_T], submit: Callable[[], bool]) -> asyncio.Future[_T]:
        """Submits now, or once there is room."""
        if len(self.waiting) >= _WAITING_MAX:
            error = BackpressureError(f"{_WAITING_MAX} appends wait for room already")
            error.code, error.retriable = "busy", True
            raise error
        self.waiting.append((future, submit))
        if len(self.waiting) == 1:
            self.retry()
        return future

    def close(self) -> None:
        """Hears what is left, and nothing from then on."""
        self.loop.remove_reader(self.queue.fileno())
        while self.queue.drain():
            pass
        self.retry()
        if self.timer is not None:
            self.timer.cancel()


class _Opening:
    """What `open` gives: await it, or enter it."""

    def __init__(self, call: Callable[[], _ringlog.Engine]) -> None:
        self._call = call
        self._engine: Optional[Engine] = None

    async def _open(self) -> Engine:
        engine = await _aside(self._call, lambda engine: engine.close())
        return Engine(engine)

    def __await__(self) -> Generator[Any, None, Engine]:
        return self._open().__await__()

    async def __aenter__(self) -> Engine:
        self._engine = await self._open()
        return self._engine

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        assert self._engine is not None
        await self._engine.close()


def open(path: Union[str, os.PathLike[str]], flush: _Flush = "sync", **options: Any) -> _Opening:
    """As `ringlog.open`: `async with aio.open(path) as log`, or `log = await aio.open(path)`."""
    return _Opening(lambda: ringlog.open(path, flush, **options))


class Engine:
    """An open data directory; see `ringlog.Engine`."""

    def __init__(self, engine: _ringlog.Engine) -> None:
        self._native = engine
        self._hub = _Hub(engine)
        self._closed = False

    @property
    def path(self) -> os.PathLike[str]:
        """The data directory."""
        return self._native.path

    def topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        flush: Optional[_Flush] = None,
        compression: _Compression = "none",
        timestamps: _Timestamps = "create-time",
        create: bool = True,
    ) -> Topic:
        """The topic of this name. One that is not there is made before its first use, or by
        awaiting what this gives."""
        native: Optional[_ringlog.Topic] = None
        try:
            native = self._native.topic(name, create=False)
        except UnknownTopicError:
            if not create:
                raise

        def make() -> _ringlog.Topic:
            return self._native.topic(
                name,
                partitions=partitions,
                flush=flush,
                compression=compression,
                timestamps=timestamps,
            )

        return Topic(self._hub, native, make)

    async def delete_topic(self, name: str) -> None:
        """Deletes a topic and all its records, durably."""
        await _aside(lambda: self._native.delete_topic(name))

    def topics(self) -> list[TopicInfo]:
        """Every topic, by name."""
        return self._native.topics()

    def stat(self) -> dict[str, Any]:
        """Everything about the directory that is worth printing."""
        return self._native.stat()

    def metrics(self) -> str:
        """The counters as Prometheus text; see `ringlog.Engine.metrics`."""
        return self._native.metrics()

    def flush(self) -> Awaitable[None]:
        """Makes durable whatever has been appended up to now."""
        future: asyncio.Future[None] = self._hub.loop.create_future()
        return self._hub.submit(future, lambda: self._hub.queue.flush(future))

    async def close(self, timeout: Optional[float] = None) -> None:
        """Flushes everything and closes. What is in flight is completed first."""
        if self._closed:
            return
        self._closed = True
        try:
            await _aside(lambda: self._native.close(timeout))
        finally:
            self._hub.close()

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.close()


_Native = TypeVar("_Native", _ringlog.Topic, _ringlog.Partition)
_At = TypeVar("_At", RecordId, int)


class _Target(Generic[_Native, _At]):
    """What may be appended to: made before its first use if it is not there."""

    def __init__(self, hub: _Hub, native: Optional[_Native]) -> None:
        self._hub = hub
        self._native: Optional[_Native] = native

    async def _resolve(self) -> _Native:
        raise NotImplementedError

    def append(
        self,
        value: Optional[_Buffer],
        *,
        key: Optional[_Buffer] = None,
        headers: Optional[_Headers] = None,
        timestamp_ms: Optional[int] = None,
        ack: Optional[_Ack] = None,
        compression: Optional[_Compression] = None,
    ) -> asyncio.Future[_At]:
        """Appends one record; await what it gives for its place, once it is acknowledged.

        The record is claimed when this returns, in the order of calls, unless the topic has yet to
        be made or there is no room: it waits for that then, behind those that wait already.
        """
        hub = self._hub
        native = self._native
        if native is None:
            return hub.loop.create_task(
                self._made(
                    lambda: self.append(
                        value,
                        key=key,
                        headers=headers,
                        timestamp_ms=timestamp_ms,
                        ack=ack,
                        compression=compression,
                    )
                )
            )
        future: asyncio.Future[_At] = hub.loop.create_future()

        if hub.waiting or not hub.queue.append(
            native, future, value, key, headers, timestamp_ms, ack, compression
        ):
            return hub.submit(
                future,
                lambda: hub.queue.append(
                    native, future, value, key, headers, timestamp_ms, ack, compression
                ),
            )
        return future

    async def _made(self, then: Callable[[], Awaitable[_T]]) -> _T:
        await self._resolve()
        return await then()


class Topic(_Target[_ringlog.Topic, RecordId]):
    """A named set of partitions; see `ringlog.Topic`."""

    def __init__(
        self, hub: _Hub, native: Optional[_ringlog.Topic], make: Callable[[], _ringlog.Topic]
    ) -> None:
        super().__init__(hub, native)
        self._make = make
        self._making: Optional[asyncio.Future[_ringlog.Topic]] = None

    async def _resolve(self) -> _ringlog.Topic:
        if self._native is None:
            # All who wait for one making: they go on in the order they came.
            if self._making is None:
                self._making = asyncio.ensure_future(_aside(self._make))
            try:
                self._native = await asyncio.shield(self._making)
            finally:
                if self._making is not None and self._making.done():
                    self._making = None
        return self._native

    async def _self(self) -> Topic:
        await self._resolve()
        return self

    def __await__(self) -> Generator[Any, None, Topic]:
        return self._self().__await__()

    def partition(self, number: int) -> Partition:
        """One of its partitions, numbered from 0."""
        native = None if self._native is None else self._native.partition(number)
        return Partition(self._hub, native, self, number)

    def read(
        self, start: Optional[_Start] = None, *, time: Optional[_Time] = None
    ) -> Reader:
        """Reads all partitions; see `ringlog.Topic.read`."""

        async def make() -> _ringlog.Reader:
            native = await self._resolve()
            if time is None:
                return native.read(start)
            # A time is looked for on disk.
            return await _aside(lambda: native.read(start, time=time))

        return Reader(_Source(self._hub, make))


class Partition(_Target[_ringlog.Partition, int]):
    """One ordered stream of records; see `ringlog.Partition`."""

    def __init__(
        self, hub: _Hub, native: Optional[_ringlog.Partition], topic: Topic, number: int
    ) -> None:
        super().__init__(hub, native)
        self._topic = topic
        self._number = number

    async def _resolve(self) -> _ringlog.Partition:
        if self._native is None:
            self._native = (await self._topic._resolve()).partition(self._number)
        return self._native

    def append_many(
        self,
        records: Iterable[_Record],
        *,
        ack: Optional[_Ack] = None,
        compression: Optional[_Compression] = None,
    ) -> asyncio.Future[range]:
        """Appends records as one batch; await what it gives for their offsets."""
        hub = self._hub
        native = self._native
        batch = list(records)
        if native is None:
            return hub.loop.create_task(
                self._made(lambda: self.append_many(batch, ack=ack, compression=compression))
            )
        future: asyncio.Future[range] = hub.loop.create_future()
        return hub.submit(
            future, lambda: hub.queue.append_many(native, future, batch, ack, compression)
        )

    def read(
        self, start: Optional[_Start] = None, *, time: Optional[_Time] = None
    ) -> Reader:
        """Reads from "earliest", "latest", an offset or a time on; see `ringlog.Partition.read`."""

        async def make() -> _ringlog.Reader:
            native = await self._resolve()
            if time is None:
                return native.read(start)
            # A time is looked for on disk.
            return await _aside(lambda: native.read(start, time=time))

        return Reader(_Source(self._hub, make))

    async def offset_for_time(self, time: _Time) -> Optional[TimedOffset]:
        """The first record of this time or later; see `ringlog.Partition.offset_for_time`."""
        native = await self._resolve()
        return await _aside(lambda: native.offset_for_time(time))

    async def max_timestamp(self) -> Optional[TimedOffset]:
        """The record with the latest timestamp; see `ringlog.Partition.max_timestamp`."""
        native = await self._resolve()
        return await _aside(lambda: native.max_timestamp())

    async def trim(self, offset: int) -> None:
        """Forgets the records before `offset`, durably."""
        native = await self._resolve()
        await _aside(lambda: native.trim(offset))


class _Source:
    """A reader, and the records of the batch it is in."""

    def __init__(self, hub: _Hub, make: Callable[[], Awaitable[_ringlog.Reader]]) -> None:
        self._hub = hub
        self._make = make
        self._reader: Optional[_ringlog.Reader] = None
        self._batches: Optional[_ringlog.BatchReader] = None
        self.records: Optional[_ringlog.BatchIterator] = None

    async def batch(self, follow: bool) -> Optional[_ringlog.Batch]:
        if self._reader is None:
            self._reader = await self._make()
        if not follow:
            self._batches = self._batches or self._reader.batches()
            return next(self._batches, None)
        future: asyncio.Future[_ringlog.Batch] = self._hub.loop.create_future()
        self._hub.queue.read(self._reader, future)
        return await future


class Reader:
    """Reads records in order: `async for record in reader`. It ends where the partition ends now;
    `follow()` waits for more. One task at a time."""

    def __init__(self, source: _Source, follow: bool = False) -> None:
        self._source = source
        self._follow = follow

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> _ringlog.Record:
        source = self._source
        while True:
            if source.records is not None:
                record = next(source.records, None)
                if record is not None:
                    return record
                source.records = None
            batch = await source.batch(self._follow)
            if batch is None:
                raise StopAsyncIteration
            source.records = iter(batch)

    def follow(self) -> Reader:
        """The same reader, waiting for more instead of ending."""
        return Reader(self._source, follow=True)

    def batches(self) -> BatchReader:
        """The same reader, giving whole batches."""
        return BatchReader(self._source, self._follow)


class BatchReader:
    """Reads whole batches in order; see `Reader.batches`."""

    def __init__(self, source: _Source, follow: bool) -> None:
        self._source = source
        self._follow = follow

    def __aiter__(self) -> BatchReader:
        return self

    async def __anext__(self) -> _ringlog.Batch:
        batch = await self._source.batch(self._follow)
        if batch is None:
            raise StopAsyncIteration
        return batch
