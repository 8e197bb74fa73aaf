"""Native events from a file: one Segment-spec JSON object, or a batch of them, a line, in order of time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from cartstream.errors import Refused
from cartstream.events import clicks
from cartstream.events.adapters.recorded import Recorded, open_text
from cartstream.events.formats.native import Incoming
from cartstream.events.formats.segment import translate


def read(path: Path) -> Iterator[Recorded]:
    """Every line goes on, whatever it holds: identity refuses what cannot be used. A line without a usable time or device gets
    the time of the line before and the key ""."""
    at = 0
    with open_text(path) as lines:
        for line in lines:
            raw = line.rstrip("\r\n").encode()
            if not raw:
                continue
            at, key = place(raw, at)
            if key:
                yield Recorded(at, key, raw)
            else:
                yield from _mended(raw, at)


def _mended(raw: bytes, before: int) -> Iterator[Recorded]:
    """Of a batch its events, of a faulty event the mended one; else the line as it is."""
    try:
        pieces = translate(Incoming(raw))
    except Refused:
        pieces = []
    values = [raw if isinstance(piece, Refused) else piece.value for piece in pieces]
    for value in dict.fromkeys(values or [raw]):
        yield Recorded(*place(value, before), value)


def place(raw: bytes, before: int) -> tuple[int, str]:
    """When, and on which device. What does not say it: at `before`, on none."""
    try:
        click = clicks.decode_click(raw)
        return clicks.time_of(click.timestamp, raw), clicks.device_of(click.anonymous_id, click.user_id)
    except (Refused, orjson.JSONDecodeError):
        return before, ""
