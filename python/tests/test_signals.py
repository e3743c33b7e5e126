"""^C ends every wait at once, and a handler that returns ends none.

What waits for the device would not wait long: the engine's threads are stopped meanwhile, by
ptrace(2), which a parent may do to its child.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import HANG_SECONDS

#: Each waits for ever, while the engine's own threads are stopped.
WAITS = {
    "follow": "next(partition.read('latest').follow())",
    "follow with a timeout": "next(partition.read('latest').follow(timeout=3600))",
    "follow batches": "next(partition.read('latest').follow().batches())",
    "follow a topic": "next(topic.read('latest').follow())",
    "append": "partition.append(b'v')",
    "append to a topic": "topic.append(b'v')",
    "append many": "partition.append_many([b'v'])",
    "append many to a topic": "topic.append_many([b'v'])",
    "append without room": "[partition.append_nowait(bytes(1 << 20)) for _ in range(64)]",
    "result": "partition.append_nowait(b'v').result()",
    "result with a timeout": "partition.append_nowait(b'v').result(3600)",
    "exception": "partition.append_nowait(b'v').exception()",
    "flush": "[partition.append_nowait(b'v'), log.flush(timeout=3600)]",
    "making a topic": "log.topic('another')",
    "deleting a topic": "log.delete_topic('orders')",
    "trim": "partition.trim(1)",
    "close": "[partition.append_nowait(b'v'), log.close(timeout=3600)]",
    "open": "ringlog.open(sys.argv[1], lock_timeout=3600)",
    "asyncio": "asyncio.run(one())",
}

PROGRAM = """
import asyncio, os, signal, sys, ringlog, ringlog.aio
log = ringlog.open(sys.argv[1], append_timeout=3600)
topic = log.topic("orders")
partition = topic.partition(0)
partition.append(b"first")
partition = topic.partition(0)
partition.read().follow()

async def one():
    await ringlog.aio.Engine(log).topic("orders").append(b"v")

signal.signal(signal.SIGUSR1, lambda number, frame: print("handled", flush=True))
print("ready", flush=True)
sys.stdin.readline()
for record in partition.read():
    pass
print("waiting", flush=True)
try:
    {wait}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    os._exit(0)
print("went on", flush=True)
os._exit(1)
"""

PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000


def ptrace(request: int, tid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(request, tid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


@contextmanager
def engine_stopped(pid: int) -> Iterator[None]:
    """Stops every thread of the process but its main one, and kills it in the end."""
    stopped = []
    try:
        for tid in map(int, os.listdir(f"/proc/{pid}/task")):
            if tid != pid:
                ptrace(PTRACE_SEIZE, tid)
                stopped.append(tid)
                ptrace(PTRACE_INTERRUPT, tid)
                os.waitpid(tid, WALL)
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        # A process has not ended before who traces its threads has heard of their end.
        for tid in stopped:
            os.waitpid(tid, WALL)


def sleeps(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text()
    state = stat.rpartition(")")[2].split()[0]
    assert state not in "ZX", "it did not wait"
    return state == "S"


@pytest.mark.parametrize("wait", WAITS)
def test_an_interrupt_ends_the_wait(wait: str, tmp_path: Path) -> None:
    code = PROGRAM.format(wait=WAITS[wait])
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        with engine_stopped(process.pid):
            process.stdin.write("go\n")
            process.stdin.flush()
            assert process.stdout.readline() == "waiting\n"
            for number, answer in ((signal.SIGUSR1, "handled"), (signal.SIGINT, "interrupted")):
                # Asleep, and not only on its way there.
                quiet = 0
                while quiet < 20:
                    quiet = quiet + 1 if sleeps(process.pid) else 0
                    time.sleep(0.005)
                process.send_signal(number)
                assert process.stdout.readline() == answer + "\n"
    finally:
        process.kill()
        process.communicate(timeout=HANG_SECONDS)
