#!/usr/bin/env python3
"""What the Python module reaches, beside what else a Python program could take.

    benches/python/bench.py [--seconds 2] [--runs 5] [--only TEXT] [--directory DIR] [--json FILE]

Installs what it compares with into an environment of its own below target/, builds and installs the
module (release), and prints one table for each kind of work. Every cell is a process of its own; the
cells take turns. A figure is the median of the runs, the ratio is to appending the same bytes to a
Python list, run by run. Nothing here passes or fails.

What each neighbour does for the same promise is said beside it in `neighbours.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
NEIGHBOURS = Path(__file__).with_name("requirements.txt")
MIB = 1 << 20


def environment() -> Path:
    """The interpreter of an environment with the module and its neighbours."""
    venv = TARGET / "venv-bench"
    python = venv / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(NEIGHBOURS)], check=True)
    subprocess.run([*pip, "--force-reinstall", "--no-deps", str(ROOT)], check=True)
    return python


def cell(kind: str, name: str, directory: Path, seconds: float) -> dict[str, Any]:
    """One cell, in a process of its own."""
    place = Path(tempfile.mkdtemp(prefix="bench-python-", dir=directory))
    command = [sys.executable, __file__, "--cell", kind, name, "--directory", str(place)]
    try:
        done = subprocess.run(
            [*command, "--seconds", str(seconds)], check=True, capture_output=True, text=True
        )
        sample: dict[str, Any] = json.loads(done.stdout)
        return sample
    except subprocess.CalledProcessError as error:
        sys.exit(f"{kind}: {name}: {error.stderr}")
    finally:
        shutil.rmtree(place)


def run_cell(kind: str, name: str, directory: Path, seconds: float) -> None:
    """What `cell` starts: does the work and prints what it took."""
    from works import LIST, WORKS

    work = dict([LIST, *WORKS[kind]])[name]
    print(json.dumps(work(directory, seconds)))


def median(samples: list[dict[str, Any]], what: str) -> float:
    return statistics.median(sample[what] for sample in samples)


def rows(samples: dict[str, list[dict[str, Any]]]) -> None:
    """The table of one kind of work."""
    head = ("records/s", "lowest-highest", "x list", "CPU s/M", "peak MiB", "others")
    print(f"{'':<52} {head[0]:>11} {head[1]:>23} {head[2]:>8} {head[3]:>8} {head[4]:>8} {head[5]:>6}")
    for name, found in samples.items():
        rates = [sample["rate"] for sample in found]
        lists = [sample["of_list"] for sample in found]
        print(
            f"{name:<52} {statistics.median(rates):>11,.0f} "
            f"{f'({min(rates):,.0f}-{max(rates):,.0f})':>23} {statistics.median(lists):>8.4f} "
            f"{median(found, 'cpu_per_million'):>8.2f} {median(found, 'peak') / MIB:>8.0f} "
            f"{median(found, 'others'):>6.1f}"
        )


def measure(arguments: argparse.Namespace) -> None:
    from works import LIST, WORKS

    wanted = {
        kind: [name for name, _ in works if arguments.only in f"{kind}: {name}"]
        for kind, works in WORKS.items()
    }
    found: dict[str, dict[str, list[dict[str, Any]]]] = {
        kind: {name: [] for name in names} for kind, names in wanted.items() if names
    }
    lists, first = [], next(iter(WORKS))
    for run in range(arguments.runs):
        base = cell(first, LIST[0], arguments.directory, arguments.seconds)
        lists.append(base["rate"])
        # Another one begins each time, so that no one always follows the same neighbour.
        cells = [(kind, name) for kind, samples in found.items() for name in samples]
        turn = run * len(cells) // max(arguments.runs, 1)
        for kind, name in cells[turn:] + cells[:turn]:
            sample = cell(kind, name, arguments.directory, arguments.seconds)
            sample["of_list"] = sample["rate"] / base["rate"]
            found[kind][name].append(sample)
            if arguments.json:
                line = {"kind": "python", "work": kind, "name": name, "run": run, **sample}
                with arguments.json.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(line) + "\n")
    print(
        f"values of 100 B; median of {arguments.runs} runs of {arguments.seconds:g} s; "
        f"a Python list takes {statistics.median(lists):,.0f}/s.\n"
        "CPU: of all threads of the process, user and system. peak: resident memory above what was\n"
        "resident before the work, mapped files included. others: processors that other programs took."
    )
    for kind, samples in found.items():
        print(f"\n{kind}")
        rows(samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2, help="of each cell")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="the cells whose kind and name hold this")
    parser.add_argument("--directory", type=Path, default=TARGET, help="where to write")
    parser.add_argument("--json", type=Path, help="adds one JSON line a cell to this file")
    parser.add_argument("--here", action="store_true", help="with this interpreter's packages")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        run_cell(*arguments.cell, arguments.directory, arguments.seconds)
        return
    if not arguments.here:
        command = [str(environment()), __file__, "--here", *sys.argv[1:]]
        sys.exit(subprocess.run(command, check=False).returncode)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    measure(arguments)


if __name__ == "__main__":
    main()
