"""Times as retailers write them: ISO 8601, or a number of seconds, milliseconds, microseconds or nanoseconds."""

from __future__ import annotations

from math import isfinite
from typing import Any

from cartstream.events.times import EventTime, parse_iso

_UNITS = ((1e11, 1_000, 1), (1e14, 1, 1), (1e17, 1, 1_000), (1e20, 1, 1_000_000))
"""Upper limit, what to multiply and to divide by for ms. Each unit has the years 1973 to 5138 to itself."""


def read_moment(value: Any) -> tuple[EventTime, str | None]:
    """The time in ms, and the repair that it took, if any. Raises ValueError for what is no time."""
    if isinstance(value, bool):
        raise ValueError("no time")
    if isinstance(value, int | float):
        return _of_number(value)
    if not isinstance(value, str):
        raise ValueError("no time")
    text = value.strip()
    if text.lstrip("-").replace(".", "", 1).isdecimal():
        return _of_number(float(text) if "." in text else int(text))[0], "time_spelling"
    if len(text) < len("2024-03-13T10:21"):
        raise ValueError("a time without an hour")
    if text.endswith((" UTC", " GMT")):
        return parse_iso(text[:-4] + "+00:00"), "time_spelling"
    return parse_iso(text), None if text == value else "time_spelling"


def _of_number(number: int | float) -> tuple[EventTime, str | None]:
    if not isfinite(number) or number <= 0:
        raise ValueError("no time")
    for limit, times, over in _UNITS:
        if number < limit:
            return int(number * times) // over, "time_unit" if times != over else None
    raise ValueError("no time")
