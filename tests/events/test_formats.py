"""Whatever comes, a format gives native events or refuses it: a topic has everything in it some day."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cartstream.events.formats.files import records
from cartstream.events.formats.native import Incoming
from cartstream.events.formats.opening import SchemaSource, open_format
from cartstream.events.formats.snowplow_fields import FIELDS
from cartstream.events.repairs import REPAIRS
from cartstream.replay.check import Check, Outcome
from tests.identity.people import settings as people_settings

FORMATS = ("segment", "ga4", "snowplow", "cloudevents", "avro", "cloudevents+ga4", "cloudevents+avro", "avro+snowplow")
SAMPLES = Path(__file__).parent / "samples"
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.just("(not set)"), st.just("2024-03-13T10:00:00Z")
)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["ce_specversion", "ce_id", "ce_time", "content-type", "__value_schema_id"]), st.none() | st.binary(max_size=20)
    )
)


@cache
def checking(format: str) -> Check:
    return Check(people_settings(), open_format(format, SchemaSource()))


def judge(format: str, incoming: Incoming) -> Outcome:
    """As the services do, to the last decode: anything but a verdict fails the test."""
    verdict = checking(format).verdict(1, incoming)
    if verdict.outcome != Outcome.REFUSED:
        assert verdict.events > 0
        assert set(verdict.reasons) <= set(REPAIRS)
    return verdict.outcome


@pytest.mark.parametrize("format", FORMATS)
def test_any_bytes_with_any_headers_are_events_or_refused(format: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=60), st.none() | st.binary(max_size=8), HEADERS, st.integers(-1, 2**41))
    def judged(value: bytes, key: bytes | None, headers: list[tuple[str, bytes | None]], at: int) -> None:
        judge(format, Incoming(value, key, headers, at))

    judged()


def sample_events() -> list[tuple[str, dict[str, Any]]]:
    names = {"ga4": "ga4_*.jsonl", "snowplow": "snowplow.jsonl", "segment": "segment*.jsonl", "cloudevents": "cloudevents_structured.jsonl"}
    return [
        (format, orjson.loads(incoming.value))
        for format, glob in names.items()
        for path in SAMPLES.glob(glob)
        for _, incoming in records(path)
    ]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside an event."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for name, entry in inner for found in [(*path, name), *places(entry, (*path, name))]]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_sample_with_anything_in_the_place_of_anything_is_events_or_refused(data: st.DataObject) -> None:
    format, event = copy.deepcopy(data.draw(st.sampled_from(sample_events())))
    *way, last = data.draw(st.sampled_from(places(event)))
    target = event
    for step in way:
        target = target[step]
    target[last] = data.draw(ANYTHING)
    try:
        raw = orjson.dumps(event)
    except orjson.JSONEncodeError:  # a number or a text that JSON does not have
        return
    judge(format, Incoming(raw, b"k", (), 1710325274000))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELDS), st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]), max_size=20))
)
def test_any_row_of_131_columns_is_an_event_or_refused(row: dict[str, str]) -> None:
    judge("snowplow", Incoming("\t".join(row.get(name, "") for name in FIELDS).encode()))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("depth", "expected"), [(300, set(Outcome)), (5_000, {Outcome.REFUSED}), (200_000, {Outcome.REFUSED})])
def test_what_is_nested_too_deeply_is_refused_or_left_out(format: str, depth: int, expected: set[Outcome]) -> None:
    deep = b"[" * depth + b"]" * depth
    known = (
        b'{"type":"page","event":"x","event_name":"x","event_id":"x","client_id":"c","timestamp":1710325274000,"anonymousId":"d","domain_userid":"d",'
        b'"derived_tstamp":"2024-03-13T10:00:00Z","specversion":"1.0","id":"i","items":%s,"data":%s,"properties":%s,"ecommerce":{"items":%s}}'
    ) % (deep, deep, deep, deep)
    assert judge(format, Incoming(known)) in expected
