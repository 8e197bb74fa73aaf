"""Clicks become messages, or do not, through all four stages."""

from __future__ import annotations

import pytest

from cartstream.events.placement import partition_of
from cartstream.events.records import Command
from tests.pipeline.shop import HOUR, MINUTE, SECOND, Event, Partial, event

CONSENT = {"email": True, "sms": False, "push": False}
LATER = 72 * HOUR


def known(device: str = "d1", at: int = 0, user: str = "ann") -> Event:
    return event(device, at, "identify", user, email=f"{user}@example.test", consent=CONSENT, timezone="Europe/Berlin")


def add(device: str, at: int, product: str = "shoe") -> Event:
    return event(device, at, "Product Added", product_id=product, quantity=1, price=30.0, currency="EUR")


def order(device: str, at: int, user: str | None = None) -> Event:
    return event(device, at, "Order Completed", user, order_id=f"o{at}", total=30.0, currency="EUR")


def steps(shop: Partial) -> list[tuple[str, str]]:
    return [(command.journey, command.step) for command in sorted(shop.records(Command), key=lambda command: command.at)]


def test_a_cart_left_behind_becomes_a_reminder_and_an_offer() -> None:
    shop = Partial().click(known(), add("d1", MINUTE)).at(LATER)
    assert "cart_abandoned" in shop.signals()
    assert steps(shop) == [("cart_abandonment", "reminder"), ("cart_abandonment", "offer")]


@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_a_purchase_on_another_device_stops_the_message(partitions: int) -> None:
    shop = Partial(partitions).click(known(), add("d1", MINUTE)).at(40 * MINUTE)
    shop.click(event("d2", 45 * MINUTE, user="ann"), order("d2", 46 * MINUTE)).at(LATER)
    assert steps(shop) == []
    assert "cart_recovered" in shop.signals()


@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_a_device_that_turns_out_to_be_the_buyers_gets_no_message_for_its_cart(partitions: int) -> None:
    """The cart is anonymous; the order is another customer's until both log in."""
    shop = Partial(partitions).click(add("d1", 0), known("d2", MINUTE), known("d1", 10 * MINUTE), order("d2", 12 * MINUTE)).at(LATER)
    assert not [kind for kind in shop.signals() if kind.endswith("_abandoned")]
    assert steps(shop) == []


@pytest.mark.parametrize("partitions", [1, 3])
def test_no_cart_is_abandoned_while_identity_is_down_and_a_purchase_waits(partitions: int) -> None:
    shop = Partial(partitions).click(known(), add("d1", MINUTE)).at(5 * MINUTE)
    home = partition_of("d1", partitions)
    shop.down = {home}
    shop.click(order("d1", 10 * MINUTE))
    for hours in range(1, 4):
        shop.at(hours * HOUR)
    assert not [kind for kind in shop.signals() if kind.endswith("_abandoned")]

    shop.down = set()
    shop.run()
    shop.at(LATER)
    assert "order_placed" in shop.signals()
    assert not [kind for kind in shop.signals() if kind.endswith("_abandoned")]
    assert steps(shop) == []


@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_a_login_on_a_new_device_that_waits_in_a_backlog_costs_no_message(partitions: int) -> None:
    before, after = (known(), add("d1", MINUTE)), (event("d2", 3 * HOUR), event("d2", 3 * HOUR + MINUTE, user="ann"))
    in_time = Partial(partitions).click(*before).at(3 * HOUR - MINUTE).click(*after).at(LATER)
    from_backlog = Partial(partitions).click(*before).at(20 * MINUTE).click(*after).at(LATER)

    assert ("cart_abandonment", "reminder") in steps(in_time)
    assert from_backlog.outcome()["commands"] == in_time.outcome()["commands"]


def test_without_the_purchase_the_same_outage_only_delays_the_abandonment() -> None:
    shop = Partial(3).click(known(), add("d1", MINUTE)).at(5 * MINUTE)
    shop.down = {partition_of("d1", 3)}
    shop.at(3 * HOUR)
    assert "cart_abandoned" not in shop.signals()
    shop.down = set()
    shop.at(3 * HOUR + MINUTE)
    assert "cart_abandoned" in shop.signals()


def test_an_exit_is_answered_without_waiting_for_the_watermark() -> None:
    shop = Partial().click(known(), add("d1", 1 * SECOND))
    shop.click(event("d1", 20 * SECOND, "Exit Intent", trigger="pointer_top_exit", dwell_ms=20_000))
    assert "exit_intent" in shop.signals()


def test_no_address_is_on_any_topic_but_the_clickstream() -> None:
    shop = Partial().click(known(), add("d1", MINUTE)).at(LATER)
    assert all(b"example.test" not in wire.value for wire in shop.written if wire.topic != "clickstream")
