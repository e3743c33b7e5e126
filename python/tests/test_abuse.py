"""Used wrongly it raises what says so: nothing crashes, hangs, or leaks."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import Run

import ringlog


def test_after_closing_everything_says_so(log: ringlog.Engine) -> None:
    topic = log.topic("orders")
    partition = topic.partition(0)
    partition.append_many([b"a", b"b"])
    records, batches = partition.read(), partition.read().batches()
    (kept,) = partition.read().batches()
    log.close()
    log.close()
    calls: list[Any] = [
        lambda: topic.append(b"v"),
        lambda: topic.append_nowait(b"v"),
        lambda: topic.append_many([b"v"]),
        lambda: partition.append(b"v"),
        lambda: partition.append_nowait(b"v"),
        lambda: partition.append_many([b"v"]),
        lambda: partition.trim(1),
        lambda: log.topic("other"),
        lambda: log.delete_topic("orders"),
        lambda: log.flush(),
        lambda: next(partition.read("latest").follow()),
    ]
    for call in calls:
        with pytest.raises(ringlog.ClosedError) as caught:
            call()
        assert isinstance(caught.value, ValueError) and caught.value.code == "closed"
    # What was handed out lives on; what reads answers or says that it is closed.
    assert kept.values() == [b"a", b"b"]
    for reader in (records, batches):
        try:
            list(reader)
        except ringlog.ClosedError:
            pass
    log.topics(), log.stat(), repr(log), repr(topic), repr(partition)


def test_views_outlive_reader_engine_and_directory(tmp_path: Path) -> None:
    log = ringlog.open(tmp_path / "data")
    partition = log.topic("orders").partition(0)
    for n in range(100):
        partition.append(b"%d" % n * 1000, key=b"k", headers=[("h", b"x")])
    records = list(partition.read())
    values = [record.value for record in records]
    keys = [record.key for record in records]
    headers = [record.headers for record in records]
    log.close()
    del log, partition, records
    gc.collect()
    assert values == [b"%d" % n * 1000 for n in range(100)]
    assert keys == [b"k"] * 100 and headers == [[("h", b"x")]] * 100


def test_a_batch_is_not_released_under_a_view(orders: ringlog.Partition) -> None:
    orders.append_many([b"a", b"b"], ack="durable")
    (batch,) = orders.read().batches()
    record = batch[0]
    for view in (record.value, memoryview(record), batch.raw, memoryview(batch)):
        assert view is not None and view.readonly
        part = view[:1]
        with pytest.raises(BufferError):
            batch.release()
        view.release()
        with pytest.raises(BufferError):
            batch.release()
        part.release()
    iterator = iter(batch)
    next(iterator)
    batch.release()
    batch.release()
    uses: list[Any] = [
        lambda: record.value,
        lambda: record.headers,
        lambda: next(iterator),
        lambda: batch[1],
        lambda: batch.values(),
        lambda: len(batch),
        lambda: batch.raw,
        lambda: memoryview(record),
        lambda: orders.append_many([record]),
    ]
    for use in uses:
        with pytest.raises(ValueError):
            use()
    assert record.offset == 0 and "released" in repr(batch)


def test_a_view_cannot_be_written_through(orders: ringlog.Partition) -> None:
    orders.append(b"value")
    (record,) = orders.read()
    assert record.value is not None
    with pytest.raises(TypeError):
        record.value[0] = 0
    with pytest.raises(TypeError):
        b"".join([record.value]) and record.value.__setitem__(0, 1)


@pytest.mark.parametrize("value", ["text", 7, 7.5, [1], {"value": b"v"}, object()])
def test_a_wrong_type_is_a_type_error(orders: ringlog.Partition, value: Any) -> None:
    calls: list[Any] = [
        lambda: orders.append(value),
        lambda: orders.append(b"v", key=value),
        lambda: orders.append(b"v", headers=[("h", value)]),
        lambda: orders.append(b"v", headers=[(value, b"v")] if value != "text" else [b"v"]),
        lambda: orders.append_many([b"v", 7]),
        lambda: orders.append_many(value if value != {"value": b"v"} else 7),
        lambda: orders.append_many([{"key": b"k"}]),
        lambda: orders.append_many([{"value": b"v", "colour": b"k"}]),
        lambda: orders.append_many([{7: b"v"}]),
        lambda: orders.read([]),
        lambda: orders.read(True),
        lambda: orders.read(1.5),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    assert orders.end == 0


def test_numbers_out_of_range_are_refused(log: ringlog.Engine, tmp_path: Path) -> None:
    partition = log.topic("orders").partition(0)
    wrong: list[Any] = [
        (OverflowError, lambda: partition.read(-1)),
        (OverflowError, lambda: partition.read(1 << 64)),
        (ringlog.OffsetOutOfRangeError, lambda: partition.read((1 << 64) - 1)),
        (OverflowError, lambda: partition.append(b"v", timestamp_ms=1 << 63)),
        (ValueError, lambda: partition.append(b"v", timeout=-1)),
        (ValueError, lambda: partition.append(b"v", timeout=float("nan"))),
        (ValueError, lambda: partition.append(b"v", ack="perhaps")),
        (ringlog.UnknownPartitionError, lambda: log.topic("orders").partition(1)),
        (OverflowError, lambda: log.topic("orders").partition(-1)),
        (ringlog.InvalidArgumentError, lambda: log.topic("many", partitions=0)),
        (ringlog.InvalidArgumentError, lambda: log.topic("many", partitions=(1 << 32) - 1)),
        (OverflowError, lambda: log.topic("many", partitions=1 << 32)),
        (ringlog.InvalidArgumentError, lambda: log.topic("a/b")),
        (ringlog.InvalidArgumentError, lambda: log.topic("a" * 1000)),
        (ValueError, lambda: log.close(timeout=-1)),
        (ringlog.InvalidArgumentError, lambda: ringlog.open(tmp_path / "x", ring_bytes=5)),
        (OverflowError, lambda: ringlog.open(tmp_path / "x", ring_bytes=-5)),
        (ValueError, lambda: ringlog.open(tmp_path / "x", flush="maybe")),  # type: ignore
        (ValueError, lambda: ringlog.open(tmp_path / "x", backend="magic")),  # type: ignore
        (TypeError, lambda: ringlog.open(tmp_path / "x", colour=1)),  # type: ignore
        (OSError, lambda: ringlog.open(str(tmp_path) + "/a\0b")),
    ]
    for error, call in wrong:
        with pytest.raises(error):
            call()
    assert partition.append(b"v", timeout=float("inf")) == 0
    assert partition.append(b"v", timeout=1e300) == 1
    assert not (tmp_path / "x").exists()


def test_what_is_too_large_is_refused_before_it_is_written(orders: ringlog.Partition) -> None:
    def endless() -> Any:
        while True:
            yield b"v"

    largest = bytes(16 << 20)
    calls: list[Any] = [
        lambda: orders.append(bytes((16 << 20) + (1 << 20))),
        lambda: orders.append_many(endless()),
        lambda: orders.append_many([largest, largest]),
        lambda: orders.append_many([b""] * ((1 << 20) + 1)),
    ]
    for call in calls:
        with pytest.raises(ringlog.TooLargeError):
            call()
    assert orders.end == 0
    assert orders.append(largest) == 0
    (record,) = orders.read()
    assert record.value == largest


def test_an_iterable_that_raises_appends_nothing(orders: ringlog.Partition) -> None:
    def breaks() -> Any:
        yield b"v"
        raise KeyError("asked to")

    with pytest.raises(KeyError):
        orders.append_many(breaks())
    assert orders.end == 0


def test_classes_are_frozen_and_made_by_the_engine_only(log: ringlog.Engine) -> None:
    partition = log.topic("orders").partition(0)
    partition.append(b"v")
    (record,) = partition.read()
    for thing in (log, partition, record):
        with pytest.raises(AttributeError):
            thing.anything = 1  # type: ignore[union-attr]
        with pytest.raises(AttributeError):
            thing.id = 1  # type: ignore[union-attr, misc]
        with pytest.raises(TypeError):
            type(thing)()


def test_a_panic_is_an_exception(log: ringlog.Engine) -> None:
    assert issubclass(ringlog.InternalError, Exception)
    error = ringlog._errors.make(
        "internal", "x", retriable=False, fatal=True, outcome_unknown=True
    )
    assert isinstance(error, ringlog.InternalError) and error.fatal and error.outcome_unknown


@pytest.mark.parametrize("flush", ["sync", "async"])
def test_64_threads_share_one_handle(log: ringlog.Engine, flush: str) -> None:
    topic = log.topic("orders", partitions=4, flush=flush)  # type: ignore[arg-type]
    each, failed = 50, []

    def work(number: int) -> None:
        try:
            futures = []
            for n in range(each):
                value = b"%d %d" % (number, n)
                if n % 3 == 0:
                    topic.append(value, key=b"%d" % number)
                elif n % 3 == 1:
                    topic.append_many([{"value": value, "key": b"%d" % number}])
                else:
                    futures.append(topic.append_nowait(value, key=b"%d" % number))
                    futures[-1].result()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    read: dict[int, list[int]] = {}
    for record in topic.read():
        number, n = map(int, bytes(record.value or b"").split())
        read.setdefault(number, []).append(n)
    # A key stays in its partition, so each thread's records are there, once, in order.
    assert read == {number: list(range(each)) for number in range(64)}


def test_one_reader_is_for_one_thread_at_a_time(log: ringlog.Engine) -> None:
    partition = log.topic("orders").partition(0)
    reader = partition.read().follow()
    got: list[ringlog.Record] = []
    waiting = threading.Thread(target=lambda: got.append(next(reader)))
    waiting.start()
    while waiting.is_alive():
        try:
            reader.next_offset
        except ValueError:
            break
    with pytest.raises(ValueError, match="another thread"):
        next(reader)
    partition.append(b"v")
    waiting.join(60)
    assert [record.value for record in got] == [b"v"]


def count(what: str) -> int:
    return len(os.listdir(f"/proc/self/{what}"))


def resident_kib() -> int:
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])


def test_opening_and_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    def cycle() -> None:
        with ringlog.open(tmp_path / "data", ring_bytes=64 << 10, group_bytes=16 << 10) as log:
            partition = log.topic("orders").partition(0)
            future = partition.append_nowait(b"v")
            assert [record.offset for record in partition.read(future.result())] == [future.result()]
            list(partition.read("latest").follow(timeout=0.001))

    for _ in range(20):
        cycle()
    gc.collect()
    descriptors, threads, memory = count("fd"), count("task"), resident_kib()
    cycles = int(os.environ.get("RINGLOG_CYCLES", "100"))
    for _ in range(cycles):
        cycle()
    gc.collect()
    assert (count("fd"), count("task")) == (descriptors, threads)
    # A cycle that leaked its ring alone would leak 64 KiB.
    assert resident_kib() - memory < 16 * cycles + 4096


def test_references_do_not_leak(clicks: ringlog.Partition) -> None:
    import sys

    value, key = b"v" * 1000, b"k" * 1000
    header = b"h" * 1000
    record = {"value": value, "key": key, "headers": [("h", header)]}

    def work() -> None:
        clicks.append(value, key=key, headers=[("h", header)])
        clicks.append_many([value, record])
        clicks.append_nowait(value, key=key).result()
        for read in clicks.read(clicks.end - 1):
            (read.value, read.key, read.headers)

    work()
    before = [sys.getrefcount(thing) for thing in (value, key, header, record)]
    for _ in range(1000):
        work()
    gc.collect()
    after = [sys.getrefcount(thing) for thing in (value, key, header, record)]
    assert before == after


def test_interpreter_exit_waits_for_what_is_in_flight_and_ends(run: Run, tmp_path: Path) -> None:
    done = run(
        """
        import sys, ringlog
        log = ringlog.open(sys.argv[1])
        partition = log.topic("orders").partition(0)
        futures = [partition.append_nowait(b"v" * 100) for _ in range(1000)]
        futures[-1].add_done_callback(lambda future: print("called", future.result()))
        reader = partition.read().follow()
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "called 999\n", "")
    with ringlog.open(tmp_path / "data") as log:
        assert log.topic("orders").partition(0).end == 1000


