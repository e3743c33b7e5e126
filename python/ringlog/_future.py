"""The future that `append_nowait` gives, as `concurrent.futures` knows futures."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import Any, NoReturn, TypeVar

from . import _ringlog

_T = TypeVar("_T")

_sharing = threading.Lock()


class _Shared:
    """What others wait with, and whether they have been told."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.waiters: list[Any] = []
        self.told = False


class Future(_ringlog._Future, concurrent.futures.Future[_T]):
    """An append on its way: what `append_nowait` gives.

    A `concurrent.futures.Future`: `result`, `exception`, `done` and `add_done_callback` are as
    there, and `asyncio.wrap_future`, `concurrent.futures.wait` and `as_completed` take it. It cannot
    be cancelled: what was claimed is appended.
    """

    # What follows is what `concurrent.futures` looks at in a future of its own. The condition and
    # the list of waiters are made when somebody asks for them, which hardly anybody does. From then
    # on the state changes under the condition, with the waiters told: who counts those that are
    # not done while he holds it must hear of each of them once, and of no other.

    def _shared(self) -> _Shared:
        with _sharing:
            first = "_parts" not in self.__dict__
            if first:
                self.__dict__["_parts"] = _Shared()
        if first:
            self.add_done_callback(_tell)
        parts: _Shared = self.__dict__["_parts"]
        return parts

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        return self._shared().condition

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        return self._shared().waiters

    @property
    def _state(self) -> str:  # type: ignore[override]
        parts: _Shared | None = self.__dict__.get("_parts")
        return "FINISHED" if (self.done() if parts is None else parts.told) else "RUNNING"

    def set_result(self, result: object) -> NoReturn:
        """Always raises `InvalidStateError`: only the log knows."""
        raise concurrent.futures.InvalidStateError("a ringlog.Future is completed by the log")

    def set_exception(self, exception: object) -> NoReturn:
        """Always raises `InvalidStateError`: only the log knows."""
        raise concurrent.futures.InvalidStateError("a ringlog.Future is completed by the log")

    def set_running_or_notify_cancel(self) -> bool:
        """Always true: it runs from the start, and cannot be cancelled."""
        return True


def _tell(future: concurrent.futures.Future[Any]) -> None:
    assert isinstance(future, Future)
    parts = future._shared()
    with parts.condition:
        parts.told = True
        for waiter in parts.waiters:
            waiter.add_result(future)
        parts.condition.notify_all()
