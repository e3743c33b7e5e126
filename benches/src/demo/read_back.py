"""Writes the values of a topic's first partition, each with a newline, to standard output.

Usage: read_back.py DIRECTORY TOPIC
"""

import sys

import ringlog


def main(directory, topic):
    out = sys.stdout.buffer
    with ringlog.open(directory, create=False) as log:
        for event in log.topic(topic, create=False).partition(0).read("earliest"):
            out.write(event.value)
            out.write(b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
