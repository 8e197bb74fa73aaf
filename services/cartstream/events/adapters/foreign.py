"""Recorded events in any of the formats that the clickstream may have, as native events in order of time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cartstream.errors import Refused
from cartstream.events.adapters.recorded import Recorded
from cartstream.events.adapters.segment import place
from cartstream.events.formats.files import records
from cartstream.events.formats.native import Translate


def read(path: Path, translate: Translate) -> Iterator[Recorded]:
    """What cannot be used goes on as it is, at the time of the record before, for identity to refuse. Raises ConfigError, Unavailable."""
    recorded: list[Recorded] = []
    at = 0
    for _, incoming in records(path):
        whole = True
        try:
            pieces = translate(incoming)
        except Refused:
            pieces, whole = [], False
        for piece in pieces:
            if isinstance(piece, Refused):
                whole = False
                continue
            at, key = place(piece.value, at)
            recorded.append(Recorded(at, key, piece.value))
        if not whole:
            recorded.append(Recorded(at, "", incoming.value))
    return iter(sorted(recorded, key=lambda entry: entry.at))
