"""The source distribution: only `make test-long` runs this, because it compiles everything."""

from __future__ import annotations

import sys
import venv
from pathlib import Path

from test_package import ROOT, call


def test_a_source_distribution_builds_and_installs(tmp_path: Path) -> None:
    maturin = Path(sys.executable).with_name("maturin")
    call(maturin, "sdist", "--out", tmp_path, cwd=ROOT)
    (sdist,) = tmp_path.glob("*.tar.gz")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    call(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", sdist,
         cwd=tmp_path)
    assert "usage" in call(python, "-m", "ringlog", "--help", cwd=tmp_path).lower()