def test_interpreter_exit_with_a_thread_in_a_wait_ends(run: Run) -> None:
    done = run(
        """
        import sys, threading, ringlog
        log = ringlog.open(sys.argv[1])
        partition = log.topic("orders").partition(0)
        def follow():
            for record in partition.read().follow():
                print(bytes(record.value), flush=True)
        threading.Thread(target=follow, daemon=True).start()
        partition.append(b"v")
        """
    )
    assert done.returncode == 0, done.stderr


def test_interpreter_exit_within_a_callback_ends(run: Run) -> None:
    done = run(
        """
        import sys, time, ringlog
        log = ringlog.open(sys.argv[1])
        partition = log.topic("orders").partition(0)
        partition.append_nowait(b"v").add_done_callback(lambda future: time.sleep(0.5))
        """
    )
    assert done.returncode == 0, done.stderr


def test_the_last_handle_may_go_in_a_callback(run: Run) -> None:
    done = run(
        """
        import gc, sys, threading, ringlog
        gone = threading.Event()
        def go():
            log = ringlog.open(sys.argv[1])
            held = [log, log.topic("orders").partition(0)]
            def forget(future):
                held.clear()
                gone.set()
            held[1].append_nowait(b"v").add_done_callback(forget)
        go()
        assert gone.wait(60)
        with ringlog.open(sys.argv[1], lock_timeout=60) as log:
            assert log.topic("orders").partition(0).end == 1
        """
    )
    assert done.returncode == 0, done.stderr


