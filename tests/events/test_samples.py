"""One visit in every format: a page, a product, two into the cart, one piece out again, checkout, purchase. All say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from cartstream.events.adapters import guess_format, read, translation
from cartstream.events.formats.opening import SchemaSource
from cartstream.replay.check import Check, Outcome
from cartstream.replay.run import Replay
from tests.identity.people import settings

SAMPLES = Path(__file__).parent / "samples"
FORMATS = {
    "segment.jsonl": "segment",
    "segment_batch.jsonl": "segment",
    "ga4_protocol.jsonl": "ga4",
    "ga4_export.jsonl": "ga4",
    "ga4_datalayer.jsonl": "ga4",
    "snowplow.tsv": "snowplow",
    "snowplow.jsonl": "snowplow",
    "cloudevents_structured.jsonl": "cloudevents",
    "cloudevents_binary.jsonl": "cloudevents",
}
BOOTS, SOCKS = ("p-1", 89.9), ("p-2", 9.95)
VISIT = [
    ("page", "Home", []),
    ("track", "Product Viewed", [BOOTS]),
    ("track", "Product Added", [(*BOOTS, 1)]),
    ("track", "Product Added", [(*SOCKS, 2)]),
    ("track", "Product Removed", [(*SOCKS, 1)]),
    ("track", "Checkout Started", [(*BOOTS, 1), (*SOCKS, 1)]),
    ("track", "Order Completed", [(*BOOTS, 1), (*SOCKS, 1)]),
]


def product(found: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(found[name] for name in ("product_id", "price", "quantity") if name in found)


def told(event: dict[str, Any]) -> tuple[str, str, list[tuple[Any, ...]]]:
    properties = event.get("properties") or {}
    products = [product(entry) for entry in properties.get("products", [])]
    if "product_id" in properties:
        products = [product(properties)]
    return event["type"], event.get("event") or event.get("name") or "Home", products


@pytest.mark.parametrize(("file", "name"), FORMATS.items())
def test_the_visit_is_the_same_in_every_format(file: str, name: str) -> None:
    path = SAMPLES / file
    assert guess_format(path) == name
    recorded = list(read(path))
    events = [orjson.loads(entry.value) for entry in recorded]

    assert [told(event) for event in events] == VISIT
    assert [event["timestamp"] for event in events] == [f"2024-03-13T10:0{minute}:00.000Z" for minute in (0, 1, 2, 2, 3, 4, 5)]
    assert {event["anonymousId"] for event in events} == {"d-1"} == {entry.key for entry in recorded}
    assert [event.get("userId") for event in events] == [None] * 6 + ["u-1"]
    assert len({event["messageId"] for event in events}) == len(events)
    order = events[-1]["properties"]
    assert (order["order_id"], order["total"], order["currency"]) == ("o-1", 99.85, "EUR")


@pytest.mark.parametrize("file", FORMATS)
def test_reading_a_file_twice_gives_the_same_bytes(file: str) -> None:
    assert list(read(SAMPLES / file)) == list(read(SAMPLES / file))


@pytest.mark.parametrize("file", FORMATS)
def test_no_record_of_the_samples_is_refused(file: str) -> None:
    path = SAMPLES / file
    check = Check(settings(), translation(path, None, SchemaSource()))
    assert {verdict.outcome for verdict in check.file(path)} == {Outcome.ACCEPTED}


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("file", FORMATS)
def test_the_whole_pipeline_makes_the_same_visit_of_it(tmp_path: Path, file: str) -> None:
    with Replay(tmp_path) as replay:
        replay.play(read(SAMPLES / file), settle_ms=86_400_000)
    (session,) = lines(tmp_path / "sessions.jsonl")
    carts = [
        [(item["product_id"], item["quantity"]) for item in activity["cart"]["items"]]
        for activity in lines(tmp_path / "activity.jsonl")
        if activity["kind"] == "cart_updated"
    ]
    assert replay.counts["refused"] == 0
    assert (session["started_at"], session["ended_at"], session["events"], session["orders"]) == (
        "2024-03-13T10:00:00.000Z",
        "2024-03-13T10:05:00.000Z",
        7,
        1,
    )
    # Of the two things added in the same moment either may be the first, and the cart then be told again: ids decide.
    assert carts[-2:] == [[("p-1", 1), ("p-2", 2)], [("p-1", 1), ("p-2", 1)]]
    assert lines(tmp_path / "signals.jsonl")[-1]["kind"] == "order_placed"
    assert lines(tmp_path / "commands.jsonl") == []
