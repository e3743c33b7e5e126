"""Times as the engine takes them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Union

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)


def milliseconds(time: Union[int, datetime]) -> int:
    """Milliseconds since the epoch, rounded up, so that nothing before `time` is at or after it;
    called by the native module."""
    if isinstance(time, datetime):
        if time.utcoffset() is None:
            raise ValueError("the datetime has no time zone: give it one, with astimezone()")
        return -((_EPOCH - time) // _MILLISECOND)
    if isinstance(time, int) and not isinstance(time, bool):
        return time
    raise TypeError(
        f"a time is a datetime or an int of milliseconds, not '{type(time).__name__}'"
    )
