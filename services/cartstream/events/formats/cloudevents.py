"""CloudEvents over Kafka, binary (attributes in `ce_` headers, the value is the data) and structured (a JSON envelope).

Source: CloudEvents 1.0 and its Kafka protocol binding. The data is an event of another format. What it does not say itself, the envelope
does: `id` with `source` is the message id, `time` the time, the last part of `type` the kind. The binding has no batches.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from cartstream.errors import Refused
from cartstream.events.clicks import TYPES
from cartstream.events.formats.moments import read_moment
from cartstream.events.formats.native import Incoming, Native, Translate
from cartstream.events.formats.segment import load
from cartstream.events.formats.shopping import Fields, derived_id, present

_STRUCTURED = "application/cloudevents+json"
_PREFIX = "ce_"


class _Envelope(NamedTuple):
    id: str
    type: str
    time: Any
    data: bytes


class CloudEvents:
    """A `formats.native.Translate` around another: that of the data."""

    def __init__(self, data: Translate) -> None:
        self._data = data

    def __call__(self, incoming: Incoming) -> Sequence[Native | Refused]:
        attributes = {name.lower(): value for name, value in incoming.headers if value is not None}
        kind = attributes.get("content-type", b"").decode(errors="replace").lower()
        if f"{_PREFIX}specversion" in attributes:
            envelope = _binary(attributes, incoming.value)
        elif kind.startswith(_STRUCTURED) or (not kind.startswith("application/cloudevents") and incoming.value.lstrip()[:1] == b"{"):
            envelope = _structured(incoming.value)
        else:
            raise Refused("wrong_schema", "no CloudEvent: neither ce_ headers nor a JSON envelope")
        if not envelope.data:
            raise Refused("wrong_schema", "a CloudEvent without data")
        headers = [(name, value) for name, value in incoming.headers if not name.lower().startswith(_PREFIX)]
        return self._data(Incoming(envelope.data, incoming.key, headers, _at(envelope.time) or incoming.at, _spare(envelope)))


def _binary(attributes: dict[str, bytes], value: bytes) -> _Envelope:
    def said(name: str) -> str | None:
        raw = attributes.get(_PREFIX + name)
        return None if raw is None else raw.decode(errors="replace")

    return _Envelope(_id(said("id"), said("source")), said("type") or "", said("time"), value)


def _structured(value: bytes) -> _Envelope:
    event = load(value, [])
    if not isinstance(event.get("specversion"), str):
        raise Refused("wrong_schema", "no CloudEvent: no specversion")
    data: Any = event.get("data")
    if data is None and isinstance(event.get("data_base64"), str):
        try:
            data = base64.b64decode(event["data_base64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refused("unparseable", "data_base64 is no base64") from error
    elif isinstance(data, str):
        data = data.encode()
    elif data is not None:
        try:
            data = orjson.dumps(data)
        except orjson.JSONEncodeError as error:
            raise Refused("unparseable", "nested too deeply") from error
    kind = event.get("type")
    return _Envelope(_id(event.get("id"), event.get("source")), kind if isinstance(kind, str) else "", event.get("time"), data or b"")


def _id(id: Any, source: Any) -> str:
    """`source` and `id` together are unique by the specification. Raises Refused."""
    if not isinstance(id, str) or not id:
        raise Refused("wrong_schema", "a CloudEvent without an id")
    return derived_id("cloudevent", source if isinstance(source, str) else "", id)


def _at(time: Any) -> int:
    try:
        return read_moment(time)[0]
    except (ValueError, OverflowError):
        return 0


def _spare(envelope: _Envelope) -> Fields:
    kind = envelope.type.rpartition(".")[2].lower()
    said = {"messageId": envelope.id, "timestamp": envelope.time, "type": kind if kind in TYPES else None}
    return present(said)
