"""A schema registry, asked through confluent-kafka's client: its own mock, and the REST calls against a real server."""

from __future__ import annotations

import base64
import io
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import fastavro
import orjson
import pytest

from cartstream.errors import ConfigError, Refused, Unavailable
from cartstream.events.formats.avro import AvroEvents
from cartstream.events.formats.native import Incoming, Native
from cartstream.events.formats.opening import SchemaSource, open_format
from cartstream.events.formats.segment import translate
from tests.support.registry import SmallRegistry, small_registry

SCHEMA = {"type": "record", "name": "Click", "fields": [{"name": "type", "type": "string"}, {"name": "anonymousId", "type": "string"}]}
PAGE = {"type": "page", "anonymousId": "d-1"}


def body(value: dict[str, Any], schema: Any = SCHEMA) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def record(id: int, value: bytes | None = None) -> Incoming:
    return Incoming(b"\0" + id.to_bytes(4, "big") + (body(PAGE) if value is None else value))


def event_of(format: Any, incoming: Incoming) -> dict[str, Any]:
    (found,) = format(incoming)
    assert isinstance(found, Native)
    event: dict[str, Any] = orjson.loads(found.value)
    return event


@pytest.fixture
def client() -> None:
    pytest.importorskip("confluent_kafka.schema_registry", reason="needs cartstream[registry]", exc_type=ImportError)


@pytest.fixture
def server(client: None) -> Iterator[SmallRegistry]:
    with small_registry() as registry:
        yield registry


def opened(registry: SmallRegistry, **source: str) -> Any:
    return open_format("avro", SchemaSource(url=registry.url, **source))


def test_the_clients_mock_registry_serves(client: None) -> None:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

    from cartstream.events.formats.registry import Registry

    mock = SchemaRegistryClient.new_client({"url": "mock://clicks"})
    id = mock.register_schema("clickstream-value", Schema(orjson.dumps(SCHEMA).decode(), "AVRO"))
    format = AvroEvents(translate, Registry(mock), native=True)
    assert event_of(format, record(id)) == PAGE
    with pytest.raises(Refused, match="unknown_schema"):
        format(record(id + 1))


def test_the_setting_may_name_the_mock(client: None) -> None:
    with pytest.raises(Refused, match="unknown_schema"):
        open_format("avro", SchemaSource(url="mock://empty"))(record(1))


def test_a_schema_is_asked_for_once_whatever_the_number_of_records(server: SmallRegistry) -> None:
    server.put(7, SCHEMA)
    server.put(8, SCHEMA)
    format = opened(server)
    assert [event_of(format, record(id)) for id in (7, 7, 8, 7, 8)] == [PAGE] * 5
    assert server.asked == ["/schemas/ids/7", "/schemas/ids/8"]
    assert "application/vnd.schemaregistry.v1+json" in server.headers["Accept"]
    assert "Authorization" not in server.headers


def test_the_registry_is_told_who_asks(server: SmallRegistry) -> None:
    server.put(7, SCHEMA)
    event_of(opened(server, auth="reader:secret"), record(7))
    assert server.headers["Authorization"] == "Basic " + base64.b64encode(b"reader:secret").decode()


def test_a_schema_is_found_by_its_guid(server: SmallRegistry) -> None:
    guid = uuid.UUID(int=2**99 + 5)
    server.put(7, SCHEMA, str(guid))
    incoming = Incoming(body(PAGE), headers=[("__value_schema_id", b"\x01" + guid.bytes)])
    assert event_of(opened(server), incoming) == PAGE
    assert server.asked == [f"/schemas/guids/{guid}"]


def test_schemas_that_a_schema_refers_to_are_asked_for(server: SmallRegistry) -> None:
    place = {"type": "record", "name": "shop.Place", "fields": [{"name": "url", "type": "string"}]}
    outer = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "place", "type": "shop.Place"}]}
    server.put(7, outer, references=[{"name": "shop.Place", "subject": "place", "version": 3}])
    server.answers["/subjects/place/versions/3"] = (
        200,
        {"subject": "place", "id": 2, "version": 3, "schema": orjson.dumps(place).decode()},
    )
    whole = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "place", "type": place}]}
    found = event_of(opened(server), record(7, body(PAGE | {"place": {"url": "https://shop.example/"}}, whole)))
    assert found == PAGE | {"place": {"url": "https://shop.example/"}}


