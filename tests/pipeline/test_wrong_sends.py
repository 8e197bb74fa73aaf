"""A login that comes after the message shows that its recipient had bought before: through all stages, on any number of partitions."""

from __future__ import annotations

import pytest

from cartstream.events.records import Command, Decision
from tests.pipeline.shop import HOUR, MINUTE, Event, Partial, event

CONSENT = {"email": True, "sms": False, "push": False}


def ann(device: str, at: int) -> Event:
    return event(device, at, "identify", "ann", email="ann@example.test", consent=CONSENT, timezone="Europe/Berlin")


def cart() -> list[Event]:
    return [ann("laptop", 0), event("laptop", MINUTE, "Product Added", product_id="shoe", price=30.0)]


def order(at: int) -> list[Event]:
    """As a guest, on the phone."""
    added = event("phone", at - MINUTE, "Product Added", product_id="shoe", price=30.0)
    return [added, event("phone", at, "Order Completed", order_id="o", total=30.0, products=[{"product_id": "shoe"}])]


def wrong(shop: Partial) -> list[Decision]:
    return [decision for decision in shop.records(Decision) if decision.outcome == "wrong_send_detected"]


@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_a_login_after_the_message_shows_that_it_was_wrong(partitions: int) -> None:
    shop = Partial(partitions).click(*cart()).click(*order(50 * MINUTE)).at(3 * HOUR)
    (reminder,) = shop.records(Command)
    assert wrong(shop) == []

    shop.click(ann("phone", 3 * HOUR)).at(72 * HOUR)

    (found,) = wrong(shop)
    assert (found.rule, found.command_id) == ("late_link", reminder.command_id)
    assert shop.records(Command) == [reminder]


@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_a_purchase_later_than_the_lateness_shows_it_as_well(partitions: int) -> None:
    shop = Partial(partitions).click(*cart()).at(3 * HOUR)
    late = event("laptop", 50 * MINUTE, "Order Completed", "ann", order_id="o", total=30.0)
    shop.click(late, late).at(72 * HOUR)

    assert [(found.rule, found.step) for found in wrong(shop)] == [("late_purchase", "reminder")]
    assert len(shop.records(Command)) == 1


@pytest.mark.parametrize("partitions", [1, 3, 8])
@pytest.mark.parametrize("bought_at", [50 * MINUTE, 90 * MINUTE])
def test_a_login_or_a_purchase_in_time_is_no_fault(partitions: int, bought_at: int) -> None:
    shop = Partial(partitions).click(*cart())
    if bought_at > HOUR:
        shop.at(80 * MINUTE)
    shop.click(ann("phone", bought_at - 2 * MINUTE), *order(bought_at)).at(72 * HOUR)

    assert wrong(shop) == []
    assert len(shop.records(Command)) == (1 if bought_at > HOUR else 0)
