from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from cartstream.errors import Refused
from cartstream.events import clicks
from cartstream.events.clicks import ACTIONS, Action, Product, Properties, decode_click, device_of, message_id_of, time_of
from cartstream.events.properties import PROPERTY_REPAIRS, number_in
from cartstream.events.times import parse_iso


def decoded(**fields: Any) -> clicks.Click:
    return decode_click(json.dumps({"type": "track", **fields}).encode())


@pytest.mark.parametrize(
    "properties",
    [
        {"product_id": "p", "price": 9.5, "quantity": 2},
        {"price": "9.50", "quantity": "2"},
        {"quantity": 2.0, "products": [], "total": None},
        {"unheard": {"of": [1]}, "currency": "EUR"},
    ],
)
def test_what_can_be_read_as_it_is_counts_as_no_repair(properties: dict[str, Any]) -> None:
    assert type(decoded(event="Product Added", properties=properties)) is clicks.Click


@pytest.mark.parametrize(
    ("properties", "expected", "repairs"),
    [
        ({"price": "9,50 €", "quantity": 2}, Properties(quantity=2, price=9.5), {"number_in_text"}),
        ({"price": "on request"}, Properties(), {"field_dropped"}),
        ({"price": {"amount": 9}, "product_id": "p"}, Properties("p"), {"field_dropped"}),
        ({"price": True, "quantity": False}, Properties(), {"field_dropped"}),
        ({"quantity": "many", "product_id": "p"}, Properties("p"), {"field_dropped"}),
        ({"quantity": "2 pcs", "product_id": "p"}, Properties("p", quantity=2), {"number_in_text"}),
        ({"quantity": "2,5", "product_id": "p"}, Properties("p"), {"field_dropped"}),
        ({"quantity": 1.5, "product_id": "p"}, Properties("p"), {"field_dropped"}),
        ({"product_id": 17, "order_id": 4}, Properties("17", order_id="4"), {"number_for_text"}),
        ({"product_id": True}, Properties(), {"field_dropped"}),
        ({"products": "none", "order_id": "o"}, Properties(order_id="o"), {"field_dropped"}),
        ({"products": {"sku": "a"}}, Properties(products=[Product(sku="a")]), {"list_of_one"}),
        (
            {"products": [{"product_id": "a", "quantity": "x"}, "b", None, {"sku": "c"}]},
            Properties(products=[Product("a"), Product(sku="c")]),
            {"field_dropped", "product_dropped"},
        ),
        ("secret", Properties(), {"field_dropped"}),
        ([], Properties(), {"field_dropped"}),
    ],
)
def test_a_property_of_the_wrong_kind_is_repaired_or_dropped_and_the_event_kept(
    properties: Any, expected: Properties, repairs: set[str]
) -> None:
    click = decoded(event="Product Added", anonymousId="d1", properties=properties)
    assert click.properties == expected
    assert (click.event, click.anonymous_id) == ("Product Added", "d1")
    assert isinstance(click, clicks.RepairedClick)
    assert set(click.repairs) == repairs
    assert repairs <= set(PROPERTY_REPAIRS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12,50 €", 12.5),
        ("$1,299.00", 1299.0),
        ("1.299,00 EUR", 1299.0),
        ("1 299,00", 1299.0),
        ("CHF 1’299.50", 1299.5),
        ("1,299", 1299.0),
        ("1.299 €", 1299.0),
        ("0,125", 0.125),
        ("1,299,000", 1_299_000.0),
        ("12,5", 12.5),
        ("12.", 12.0),
        ("-3,00", -3.0),
        (" 7 ", 7.0),
        ("free", None),
        ("", None),
        ("2 for 5", None),
        ("9" * 65, None),
    ],
)
def test_a_number_is_read_as_people_write_it(text: str, expected: float | None) -> None:
    assert number_in(text) == expected


def test_a_wrong_schema_says_where_without_a_word_of_the_content() -> None:
    with pytest.raises(Refused, match=r"^wrong_schema: \$\.anonymousId$"):
        decoded(anonymousId=["secret"])


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
        ({"originalTimestamp": NOON + 3_600_000, "sentAt": NOON + 3_600_500, "receivedAt": NOON + 500}, NOON),
        ({"originalTimestamp": NOON, "sentAt": 1, "receivedAt": NOON + 500}, NOON),
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
    names = {name for name in ACTIONS if name[0].isupper()}
    assert {name.lower().replace(" ", "_") for name in names} == ACTIONS.keys() - names
    assert all(ACTIONS[name.lower().replace(" ", "_")] is ACTIONS[name] for name in names)


def test_a_click_needs_no_more_than_its_type() -> None:
    assert msgspec.to_builtins(decode_click(b'{"type":"page"}')) == msgspec.to_builtins(clicks.Click("page"))
