"""`python -m ringlog` is the command line, exit codes and ^C included."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from conftest import HANG_SECONDS

import ringlog


def command(path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "ringlog", "--data", str(path / "data"), *arguments]


def call(path: Path, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(path, *arguments),
        input=given,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )


def test_it_writes_what_the_module_reads_and_the_reverse(tmp_path: Path) -> None:
    assert call(tmp_path, "create-topic", "orders").returncode == 0
    done = call(tmp_path, "append", "orders", "--print-acks", given="flat white\nespresso\n")
    assert (done.returncode, done.stdout) == (0, "ACK 0 0\nACK 0 1\n")
    with ringlog.open(tmp_path / "data") as log:
        partition = log.topic("orders").partition(0)
        assert [bytes(r.value or b"") for r in partition.read()] == [b"flat white", b"espresso"]
        partition.append(b"ristretto")
    done = call(tmp_path, "read", "orders", "--from", "1")
    assert (done.returncode, done.stdout) == (0, "espresso\nristretto\n")
    assert call(tmp_path, "verify").returncode == 0


def test_its_exit_codes_are_those_of_the_program(tmp_path: Path) -> None:
    done = call(tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"ringlog {ringlog.__version__}\n")
    assert call(tmp_path, "--help").returncode == 0
    assert call(tmp_path, "dance").returncode == 2
    assert call(tmp_path, "create-topic", "orders").returncode == 0
    done = call(tmp_path, "read", "unknown")
    assert done.returncode == 5 and "unknown" in done.stderr


def test_an_interrupt_ends_it_as_it_ends_the_program(tmp_path: Path) -> None:
    assert call(tmp_path, "create-topic", "orders").returncode == 0
    arguments = command(tmp_path, "append", "orders", "--print-acks")
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ACK 0 0\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG_SECONDS) == 130
