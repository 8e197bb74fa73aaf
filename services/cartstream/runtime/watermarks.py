"""Watermarks: how far event time is known to be complete, across partitions and services.

The first service derives one for each clickstream partition from its records, less the allowed lateness; a quiet partition
that is caught up follows the clock. It passes each advance on to every partition that it writes to, and every later service
takes the least of all its sources. So a later service never believes that time has passed while an earlier one is down,
lags, or has one partition behind the others: a purchase that waits anywhere upstream holds back the reminder.
"""

from __future__ import annotations

from cartstream.events.records import Watermark
from cartstream.events.times import EventTime

UNKNOWN: EventTime = -(2**62)
END: EventTime = 2**62


class RecordWatermark:
    """Of a clickstream partition. `sources` holds the largest promise made so far, to survive a restart."""

    def __init__(self, lateness_ms: int, sources: dict[str, EventTime]) -> None:
        self._lateness_ms = lateness_ms
        self.sources = sources
        self.expected = 1
        self.value = sources.get("", UNKNOWN)

    def observe(self, newest: EventTime) -> None:
        """`newest` is the largest event time of the records just read."""
        self._raise_to(newest - self._lateness_ms - 1)

    def follow_clock(self, now: EventTime) -> None:
        """Only for a partition that is quiet and caught up."""
        self._raise_to(now - self._lateness_ms - 1)

    def _raise_to(self, at: EventTime) -> None:
        if at > self.value:
            self.value = self.sources[""] = at


class AlignedWatermark:
    """The least of what all sources promise; UNKNOWN until each has spoken."""

    def __init__(self, expected: int, sources: dict[str, EventTime]) -> None:
        self.expected = expected
        self.sources = sources
        self.value = self._least()

    def update(self, mark: Watermark) -> None:
        self.expected = mark.sources
        if mark.at > self.sources.get(mark.source, UNKNOWN):
            self.sources[mark.source] = mark.at
            self.value = max(self.value, self._least())

    def after(self, marks: list[Watermark]) -> EventTime:
        """What the value would be after these."""
        ahead = AlignedWatermark(self.expected, dict(self.sources))
        for mark in marks:
            ahead.update(mark)
        return max(self.value, ahead.value)

    def _least(self) -> EventTime:
        return min(self.sources.values()) if self.expected and len(self.sources) >= self.expected else UNKNOWN
