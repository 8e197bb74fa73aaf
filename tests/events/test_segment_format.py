"""Segment's forms beyond the usual event: batches, wrapped records, and envelopes with a fault that can be mended."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from cartstream.errors import Refused
from cartstream.events.formats.moments import read_moment
from cartstream.events.formats.native import Incoming, Native
from cartstream.events.formats.segment import translate
from cartstream.events.repairs import REPAIRS
from cartstream.identity.directory import MemoryDirectory
from cartstream.identity.stage import IdentityStage
from cartstream.runtime.stage import Record
from tests.identity.people import People, settings

AT = "2024-03-13T10:21:14.000Z"
PAGE: dict[str, Any] = {"type": "page", "anonymousId": "d1", "messageId": "m1", "timestamp": AT}


def mended(event: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    (native,) = translate(Incoming(orjson.dumps(event)))
    assert isinstance(native, Native)
    return orjson.loads(native.value), native.repairs


def forwarded(raw: bytes) -> list[str]:
    """Message ids that identity forwards, none refused."""
    people = People().see_raw(raw)
    assert not [wire for wire in people.outputs if wire.topic.endswith(".dlq")]
    return [event.get("messageId", "-") for _, event in people.forwarded()]


@pytest.mark.parametrize(
    ("fault", "right", "repairs"),
    [
        ({"type": "Page"}, {"type": "page"}, ["type_spelling"]),
        ({"type": None, "event": "Cart Viewed"}, {"type": "track"}, ["type_missing"]),
        ({"type": None, "previousId": "d0", "userId": "u"}, {"type": "alias"}, ["type_missing"]),
        ({"type": None, "groupId": "g", "traits": {}}, {"type": "group"}, ["type_missing"]),
        ({"type": None, "traits": {}, "userId": "u"}, {"type": "identify"}, ["type_missing"]),
        ({"userId": 4711}, {"userId": "4711"}, ["id_not_text"]),
        ({"anonymousId": 17.0}, {"anonymousId": "17"}, ["id_not_text"]),
        ({"messageId": True}, {"messageId": None}, ["id_unusable"]),
        ({"userId": ["u"]}, {"userId": None}, ["id_unusable"]),
        ({"timestamp": 1710325274}, {"timestamp": AT}, ["time_unit"]),
        ({"timestamp": 1710325274000}, {"timestamp": AT}, []),
        ({"timestamp": 1710325274000000}, {"timestamp": AT}, ["time_unit"]),
        ({"timestamp": 1710325274000000000}, {"timestamp": AT}, ["time_unit"]),
        ({"timestamp": "1710325274000"}, {"timestamp": AT}, ["time_spelling"]),
        ({"timestamp": "2024-03-13 10:21:14 UTC"}, {"timestamp": AT}, ["time_spelling"]),
        ({"timestamp": "yesterday", "receivedAt": AT}, {"timestamp": None, "receivedAt": AT}, ["time_unreadable"]),
        ({"timestamp": {"at": 1}, "sentAt": AT}, {"timestamp": None, "sentAt": AT}, ["time_unreadable"]),
    ],
)
def test_a_fault_of_the_envelope_is_mended_and_named(fault: dict[str, Any], right: dict[str, Any], repairs: list[str]) -> None:
    event, found = mended(PAGE | fault)
    expected = {name: value for name, value in (PAGE | fault | right).items() if value is not None}
    assert event == expected
    assert list(found) == repairs
    assert set(repairs) <= set(REPAIRS)


def test_identity_keeps_the_mended_event_and_counts_the_repairs() -> None:
    stage = IdentityStage(settings(), MemoryDirectory(), None)
    event = stage.decode(Record("clickstream", 0, 0, b"d1", orjson.dumps(PAGE | {"userId": 4711, "type": "PAGE"})))
    assert orjson.loads(event.forward) == PAGE | {"userId": "4711"}
    assert event.user == "user_id:4711"
    assert stage.take_repairs() == {"type_spelling": 1, "id_not_text": 1}
    assert stage.take_repairs() == {}


def test_what_cannot_be_mended_is_refused_for_the_first_reason_and_no_repair_is_counted() -> None:
    stage = IdentityStage(settings(), MemoryDirectory(), None)
    with pytest.raises(Refused, match=r"^wrong_schema: "):
        stage.decode(Record("clickstream", 0, 0, b"d1", orjson.dumps(PAGE | {"timestamp": "yesterday"})))
    assert stage.take_repairs() == {}


def test_a_byte_order_mark_is_left_out() -> None:
    assert forwarded(b"\xef\xbb\xbf" + orjson.dumps(PAGE)) == ["m1"]


def test_a_batch_is_its_events_with_what_it_says_beside_them() -> None:
    batch = {
        "batch": [
            {"type": "track", "event": "Product Viewed", "anonymousId": "d1", "messageId": "m1", "timestamp": AT},
            {"type": "identify", "userId": "u1", "messageId": "m2", "timestamp": AT, "context": {"locale": "de-DE"}},
        ],
        "context": {"locale": "en-GB", "timezone": "Europe/Berlin"},
        "sentAt": "2024-03-13T10:22:00.000Z",
        "writeKey": "never passed on",
    }
    first, second = translate(Incoming(orjson.dumps(batch)))
    assert isinstance(first, Native)
    assert isinstance(second, Native)
    assert orjson.loads(first.value)["context"] == {"locale": "en-GB", "timezone": "Europe/Berlin"}
    assert orjson.loads(second.value)["context"] == {"locale": "de-DE", "timezone": "Europe/Berlin"}
    assert orjson.loads(second.value)["sentAt"] == "2024-03-13T10:22:00.000Z"
    assert b"never passed on" not in first.value + second.value

    assert forwarded(orjson.dumps(batch)) == ["m1", "m2"]


def test_of_a_batch_the_good_events_are_kept_and_the_whole_record_is_the_dead_letter() -> None:
    raw = orjson.dumps({"batch": [PAGE, {"type": "dance"}, 7, PAGE | {"messageId": "m4"}]})
    people = People().see_raw(raw)
    assert [event["messageId"] for _, event in people.forwarded()] == ["m1", "m4"]
    (letter,) = [wire for wire in people.outputs if wire.topic == "clickstream.dlq"]
    assert letter.value == raw
    assert ("cs-reason", b"unknown_type") in (letter.headers or [])
    assert "2 of 4 events, the first of them: " in str(letter.headers)


def test_events_of_a_batch_without_message_ids_get_ids_of_their_own() -> None:
    plain = {name: value for name, value in PAGE.items() if name != "messageId"}
    people = People().see_raw(orjson.dumps({"batch": [plain, plain | {"name": "Home"}]}))
    assert len(people.forwarded()) == 2


def test_connects_json_converter_is_unwrapped() -> None:
    event, repairs = mended({"schema": {"type": "struct"}, "payload": PAGE})
    assert event == PAGE
    assert repairs == ()


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[1]", b'"x"', b'{"batch":[]}', orjson.dumps({"anonymousId": "d", "name": "x"})])
def test_what_holds_no_event_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        translate(Incoming(raw))


@pytest.mark.parametrize("value", ["", "2024-03-13", "soon", "inf", "nan", True, None, [], 0, -5, 1e300, float("nan"), "9" * 400])
def test_what_is_no_time_is_never_guessed_at(value: Any) -> None:
    with pytest.raises((ValueError, OverflowError)):
        read_moment(value)
