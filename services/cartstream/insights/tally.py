"""Counting: one row an hour of event time, a measure and a partition. Pure but for the rows that it is given.

A row is fed by one partition of one topic, and keeps the offset of the last record that it counted. So a record that is read
again, after a crash between the rows and the offsets, counts once, whatever the engine around it promises.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Literal, TypeAlias

from cartstream.errors import Refused
from cartstream.events.records import ChannelFailed, Command, Customer, Delivery, Handover, Merge, Signal, Watermark
from cartstream.events.times import SECOND, EventTime

HOUR_S = 3600
UNKNOWN_JOURNEY = "unknown"

Measure: TypeAlias = tuple[str, ...]
"""("signal", kind), ("command", channel, journey, step) or ("delivery", channel, journey, status)."""

Hour: TypeAlias = tuple[float, float]
"""First and last moment of a tumbling window, in s, in Faust's form: the last tenth of a second is left out of the name."""

RowKey: TypeAlias = tuple[tuple[str | int, ...], Hour]
"""The measure followed by the partition, and the hour."""

Rows: TypeAlias = MutableMapping[RowKey, list[int]]
"""[count, offset of the last record counted]."""

Verdict: TypeAlias = Literal["ok", "duplicate", "late", "control"]


def measure_of(record: object) -> tuple[Measure, EventTime] | None:
    """What a record counts as, and when; None for what only the chain needs. Raises Refused (`wrong_schema`)."""
    match record:
        case Signal():
            return ("signal", record.kind), record.at
        case Command():
            return ("command", record.channel, record.journey or UNKNOWN_JOURNEY, record.step), record.at
        case Delivery():
            return ("delivery", record.channel, record.journey or UNKNOWN_JOURNEY, record.status), record.at
        case Watermark() | Merge() | Handover() | Customer() | ChannelFailed():
            return None
    raise Refused("wrong_schema", f"a {type(record).__name__} does not belong on this topic")


def hour_of(at: EventTime) -> Hour:
    start = at // (HOUR_S * SECOND) * HOUR_S
    return float(start), start + HOUR_S - 0.1


class Tally:
    """Counts into `rows`. What is older than `retention_ms` before the newest hour of its partition is dropped."""

    def __init__(self, rows: Rows, retention_ms: EventTime) -> None:
        self._rows = rows
        self._retention_s = retention_ms / SECOND
        self._newest: dict[int, float] = {}

    def add(self, record: object, partition: int, offset: int) -> Verdict:
        """Count one record, once. Raises Refused."""
        found = measure_of(record)
        if found is None:
            return "control"
        measure, at = found
        hour = hour_of(at)
        newest = self._newest_of(partition)
        if newest is not None and hour[0] <= newest - self._retention_s:
            return "late"
        key: RowKey = ((*measure, partition), hour)
        count, last = self._rows.get(key) or (0, -1)
        if offset <= last:
            return "duplicate"
        self._rows[key] = [count + 1, offset]
        if newest is None or hour[0] > newest:
            self._newest[partition] = hour[0]
            self._drop_before(partition, hour[0] - self._retention_s)
        return "ok"

    def forget(self) -> None:
        """Partitions have changed hands: what is known of their newest hours must be looked up again."""
        self._newest.clear()

    def _newest_of(self, partition: int) -> float | None:
        if partition not in self._newest:
            hours = [hour[0] for key, hour in self._rows if key[-1] == partition]
            if not hours:
                return None
            self._newest[partition] = max(hours)
        return self._newest[partition]

    def _drop_before(self, partition: int, oldest: float) -> None:
        for key in [key for key in self._rows if key[0][-1] == partition and key[1][0] <= oldest]:
            del self._rows[key]


def counts(rows: Rows, partitions: frozenset[int]) -> Iterator[tuple[Measure, float, int]]:
    """(measure, start of the hour in s, count) of every row of these partitions."""
    for (place, hour), (count, _) in rows.items():
        *measure, partition = place
        if partition in partitions:
            yield tuple(map(str, measure)), hour[0], count
