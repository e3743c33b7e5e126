"""What every test needs: a log in a directory of its own, and programs run from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ringlog

#: Long enough for any machine: it only keeps a hang from lasting, and never decides otherwise.
HANG_SECONDS = int(os.environ.get("RINGLOG_HANG_SECONDS", "120"))

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ringlog.Engine]:
    with ringlog.open(tmp_path / "data") as log:
        yield log


@pytest.fixture
def orders(log: ringlog.Engine) -> ringlog.Partition:
    """A partition that acknowledges when durable."""
    return log.topic("orders").partition(0)


@pytest.fixture
def clicks(log: ringlog.Engine) -> ringlog.Partition:
    """A partition that acknowledges when written."""
    return log.topic("clicks", flush="async").partition(0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a program in an interpreter of its own, with the data directory as its argument."""

    def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", textwrap.dedent(program), tmp_path / "data", *arguments]
        return subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )

    return run
