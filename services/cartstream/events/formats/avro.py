"""Avro in Confluent's wire format: byte 0, a schema id of four bytes, the body. Or the schema's GUID in a header, and the body alone.

Source: Confluent's wire format, the client's header mode (`__value_schema_id`: byte 1 and 16 bytes of GUID). What begins with `{` is
JSON and read as such: a topic that has changed over holds both. The record is the event in any other format, its fields named as there;
fields of the native envelope may be written in snake case, and objects as JSON text.
"""

from __future__ import annotations

import io
import struct
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import fastavro
import orjson

from cartstream.errors import Refused
from cartstream.events.formats.native import Incoming, Native, Translate
from cartstream.events.formats.schemas import JSON, Schemas
from cartstream.events.formats.segment import load

_HEADER = "__value_schema_id"
_ENVELOPE = {
    "anonymous_id": "anonymousId",
    "user_id": "userId",
    "previous_id": "previousId",
    "group_id": "groupId",
    "message_id": "messageId",
    "original_timestamp": "originalTimestamp",
    "sent_at": "sentAt",
    "received_at": "receivedAt",
}
_OBJECTS = ("properties", "context", "traits")


class AvroEvents:
    """A `formats.native.Translate` around another: that of the records. `native`: they are in the native form."""

    def __init__(self, data: Translate, schemas: Schemas, native: bool) -> None:
        self._data = data
        self._schemas = schemas
        self._native = native

    def __call__(self, incoming: Incoming) -> Sequence[Native | Refused]:
        return self._data(incoming._replace(value=self._text(incoming)))

    def _text(self, incoming: Incoming) -> bytes:
        """The event as JSON. Raises Refused, Unavailable."""
        value = incoming.value
        marked = next((raw for name, raw in incoming.headers if name == _HEADER and raw is not None), None)
        if marked is not None:
            return self._read(_guid(marked), value)
        if value[:1] == b"\0" and len(value) >= 5:
            return self._read(int.from_bytes(value[1:5], "big"), value[5:])
        if value[:1] == b"{":
            return as_json(load(value, []), native=True) if self._native else value
        raise Refused("bad_header", f"the first five bytes are {value[:5].hex()!r}: neither a schema id nor JSON")

    def _read(self, id: int | str, body: bytes) -> bytes:
        schema = self._schemas.schema(id)
        if schema is JSON:
            return body
        stream = io.BytesIO(body)
        try:
            found = fastavro.schemaless_reader(stream, schema, None)
        except (ValueError, EOFError, TypeError, IndexError, KeyError, OverflowError, RecursionError, struct.error) as error:
            raise Refused("wrong_schema", f"not a record of schema {id}: {type(error).__name__}") from error
        if stream.read(1):
            raise Refused("wrong_schema", f"longer than a record of schema {id}")
        return as_json(found, self._native)


def as_json(found: Any, native: bool) -> bytes:
    """A record as fastavro gives it, as the JSON of its format. Raises Refused."""
    if not isinstance(found, dict):
        raise Refused("wrong_schema", "not a record")
    try:
        return orjson.dumps(_present(_renamed(found) if native else found), default=_plain, option=orjson.OPT_NAIVE_UTC)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise Refused("unparseable", f"cannot be told in JSON: {error}") from error


def _renamed(found: dict[str, Any]) -> dict[str, Any]:
    event = {_ENVELOPE.get(name, name): value for name, value in found.items()}
    for name in _OBJECTS:
        text = event.get(name)
        if isinstance(text, str) and text.startswith("{"):
            try:
                event[name] = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                raise Refused("unparseable", f"{name} begins as JSON and is none") from error
    return event


def _present(value: Any) -> Any:
    """Without the nulls of unions."""
    if isinstance(value, dict):
        return {name: _present(entry) for name, entry in value.items() if entry is not None}
    return [_present(entry) for entry in value] if isinstance(value, list) else value


def _guid(marked: bytes) -> str:
    if len(marked) != 17 or marked[0] != 1:
        raise Refused("bad_header", f"{_HEADER} is not byte 1 and a GUID")
    return str(uuid.UUID(bytes=marked[1:]))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    raise TypeError(f"{type(value).__name__} has no JSON")
