"""What the engine says of itself, as Python objects."""

from __future__ import annotations

import json
import uuid
from typing import Any, NamedTuple


class RecordId(NamedTuple):
    """Where a record is: its partition, and its offset in that."""

    partition: int
    offset: int


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
            [partition(each) for each in found["partitions"]],
        )
        for found in json.loads(text)
    ]


def stat(text: str) -> dict[str, Any]:
    """The engine's description of itself; called by the native module."""
    described: dict[str, Any] = json.loads(text)
    return described
