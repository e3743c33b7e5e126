"""Where the processes of a test are that does not end, and how to end them."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

# `thread apply all bt` of a program with symbols takes a second; of one that is stuck, for ever.
DEBUGGER_S_MAX = 60
FRAMES_MAX = 30
COMMAND_CHARS_MAX = 300


def family(pid):
    """A process and all that descend from it, the youngest last."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # It has ended.
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def read(path):
    try:
        return path.read_text(errors="replace").strip()
    except OSError as error:
        return f"({error.strerror})"


def describe(pid):
    """Each process of the family: its command, what its threads wait for in the kernel, and, where
    there is a debugger, in the program."""
    parts = []
    for each in family(pid):
        proc = Path("/proc") / str(each)
        command = read(proc / "cmdline").replace("\0", " ")[:COMMAND_CHARS_MAX]
        parts.append(f"-- process {each}: {command}")
        for task in sorted(proc.glob("task/*")):
            parts.append(f"   {read(task / 'comm')}: {read(task / 'wchan')} [{read(task / 'syscall')}]")
            parts.append("\n".join(f"      {line}" for line in read(task / "stack").splitlines()))
        parts.append(frames(each))
    return "\n".join(part for part in parts if part)


def frames(pid):
    if shutil.which("gdb") is None:
        return ""
    try:
        command = ["gdb", "-p", str(pid), "-batch", "-ex", f"thread apply all bt {FRAMES_MAX}"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=DEBUGGER_S_MAX, check=False)
    except subprocess.TimeoutExpired:
        return "   the debugger does not end either"
    kept = (line for line in done.stdout.splitlines() if line.startswith(("#", "Thread")))
    return "\n".join(f"      {line}" for line in kept)


def end(pid):
    """Kills the family. Who sleeps in the kernel without looking up dies when it does."""
    for each in family(pid):
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            pass
