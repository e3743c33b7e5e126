"""What is installed: types, documentation, and a wheel that needs nothing else."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from conftest import HANG_SECONDS

import ringlog
import ringlog.aio

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def call(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=10 * HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_typed_program_passes_mypy_strict_and_runs(tmp_path: Path) -> None:
    call(sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path, HERE / "typed.py",
         cwd=tmp_path)
    call(sys.executable, HERE / "typed.py", tmp_path / "data", cwd=tmp_path)


def test_the_stubs_say_what_is_there(tmp_path: Path) -> None:
    call(sys.executable, "-m", "mypy.stubtest", "ringlog",
         "--allowlist", HERE / "stubtest.txt", "--ignore-unused-allowlist", cwd=tmp_path)


@pytest.mark.parametrize("module", ["ringlog", "ringlog.aio"])
def test_the_examples_in_the_documentation_run(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(sys.modules[module])
    assert results.attempted > 0 and results.failed == 0


def test_the_example_in_the_readme_runs(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", readme, re.M | re.S)
    assert "flat white" in call(sys.executable, "-c", example, cwd=tmp_path)


def test_everything_public_is_documented() -> None:
    for name in ringlog.__all__:
        thing = getattr(ringlog, name)
        if name == "__version__":
            continue
        assert thing.__doc__, name
        for member, value in vars(thing).items() if isinstance(thing, type) else ():
            if not member.startswith("_") and (callable(value) or hasattr(value, "__get__")):
                assert value.__doc__, f"{name}.{member}"


def test_the_wheel_works_in_an_empty_environment(tmp_path: Path) -> None:
    wheel = os.environ["RINGLOG_WHEEL"]
    assert "-cp311-abi3-" in wheel
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    call(python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
         "--disable-pip-version-check", wheel, cwd=tmp_path)
    program = "import ringlog; ringlog.open('d').topic('t').partition(0).append(b'v')"
    call(python, "-c", program, cwd=tmp_path)
    assert "t" in call(tmp_path / "venv/bin/ringlog", "--data", "d", "topics", cwd=tmp_path)
