"""Somebody is forgotten in all services: in memory, from clicks to commands."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from cartstream.detection.state import DetectionState
from cartstream.events.read_model import ERASED, Guard
from cartstream.events.records import Command, Decision
from cartstream.identity.correction import erasure, signed, written
from cartstream.identity.nodes import identifier_named
from cartstream.identity.state import anonymous_customer
from cartstream.journeys.state import JourneyState
from cartstream.runtime.vault import AddressHash
from cartstream.sessions.state import CustomerState
from tests.pipeline.shop import HOUR, MINUTE, SECOND, T0, Event, Partial, event

HASH = AddressHash("h" * 32)
CONSENT: dict[str, Any] = {"email": "ann@example.test", "consent": {"email": True}}
CART: dict[str, Any] = {"product_id": "shoes", "quantity": 1, "price": 40.0}


def erase(name: str, at: int, *devices: str) -> Event:
    return at, "", written(signed(erasure(f"erase-{at}", T0 + at, identifier_named(name), list(devices)), HASH))


ANN = (
    event("phone", 0, "identify", "ann", **CONSENT),
    event("laptop", 10 * SECOND, "page", "ann"),
    event("laptop", 20 * SECOND, "Product Added", **CART),
)
OLD = anonymous_customer("phone")


def states_of(pipeline: Partial, service: str) -> dict[str, object]:
    return dict(pipeline.states(service))


def test_without_an_erasure_the_cart_is_a_message() -> None:
    pipeline = Partial().click(*ANN).at(3 * HOUR)
    assert [command.customer_id for command in pipeline.records(Command)] == [OLD]


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("erased_after", [30 * SECOND, 40 * MINUTE])
def test_whoever_is_erased_gets_no_message_and_leaves_no_state(partitions: int, erased_after: int) -> None:
    """Before the cart is found abandoned, and on the journey."""
    pipeline = Partial(partitions).click(*ANN).at(erased_after - SECOND)
    pipeline.click(erase("email:" + _hash(), erased_after, "phone", "laptop")).at(3 * HOUR)

    assert pipeline.records(Command) == []
    sessions, detection, journeys = (states_of(pipeline, name)[OLD] for name in ("sessions", "detection", "journeys"))
    at = T0 + erased_after
    assert sessions == CustomerState(OLD, Guard(merged_into=ERASED), last_activity=at, merged_into=ERASED)
    assert detection == DetectionState(OLD, applied_at=at, merged_into=ERASED)
    assert journeys == JourneyState(OLD, applied_at=at, merged_into=ERASED)
    stopped = [decision.rule for decision in pipeline.records(Decision) if decision.outcome == "stopped"]
    assert stopped == ([] if erased_after < HOUR // 2 else ["erased"])


def test_what_comes_late_wakes_nobody_and_what_comes_later_is_a_new_customers() -> None:
    pipeline = Partial().click(*ANN).at(30 * SECOND).click(erase("user_id:ann", MINUTE, "phone", "laptop"))
    late = [event("laptop", 50 * SECOND, "Product Added", "ann", **CART), event("phone", 55 * SECOND, "Product Added", **CART)]
    pipeline.click(*late, event("tablet", 58 * SECOND, "identify", "ann", **CONSENT)).at(3 * HOUR)
    assert pipeline.records(Command) == []

    again = 4 * HOUR
    pipeline.click(event("phone", again, "identify", "ann", **CONSENT), event("phone", again + SECOND, "Product Added", **CART))
    (command,) = pipeline.at(again + 3 * HOUR).records(Command)
    assert command.customer_id == anonymous_customer("phone", T0 + MINUTE) != OLD


def test_a_cart_that_turns_out_late_to_be_hers_is_forgotten() -> None:
    """A guest's cart with an address of its own, known as Ann's only by an event that comes after her erasure."""
    guest: dict[str, Any] = {"email": "guest@example.test", "consent": {"email": True}}
    pipeline = Partial().click(*ANN, event("kiosk", 25 * SECOND, "identify", **guest), event("kiosk", 26 * SECOND, "Product Added", **CART))
    pipeline.click(erase("user_id:ann", MINUTE)).click(event("kiosk", 59 * SECOND, "identify", "ann", **guest)).at(3 * HOUR)
    assert pipeline.records(Command) == []


def _story() -> list[Event]:
    again = 4 * HOUR
    return [
        *ANN,
        event("other", 40 * SECOND, "identify", "bob", email="bob@example.test", consent={"email": True}),
        event("other", 41 * SECOND, "Product Added", **CART),
        erase("user_id:ann", MINUTE, "phone", "laptop"),
        event("phone", again, "identify", "ann", **CONSENT),
        event("phone", again + SECOND, "Product Added", **CART),
    ]


def test_a_replay_of_the_topic_gives_the_same_bytes_in_any_batches_and_partitions_and_repeated() -> None:
    expected = Partial().click(*_story()).at(8 * HOUR).outcome()
    assert len(expected["commands"]) == 2
    for partitions, batch_size in ((1, 1), (1, 2), (4, 1_000), (8, 1)):
        pipeline = Partial(partitions, batch_size)
        for one in _twice(_story()):
            pipeline.click(one)
        assert pipeline.at(8 * HOUR).outcome() == expected


def _twice(events: Iterable[Event]) -> list[Event]:
    """Each comes again, a little later."""
    once = list(events)
    return sorted([*once, *once], key=lambda one: (one[0], Random(str(one)).random()))


def _hash() -> str:
    return HASH("email", "ann@example.test")