def test_a_body_of_json_schema_is_json(server: SmallRegistry) -> None:
    server.put(7, {"type": "object"}, schemaType="JSON")
    assert event_of(opened(server), record(7, orjson.dumps(PAGE))) == PAGE


@pytest.mark.parametrize(
    ("schema", "more"),
    [({"type": "poem"}, {}), ('syntax = "proto3";', {"schemaType": "PROTOBUF"})],
    ids=["no schema", "protobuf"],
)
def test_what_is_no_schema_of_ours_refuses_its_records(server: SmallRegistry, schema: Any, more: dict[str, str]) -> None:
    server.put(7, schema, **more)
    with pytest.raises(Refused) as refused:
        opened(server)(record(7))
    assert refused.value.reason == "unknown_schema"


def test_an_id_that_the_registry_does_not_know_is_asked_again_only_after_a_while(server: SmallRegistry) -> None:
    from confluent_kafka.schema_registry import SchemaRegistryClient

    from cartstream.events.formats.registry import UNKNOWN_FOR_S, Registry

    now = [1_000.0]
    schemas = Registry(SchemaRegistryClient.new_client({"url": server.url, "max.retries": 0}), lambda: now[0])
    for _ in range(3):
        with pytest.raises(Refused, match="unknown_schema"):
            schemas.schema(7)
    assert len(server.asked) == 1

    server.put(7, SCHEMA)
    now[0] += UNKNOWN_FOR_S
    assert schemas.schema(7)["name"] == "Click"


@pytest.mark.parametrize(
    "answer",
    [
        (401, {"error_code": 401, "message": "Unauthorized"}),
        (403, {"error_code": 40301, "message": "Forbidden"}),
        (404, b"<html>nothing here</html>"),
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
        (404, {"message": "a proxy's own"}),
        (429, {"error_code": 429, "message": "slow down"}),
        (500, {"error_code": 50001, "message": "store"}),
        (503, b""),
        (200, b"<html>login</html>"),
        (200, {"hello": "world"}),
    ],
    ids=["401", "403", "404 of a page", "404 of a path", "404 of a proxy", "429", "500", "503", "200 of a page", "200 of something else"],
)
def test_anything_but_a_plain_no_is_waited_for(server: SmallRegistry, answer: tuple[int, Any]) -> None:
    server.answers["/schemas/ids/7"] = answer
    format = opened(server)
    with pytest.raises(Unavailable, match=r"^schema registry \(schema 7\)"):
        format(record(7))
    server.put(7, SCHEMA)
    assert event_of(format, record(7)) == PAGE


def test_a_registry_that_is_away_is_waited_for_and_no_secret_is_said(client: None) -> None:
    with small_registry() as registry:
        registry.put(7, SCHEMA)
        port = int(registry.url.rpartition(":")[2])
        format = open_format("avro", SchemaSource(url=registry.url, auth="reader:secret"))
    with pytest.raises(Unavailable) as away:
        format(record(7))
    assert "secret" not in str(away.value)
    with small_registry(port, registry):
        assert event_of(format, record(7)) == PAGE


def test_a_known_schema_needs_no_registry_any_more(client: None) -> None:
    with small_registry() as registry:
        registry.put(7, SCHEMA)
        format = opened(registry)
        event_of(format, record(7))
    assert event_of(format, record(7)) == PAGE


def test_without_the_extra_a_registry_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cartstream.events.formats.registry", None)
    with pytest.raises(ConfigError, match=r"install it with cartstream\[registry\]"):
        open_format("avro", SchemaSource(url="http://127.0.0.1:1"))


@pytest.mark.parametrize(
    "source", [{"url": "ftp://x"}, {"url": "http://127.0.0.1:1", "auth": "nobody"}, {"url": "http://x", "ca_file": "/none"}]
)
def test_settings_that_make_no_client_are_wrong_settings(client: None, source: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="CARTSTREAM_REGISTRY_URL"):
        open_format("avro", SchemaSource(**source))
