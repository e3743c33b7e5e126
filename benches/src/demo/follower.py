"""Follows a topic that another process writes, and tells what it has seen when it is asked.

Usage: follower.py DIRECTORY TOPIC FILE. What it sees goes to FILE, each value with a newline. Each
line on standard input is a number: it goes on until it has seen so many events, or nothing has come
for a long time; then FILE has them all, and it prints as JSON how many, and whether their offsets
had no gap. It ends with its input.
"""

import json
import select
import sys
import time

import ringlog

# How long it sleeps for an event before it looks whether it is asked.
PATIENCE_S = 0.05
# How long nothing may come while more is asked for.
SILENCE_MAX_S = 30.0


def asked():
    """The number asked for, None if nobody asks, -1 at the end."""
    if not select.select([sys.stdin], [], [], 0)[0]:
        return None
    line = sys.stdin.readline()
    return int(line) if line else -1


def main(directory, topic, file):
    seen = 0
    in_order = True
    wanted = None
    heard = time.monotonic()
    with ringlog.open(directory, read_only=True) as log, open(file, "wb") as out:
        events = log.topic(topic, create=False).partition(0).read("earliest")
        print("ready", flush=True)
        while wanted != -1:
            before = seen
            for event in events.follow(timeout=PATIENCE_S):
                in_order = in_order and event.offset == seen
                out.write(event.value)
                out.write(b"\n")
                seen += 1
                if seen == wanted or seen % 4096 == 0:
                    break
            if wanted is None:
                wanted = asked()
                heard = time.monotonic()
            if seen != before:
                heard = time.monotonic()
            patient = time.monotonic() - heard < SILENCE_MAX_S
            if wanted is not None and wanted >= 0 and (seen >= wanted or not patient):
                out.flush()
                print(json.dumps({"seen": seen, "in_order": in_order}), flush=True)
                wanted = None


if __name__ == "__main__":
    main(*sys.argv[1:])
