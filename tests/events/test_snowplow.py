"""Snowplow: actions and entities, other events, ids and times."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from cartstream.errors import Refused
from cartstream.events.formats.native import Incoming, Native
from cartstream.events.formats.snowplow import translate
from cartstream.events.formats.snowplow_fields import FIELDS

VENDOR = "contexts_com_snowplowanalytics_snowplow_ecommerce"
ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
EVENT = {
    "event": "unstruct",
    "event_name": "snowplow_ecommerce_action",
    "event_id": "9e2c7b1a-1111-4111-8111-111111111111",
    "domain_userid": "d-1",
    "collector_tstamp": "2024-03-13T10:21:15.000Z",
    "derived_tstamp": "2024-03-13T10:21:14.000Z",
}
SHIRT = {"id": "SKU1", "name": "Shirt", "category": "wear/shirts", "price": 20, "currency": "GBP", "brand": "Snow", "quantity": 2}
PRODUCT = {"product_id": "SKU1", "name": "Shirt", "category": "wear/shirts", "price": 20, "currency": "GBP", "brand": "Snow", "quantity": 2}


def native(event: dict[str, Any]) -> Native:
    (found,) = translate(Incoming(orjson.dumps(event)))
    assert isinstance(found, Native)
    return found


def decoded(**fields: Any) -> dict[str, Any]:
    event: dict[str, Any] = orjson.loads(native(EVENT | fields).value)
    return event


def action(kind: str, **entities: list[dict[str, Any]]) -> dict[str, Any]:
    return decoded(**{ACTION: {"type": kind}}, **{f"{VENDOR}_{name}_1": found for name, found in entities.items()})


@pytest.mark.parametrize(
    ("kind", "entities", "event", "properties"),
    [
        ("product_view", {"product": [SHIRT]}, "Product Viewed", PRODUCT),
        ("list_view", {"product": [SHIRT]}, "Product List Viewed", {"products": [PRODUCT]}),
        ("list_click", {"product": [SHIRT]}, "Product Clicked", PRODUCT),
        (
            "add_to_cart",
            {"product": [SHIRT], "cart": [{"cart_id": "c", "total_value": 40, "currency": "GBP"}]},
            "Product Added",
            PRODUCT | {"cart_id": "c"},
        ),
        ("remove_from_cart", {"product": [SHIRT]}, "Product Removed", PRODUCT),
        ("checkout_step", {"checkout_step": [{"step": 1}]}, "Checkout Started", {"step": 1}),
        (
            "checkout_step",
            {"checkout_step": [{"step": 2, "delivery_method": "post", "payment_method": "card"}]},
            "Checkout Step Completed",
            {"step": 2, "shipping_method": "post", "payment_method": "card"},
        ),
        (
            "transaction",
            {
                "product": [SHIRT],
                "transaction": [{"transaction_id": "T", "revenue": 40, "currency": "GBP", "payment_method": "card", "tax": 1}],
            },
            "Order Completed",
            {"order_id": "T", "total": 40, "currency": "GBP", "payment_method": "card", "tax": 1, "products": [PRODUCT]},
        ),
        (
            "refund",
            {"refund": [{"transaction_id": "T", "currency": "GBP", "refund_amount": 20}]},
            "Order Refunded",
            {"order_id": "T", "total": 20, "currency": "GBP"},
        ),
        ("trns_error", {}, "Transaction Error", {}),
        ("promo_view", {}, "Promotion Viewed", {}),
        ("something_new", {}, "something_new", {}),
    ],
)
def test_an_ecommerce_action_becomes_segments(kind: str, entities: dict[str, Any], event: str, properties: dict[str, Any]) -> None:
    found = action(kind, **entities)
    assert (found["type"], found["event"], found["properties"]) == ("track", event, properties)
    assert (found["messageId"], found["timestamp"]) == (EVENT["event_id"], "2024-03-13T10:21:14.000Z")


@pytest.mark.parametrize(
    ("fields", "type", "name"),
    [
        ({"event": "page_view", "event_name": "page_view", "page_title": "Home"}, "page", "Home"),
        ({"event": "page_ping", "event_name": "page_ping"}, "track", "page_ping"),
        ({"event": "struct", "event_name": "event", "se_category": "shop", "se_action": "search"}, "track", "search"),
        ({"event": "unstruct", "event_name": "link_click"}, "track", "link_click"),
        (
            {"event_name": "screen_view", "unstruct_event_com_snowplowanalytics_mobile_screen_view_1": {"name": "Cart", "id": "x"}},
            "screen",
            "Cart",
        ),
    ],
)
def test_other_events_show_that_the_shopper_is_there(fields: dict[str, Any], type: str, name: str) -> None:
    found = decoded(**fields)
    assert (found["type"], found.get("event", found.get("name"))) == (type, name)


def test_a_transaction_of_the_old_kind_is_an_order_of_the_whole_cart() -> None:
    found = decoded(event="transaction", event_name="transaction", tr_orderid="T", tr_total=30.5, tr_currency="EUR")
    assert (found["event"], found["properties"]) == ("Order Completed", {"order_id": "T", "total": 30.5, "currency": "EUR"})


@pytest.mark.parametrize(
    ("fields", "device", "user"),
    [
        ({}, "d-1", None),
        ({"domain_userid": None, "network_userid": "n-1"}, "n-1", None),
        ({"domain_userid": None, "contexts_com_snowplowanalytics_snowplow_client_session_1": [{"userId": "s-1"}]}, "s-1", None),
        ({"user_id": "u-1"}, "d-1", "u-1"),
        ({f"{VENDOR}_user_1": [{"id": "u-2", "is_guest": False}]}, "d-1", "u-2"),
        ({f"{VENDOR}_user_1": [{"id": "guest-9", "is_guest": True}]}, "d-1", None),
    ],
)
def test_who_it_is(fields: dict[str, Any], device: str, user: str | None) -> None:
    found = decoded(**fields)
    assert (found["anonymousId"], found.get("userId")) == (device, user)


def test_an_address_of_the_user_entity_is_a_trait() -> None:
    found = decoded(**{f"{VENDOR}_user_1": [{"id": "u", "email": "ann@example.test"}]})
    assert found["context"]["traits"] == {"email": "ann@example.test"}


@pytest.mark.parametrize(
    ("fields", "repairs"),
    [
        ({"derived_tstamp": None}, ()),
        ({"derived_tstamp": "soon"}, ("time_unreadable",)),
        ({"collector_tstamp": "?"}, ()),
        ({f"{VENDOR}_product_1": [{"name": "no id"}], ACTION: {"type": "list_view"}}, ("item_unusable",)),
    ],
)
def test_a_fault_is_mended_and_named(fields: dict[str, Any], repairs: tuple[str, ...]) -> None:
    assert native(EVENT | fields).repairs == repairs


def row(**fields: str) -> bytes:
    texts = {name: str(value) for name, value in EVENT.items()} | fields
    return "\t".join(texts.get(name, "") for name in FIELDS).encode()


def test_an_attachment_that_is_no_self_describing_json_is_left_out_of_a_row() -> None:
    (found,) = translate(Incoming(row(contexts="{not json", derived_contexts='{"schema":"iglu:a/b/jsonschema/1-0-0","data":[7]}')))
    assert isinstance(found, Native)
    assert found.repairs == ("context_unusable",)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "wrong_schema"),
        (b"a\tb\tc", "wrong_schema"),
        (b"\xff" + row(), "unparseable"),
        (
            b'{"schema":"iglu:com.snowplowanalytics.snowplow.badrows/tracker_protocol_violations/jsonschema/1-0-0","data":{}}',
            "wrong_schema",
        ),
        (orjson.dumps({"event": "page_view", "domain_userid": "d"}), "missing_time"),
        (row(domain_userid=""), "missing_id"),
    ],
)
def test_what_is_no_enriched_event_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        translate(Incoming(raw))
    assert refused.value.reason == reason
