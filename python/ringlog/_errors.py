"""What can go wrong, by what a caller can do about it.

Every exception of Ringlog is a `RinglogError`; most are one of Python's own kinds besides, so that
code which knows nothing of Ringlog treats them right: a full queue is a `BlockingIOError`, a passed
deadline a `TimeoutError`, a full disk an `OSError` with its number.
"""

from __future__ import annotations

import builtins
import errno
import os
from collections.abc import Iterable
from typing import NamedTuple, Optional


class RinglogError(Exception):
    """Why a call failed."""

    #: A name that never changes, for programs: "busy", "timeout", "locked", ...
    code: str = "error"
    #: The same call may succeed later without anything else being done.
    retriable: bool = False
    #: Nothing helps but opening again, repairing or restoring.
    fatal: bool = False
    #: What was to be appended may nevertheless be, or become, part of the log.
    outcome_unknown: bool = False
    #: The file or directory, where the error is about one.
    path: Optional[str] = None


class InvalidArgumentError(RinglogError, ValueError):
    """An argument or option is out of its documented range; nothing happened."""


class TooLargeError(InvalidArgumentError):
    """A record or batch is larger than the limit; nothing was written."""


class UnknownTopicError(RinglogError, LookupError):
    """No topic has this name."""


class UnknownPartitionError(RinglogError, LookupError):
    """The topic has fewer partitions."""


class TopicExistsError(RinglogError):
    """A topic of this name is there already."""


class OffsetOutOfRangeError(RinglogError, LookupError):
    """The offset lies before the log start or beyond the end."""


class TruncatedError(RinglogError, LookupError):
    """What had been read is not there any more: the writer's device failed, and took what was
    written but not durable. Read on from `end`, or wherever you decide to."""

    #: What is below is as it was read.
    end: int = 0


class BackpressureError(RinglogError, BlockingIOError):
    """No room right now; nothing was done. Retry, or use a call that waits; with the code
    "pinned", release batches that were read first."""


class PartOutcome(NamedTuple):
    """What became of one partition's part of `Topic.append_many`."""

    partition: int
    #: Which of the records given went there, by their place among them.
    records: list[int]
    #: Their offsets, if they were acknowledged.
    offsets: Optional[range]
    #: Why they were not; its `outcome_unknown` says whether they may be there all the same.
    error: Optional[RinglogError]


class PartlyAppendedError(RinglogError):
    """Some partitions took their part of `Topic.append_many`, or may have, and some did not: calling
    again with everything would append some of it twice."""

    #: What became of each partition's part.
    parts: list[PartOutcome]


class TimeoutError(RinglogError, builtins.TimeoutError):
    """The deadline passed; `outcome_unknown` says whether it may yet be written."""


class LockedError(RinglogError):
    """Another process, or another engine of this one, holds the directory."""

    #: The holder, where it is known.
    pid: Optional[int] = None


class DiskFullError(RinglogError, OSError):
    """No space for another segment; nothing was accepted, and appends resume when there is."""


class ClosedError(RinglogError, ValueError):
    """The engine is closed, or closing."""


class LatchedError(RinglogError):
    """A write or flush failed: the log takes no appends until it is opened again. Reads go on."""


class CorruptionError(RinglogError):
    """Bytes on disk are proven damaged, or not Ringlog's; nothing was changed."""


class UnsupportedFormatError(RinglogError):
    """The files are of another format version; nothing was touched."""


class ReadOnlyError(RinglogError, PermissionError):
    """The directory cannot be written, or was opened only to read."""


class NotDurableError(RinglogError):
    """This filesystem keeps nothing over a power loss, and `allow_volatile` was not given."""


class IoError(RinglogError, OSError):
    """The operating system refused an operation."""


class ForkedError(RinglogError, RuntimeError):
    """Used in a forked child: open the engine again there. The parent is unharmed."""


class InternalError(RinglogError):
    """A bug in Ringlog. Whether an append that failed so was written is unknown."""


_CLASSES: dict[str, type[RinglogError]] = {
    "invalid_argument": InvalidArgumentError,
    "invalid_batch": InvalidArgumentError,
    "too_large": TooLargeError,
    "unknown_topic": UnknownTopicError,
    "unknown_partition": UnknownPartitionError,
    "topic_exists": TopicExistsError,
    "offset_out_of_range": OffsetOutOfRangeError,
    "truncated": TruncatedError,
    "busy": BackpressureError,
    "pinned": BackpressureError,
    "queue_full": BackpressureError,
    "partly_appended": PartlyAppendedError,
    "timeout": TimeoutError,
    "locked": LockedError,
    "no_space": DiskFullError,
    "closed": ClosedError,
    "latched": LatchedError,
    "corrupt": CorruptionError,
    "not_a_data_directory": CorruptionError,
    "unsupported_format": UnsupportedFormatError,
    "read_only": ReadOnlyError,
    "not_durable": NotDurableError,
    "io": IoError,
    "peer": IoError,
    # Of shards that the caller's threads turn, which Python's do not.
    "wrong_thread": RinglogError,
    "forked": ForkedError,
    "internal": InternalError,
}

_NUMBERS = {
    "no_space": errno.ENOSPC,
    "busy": errno.EAGAIN,
    "pinned": errno.EAGAIN,
    "queue_full": errno.EAGAIN,
    "read_only": errno.EROFS,
}


def make(
    code: str,
    message: str,
    *,
    retriable: bool,
    fatal: bool,
    outcome_unknown: bool,
    path: Optional[str] = None,
    pid: Optional[int] = None,
    end: int = 0,
    parts: Iterable[tuple[int, list[int], Optional[range], Optional[RinglogError]]] = (),
    number: Optional[int] = None,
) -> RinglogError:
    """The exception for an error of the engine; called by the native module."""
    made = _CLASSES.get(code, RinglogError)(message)
    made.code = code
    made.retriable = retriable
    made.fatal = fatal
    made.outcome_unknown = outcome_unknown
    made.path = None if path is None else os.fsdecode(path)
    if isinstance(made, LockedError):
        made.pid = pid
    if isinstance(made, TruncatedError):
        made.end = end
    if isinstance(made, PartlyAppendedError):
        made.parts = [PartOutcome(*part) for part in parts]
    if isinstance(made, OSError):
        made.errno = _NUMBERS.get(code, number)
    return made
