"""Every error of the engine is a class of its own kind, with what a program needs to go on."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

import ringlog

ROOT = Path(__file__).parents[2]

#: The codes of errors that a program may treat as Python's own, and how.
KINDS: dict[str, tuple[type[BaseException], int | None]] = {
    "busy": (BlockingIOError, errno.EAGAIN),
    "pinned": (BlockingIOError, errno.EAGAIN),
    "queue_full": (BlockingIOError, errno.EAGAIN),
    "timeout": (TimeoutError, None),
    "no_space": (OSError, errno.ENOSPC),
    "read_only": (PermissionError, errno.EROFS),
    "closed": (ValueError, None),
    "forked": (RuntimeError, None),
    "invalid_argument": (ValueError, None),
    "unknown_topic": (LookupError, None),
    "truncated": (LookupError, None),
    "peer": (OSError, None),
}


def test_every_error_of_the_engine_has_a_name_and_a_class() -> None:
    engine = (ROOT / "engine/src/error.rs").read_text()
    (body,) = re.findall(r"pub enum Error \{\n(.*?)^\}", engine, re.M | re.S)
    variants = set(re.findall(r"^    ([A-Z]\w+)(?: \{|,)", body, re.M))
    assert {"Busy", "Forked", "Io"} < variants
    named = dict(
        re.findall(
            r'Error::(\w+)(?: \{ [^}]*\})? => \("(\w+)"', (ROOT / "python/src/error.rs").read_text()
        )
    )
    assert set(named) == variants
    assert len(set(named.values())) == len(named)
    assert set(named.values()) <= set(ringlog._errors._CLASSES)


@pytest.mark.parametrize("code", KINDS)
def test_an_error_is_of_pythons_own_kind_too(code: str) -> None:
    kind, number = KINDS[code]
    made = ringlog._errors.make(code, "why", retriable=True, fatal=False, outcome_unknown=False)
    assert isinstance(made, kind) and isinstance(made, ringlog.RinglogError)
    assert (made.code, str(made), made.retriable) == (code, "why", True)
    if isinstance(made, OSError):
        assert made.errno == number


def test_batches_that_are_held_push_back(tmp_path: Path) -> None:
    """And reading goes on once they are released, from where it stood."""
    small = {"segment_bytes": 2 << 20, "ring_bytes": 256 << 10, "group_bytes": 64 << 10}
    limit = {"max_payload_bytes": 128 << 10, "pinned_bytes_max": 2 << 20}
    with ringlog.open(tmp_path / "data", **small, **limit) as log:  # type: ignore[arg-type]
        partition = log.topic("orders", flush="async").partition(0)
        for _ in range(100):
            partition.append(bytes(100_000))
        reader = partition.read().batches()
        held: list[ringlog.Batch] = []
        with pytest.raises(ringlog.BackpressureError) as caught:
            held.extend(reader)
        assert caught.value.code == "pinned" and caught.value.retriable
        stood = 0
        for batch in held:
            stood = batch.last_offset + 1
            batch.release()
        offsets = []
        for batch in reader:
            offsets.append(batch.base_offset)
            batch.release()
        assert 0 < stood < 100 and offsets == list(range(stood, 100))


def test_a_queue_that_is_full_is_back_pressure_and_nothing_is_lost(tmp_path: Path) -> None:
    import asyncio

    with ringlog.open(tmp_path / "data") as log:
        partition = log.topic("orders").partition(0)

        async def main() -> None:
            queue = ringlog._ringlog._Queue(log, 2)
            loop = asyncio.get_running_loop()
            futures = [loop.create_future() for _ in range(3)]
            taken = [
                queue.append(partition, future, b"v", None, None, None, None, None)
                for future in futures
            ]
            assert taken == [True, True, False] and queue.outstanding() == 2
            while queue.outstanding():
                queue.drain()
            assert [future.result() for future in futures[:2]] == [0, 1]

        asyncio.run(main())
        assert partition.end == 2


def test_a_file_that_is_not_there_has_its_number(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ringlog.RinglogError) as caught:
        ringlog.open(tmp_path / "file" / "data")
    assert isinstance(caught.value, ringlog.IoError) and caught.value.errno == errno.ENOTDIR
