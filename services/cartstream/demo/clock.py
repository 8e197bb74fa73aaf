"""The demo's clock: event time runs `speed` times as fast as real time, from the moment the run begins."""

from __future__ import annotations

import time
from pathlib import Path

from cartstream.events.times import EventTime


class DemoClock:
    """Stands at `origin` until `start`; then every process that was given `setting` runs with it, by way of the file `path`."""

    def __init__(self, origin: EventTime, speed: float, path: Path) -> None:
        self.origin, self.speed = origin, speed
        self._path = path
        self._started_s: float | None = None
        path.unlink(missing_ok=True)

    @property
    def setting(self) -> str:
        """For CARTSTREAM_CLOCK."""
        return f"scaled:{self.origin}:@{self._path}:{self.speed!r}"

    def start(self) -> None:
        self._started_s = time.time()
        partial = self._path.with_suffix(".partial")
        partial.write_text(repr(self._started_s))
        partial.replace(self._path)

    def now(self) -> EventTime:
        if self._started_s is None:
            return self.origin
        return self.origin + int((time.time() - self._started_s) * 1000 * self.speed)

    @property
    def elapsed_s(self) -> float:
        """Real seconds since the start."""
        return 0.0 if self._started_s is None else time.time() - self._started_s

    def real_s(self, at: EventTime) -> float:
        """The real moment (s since the epoch) of an event time. Only after `start`."""
        assert self._started_s is not None
        return self._started_s + (at - self.origin) / 1000 / self.speed

    def real_ms(self, at: EventTime) -> int:
        return round(self.real_s(at) * 1000)
