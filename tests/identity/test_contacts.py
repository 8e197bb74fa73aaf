"""Nothing that leaves identity holds an address."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from cartstream.errors import Refused
from cartstream.identity.contacts import _PLAIN_EMAIL, normalise
from cartstream.identity.directory import MemoryDirectory
from cartstream.identity.stage import IdentityStage
from cartstream.runtime.stage import Record, Step
from tests.identity.people import HASH, People, identify, page, settings

ANN = "ann@example.test"
PUSH = {"endpoint": "https://push.example.test/secret-endpoint", "keys": {"p256dh": "secret", "auth": "secret"}}


@pytest.mark.parametrize(
    "event",
    [
        identify("d1", 0, "u1", email=ANN),
        identify("d1", 0, "u1", Email=ANN, nested={"email": ANN, "list": [ANN, {"emailAddress": ANN}]}),
        identify("d1", 0, ANN),
        identify("d1", 0, loyaltyId=ANN),
        identify("d1", 0, "u1", loyalty_id=f"card of {ANN}", timezone=ANN, locale=ANN),
        page("d1", 0, context={"timezone": ANN, "locale": ANN, "traits": {"email": ANN}}),
        page(ANN, 0),
        page("d1", 0, context={"page": {"url": f"https://shop.test/?mail={ANN}&x=1"}}),
        page("d1", 0, context={"page": {"url": "https://shop.test/?mail=ann%40example.test"}}),
        page("d1", 0, context={"page": {"url": "https://shop.test/?next=%2F%3Fmail%3Dann%2540example.test"}}),
        page("d1", 0, context={"page": {"search": "?q=ANN%40EXAMPLE.TEST"}}),
        page("d1", 0, properties={"query": f"mail to <{ANN}>, please", ANN: 1}),
        page("d1", 0, properties={"to": f"mailto:{ANN}"}),
        page("d1", 0, type="track", event=f"Signed up {ANN}"),
        page("d1", 0, messageId=f"signup-{ANN}"),
        page("d1", 0, properties={"name": "ann@exämple.test"}),
        page("d1", 0, properties={"name": "änn@example.test", "email": "änn@example.test"}),
        identify("d1", 0, phone="+49 151 12345678"),
        identify("d1", 0, "u1", phone=4915112345678),
        identify("d1", 0, "u1", push=PUSH),
        page("d1", 0, context={"traits": {"phone": "0151 12345678"}}),
        page("d1", 0, context={"device": {"type": "ios", "token": "secret"}}),
        page("d1", 0, context="secret@example.test"),
        page("d1", 0, properties={"delivery": {"mobile": "12345678", "telephone": "12345678", "mobile_number": "12345678"}}),
    ],
)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_address_leaves(event: dict[str, Any], ascii_only: bool) -> None:
    raw = orjson.dumps(event)
    people = People().see_raw(raw.replace(b"@", b"\\u0040") if ascii_only else raw)
    written = people.written().lower()

    assert len(people.forwarded()) == 1
    for secret in ("ann@", "ann%40", "ann%2540", "ann\\u0040", "example.test", "exämple.test", "änn", "secret", "15112345678", "12345678"):
        assert secret not in written


def test_the_rest_of_the_event_is_as_it_was() -> None:
    event = identify("d1", 0, "u1", email=ANN, age=7, tags=["a", None, True]) | {
        "properties": {"url": f"https://shop.test/{ANN}/x", "price": 1.5}
    }
    ((_, forwarded),) = People().see(event).forwarded()
    hashed = HASH("email", ANN)

    assert forwarded == event | {
        "traits": {"email": {"hash": hashed}, "age": 7, "tags": ["a", None, True]},
        "properties": {"url": f"https://shop.test/{hashed}/x", "price": 1.5},
    }


def test_an_event_without_addresses_is_passed_on_byte_for_byte() -> None:
    raw = b'{ "type":"page", "anonymousId":"d1",\n"timestamp":"2024-03-01T00:00:00Z", "messageId":"m", "x":1.00 }'
    people = People().see_raw(raw)
    assert [wire.value for wire in people.outputs if wire.topic == "clickstream.identified" and wire.value[:1] == b"{"] == [raw]


@pytest.mark.parametrize(
    ("kind", "given_value", "expected"),
    [
        ("email", " Ann@Example.Test ", "ann@example.test"),
        ("email", "ann", None),
        ("email", "a" * 400 + "@example.test", None),
        ("email", 5, None),
        ("phone", "+49 (151) 123-45678", "+4915112345678"),
        ("phone", "0151 12345678", None),
        ("phone", "+1", None),
        ("push", {"endpoint": "https://p.test/1"}, '{"endpoint":"https://p.test/1"}'),
        ("push", {"keys": 1}, None),
        ("push", "token", None),
    ],
)
def test_an_address_has_one_spelling(kind: str, given_value: Any, expected: str | None) -> None:
    assert normalise(kind, given_value) == expected


@pytest.mark.parametrize(
    "key",
    [
        "phone",
        "Phone",
        "PHONE",
        "phone_number",
        "phoneNumber",
        "telephone",
        "cell_phone",
        "mobile",
        "Mobile",
        "mobile_number",
        "MobilePhone",
    ],
)
@pytest.mark.parametrize("colon", [":", " : "])
def test_a_number_under_any_spelling_of_its_key_is_taken_out_wherever_it_stands(key: str, colon: str) -> None:
    envelope = '"type":"track","event":"Order Completed","anonymousId":"d1","timestamp":"2024-03-01T00:00:00Z"'
    raw = f'{{{envelope},"properties":{{"x":{{"{key}"{colon}"+4915112345678"}}}}}}'
    forwarded = _decode(raw.encode())
    assert forwarded is not None
    assert b"4915112345678" not in forwarded


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([ANN, "null", "+4915112345678", "nan"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(["email", "phone", "endpoint"]), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = ["type", "anonymousId", "userId", "previousId", "messageId", "timestamp", "sentAt", "event", "properties", "traits", "context"]
USUAL = {"type": "identify", "anonymousId": "d1", "timestamp": "2024-03-01T00:00:00Z"}


@given(st.binary(max_size=60) | json_values.map(lambda value: _json(value)))
def test_any_bytes_are_used_or_refused(raw: bytes) -> None:
    _decode(raw)


@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6))
def test_any_event_is_used_or_refused_and_what_is_used_has_no_address(fields: dict[str, Any]) -> None:
    forwarded = _decode(_json({**USUAL, **fields}))
    assert forwarded is None or (b"ann@" not in forwarded and b"ann\\u0040" not in forwarded)


@dataclass
class Batch:
    events: list[tuple[Record, str, Any]]
    states: dict[str, Any]

    def state_of(self, key: str) -> Any:
        return self.states.get(key)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


def _decode(raw: bytes) -> bytes | None:
    """What goes on, or None if it was refused."""
    stage = IdentityStage(settings(), MemoryDirectory(), None)
    try:
        record = Record("clickstream", 0, 0, None, raw)
        event = stage.decode(record)
    except Refused:
        return None
    stage.key_of(event)
    stage.prepare([Batch([(record, event.device_id, event)], {})])
    step = stage.step(None, event, 0)
    assert isinstance(step, Step)
    stage.encode_state(step.state)
    return event.forward


@given(st.from_regex(_PLAIN_EMAIL, fullmatch=True))
def test_a_plain_address_is_what_the_validator_makes_of_it(address: str) -> None:
    try:
        said = validate_email(address, check_deliverability=False, test_environment=True).normalized.lower()
    except EmailNotValidError:
        said = None
    assert normalise("email", address) == said
