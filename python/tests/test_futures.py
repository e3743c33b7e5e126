"""`append_nowait`: futures as `concurrent.futures` knows them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

import pytest

import ringlog

BOTH = pytest.mark.parametrize("flush", ["sync", "async"])


@BOTH
def test_a_future_gives_where_the_record_is(log: ringlog.Engine, flush: str) -> None:
    topic = log.topic("orders", partitions=2, flush=flush)  # type: ignore[arg-type]
    at = topic.append_nowait(b"v", key=b"k")
    offset = topic.partition(at.result().partition).append_nowait(b"w")
    assert (at.result(), offset.result(timeout=60)) == ((at.result().partition, 0), 1)
    assert at.result().offset == 0 and at.exception() is None
    assert at.done() and not at.running() and not at.cancelled() and not at.cancel()


@BOTH
def test_offsets_follow_the_order_of_calls(log: ringlog.Engine, flush: str) -> None:
    partition = log.topic("orders", flush=flush).partition(0)  # type: ignore[arg-type]
    futures = [partition.append_nowait(b"%d" % n) for n in range(5000)]
    assert [future.result() for future in futures] == list(range(5000))
    assert [bytes(r.value or b"") for r in partition.read()] == [b"%d" % n for n in range(5000)]


@BOTH
def test_concurrent_futures_takes_them_for_its_own(log: ringlog.Engine, flush: str) -> None:
    partition = log.topic("orders", flush=flush).partition(0)  # type: ignore[arg-type]
    futures = [partition.append_nowait(b"v") for _ in range(100)]
    assert all(isinstance(future, concurrent.futures.Future) for future in futures)
    done, pending = concurrent.futures.wait(futures, timeout=60)
    assert len(done) == 100 and not pending
    offsets = [f.result() for f in concurrent.futures.as_completed(futures, timeout=60)]
    assert sorted(offsets) == list(range(100))


@BOTH
def test_asyncio_wraps_them(log: ringlog.Engine, flush: str) -> None:
    partition = log.topic("orders", flush=flush).partition(0)  # type: ignore[arg-type]

    async def main() -> list[int]:
        futures = [asyncio.wrap_future(partition.append_nowait(b"v")) for _ in range(10)]
        return await asyncio.gather(*futures)

    assert asyncio.run(main()) == list(range(10))


@BOTH
def test_callbacks_are_called_once_even_if_others_raise(
    log: ringlog.Engine, flush: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: reported.append(args.exc_value))
    partition = log.topic("orders", flush=flush).partition(0)  # type: ignore[arg-type]
    called = threading.Semaphore(0)
    futures = []

    def fails(future: ringlog.Future[int]) -> None:
        raise RuntimeError("asked to")

    def counts(future: ringlog.Future[int]) -> None:
        futures.append(future)
        called.release()

    for _ in range(50):
        future = partition.append_nowait(b"v")
        future.add_done_callback(fails)
        future.add_done_callback(counts)
    for _ in range(50):
        assert called.acquire(timeout=60)
    assert sorted(future.result() for future in futures) == list(range(50))
    assert len(reported) == 50


def test_waiting_for_one_ends_at_its_timeout(tmp_path: object, log: ringlog.Engine) -> None:
    partition = log.topic("orders").partition(0)
    future = partition.append_nowait(b"v")
    try:
        future.result(timeout=0)
    except TimeoutError:
        assert future.result() == 0
    with pytest.raises(ValueError):
        future.result(timeout=-1)


def test_one_in_flight_hears_of_the_close(tmp_path: object, log: ringlog.Engine) -> None:
    partition = log.topic("orders").partition(0)
    futures = [partition.append_nowait(b"v" * 1000) for _ in range(500)]
    log.close()
    assert [future.result(timeout=60) for future in futures] == list(range(500))
    with pytest.raises(ringlog.ClosedError):
        partition.append_nowait(b"late")


def test_only_the_log_completes_them(clicks: ringlog.Partition) -> None:
    future = clicks.append_nowait(b"v")
    with pytest.raises(concurrent.futures.InvalidStateError):
        future.set_result(7)
    with pytest.raises(TypeError):
        ringlog.Future()
    assert "done" in repr(future)


def test_bad_input_is_refused_at_once(clicks: ringlog.Partition) -> None:
    with pytest.raises(TypeError):
        clicks.append_nowait("text")  # type: ignore[arg-type]
    with pytest.raises(ringlog.TooLargeError):
        clicks.append_nowait(bytes(18 << 20))
    assert clicks.end == 0


def test_back_pressure_waits_or_says_so(tmp_path: object, log: ringlog.Engine) -> None:
    # 64 MiB through a ring of 4 MiB: whoever does not wait hears of it, the others get through.
    partition = log.topic("orders").partition(0)
    value = bytes(1 << 20)
    refused, futures = 0, []
    for _ in range(64):
        try:
            futures.append(partition.append_nowait(value, wait=False))
        except ringlog.BackpressureError as error:
            assert isinstance(error, BlockingIOError) and error.retriable
            refused += 1
    assert refused > 0
    futures += [partition.append_nowait(value) for _ in range(16)]
    assert [future.result() for future in futures] == list(range(len(futures)))
