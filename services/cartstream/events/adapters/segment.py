"""Native events from a file: one Segment-spec JSON object a line, in order of time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from cartstream.errors import Refused
from cartstream.events import clicks
from cartstream.events.adapters.recorded import Recorded, open_text


def read(path: Path) -> Iterator[Recorded]:
    """Every line goes on, whatever it holds: identity refuses what cannot be used. A line without a usable time or device gets
    the time of the line before and the key ""."""
    at = 0
    with open_text(path) as lines:
        for line in lines:
            raw = line.rstrip("\r\n").encode()
            if not raw:
                continue
            at, key = _place(raw, at)
            yield Recorded(at, key, raw)


def _place(raw: bytes, before: int) -> tuple[int, str]:
    try:
        click = clicks.decode_click(raw)
        return clicks.time_of(click.timestamp, raw), clicks.device_of(click.anonymous_id, click.user_id)
    except (Refused, orjson.JSONDecodeError):
        return before, ""
