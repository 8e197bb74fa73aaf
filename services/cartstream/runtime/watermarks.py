"""Watermarks: how far event time is known to be complete, across partitions and services.

The first service derives one for each clickstream partition from its records, less the allowed lateness; a quiet partition
that is caught up follows the clock. It passes each advance on to every partition that it writes to, and every later service
takes the least of all its sources. So a later service never believes that time has passed while an earlier one is down,
lags, or has one partition behind the others: a purchase that waits anywhere upstream holds back the reminder.

When customers turn out to be one, a partition hands state over to another one of the same service. So partitions of a service
are sources of each other too: each tells its siblings how far what came from upstream is done, and time passes for a partition
only when upstream and all siblings say so. No handover is overtaken by the time that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator

from cartstream.events.records import Watermark
from cartstream.events.times import EventTime

UNKNOWN: EventTime = -(2**62)


class RecordWatermark:
    """Of a clickstream partition. `sources` holds the largest promise made so far, to survive a restart."""

    def __init__(self, lateness_ms: int, sources: dict[str, EventTime]) -> None:
        self._lateness_ms = lateness_ms
        self.sources = sources
        self.expected: dict[str, int] = {}
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
    """The least of what all sources promise; UNKNOWN until each has spoken.

    `upstream` counts only the service before, `value` the siblings too. `expected` has the number of partitions of each service heard of.
    """

    def __init__(self, service: str, expected: dict[str, int], sources: dict[str, EventTime]) -> None:
        self._service = service
        self.expected = expected
        self.sources = sources
        self.upstream = self.value = UNKNOWN
        self._settle()

    def update(self, mark: Watermark) -> None:
        self.expected[_service_of(mark.source)] = mark.sources
        if mark.at > self.sources.get(mark.source, UNKNOWN):
            self.sources[mark.source] = mark.at
            self._settle()

    def after_each(self, marks: list[Watermark]) -> Iterator[EventTime]:
        """What the value would be after the first of these, after two, and so on."""
        ahead = AlignedWatermark(self._service, dict(self.expected), dict(self.sources))
        for mark in marks:
            ahead.update(mark)
            yield ahead.value

    def _settle(self) -> None:
        above: list[EventTime] = []
        siblings: list[EventTime] = []
        for source, at in self.sources.items():
            (siblings if _service_of(source) == self._service else above).append(at)
        if not above or len(above) < sum(count for service, count in self.expected.items() if service != self._service):
            return
        self.upstream = min(above)
        if siblings and len(siblings) >= self.expected[self._service]:
            self.value = min(self.upstream, *siblings)


def _service_of(source: str) -> str:
    return source.rpartition(":")[0]
