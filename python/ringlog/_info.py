"""What the engine says of itself, as Python objects."""

from __future__ import annotations

import json
import uuid
from typing import Any, NamedTuple


class RecordId(NamedTuple):
    """Where a record is: its partition, and its offset in that."""

    partition: int
    offset: int


class TimedOffset(NamedTuple):
    """A record's offset and its timestamp."""

    offset: int
    #: In milliseconds since the epoch.
    timestamp_ms: int


class Sent(NamedTuple):
    """What a call has sent to a socket."""

    #: The offset after the last batch that was sent whole, by this call or before.
    next_offset: int
    #: Bytes taken by the socket in this call.
    bytes: int
    #: Everything asked for was sent. If not, the peer may have a part of a batch: the next call of
    #: the same sender goes on with the rest of it.
    complete: bool


class PartitionInfo(NamedTuple):
    """What a partition holds."""

    id: int
    #: The first offset that is kept.
    log_start: int
    #: The offset that the next record will get.
    end: int
    #: Everything below is on stable storage.
    durable_end: int


class TopicInfo(NamedTuple):
    """What a topic is and holds."""

    name: str
    uuid: uuid.UUID
    #: "sync" (acknowledged when durable) or "async" (when written).
    flush: str
    #: "none", "gzip", "snappy", "lz4" or "zstd": how its batches are compressed by default.
    compression: str
    #: "create-time" (its appenders' timestamps) or "append-time" (the engine's).
    timestamps: str
    partitions: list[PartitionInfo]


def topics(text: str) -> list[TopicInfo]:
    """The engine's list of topics; called by the native module."""

    def partition(found: dict[str, Any]) -> PartitionInfo:
        return PartitionInfo(**{name: found[name] for name in PartitionInfo._fields})

    return [
        TopicInfo(
            found["name"],
            uuid.UUID(found["uuid"]),
            found["flush"],
            found["compression"],
            found["timestamps"],
            [partition(each) for each in found["partitions"]],
        )
        for found in json.loads(text)
    ]


def stat(text: str) -> dict[str, Any]:
    """The engine's description of itself; called by the native module."""
    described: dict[str, Any] = json.loads(text)
    return described
