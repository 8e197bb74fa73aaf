"""Quiet hours by the customer's own clock, exact across changes of it.

A moment is quiet when its wall-clock time is inside the window; the next allowed moment is the first that is not. So a
window that ends in the hour that spring skips ends with the skip, and one that ends in the hour that autumn repeats ends at the first pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cartstream.events.times import DAY, MINUTE, EventTime, to_datetime
from cartstream.journeys.definition import Quiet

UTC = ZoneInfo("UTC")
_MILLISECOND = timedelta(milliseconds=1)


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo | None:
    """None for what is no IANA zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def zone_of(names: Iterable[str | None]) -> tuple[ZoneInfo, bool]:
    """The first zone that exists, else UTC; and whether a name had to be passed over because it is none."""
    invalid = False
    for name in names:
        if not name:
            continue
        zone = zone_named(name)
        if zone is not None:
            return zone, invalid
        invalid = True
    return UTC, invalid


def wall_clock(at: EventTime, zone: ZoneInfo) -> int:
    """Milliseconds since local midnight."""
    return (at + _offset(at, zone)) % DAY


def is_quiet(at: EventTime, zone: ZoneInfo, quiet: Quiet) -> bool:
    clock = wall_clock(at, zone)
    if quiet.start < quiet.until:
        return quiet.start <= clock < quiet.until
    return clock >= quiet.start or clock < quiet.until


def allowed_at(at: EventTime, zone: ZoneInfo, quiet: Quiet) -> EventTime:
    """The first moment at or after `at` that is not quiet."""
    if not is_quiet(at, zone, quiet):
        return at
    end = at + (quiet.until - wall_clock(at, zone)) % DAY
    if _offset(at, zone) == _offset(end, zone):
        return end
    moment = at - at % MINUTE + MINUTE
    while is_quiet(moment, zone, quiet):
        moment += MINUTE
    return moment


def _offset(at: EventTime, zone: ZoneInfo) -> int:
    offset = to_datetime(at).astimezone(zone).utcoffset()
    return offset // _MILLISECOND if offset is not None else 0
