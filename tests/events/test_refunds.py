"""Refunds and cancellations in every format: an order's id reaches sessions, which take it for no sign of the shopper."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from typing import Any

import fastavro
import orjson
import pytest

from cartstream.events.avro import schema_folder
from cartstream.events.clicks import ACTIONS, Action, decode_click
from cartstream.events.formats.native import Incoming, Native
from cartstream.events.formats.opening import SchemaSource, open_format
from cartstream.events.formats.snowplow_fields import FIELDS

AT = "2024-03-13T10:21:14.000Z"
US = 1_710_325_274_000_000
SNOWPLOW = "com.snowplowanalytics.snowplow"
ITEM = {"item_id": "p-1", "quantity": 1}
Told = dict[str, Any]


def native(name: str, part: bool) -> Told:
    named = {"products": [{"product_id": "p-1", "quantity": 1}]} if part else {}
    return {
        "type": "track",
        "event": name,
        "messageId": "m-1",
        "anonymousId": "d-1",
        "timestamp": AT,
        "properties": {"order_id": "o-1", "total": 20.5, "currency": "EUR", **named},
    }


def protocol(name: str, part: bool) -> Told:
    params = {"transaction_id": "o-1", "value": 20.5, "currency": "EUR"} | ({"items": [ITEM]} if part else {})
    return {"client_id": "d-1", "timestamp_micros": US, "events": [{"name": name, "params": params}]}


def export(name: str, part: bool) -> Told:
    commerce = {"transaction_id": "o-1", "refund_value": 20.5}
    return {"user_pseudo_id": "d-1", "event_timestamp": US, "event_name": name, "ecommerce": commerce, "items": [ITEM] if part else []}


def pushed(name: str, part: bool) -> Told:
    commerce = {"transaction_id": "o-1", "value": 20.5, "currency": "EUR"} | ({"items": [ITEM]} if part else {})
    return {"client_id": "d-1", "timestamp": US // 1000, "event": name, "ecommerce": commerce}


def enriched(part: bool) -> Told:
    """As the Analytics SDKs write it."""
    schema = "com_snowplowanalytics_snowplow_ecommerce"
    return {
        "event_id": "e-1",
        "event": "unstruct",
        "domain_userid": "d-1",
        "derived_tstamp": "2024-03-13 10:21:14.000",
        f"unstruct_event_{schema}_snowplow_ecommerce_action_1": {"type": "refund"},
        f"contexts_{schema}_refund_1": [{"transaction_id": "o-1", "refund_amount": 20.5, "currency": "EUR"}],
        **({f"contexts_{schema}_product_1": [{"id": "p-1", "quantity": 1}]} if part else {}),
    }


def tabbed(part: bool) -> bytes:
    def described(name: str, data: Any) -> Told:
        return {"schema": f"iglu:{SNOWPLOW}.ecommerce/{name}/jsonschema/1-0-0", "data": data}

    refund = described("refund", {"transaction_id": "o-1", "refund_amount": 20.5, "currency": "EUR"})
    entities = [refund, *([described("product", {"id": "p-1", "quantity": 1})] if part else [])]
    columns = {
        "event_id": "e-1",
        "event": "unstruct",
        "domain_userid": "d-1",
        "derived_tstamp": "2024-03-13 10:21:14.000",
        "contexts": json.dumps({"schema": "iglu:c/contexts/jsonschema/1-0-0", "data": entities}),
        "unstruct_event": json.dumps(
            {"schema": "iglu:u/u/jsonschema/1-0-0", "data": described("snowplow_ecommerce_action", {"type": "refund"})}
        ),
    }
    return "\t".join(columns.get(name, "") for name in FIELDS).encode()


def structured(event: Told) -> Told:
    return {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "shop.order.refunded", "time": AT, "data": event}


def in_avro(event: Told) -> bytes:
    folder = schema_folder() / "clickstream"
    (entry,) = json.loads((folder / "manifest.json").read_text())
    body = io.BytesIO()
    schema = fastavro.parse_schema(json.loads((folder / entry["file"]).read_text()))
    fastavro.schemaless_writer(body, schema, event | {"timestamp": US // 1000})
    return struct.pack(">bI", 0, entry["id"]) + body.getvalue()


REFUNDS: dict[str, tuple[str, Callable[[bool], Told | bytes]]] = {
    "native": ("segment", lambda part: native("Order Refunded", part)),
    "batch": ("segment", lambda part: {"batch": [native("Order Refunded", part)]}),
    "measurement protocol": ("ga4", lambda part: protocol("refund", part)),
    "export": ("ga4", lambda part: export("refund", part)),
    "data layer": ("ga4", lambda part: pushed("refund", part)),
    "snowplow json": ("snowplow", enriched),
    "snowplow tsv": ("snowplow", tabbed),
    "cloudevent": ("cloudevents", lambda part: structured(native("Order Refunded", part))),
    "cloudevent of ga4": ("cloudevents+ga4", lambda part: structured(protocol("refund", part))),
    "avro": ("avro", lambda part: in_avro(native("Order Refunded", part))),
}
CANCELLATIONS: dict[str, tuple[str, Told | bytes]] = {
    "native": ("segment", native("Order Cancelled", False)),
    "american": ("segment", native("Order Canceled", False)),
    "snake case": ("segment", native("order_cancelled", False)),
    "ga4, an event of one's own": ("ga4", protocol("order_cancelled", False)),
    "snowplow, a structured event": (
        "snowplow",
        {
            "event_id": "e-1",
            "event": "struct",
            "se_action": "order_cancelled",
            "domain_userid": "d-1",
            "derived_tstamp": "2024-03-13 10:21:14.000",
        },
    ),
    "snowplow, a schema of one's own": (
        "snowplow",
        {
            "event_id": "e-1",
            "event": "unstruct",
            "event_name": "order_cancelled",
            "domain_userid": "d-1",
            "derived_tstamp": "2024-03-13 10:21:14.000",
        },
    ),
    "cloudevent": ("cloudevents", structured(native("Order Cancelled", False))),
    "avro": ("avro", in_avro(native("Order Cancelled", False))),
}


def one(format: str, value: Told | bytes) -> Native:
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    (found,) = open_format(format, SchemaSource())(Incoming(raw, b"d-1"))
    assert isinstance(found, Native)
    return found


@pytest.mark.parametrize("part", [True, False], ids=["part", "whole"])
@pytest.mark.parametrize("kind", REFUNDS)
def test_a_refund_is_one_in_every_format_and_no_sign_of_the_shopper(kind: str, part: bool) -> None:
    format, tell = REFUNDS[kind]
    found = one(format, tell(part))
    click = decode_click(found.value)

    assert (found.repairs, click.event) == ((), "Order Refunded")
    assert ACTIONS["Order Refunded"] is Action.SILENT
    assert click.properties is not None
    assert click.properties.order_id == "o-1"
    assert (click.properties.total or click.properties.value) == 20.5
    assert [product.product_id for product in click.properties.products or []] == (["p-1"] if part else [])


@pytest.mark.parametrize("kind", CANCELLATIONS)
def test_a_cancellation_is_no_sign_of_the_shopper_in_any_format(kind: str) -> None:
    click = decode_click(one(*CANCELLATIONS[kind]).value)

    assert click.event is not None
    assert ACTIONS[click.event] is Action.SILENT
