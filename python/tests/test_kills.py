"""A program that appends is killed, at the Nth system call that strace counts or at any moment: what
it heard to be there is there, byte for byte at its offset. The same check first catches a program
that says so too early."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HANG_SECONDS

import ringlog

WRITER = """
import sys, ringlog
from test_kills import value
directory, backend, first, count, lies = sys.argv[1:]
log = ringlog.open(directory, backend=backend)
partition = log.topic("t").partition(0)
values = range(int(first), int(first) + int(count))
if lies == "yes":
    for n in values:
        print("ACK", n, n, flush=True)
for n in values:
    offset = partition.append(value(n))
    if lies == "no":
        print("ACK", n, offset, flush=True)
"""


def value(n: int) -> bytes:
    return f"{n}:".encode() + bytes([n % 251]) * (n * 7919 % 1400)


def write(
    directory: Path,
    backend: str,
    values: range,
    *under: str,
    lies: bool = False,
    heard: int | None = None,
) -> dict[int, int]:
    """Appends the values until it is done or dies; gives the acknowledged ones with their offsets."""
    words = [str(directory), backend, str(values.start), str(len(values)), "yes" if lies else "no"]
    process = subprocess.Popen(
        [*under, sys.executable, "-c", WRITER, *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    acknowledged = {}
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            # A line without its end was not heard.
            if line.startswith("ACK ") and line.endswith("\n"):
                n, offset = map(int, line.split()[1:])
                acknowledged[n] = offset
                if len(acknowledged) == heard:
                    process.kill()
    return acknowledged


def check(directory: Path, acknowledged: dict[int, int], offered: int) -> None:
    """Everything acknowledged is at its offset; values ascend, and none is there twice."""
    # Opens to write, which recovers.
    with ringlog.open(directory) as log:
        log.topic("t")
    with ringlog.open(directory, read_only=True) as log:
        records = log.topic("t", create=False).partition(0).read()
        found = [b"" if record.value is None else bytes(record.value) for record in records]
    numbers = [int(one.split(b":", 1)[0]) for one in found]
    assert numbers == sorted(set(numbers)) and all(n < offered for n in numbers)
    assert found == [value(n) for n in numbers]
    for n, offset in acknowledged.items():
        assert offset < len(numbers) and numbers[offset] == n, f"{n} is not at {offset}"
    verify = [sys.executable, "-m", "ringlog", "--data", str(directory), "verify"]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=HANG_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def killed_at(calls: str, when: int) -> list[str]:
    inject = f"inject={calls}:signal=SIGKILL:when={when}"
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject]


@pytest.fixture(scope="module")
def traced() -> None:
    try:
        subprocess.run([*killed_at("getppid", 1), "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"strace is missing, or the container forbids tracing: {error}")


@pytest.mark.usefixtures("traced")
def test_a_program_that_lies_is_caught(tmp_path: Path) -> None:
    data = tmp_path / "data"
    told = write(data, "plain", range(50), *killed_at("pwritev2", 9), lies=True)
    with pytest.raises(AssertionError, match="is not at"):
        check(data, told, 50)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("backend", "calls"), [("io_uring", "io_uring_enter,pwritev2"), ("plain", "pwritev2")]
)
def test_a_program_killed_at_the_nth_call(tmp_path: Path, backend: str, calls: str) -> None:
    data = tmp_path / "data"
    acknowledged: dict[int, int] = {}
    for life, when in enumerate([1, 3, 12, 30]):
        values = range(life * 100, (life + 1) * 100)
        acknowledged |= write(data, backend, values, *killed_at(calls, when))
        check(data, acknowledged, values.stop)
    assert 10 < len(acknowledged) < 400


def test_a_program_killed_at_any_moment(tmp_path: Path) -> None:
    data = tmp_path / "data"
    acknowledged: dict[int, int] = {}
    for life in range(3):
        values = range(life * 10_000, (life + 1) * 10_000)
        acknowledged |= write(data, "auto", values, heard=random.randrange(1, 300))
        check(data, acknowledged, values.stop)