def test_a_forked_child_is_told_and_the_parent_unharmed(run: Run) -> None:
    done = run(
        """
        import os, sys, threading, ringlog
        log = ringlog.open(sys.argv[1])
        topic = log.topic("orders")
        partition = topic.partition(0)
        partition.append(b"before")
        reader, follower = partition.read(), partition.read("latest").follow()
        (batch,) = partition.read().batches()
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                partition.append_nowait(b"v" * 1000)
        busy_thread = threading.Thread(target=busy, daemon=True)
        busy_thread.start()
        for _ in range(5):
            flight = partition.append_nowait(b"in flight")
            child = os.fork()
            if child == 0:
                calls = [
                    lambda: partition.append(b"v"), lambda: topic.append(b"v"),
                    lambda: partition.append_nowait(b"v"), lambda: partition.append_many([b"v"]),
                    lambda: partition.read(), lambda: next(reader), lambda: next(follower),
                    lambda: log.topics(), lambda: log.stat(), lambda: log.topic("orders"),
                    lambda: log.flush(), lambda: log.close(), lambda: partition.end,
                    lambda: partition.trim(1), lambda: log.delete_topic("orders"),
                ]
                # What was known before the fork is known in the child too.
                late = [lambda: flight.result(), lambda: flight.done()]
                for number, call in enumerate(calls + late):
                    try:
                        call()
                    except ringlog.ForkedError as error:
                        assert isinstance(error, RuntimeError) and error.code == "forked"
                    else:
                        if number < len(calls):
                            os._exit(100 + number)
                # What was read is plain memory, and the child's own engine is its own.
                assert batch.values() == [b"before"]
                with ringlog.open(sys.argv[1] + ".child") as own:
                    own.topic("t").append(b"v")
                sys.exit(0)
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert ended == 0, ended
        stop.set()
        busy_thread.join()
        flight.result(timeout=60)
        end = partition.end
        log.close()
        with ringlog.open(sys.argv[1]) as log:
            assert sum(1 for _ in log.topic("orders").partition(0).read()) == end
        """
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
