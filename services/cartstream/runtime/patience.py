"""Waiting for servers: again, with backoff, saying so, until they answer or the service is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from cartstream.errors import Unavailable
from cartstream.runtime.health import Health
from cartstream.runtime.log import logger
from cartstream.runtime.progress import Progress

R = TypeVar("R")

BACKOFF_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)


class Patience:
    """Meanwhile the service is alive and not ready. Any thread."""

    def __init__(self, health: Health, progress: Progress, stop: threading.Event) -> None:
        self._health = health
        self._progress = progress
        self._stop = stop

    @property
    def over(self) -> bool:
        """The service is stopping."""
        return self._stop.is_set()

    def insist(self, act: Callable[[], R], before_again: Callable[[], None] = lambda: None) -> R | None:
        """What `act` gives once it does not raise Unavailable; None when the service is stopping."""
        delays = backoff()
        while True:
            try:
                return act()
            except Unavailable as error:
                if not self.wait(error, next(delays)):
                    return None
                before_again()

    def wait(self, error: Unavailable, seconds: float) -> bool:
        """False when the service is stopping."""
        self._health.not_ready(str(error))
        self._health.tick()
        logger().warning("waiting", why=str(error), seconds=seconds)
        self._progress.unavailable()
        return not self._stop.wait(seconds)


def backoff() -> Iterator[float]:
    """Seconds to wait: growing, then staying."""
    yield from BACKOFF_S
    while True:
        yield BACKOFF_S[-1]
