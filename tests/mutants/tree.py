"""A copy of the tree, to be broken."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def copy(to):
    """Makes `to` what git knows and what it would take. What is there already and is the same keeps
    its time, so that cargo builds only what has changed since the last run."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                            check=True, capture_output=True, text=True).stdout
    names = {name for name in listed.splitlines() if (ROOT / name).is_file()}
    for old in [path for path in to.rglob("*") if path.is_file()]:
        if str(old.relative_to(to)) not in names:
            old.unlink()
    for name in names:
        source, copied = ROOT / name, to / name
        if copied.is_file() and copied.read_bytes() == source.read_bytes():
            continue
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(source.read_bytes())
        copied.chmod(source.stat().st_mode)
