"""CloudEvents over Kafka: both modes, and what the envelope says for the event in it."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from cartstream.errors import ConfigError, Refused
from cartstream.events.formats.native import Incoming, Native
from cartstream.events.formats.opening import SchemaSource, open_format

AT = "2024-03-13T10:21:14.000Z"
PAGE = {"type": "page", "anonymousId": "d-1"}
HEADERS = {"ce_specversion": "1.0", "ce_id": "e-1", "ce_source": "/shop", "ce_type": "example.shop.page", "ce_time": AT}
STRUCTURED: dict[str, Any] = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "example.shop.page", "time": AT, "data": PAGE}


def binary(value: bytes, format: str = "cloudevents", **changes: str | None) -> Native:
    headers = [(name, text.encode()) for name, text in (HEADERS | changes).items() if text is not None]
    return one(format, Incoming(value, b"d-1", headers))


def structured(format: str = "cloudevents", content_type: str | None = None, **changes: Any) -> Native:
    headers = [("content-type", content_type.encode())] if content_type else []
    event = {name: value for name, value in (STRUCTURED | changes).items() if value is not None}
    return one(format, Incoming(orjson.dumps(event), b"d-1", headers))


def one(format: str, incoming: Incoming) -> Native:
    (found,) = open_format(format, SchemaSource())(incoming)
    assert isinstance(found, Native)
    return found


def test_both_modes_say_the_same() -> None:
    found = orjson.loads(binary(orjson.dumps(PAGE)).value)
    assert found == orjson.loads(structured().value)
    assert {name: value for name, value in found.items() if name != "messageId"} == PAGE | {"timestamp": AT}


@pytest.mark.parametrize("content_type", [None, "application/cloudevents+json", "application/CloudEvents+JSON; charset=UTF-8"])
def test_a_structured_event_is_known_by_its_content_type_or_itself(content_type: str | None) -> None:
    assert structured(content_type=content_type) == structured()


def test_the_message_is_known_by_source_and_id() -> None:
    ids = [
        orjson.loads(binary(orjson.dumps(PAGE), **changes).value)["messageId"]
        for changes in ({}, {}, {"ce_id": "e-2"}, {"ce_source": "/till"}, {"ce_time": None, "ce_type": "other.track"})
    ]
    assert ids[0] == ids[1] == ids[4]
    assert len(set(ids)) == 3


def test_what_the_event_says_itself_counts() -> None:
    own = PAGE | {"messageId": "m-1", "sentAt": "2024-01-01T00:00:00.000Z", "type": "screen"}
    assert orjson.loads(binary(orjson.dumps(own)).value) == own


def test_the_kind_may_be_left_to_the_envelope() -> None:
    found = orjson.loads(binary(orjson.dumps({"anonymousId": "d-1"})).value)
    assert (found["type"], found["timestamp"]) == ("page", AT)


def test_data_may_be_bytes_or_text_of_json() -> None:
    raw = orjson.dumps(PAGE)
    assert structured(data=None, data_base64=base64.b64encode(raw).decode()) == structured() == structured(data=raw.decode())


def test_the_data_may_be_of_another_format_with_the_envelopes_time() -> None:
    payload = orjson.dumps({"client_id": "c-1", "events": [{"name": "view_cart"}]})
    found = binary(payload, "cloudevents+ga4")
    event = orjson.loads(found.value)
    assert (event["event"], event["anonymousId"], event["timestamp"]) == ("Cart Viewed", "c-1", AT)


@pytest.mark.parametrize(
    "incoming",
    [
        Incoming(b"", headers=[(name, text.encode()) for name, text in HEADERS.items()]),
        Incoming(orjson.dumps(PAGE)),
        Incoming(b"no envelope"),
        Incoming(orjson.dumps(STRUCTURED | {"id": ""})),
        Incoming(orjson.dumps(STRUCTURED | {"data": None})),
        Incoming(orjson.dumps(STRUCTURED | {"data": None, "data_base64": "*"})),
        Incoming(orjson.dumps([STRUCTURED]), headers=[("content-type", b"application/cloudevents-batch+json")]),
        Incoming(b"\0", headers=[("content-type", b"application/cloudevents+avro")]),
    ],
    ids=["tombstone", "no envelope", "no JSON", "no id", "no data", "no base64", "batch", "avro envelope"],
)
def test_what_is_no_cloudevent_is_refused(incoming: Incoming) -> None:
    with pytest.raises(Refused):
        open_format("cloudevents", SchemaSource())(incoming)


@pytest.mark.parametrize("name", ["", "poem", "avro+cloudevents", "ga4+avro", "avro+avro", "segment+segment", "cloudevents+"])
def test_a_format_that_there_is_not_is_a_wrong_setting(name: str) -> None:
    with pytest.raises(ConfigError, match="say one of segment, ga4, snowplow"):
        open_format(name, SchemaSource())
