"""File adapters: recorded events of known layouts, as native (Segment-spec) events in order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from cartstream.errors import ConfigError
from cartstream.events.adapters import ecom, otto, segment, shoppers
from cartstream.events.adapters.recorded import Recorded

__all__ = ["FORMATS", "Recorded", "guess_format", "read"]

FORMATS: dict[str, Callable[[Path], Iterator[Recorded]]] = {
    "segment": segment.read,
    "ecom": ecom.read,
    "otto": otto.read,
    "shoppers": shoppers.read,
}


def read(path: Path, name: str | None = None) -> Iterator[Recorded]:
    """The events of a file. Raises ConfigError for an unknown format or a file that is not of it, with the line."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    chosen = name or guess_format(path)
    if chosen not in FORMATS:
        raise ConfigError(f"format {chosen!r}: say one of {', '.join(FORMATS)}")
    return FORMATS[chosen](path)


def guess_format(path: Path) -> str:
    """From the first line. Raises ConfigError."""
    from cartstream.events.adapters.recorded import open_text

    with open_text(path) as lines:
        first = next(iter(lines), "")
    if first.startswith("user_id,session_id,event,timestamp"):
        return "ecom"
    if first.startswith("Administrative;"):
        return "shoppers"
    if first.startswith("{"):
        return "otto" if '"session"' in first[:40] else "segment"
    raise ConfigError(f"{path}: the format cannot be told from its first line; name it: {', '.join(FORMATS)}")
