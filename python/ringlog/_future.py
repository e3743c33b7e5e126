"""The future that `append_nowait` gives, as `concurrent.futures` knows futures."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import Any, NoReturn, TypeVar

from . import _ringlog

_T = TypeVar("_T")

_sharing = threading.Lock()


class Future(_ringlog._Future, concurrent.futures.Future[_T]):
    """An append on its way: what `append_nowait` gives.

    A `concurrent.futures.Future`: `result`, `exception`, `done` and `add_done_callback` are as
    there, and `asyncio.wrap_future`, `concurrent.futures.wait` and `as_completed` take it. It cannot
    be cancelled: what was claimed is appended.
    """

    # What follows is what `concurrent.futures` looks at in a future of its own. The condition and
    # the list of waiters are made when somebody asks for them, which hardly anybody does.

    def _shared(self) -> tuple[threading.Condition, list[Any]]:
        with _sharing:
            first = "_parts" not in self.__dict__
            if first:
                self.__dict__["_parts"] = (threading.Condition(), [])
        if first:
            self.add_done_callback(_tell)
        parts: tuple[threading.Condition, list[Any]] = self.__dict__["_parts"]
        return parts

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        return self._shared()[0]

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        return self._shared()[1]

    @property
    def _state(self) -> str:  # type: ignore[override]
        return "FINISHED" if self.done() else "RUNNING"

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
    condition, waiters = future._shared()
    with condition:
        for waiter in waiters:
            waiter.add_result(future)
        condition.notify_all()
