"""The clickstream in Avro: Confluent's wire format, with schemas from a folder; and containers from files."""

from __future__ import annotations

import io
import json
import struct
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pytest

from cartstream.errors import ConfigError, Refused
from cartstream.events.adapters import read
from cartstream.events.avro import schema_folder
from cartstream.events.formats.avro import AvroEvents
from cartstream.events.formats.native import Incoming, Native
from cartstream.events.formats.opening import SchemaSource, open_format
from cartstream.events.formats.schemas import Manifest
from cartstream.events.formats.segment import translate
from tests.identity.people import People

FOLDER = schema_folder() / "clickstream"
AT = datetime(2024, 3, 13, 10, 21, 14, tzinfo=UTC)
CLICK = {
    "type": "track",
    "event": "Product Added",
    "messageId": "m-1",
    "anonymousId": "d-1",
    "timestamp": AT,
    "properties": {"product_id": "p-1", "price": 9.5, "quantity": 2, "currency": "EUR"},
}
NATIVE = CLICK | {"timestamp": "2024-03-13T10:21:14.000Z"}


def written(schema: Any, value: dict[str, Any], header: bytes) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), value)
    return header + body.getvalue()


def shipped() -> tuple[Any, bytes]:
    """The schema that cartstream brings, and the header that a record of it begins with."""
    (entry,) = json.loads((FOLDER / "manifest.json").read_text())
    return json.loads((FOLDER / entry["file"]).read_text()), struct.pack(">bI", 0, entry["id"])


def one(format: str, incoming: Incoming, schemas: SchemaSource | None = None) -> dict[str, Any]:
    (found,) = open_format(format, schemas or SchemaSource())(incoming)
    assert isinstance(found, Native)
    event: dict[str, Any] = orjson.loads(found.value)
    return event


def test_a_record_of_the_shipped_schema_needs_no_registry() -> None:
    schema, header = shipped()
    assert one("avro", Incoming(written(schema, CLICK, header))) == NATIVE


def test_identity_finds_who_it_is_in_avro_and_no_address_stays() -> None:
    schema, header = shipped()
    event = {"type": "identify", "userId": "u", "anonymousId": "d", "timestamp": AT, "traits": {"email": "ann@example.test"}}
    (native,) = open_format("avro", SchemaSource())(Incoming(written(schema, event, header)))
    assert isinstance(native, Native)
    people = People().see_raw(native.value)
    assert len(people.people) == 1
    assert "example.test" not in people.written()


def folder_with(tmp_path: Path, schema: Any) -> SchemaSource:
    (tmp_path / "own.avsc").write_text(json.dumps(schema))
    (tmp_path / "manifest.json").write_text('[{"id": 7, "file": "own.avsc"}]')
    return SchemaSource(str(tmp_path))


def test_a_schema_of_ones_own_may_write_snake_case_logical_types_and_objects_as_text(tmp_path: Path) -> None:
    fields = {
        "type": "string",
        "anonymous_id": "string",
        "message_id": {"type": "string", "logicalType": "uuid"},
        "original_timestamp": {"type": "long", "logicalType": "timestamp-micros"},
        "properties": "string",
        "amount": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        "user_id": ["null", "string"],
    }
    schema = {"type": "record", "name": "Own", "fields": [{"name": name, "type": type} for name, type in fields.items()]}
    id = uuid.UUID(int=5)
    value = {"type": "page", "anonymous_id": "d", "message_id": id, "original_timestamp": AT, "properties": '{"a": 1}', "user_id": None}
    raw = written(schema, value | {"amount": Decimal("9.95")}, b"\0\0\0\0\7")
    assert one("avro", Incoming(raw), folder_with(tmp_path, schema)) == {
        "type": "page",
        "anonymousId": "d",
        "messageId": str(id),
        "originalTimestamp": "2024-03-13T10:21:14.000Z",
        "properties": {"a": 1},
        "amount": 9.95,
    }


def test_records_of_another_format_come_in_avro_too(tmp_path: Path) -> None:
    fields = {"event_name": "string", "event_timestamp": "long", "user_pseudo_id": "string"}
    schema = {"type": "record", "name": "Row", "fields": [{"name": name, "type": type} for name, type in fields.items()]}
    row = {"event_name": "view_cart", "event_timestamp": 1710325274000000, "user_pseudo_id": "p"}
    found = one("avro+ga4", Incoming(written(schema, row, b"\0\0\0\0\7")), folder_with(tmp_path, schema))
    assert (found["event"], found["anonymousId"], found["timestamp"]) == ("Cart Viewed", "p", "2024-03-13T10:21:14.000Z")


