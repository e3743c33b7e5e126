"""The clock of a cell: how many records, how long, at what cost."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VALUE = b"v" * 100
#: Most appends without an acknowledgement, of work that does not wait for each.
OUTSTANDING = 4096
#: Tasks that append one record after the other, of work for asyncio.
IN_FLIGHT = 64
BATCH = 1000
#: What is read through, over and over.
FILLED = 500_000

#: What a cell measured: records a second, processor seconds for a million of them, peak of resident
#: memory in bytes, and how many processors other programs took meanwhile.
Sample = dict[str, Any]


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) << 10
    raise KeyError(field)


class Clock:
    """Started when everything is ready, stopped at the last acknowledgement."""

    def __init__(self) -> None:
        # The peak of resident memory begins anew.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self.resident = status_bytes("VmRSS")
        self.busy = busy_seconds()
        self.cpu = cpu_seconds()
        self.started = time.perf_counter()

    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    def stop(self, count: int) -> Sample:
        took = self.elapsed()
        cpu = cpu_seconds() - self.cpu
        return {
            "rate": count / took,
            "cpu_per_million": cpu / count * 1e6,
            "peak": max(0, status_bytes("VmHWM") - self.resident),
            "others": max(0.0, (busy_seconds() - self.busy - cpu) / took),
        }


def busy_seconds() -> float:
    """Processor time of all programs since the start of the machine."""
    user, nice, system, _idle, _wait, irq, soft, *_ = map(
        int, Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def nothing() -> None:
    pass


def timed(
    seconds: float, step: Callable[[], int], finish: Callable[[], None] = nothing
) -> Sample:
    """Repeats `step`, at least once, which says how many records it took; the clock stops after `finish`."""
    clock, count = Clock(), 0
    while True:
        count += step()
        if clock.elapsed() >= seconds:
            break
    finish()
    return clock.stop(count)
