"""Segment: events as the HTTP API and Segment's Kafka destinations write them, batches, and events with a faulty envelope.

Source: Segment Spec v2, common fields; the HTTP API's `batch`: what it says beside its events (`context`, `integrations`, `sentAt`,
`receivedAt`) holds for each that does not say otherwise. Kafka Connect's JSON converter wraps a record in `{"schema", "payload"}`.
A usual event never comes here: identity reads it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cartstream.errors import Refused
from cartstream.events.clicks import TYPES
from cartstream.events.formats.moments import read_moment
from cartstream.events.formats.native import Incoming, Native
from cartstream.events.times import iso

MENDS = frozenset({"unparseable", "wrong_schema", "unknown_type", "missing_id", "missing_time", "future", "before_retention"})
"""What an event refused as it came may be accepted after all for: by a closer look here."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_IDS = ("anonymousId", "userId", "previousId", "groupId", "messageId")
_TIMES = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
_SHARED = ("context", "integrations", "sentAt", "receivedAt", "anonymousId", "userId")


def translate(incoming: Incoming) -> Sequence[Native | Refused]:
    """A `formats.native.Translate`."""
    repairs: list[str] = []
    event = load(incoming.value, repairs)
    if isinstance(event.get("payload"), dict) and "schema" in event:
        event = event["payload"]
    batch = event.get("batch")
    if isinstance(batch, list) and "type" not in event:
        if not batch:
            raise Refused("wrong_schema", "a batch without events")
        return [_part(event, part, repairs) for part in batch]
    return [mend(_filled(event, incoming.spare) if incoming.spare else event, repairs)]


def load(raw: bytes, repairs: list[str]) -> dict[str, Any]:
    """The JSON object. Raises Refused."""
    if raw.startswith(_BYTE_ORDER_MARK):
        raw = raw[len(_BYTE_ORDER_MARK) :]
        repairs.append("byte_order_mark")
    try:
        event = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused("unparseable", "not JSON in UTF-8") from error
    if not isinstance(event, dict):
        raise Refused("wrong_schema", "an event is a JSON object")
    return event


def mend(event: dict[str, Any], found: Sequence[str] = ()) -> Native:
    """A native event with its envelope put right. `found` are repairs made before. Raises Refused."""
    repairs = list(found)
    mended = event | _type(event, repairs) | _ids(event, repairs) | _times(event, repairs)
    try:
        return Native(orjson.dumps({name: value for name, value in mended.items() if value is not None}), tuple(dict.fromkeys(repairs)))
    except orjson.JSONEncodeError as error:  # nested more deeply than is written
        raise Refused("unparseable", "nested too deeply") from error


def _filled(event: dict[str, Any], spare: Mapping[str, Any]) -> dict[str, Any]:
    timed = any(event.get(name) is not None for name in _TIMES)
    own = {name: value for name, value in event.items() if value is not None}
    return {name: value for name, value in spare.items() if not (timed and name in _TIMES)} | own


def _part(batch: dict[str, Any], part: Any, repairs: list[str]) -> Native | Refused:
    if not isinstance(part, dict):
        return Refused("wrong_schema", "an event is a JSON object")
    shared = {name: batch[name] for name in _SHARED if batch.get(name) is not None}
    own = {name: value for name, value in part.items() if value is not None}
    if isinstance(shared.get("context"), dict) and isinstance(own.get("context"), dict):
        own["context"] = shared["context"] | own["context"]
    try:
        return mend(shared | own, repairs)
    except Refused as refused:
        return refused


def _type(event: dict[str, Any], repairs: list[str]) -> dict[str, Any]:
    said = event.get("type")
    if isinstance(said, str):
        plain = said.strip().lower()
        if plain == said or plain not in TYPES:
            return {}
        repairs.append("type_spelling")
        return {"type": plain}
    told = next((kind for field, kind in _TOLD_BY.items() if event.get(field) is not None), None)
    if said is not None or told is None:
        raise Refused("unknown_type", "type is none of track, page, screen, identify, alias, group")
    repairs.append("type_missing")
    return {"type": told}


_TOLD_BY = {"event": "track", "previousId": "alias", "groupId": "group", "traits": "identify"}


def _ids(event: dict[str, Any], repairs: list[str]) -> dict[str, Any]:
    ids: dict[str, Any] = {}
    for name in _IDS:
        value = event.get(name)
        if value is None or isinstance(value, str):
            continue
        number = not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
        ids[name] = str(int(value)) if number else None
        repairs.append("id_not_text" if number else "id_unusable")
    return ids


def _times(event: dict[str, Any], repairs: list[str]) -> dict[str, Any]:
    times: dict[str, Any] = {}
    for name in _TIMES:
        value = event.get(name)
        if value is None:
            continue
        try:
            at, repair = read_moment(value)
            times[name] = iso(at)
        except (ValueError, OverflowError):
            times[name], repair = None, "time_unreadable"
        if repair is not None:
            repairs.append(repair)
    return times