def test_an_avro_record_may_be_a_cloudevents_data() -> None:
    schema, header = shipped()
    bare = {name: value for name, value in CLICK.items() if name not in ("timestamp", "messageId")}
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"e"), ("ce_source", b"s"), ("ce_type", b"t"), ("ce_time", b"2024-03-13T10:21:14Z")]
    found = one("cloudevents+avro", Incoming(written(schema, bare, header), b"d-1", headers))
    assert found | {"messageId": "m-1"} == NATIVE
    assert len(found["messageId"]) == 32


def test_a_topic_that_changed_over_holds_json_and_avro() -> None:
    assert one("avro", Incoming(orjson.dumps(NATIVE))) == NATIVE
    snake = {"anonymous_id" if name == "anonymousId" else name: value for name, value in NATIVE.items()}
    assert one("avro", Incoming(orjson.dumps(snake))) == NATIVE


def test_a_schema_may_be_named_by_its_guid_in_a_header() -> None:
    schema, _ = shipped()
    guid = uuid.UUID(int=2**100 + 1)

    class ByGuid:
        def schema(self, id: int | str) -> Any:
            assert id == str(guid)
            return fastavro.parse_schema(schema)

    incoming = Incoming(written(schema, CLICK, b""), headers=[("__value_schema_id", b"\x01" + guid.bytes)])
    (found,) = AvroEvents(translate, ByGuid(), native=True)(incoming)
    assert isinstance(found, Native)
    assert orjson.loads(found.value) == NATIVE


def bad_records() -> list[tuple[Incoming, str]]:
    schema, header = shipped()
    good = written(schema, CLICK, header)
    return [
        (Incoming(b""), "bad_header"),
        (Incoming(b"\0\0"), "bad_header"),
        (Incoming(b"hello"), "bad_header"),
        (Incoming(b"\0\0\0\0\1" + good[5:]), "unknown_schema"),
        (Incoming(good + b"x"), "wrong_schema"),
        (Incoming(good, headers=[("__value_schema_id", b"\0short")]), "bad_header"),
        (Incoming(good, headers=[("__value_schema_id", b"\x01" + bytes(16))]), "unknown_schema"),
        (Incoming(b"{"), "unparseable"),
    ]


@pytest.mark.parametrize(("incoming", "reason"), bad_records())
def test_what_is_no_record_of_a_known_schema_is_refused(incoming: Incoming, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        open_format("avro", SchemaSource())(incoming)
    assert refused.value.reason == reason


def test_a_record_cut_short_is_refused() -> None:
    schema, header = shipped()
    good = written(schema, CLICK, header)
    for length in range(len(good)):
        with pytest.raises(Refused):
            open_format("avro", SchemaSource())(Incoming(good[:length]))


@pytest.mark.parametrize("manifest", ["", "{}", '[{"id": 1}]', '[{"id": 1, "file": "none.avsc"}]', '[{"id": 1, "file": "bad.avsc"}]'])
def test_a_folder_that_cannot_be_used_is_a_wrong_setting(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest or "[")
    (tmp_path / "bad.avsc").write_text('{"type": "poem"}')
    if manifest == "{}":
        (tmp_path / "manifest.json").unlink()
    with pytest.raises(ConfigError, match=r"manifest\.json: cannot be used"):
        Manifest(tmp_path)


def test_an_avro_container_is_a_recorded_file(tmp_path: Path) -> None:
    schema, _ = shipped()
    path = tmp_path / "clicks.avro"
    with path.open("wb") as stream:
        fastavro.writer(stream, fastavro.parse_schema(schema), [CLICK, CLICK | {"messageId": "m-2", "anonymousId": "d-2"}])
    found = list(read(path, "avro"))
    assert [entry.key for entry in found] == ["d-1", "d-2"]
    assert orjson.loads(found[0].value) == NATIVE
    (path.parent / "broken.avro").write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ConfigError, match="not an Avro container"):
        list(read(path.parent / "broken.avro", "avro"))
