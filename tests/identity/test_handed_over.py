"""Who turns out to be one loses and repeats nothing: sessions, carts, timers and journeys, through all stages."""

from __future__ import annotations

import pytest

from cartstream.events import topics
from cartstream.events.records import Activity, Command, Decision, Signal
from tests.pipeline.shop import HOUR, MINUTE, Event, Partial, event

CONSENT = {"email": True, "sms": False, "push": False}
PARTITIONS = pytest.mark.parametrize("partitions", [1, 3])
NIGHT = 72 * HOUR


def known(device: str = "laptop", at: int = 0) -> Event:
    return event(device, at, "identify", "ann", email="ann@example.test", consent=CONSENT, timezone="Europe/Berlin")


def cart(device: str = "laptop", at: int = MINUTE, product: str = "shoe") -> Event:
    return event(device, at, "Product Added", product_id=product, quantity=1, price=30.0, currency="EUR")


def bought(device: str, at: int) -> Event:
    return event(device, at, "Order Completed", order_id=f"o{at}", total=30.0, currency="EUR", products=[{"product_id": "shoe"}])


def login(device: str, at: int) -> Event:
    return event(device, at, user="ann")


def steps(shop: Partial) -> list[str]:
    return [command.step for command in sorted(shop.records(Command), key=lambda command: command.at)]


def told_wrong(shop: Partial) -> list[str | None]:
    return [decision.command_id for decision in shop.records(Decision, topics.DECISIONS) if decision.outcome == "wrong_send_detected"]


@PARTITIONS
def test_a_purchase_on_the_phone_cancels_the_laptops_reminder_when_the_link_comes_before_the_abandonment(partitions: int) -> None:
    shop = Partial(partitions).click(known(), cart(), bought("phone", 10 * MINUTE), login("phone", 12 * MINUTE)).at(NIGHT)
    assert steps(shop) == []
    assert "cart_abandoned" not in shop.signals()


@PARTITIONS
def test_a_purchase_on_the_phone_cancels_the_laptops_reminder_when_the_link_comes_after_the_abandonment(partitions: int) -> None:
    shop = Partial(partitions).click(known(), cart(), bought("phone", 10 * MINUTE)).at(40 * MINUTE)
    assert "cart_abandoned" in shop.signals()

    shop.click(login("phone", 45 * MINUTE)).at(NIGHT)

    assert steps(shop) == []
    assert told_wrong(shop) == []


@PARTITIONS
def test_a_reminder_sent_before_the_link_is_told_as_wrong_and_no_offer_follows(partitions: int) -> None:
    shop = Partial(partitions).click(known(), cart(), bought("phone", 10 * MINUTE)).at(2 * HOUR)
    (reminder,) = shop.records(Command)

    shop.click(login("phone", 3 * HOUR)).at(NIGHT)

    assert steps(shop) == ["reminder"]
    assert told_wrong(shop) == [reminder.command_id]


@PARTITIONS
def test_a_purchase_on_the_laptop_after_the_link_stops_the_reminder_of_the_phones_cart(partitions: int) -> None:
    shop = Partial(partitions).click(known("laptop"), cart("phone"), login("phone", 2 * MINUTE)).at(40 * MINUTE)
    shop.click(bought("laptop", 50 * MINUTE)).at(NIGHT)
    assert steps(shop) == []


@PARTITIONS
def test_carts_of_two_devices_become_one_with_the_larger_quantity_and_one_reminder(partitions: int) -> None:
    both = [known(), cart("laptop", MINUTE), cart("phone", 2 * MINUTE), cart("phone", 3 * MINUTE, "sock"), login("phone", 4 * MINUTE)]
    shop = Partial(partitions).click(*both).at(2 * HOUR)

    (reminder,) = shop.records(Command)
    assert reminder.cart is not None
    assert sorted((item.product_id, item.quantity) for item in reminder.cart.items) == [("shoe", 1), ("sock", 1)]


@PARTITIONS
def test_an_anonymous_cart_keeps_its_timer_through_the_login(partitions: int) -> None:
    """The customer with the address is the older one: the cart, and when it is due, move to it."""
    shop = Partial(partitions).click(known("laptop"), cart("phone", 10 * MINUTE), login("phone", 11 * MINUTE)).at(NIGHT)
    (abandoned,) = [signal for signal in shop.records(Signal, topics.SIGNALS) if signal.kind == "cart_abandoned"]
    assert abandoned.last_activity - abandoned.cart.version == MINUTE if abandoned.cart else False
    assert steps(shop) == ["reminder", "offer"]


@PARTITIONS
def test_every_session_ends_once_under_the_one_customer(partitions: int) -> None:
    shop = Partial(partitions).click(known("laptop"), cart("phone"), login("phone", 5 * MINUTE)).at(NIGHT)
    ended = [activity for activity in shop.records(Activity, topics.ACTIVITY) if activity.kind == "session_ended"]
    assert sorted(activity.session.device_id for activity in ended if activity.session) == ["laptop", "phone"]
    assert len({activity.customer_id for activity in ended}) == 1


@PARTITIONS
def test_on_a_shared_device_a_purchase_of_one_does_not_touch_the_others_cart(partitions: int) -> None:
    """Without a login in the event nobody's cart is emptied, and nobody is told of what another looked at."""
    bobs = [event("laptop", 20 * MINUTE, user="bob"), event("laptop", 21 * MINUTE, "Order Completed", "bob", order_id="o", total=9.0)]
    shop = Partial(partitions).click(known(), cart(), *bobs, cart("laptop", 22 * MINUTE, "sock")).at(NIGHT)
    for command in shop.records(Command):
        assert command.cart is not None
        assert [item.product_id for item in command.cart.items] == ["shoe"]
    assert steps(shop) == ["reminder", "offer"]
