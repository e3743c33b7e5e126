"""Follows a topic that another process writes, and tells what it has seen when it is asked.

Usage: follower.py DIRECTORY TOPIC. Each line on standard input is a number: it goes on until it has
seen so many events, and then prints as JSON how many that are, whether their offsets had no gap,
and the SHA-256 of their values, each with a newline. It ends with its input.
"""

import hashlib
import json
import select
import sys

import ringlog

# How long it sleeps for an event before it looks whether it is asked.
PATIENCE = 0.05


def asked():
    """The number asked for, None if nobody asks, -1 at the end."""
    if not select.select([sys.stdin], [], [], 0)[0]:
        return None
    line = sys.stdin.readline()
    return int(line) if line else -1


def main(directory, topic):
    digest = hashlib.sha256()
    seen = 0
    in_order = True
    wanted = None
    with ringlog.open(directory, read_only=True) as log:
        events = log.topic(topic, create=False).partition(0).read("earliest")
        print("ready", flush=True)
        while True:
            for event in events.follow(timeout=PATIENCE):
                in_order = in_order and event.offset == seen
                digest.update(event.value)
                digest.update(b"\n")
                seen += 1
                if seen == wanted or seen % 4096 == 0:
                    break
            if wanted is None:
                wanted = asked()
            if wanted == -1:
                return
            if wanted is not None and seen >= wanted:
                told = {"seen": seen, "in_order": in_order, "sha256": digest.hexdigest()}
                print(json.dumps(told), flush=True)
                wanted = None


if __name__ == "__main__":
    main(*sys.argv[1:])
