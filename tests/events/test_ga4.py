"""Google Analytics 4: what each documented event becomes, and what is made of payloads with faults."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from cartstream.errors import Refused
from cartstream.events.formats.ga4 import translate
from cartstream.events.formats.native import Incoming, Native
from cartstream.events.times import parse_iso

AT = parse_iso("2024-03-13T10:21:14Z")
ITEM = {
    "item_id": "SKU_12345",
    "item_name": "Tee",
    "item_brand": "Goo",
    "item_category": "Apparel",
    "item_variant": "green",
    "price": 10.01,
}
PRODUCT = {"product_id": "SKU_12345", "name": "Tee", "brand": "Goo", "category": "Apparel", "variant": "green", "price": 10.01}
MONEY = {"currency": "USD", "value": 30.03}


def natives(payload: dict[str, Any], **incoming: Any) -> list[Native]:
    pieces = translate(Incoming(orjson.dumps(payload), **incoming))
    return [piece for piece in pieces if isinstance(piece, Native)]


def protocol(name: str, params: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    payload = {"client_id": "c.1", "timestamp_micros": AT * 1000, "events": [{"name": name, "params": params}], **fields}
    return [orjson.loads(native.value) for native in natives(payload)]


@pytest.mark.parametrize(
    ("name", "params", "event", "properties"),
    [
        ("search", {"search_term": "boots"}, "Products Searched", {"query": "boots"}),
        ("view_search_results", {"search_term": "boots"}, "Products Searched", {"query": "boots"}),
        (
            "view_item_list",
            {"item_list_id": "new", "item_list_name": "New in", "items": [ITEM]},
            "Product List Viewed",
            {"list_id": "new", "list_name": "New in", "products": [PRODUCT]},
        ),
        ("select_item", {"items": [ITEM]}, "Product Clicked", PRODUCT),
        ("view_item", {**MONEY, "items": [ITEM]}, "Product Viewed", MONEY | PRODUCT),
        ("add_to_cart", {**MONEY, "items": [ITEM | {"quantity": 3}]}, "Product Added", MONEY | PRODUCT | {"quantity": 3}),
        ("add_to_cart", {**MONEY, "items": [ITEM]}, "Product Added", MONEY | PRODUCT | {"quantity": 1}),
        ("remove_from_cart", {"items": [ITEM]}, "Product Removed", PRODUCT | {"quantity": 1}),
        ("add_to_wishlist", {"items": [ITEM]}, "Product Added to Wishlist", PRODUCT),
        ("view_cart", {**MONEY, "items": [ITEM | {"quantity": 3}]}, "Cart Viewed", MONEY | {"products": [PRODUCT | {"quantity": 3}]}),
        ("view_cart", {"items": []}, "Cart Viewed", {}),
        ("begin_checkout", {"coupon": "SUMMER", "items": [ITEM]}, "Checkout Started", {"coupon": "SUMMER", "products": [PRODUCT]}),
        ("add_shipping_info", {"shipping_tier": "Ground"}, "Checkout Step Completed", {"shipping_method": "Ground"}),
        ("add_payment_info", {"payment_type": "Credit Card"}, "Payment Info Entered", {"payment_method": "Credit Card"}),
        (
            "purchase",
            {**MONEY, "transaction_id": "T_1", "tax": 4.9, "shipping": 5.99, "affiliation": "Store", "items": [ITEM]},
            "Order Completed",
            {
                "order_id": "T_1",
                "currency": "USD",
                "total": 30.03,
                "tax": 4.9,
                "shipping": 5.99,
                "affiliation": "Store",
                "products": [PRODUCT],
            },
        ),
        ("refund", {"transaction_id": 4711, "value": 5}, "Order Refunded", {"order_id": "4711", "value": 5}),
        ("exit_intent", {"trigger": "mouseleave", "dwell_ms": 9000}, "Exit Intent", {"trigger": "pointer_top_exit", "dwell_ms": 9000}),
        ("select_promotion", {"items": [ITEM]}, "Promotion Clicked", {"products": [PRODUCT]}),
        ("user_engagement", {"engagement_time_msec": 5}, "user_engagement", {}),
    ],
)
def test_a_recommended_event_becomes_segments(name: str, params: dict[str, Any], event: str, properties: dict[str, Any]) -> None:
    (found,) = protocol(name, params)
    assert (found["type"], found["event"], found["properties"]) == ("track", event, properties)
    assert (found["anonymousId"], found["timestamp"]) == ("c.1", "2024-03-13T10:21:14.000Z")


def test_pages_screens_and_logins_are_no_track_events() -> None:
    (page,) = protocol("page_view", {"page_title": "Home", "page_location": "https://shop.example/"})
    (screen,) = protocol("screen_view", {"screen_name": "Cart"})
    (login,) = protocol("login", {"method": "Google"}, user_id="u-1")
    (unknown,) = protocol("login", {"method": "Google"})
    assert (page["type"], page["name"], page["context"]["page"]["url"]) == ("page", "Home", "https://shop.example/")
    assert (screen["type"], screen["name"]) == ("screen", "Cart")
    assert (login["type"], login["userId"]) == ("identify", "u-1")
    assert (unknown["type"], unknown["event"]) == ("track", "login")


def test_an_app_is_known_by_its_instance() -> None:
    (found,) = protocol("screen_view", {}, client_id=None, app_instance_id="a" * 32)
    assert found["anonymousId"] == "a" * 32


def test_consent_of_the_payload_is_a_preference_by_category() -> None:
    (found,) = protocol("page_view", {}, consent={"ad_user_data": "DENIED", "ad_personalization": "GRANTED"})
    assert found["context"]["consent"] == {"categoryPreferences": {"ad_user_data": False, "ad_personalization": True}}


def test_user_data_is_not_passed_on() -> None:
    payload = {"client_id": "c", "timestamp_micros": AT * 1000, "user_data": {"sha256_email_address": ["abc"]}, "events": [{"name": "x"}]}
    assert b"abc" not in natives(payload)[0].value


def test_a_purchase_is_known_by_its_transaction_whenever_it_is_told() -> None:
    first, again = (
        natives({"client_id": "c", "timestamp_micros": (AT + later) * 1000, "events": [{"name": "purchase", "params": params}]})[0]
        for later, params in ((0, {"transaction_id": "T"}), (90_000, {"transaction_id": "T", "coupon": "x"}))
    )
    assert orjson.loads(first.value)["messageId"] == orjson.loads(again.value)["messageId"]


def export(**fields: Any) -> dict[str, Any]:
    return {"event_name": "add_to_cart", "event_timestamp": str(AT * 1000), "user_pseudo_id": "p.1", "items": [ITEM], **fields}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_pseudo_id", "p.2"),
        ("event_timestamp", str(AT * 1000 + 1)),
        ("event_name", "view_item"),
        ("event_bundle_sequence_id", "7"),
        ("batch_event_index", "2"),
        ("items", [ITEM | {"item_id": "other"}]),
    ],
)
def test_rows_of_the_export_are_one_event_only_if_all_that_tells_events_apart_is_the_same(field: str, value: Any) -> None:
    one, same, other = (orjson.loads(natives(row)[0].value)["messageId"] for row in (export(), export(), export(**{field: value})))
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("payload", "incoming", "timestamp", "device", "repairs"),
    [
        ({"client_id": "c", "events": [{"name": "x"}]}, {"at": AT}, "10:21:14.000Z", "c", ("time_from_record",)),
        ({"client_id": "c", "timestamp_micros": AT, "events": [{"name": "x"}]}, {}, "10:21:14.000Z", "c", ("time_unit",)),
        (
            {"client_id": "c", "timestamp_micros": "?", "events": [{"name": "x"}]},
            {"at": AT},
            "10:21:14.000Z",
            "c",
            ("time_unreadable", "time_from_record"),
        ),
        ({"client_id": 17, "timestamp_micros": AT * 1000, "events": [{"name": "x"}]}, {}, "10:21:14.000Z", "17", ()),
        ({"event": "view_cart", "timestamp": AT, "ecommerce": None}, {"key": b"k-1"}, "10:21:14.000Z", "k-1", ("id_from_key",)),
        ({"event": "gtm.js", "gtm.start": AT, "clientId": "c"}, {}, "10:21:14.000Z", "c", ()),
        (export(items=[ITEM, {"price": 1}, "?"]), {}, "10:21:14.000Z", "p.1", ("item_unusable",)),
    ],
)
def test_a_fault_is_mended_and_named(
    payload: dict[str, Any], incoming: dict[str, Any], timestamp: str, device: str, repairs: tuple[str, ...]
) -> None:
    (found,) = natives(payload, **incoming)
    event = orjson.loads(found.value)
    assert (event["timestamp"], event["anonymousId"], found.repairs) == (f"2024-03-13T{timestamp}", device, repairs)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"type": "page"}, "wrong_schema"),
        ({"client_id": "c", "events": []}, "wrong_schema"),
        ({"event_name": "x", "user_pseudo_id": "p"}, "missing_time"),
        ({"event_name": "x", "event_timestamp": AT * 1000, "user_pseudo_id": None}, "missing_id"),
        ({"event": "x", "client_id": "c", "timestamp": "?"}, "missing_time"),
    ],
)
def test_what_cannot_be_used_is_refused(payload: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as refused:
        translate(Incoming(orjson.dumps(payload)))
    assert refused.value.reason == reason


def test_of_a_payload_each_event_is_judged_by_itself() -> None:
    payload = {"client_id": "c", "timestamp_micros": AT * 1000, "events": [{"name": "x"}, {"params": {}}, 7, {"name": "y"}]}
    pieces = translate(Incoming(orjson.dumps(payload)))
    assert [isinstance(piece, Native) for piece in pieces] == [True, False, False, True]
