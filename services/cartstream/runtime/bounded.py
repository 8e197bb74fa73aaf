"""Calls into a library that may never come back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")

MOST_LEFT_BEHIND = 20
"""So many threads and clients may be given up before the process should end."""


class LeftBehind(Exception):
    """A call did not come back in time. Its thread waits on, alone; what it was made on must not be used any more."""


class Bounded:
    """Makes calls on a thread of its own, one at a time. `left_behind` counts the threads that were given up."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] | None = None
        self.left_behind = 0

    def call(self, act: Callable[[], R], seconds: float) -> R:
        """What `act` gives or raises. Raises LeftBehind."""
        if self._calls is None:
            self._calls = SimpleQueue()
            threading.Thread(target=_work, args=(self._calls,), name=self._name, daemon=True).start()
        answer: Future[R] = Future()
        self._calls.put((act, answer))
        try:
            return answer.result(seconds)
        except TimeoutError as error:
            if answer.done():
                return answer.result()
            self._calls = None
            self.left_behind += 1
            raise LeftBehind(f"{self._name} did not come back within {seconds:.0f} s") from error
        finally:
            # What was raised knows this frame: together they would keep what the call was made on until a collection, which is rare.
            del act, answer


def _work(calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]]]) -> None:
    while True:
        act, answer = calls.get()
        try:
            answer.set_result(act())
        except BaseException as error:
            answer.set_exception(error)
        del act, answer
