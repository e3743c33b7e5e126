"""`python -m ringlog` and the script `ringlog`: the command line, as `cargo install` gives it."""

from __future__ import annotations

import signal
import sys

from . import _ringlog


def main() -> int:
    """Runs the command line with the arguments of this process; gives its exit code."""
    # Python's own handler would only take note: the command line answers ^C itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _ringlog._main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
