"""File adapters: recorded events of known layouts, as native (Segment-spec) events in order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from cartstream.errors import ConfigError
from cartstream.events.adapters import ecom, foreign, otto, segment, shoppers
from cartstream.events.adapters.recorded import Recorded
from cartstream.events.formats.files import records
from cartstream.events.formats.native import Incoming, Translate
from cartstream.events.formats.opening import FORMS, NATIVE, SchemaSource, open_format
from cartstream.events.formats.snowplow_fields import FIELDS

__all__ = ["FORMATS", "Recorded", "guess_format", "read", "translation"]

# The recorded layouts; what else can be read is what the clickstream may be written in.
FORMATS: dict[str, Callable[[Path], Iterator[Recorded]]] = {
    "segment": segment.read,
    "ecom": ecom.read,
    "otto": otto.read,
    "shoppers": shoppers.read,
}


def read(path: Path, name: str | None = None, schemas: SchemaSource | None = None) -> Iterator[Recorded]:
    """The events of a file. `schemas` is for Avro. Raises ConfigError for an unknown format or a file that is not of it, with the line."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    chosen = name or guess_format(path)
    if chosen in FORMATS:
        return FORMATS[chosen](path)
    return foreign.read(path, _opened(chosen, schemas or SchemaSource()))


def translation(path: Path, name: str | None, schemas: SchemaSource) -> Translate | None:
    """Of a file as the clickstream may be written; None for native events. Raises ConfigError."""
    chosen = name or guess_format(path)
    if chosen != NATIVE and chosen in FORMATS:
        raise ConfigError(f"{path}: {chosen} is a recorded layout, not one that a clickstream has: {FORMS}")
    return None if chosen == NATIVE else _opened(chosen, schemas)


def _opened(name: str, schemas: SchemaSource) -> Translate:
    try:
        return open_format(name, schemas)
    except ConfigError as error:
        raise ConfigError(f"{error}; or a recorded layout: {', '.join(FORMATS)}") from error


def guess_format(path: Path) -> str:
    """From the first line. Raises ConfigError."""
    _, first = next(records(path), (0, Incoming(b"")))
    text = first.value
    if text.startswith(b"user_id,session_id,event,timestamp"):
        return "ecom"
    if text.startswith(b"Administrative;"):
        return "shoppers"
    if text.count(b"\t") == len(FIELDS) - 1:
        return "snowplow"
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError:
        event = None
    if isinstance(event, dict):
        return _guess(event, first)
    raise ConfigError(f"{path}: the format cannot be told from its first line; name it: {', '.join(FORMATS)}, or {FORMS}")


def _guess(event: dict[str, Any], first: Incoming) -> str:
    if "specversion" in event or any(name.lower().startswith("ce_") for name, _ in first.headers):
        return "cloudevents"
    if "session" in event and "events" in event:
        return "otto"
    if "collector_tstamp" in event:
        return "snowplow"
    if "event_name" in event or "events" in event:
        return "ga4"
    return "ga4" if "event" in event and "type" not in event and "anonymousId" not in event else NATIVE
