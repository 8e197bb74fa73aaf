"""What `GET /insights` answers, from the counts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from cartstream.events.times import SECOND, iso
from cartstream.insights.tally import HOUR_S, Measure

DEFAULT_HOURS = 24


class Sums(msgspec.Struct):
    """`rates` are deliveries of each status per command."""

    commands: int = 0
    deliveries: dict[str, int] = {}
    rates: dict[str, float] = {}


class JourneyFigures(Sums):
    """Of one journey on one channel, or of a whole channel."""

    steps: dict[str, int] = {}


class ChannelFigures(JourneyFigures):
    journeys: dict[str, JourneyFigures] = {}


class Figures(Sums):
    signals: dict[str, int] = {}
    channels: dict[str, ChannelFigures] = {}


class Window(msgspec.Struct):
    """`start` included, `end` not: ISO 8601, UTC, event time."""

    start: str
    end: str
    figures: Figures


class Report(msgspec.Struct):
    """`partitions` are those whose records this process counts: with several processes, their reports add up."""

    partitions: list[int]
    totals: Figures
    windows: list[Window]


def report(rows: Sequence[tuple[Measure, float, int]], partitions: Iterable[int], hours: int = DEFAULT_HOURS) -> Report:
    """The totals of all rows, and the newest `hours` hours that have any, newest first."""
    starts = sorted({start for _, start, _ in rows}, reverse=True)[:hours]
    return Report(
        partitions=sorted(partitions),
        totals=figures((measure, count) for measure, _, count in rows),
        windows=[
            Window(
                start=iso(int(start) * SECOND),
                end=iso((int(start) + HOUR_S) * SECOND),
                figures=figures((measure, count) for measure, at, count in rows if at == start),
            )
            for start in starts
        ],
    )


def figures(measured: Iterable[tuple[Measure, int]]) -> Figures:
    found = Figures()
    for measure, count in sorted(measured):
        match measure:
            case ("signal", kind):
                _add(found.signals, kind, count)
            case ("command", channel, journey, step):
                found.commands += count
                for part in _parts(found, channel, journey):
                    part.commands += count
                    _add(part.steps, step, count)
            case ("delivery", channel, journey, status):
                _add(found.deliveries, status, count)
                for part in _parts(found, channel, journey):
                    _add(part.deliveries, status, count)
    _rate(found)
    return found


def as_json(value: Report) -> Any:
    return msgspec.to_builtins(value)


def _parts(found: Figures, channel: str, journey: str) -> tuple[JourneyFigures, JourneyFigures]:
    whole = found.channels.setdefault(channel, ChannelFigures())
    return whole, whole.journeys.setdefault(journey, JourneyFigures())


def _add(counted: dict[str, int], name: str, count: int) -> None:
    counted[name] = counted.get(name, 0) + count


def _rate(found: Figures) -> None:
    parts: list[Sums] = [found]
    for channel in found.channels.values():
        parts += [channel, *channel.journeys.values()]
    for part in parts:
        if part.commands:
            part.rates = {status: round(count / part.commands, 4) for status, count in part.deliveries.items()}
