"""Refunds and cancellations are the back office's: whenever they come, the messages are those of the shopper's own doing."""

from __future__ import annotations

from typing import Any

import pytest

from cartstream.events.records import Signal
from tests.pipeline.shop import HOUR, MINUTE, Event, Partial, event
from tests.pipeline.test_shoppers import LATER, add, known, order, steps

BOUGHT = 20 * MINUTE
WHEN = {
    "before the order": BOUGHT - MINUTE,
    "right after the order": BOUGHT + MINUTE,
    "after the abandonment and before the reminder": BOUGHT + 50 * MINUTE,
    "between reminder and offer": BOUGHT + 5 * HOUR,
    "after the offer": BOUGHT + 30 * HOUR,
}
NAMES = ["Order Refunded", "Order Cancelled", "Order Canceled", "order_refunded"]


def visit() -> list[Event]:
    """One of two products is bought; the other is left behind."""
    bought = event("d1", BOUGHT, "Order Completed", order_id="o1", total=30.0, currency="EUR", products=[{"product_id": "shoe"}])
    return [known(), add("d1", MINUTE), add("d1", 2 * MINUTE, "hat"), bought]


def lived(partitions: int, *told: Event) -> Partial:
    """Each event is read when it happens."""
    shop = Partial(partitions)
    for one in sorted((*visit(), *told)):
        shop.click(one).at(one[0] + 10_000)
    return shop.at(LATER)


def told(name: str, at: int, part: bool, device: str = "d1") -> Event:
    named: dict[str, Any] = {"products": [{"product_id": "shoe", "quantity": 1}]} if part else {}
    return event(device, at, name, "ann", order_id="o1", total=30.0, currency="EUR", **named)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", [True, False])
def test_the_messages_are_as_without_it(name: str, when: str, part: bool) -> None:
    shop = lived(1, told(name, WHEN[when], part))

    assert steps(shop) == [("cart_abandonment", "reminder"), ("cart_abandonment", "offer")]
    assert shop.outcome() == lived(1).outcome()


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_server_that_tells_it_is_no_visit_either(name: str, partitions: int) -> None:
    back_office = told(name, WHEN["after the abandonment and before the reminder"], part=False, device="server")

    assert lived(partitions, back_office).outcome() == lived(partitions).outcome()


def test_a_recovery_stays_one_with_its_amount_when_the_order_is_sent_back() -> None:
    shop = Partial().click(known(), add("d1", MINUTE)).at(40 * MINUTE)
    shop.click(order("d1", 45 * MINUTE)).at(2 * HOUR).click(told("Order Refunded", 20 * HOUR, part=False)).at(LATER)

    assert [signal.amount for signal in shop.records(Signal) if signal.kind == "cart_recovered"] == [30.0]
    assert steps(shop) == []
