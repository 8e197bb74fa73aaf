"""Clocks: the only place where a service learns what time it is. Decisions use event time; this is for idleness and ages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from cartstream.errors import ConfigError
from cartstream.events.times import EventTime


class Clock(Protocol):
    """Tells the present, in event time (ms), and how many of its milliseconds pass in one real second."""

    def now(self) -> EventTime: ...

    @property
    def speed(self) -> float: ...


class SystemClock:
    speed = 1.0

    def now(self) -> EventTime:
        return time.time_ns() // 1_000_000


class ScaledClock:
    """Starts at `origin` at the real moment `started_at` (s since the epoch) and runs `speed` times as fast."""

    def __init__(self, origin: EventTime, started_at: float, speed: float) -> None:
        self._origin, self._started_at, self.speed = origin, started_at, speed

    def now(self) -> EventTime:
        return self._origin + int((time.time() - self._started_at) * 1000 * self.speed)


class AwaitedClock:
    """A scaled clock that stands at `origin` until the file `start` is there and says at which real moment (s) it began to run."""

    def __init__(self, origin: EventTime, start: Path, speed: float) -> None:
        self._origin, self._start, self.speed = origin, start, speed
        self._running: ScaledClock | None = None

    def now(self) -> EventTime:
        if self._running is None:
            try:
                self._running = ScaledClock(self._origin, float(self._start.read_text()), self.speed)
            except (FileNotFoundError, ValueError):
                return self._origin
        return self._running.now()


def parse_clock(text: str) -> Clock:
    """`system`, or `scaled:<origin ms>:<real start s>:<speed>`; `@file` for the start waits for a file that says it. Raises ConfigError."""
    if text == "system":
        return SystemClock()
    match text.split(":"):
        case ["scaled", origin, started_at, speed]:
            try:
                if started_at.startswith("@"):
                    return AwaitedClock(int(origin), Path(started_at[1:]), float(speed))
                return ScaledClock(int(origin), float(started_at), float(speed))
            except ValueError:
                pass
    raise ConfigError(f"CARTSTREAM_CLOCK={text!r}: say 'system' or 'scaled:<origin ms>:<real start s>:<speed>'")
