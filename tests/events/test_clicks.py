from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from cartstream.errors import Refused
from cartstream.events import clicks
from cartstream.events.clicks import ACTIONS, Action, Product, Properties, decode_click, device_of, message_id_of, time_of
from cartstream.events.times import parse_iso


def decoded(**fields: Any) -> clicks.Click:
    return decode_click(json.dumps({"type": "track", **fields}).encode())


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"product_id": "p", "price": 9.5, "quantity": 2}, Properties("p", None, 2, 9.5)),
        ({"price": "9.50", "quantity": "2"}, Properties(quantity=2, price=9.5)),
        ({"price": "9,50 €", "quantity": 2}, Properties(quantity=2)),
        ({"price": {"amount": 9}, "product_id": "p"}, Properties("p")),
        ({"quantity": "many", "product_id": "p"}, Properties("p")),
        ({"quantity": 1.5, "product_id": "p"}, Properties("p")),
        ({"product_id": 17}, Properties()),
        ({"products": "none", "order_id": "o"}, Properties(order_id="o")),
        (
            {"products": [{"product_id": "a", "quantity": "x"}, "b", None, {"sku": "c"}]},
            Properties(products=[Product("a"), Product(sku="c")]),
        ),
        ({"total": None, "revenue": "3"}, Properties(revenue=3.0)),
        ({"unheard": {"of": [1]}, "currency": "EUR"}, Properties(currency="EUR")),
    ],
)
def test_a_property_of_the_wrong_kind_is_dropped_and_the_event_kept(properties: dict[str, Any], expected: Properties) -> None:
    click = decoded(event="Product Added", anonymousId="d1", properties=properties)
    assert click.properties == expected
    assert (click.event, click.anonymous_id) == ("Product Added", "d1")


def test_properties_that_are_no_object_are_a_wrong_schema_without_a_word_of_their_content() -> None:
    with pytest.raises(Refused, match=r"^wrong_schema: \$\.properties$"):
        decoded(properties="secret")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "unparseable"),
        (b"{", "unparseable"),
        (b'{"type":"\xff"}', "unparseable"),
        (b"[]", "wrong_schema"),
        (b"{}", "wrong_schema"),
        (b'{"type":7}', "wrong_schema"),
        (b'{"type":"page","anonymousId":[1]}', "wrong_schema"),
        (b'{"type":"page","timestamp":"soon"}', "wrong_schema"),
        (b'{"type":"page","properties":' + b'{"products":' * 50_000 + b"1" + b"}" * 50_001, "unparseable"),
    ],
)
def test_what_is_no_event_is_refused_with_its_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_click(raw)
    assert refused.value.reason == reason
    assert reason in clicks.REASONS


NOON = parse_iso("2024-03-01T12:00:00Z")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"timestamp": "2024-03-01T12:00:00Z"}, NOON),
        ({"timestamp": "2024-03-01T13:00:00+01:00"}, NOON),
        ({"timestamp": "2024-03-01T12:00:00"}, NOON),
        ({"timestamp": "2024-03-01T12:00:00.0009Z"}, NOON),
        ({"timestamp": NOON}, NOON),
        ({"timestamp": NOON + 0.9}, NOON),
        ({"timestamp": str(NOON)}, NOON),
        ({"originalTimestamp": "2024-03-01T12:00:00Z", "sentAt": 1}, NOON),
        ({"sentAt": "2024-03-01T12:00:00Z", "receivedAt": 1}, NOON),
        ({"receivedAt": NOON}, NOON),
    ],
)
def test_when_it_happened(fields: dict[str, Any], expected: int) -> None:
    raw = json.dumps({"type": "page", **fields}).encode()
    assert time_of(decode_click(raw).timestamp, raw) == expected


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [
        (None, "missing_time"),
        ("nan", "wrong_schema"),
        ("-inf", "wrong_schema"),
        (10**30, "future"),
        (1e300, "future"),
        (-1, "before_retention"),
        ("0001-01-01T00:00:00Z", "before_retention"),
    ],
)
def test_a_time_that_is_none_is_refused(timestamp: Any, reason: str) -> None:
    raw = json.dumps({"type": "page", "timestamp": timestamp}).encode()
    with pytest.raises(Refused) as refused:
        time_of(decode_click(raw).timestamp, raw)
    assert refused.value.reason == reason


def test_a_message_without_a_usable_id_is_known_by_its_bytes() -> None:
    assert message_id_of("m1", b"x") == "m1"
    assert message_id_of(None, b"x") == message_id_of("", b"x") == message_id_of("m" * 300, b"x")
    assert message_id_of(None, b"x") != message_id_of(None, b"y")


def test_an_event_of_a_server_belongs_to_a_device_of_the_users_own() -> None:
    assert [device_of("d1", "u1"), device_of(None, "u1"), device_of("", "u1")] == ["d1", "user:u1", "user:u1"]
    with pytest.raises(Refused, match="missing_id"):
        device_of(None, None)


def test_events_are_known_by_their_segment_names_in_both_spellings() -> None:
    assert ACTIONS["Order Completed"] is ACTIONS["order_completed"] is Action.ORDER
    assert ACTIONS["Payment Info Entered"] is Action.CHECKOUT
    assert len(ACTIONS) == 20


def test_a_click_needs_no_more_than_its_type() -> None:
    assert msgspec.to_builtins(decode_click(b'{"type":"page"}')) == msgspec.to_builtins(clicks.Click("page"))
