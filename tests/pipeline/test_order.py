"""Examples of what must not depend on arrival, and of the one thing that does (`tests/properties` has the rule)."""

from __future__ import annotations

import itertools

import pytest

from cartstream.events.records import Command, Signal
from tests.pipeline.shop import HOUR, LATENESS, MINUTE, Event, Partial, event

CONSENT = {"email": True, "sms": True, "push": True}


def known(device: str, at: int, user: str = "ann") -> Event:
    return event(device, at, "identify", user, email=f"{user}@example.test", consent=CONSENT, timezone="Europe/Berlin")


def run(events: list[Event], partitions: int = 1, every: int = 1) -> Partial:
    """`every`: how many events are fed before the pipeline works."""
    shop = Partial(partitions)
    for start in range(0, len(events), every):
        shop.click(*events[start : start + every])
    return shop.at(max(at for at, _, _ in events) + 60 * HOUR)


def carts_on_two_devices() -> list[Event]:
    changes = [("d1", "a"), ("d2", "b"), ("d1", "c")]
    return [known("d1", 0), known("d2", MINUTE)] + [
        event(device, HOUR + n * MINUTE, "Product Added", product_id=product) for n, (device, product) in enumerate(changes)
    ]


@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_partitions_change_nothing_when_a_cart_is_changed_from_two_devices(partitions: int) -> None:
    expected = run(carts_on_two_devices()).outcome()
    assert len(expected["commands"]) == 2
    assert run(carts_on_two_devices(), partitions, every=1_000).outcome() == expected


@pytest.mark.parametrize("arrival", list(itertools.permutations(range(4))))
def test_a_removal_an_order_and_a_snapshot_may_come_in_any_order_within_the_lateness(arrival: tuple[int, ...]) -> None:
    logins = [known("d1", 0), known("d2", MINUTE)]
    changes = [
        event("d1", HOUR, "Product Added", product_id="a", quantity=3, price=10.0),
        event("d2", HOUR + 1_000, "Product Removed", product_id="a", quantity=1),
        event("d2", HOUR + 2_000, "Cart Viewed", products=[{"product_id": "a", "quantity": 2}, {"product_id": "b", "quantity": 1}]),
        event("d1", HOUR + LATENESS, "Order Completed", order_id="o", products=[{"product_id": "b"}]),
    ]
    expected = run([*logins, *changes])
    (reminder, _) = sorted(expected.records(Command), key=lambda command: command.at)
    assert [(item.product_id, item.quantity) for item in reminder.cart.items] == [("a", 2)]

    assert run([*logins, *(changes[n] for n in arrival)]).outcome() == expected.outcome()


@pytest.mark.parametrize("apart", [0, 500], ids=["at once", "half a second apart"])
def test_an_order_that_browser_and_server_tell_of_is_one_whichever_comes_first(apart: int) -> None:
    added = event("d1", HOUR, "Product Added", product_id="a")
    told = [event("d1", 2 * HOUR + n * apart, "Order Completed", number=n, order_id="o", products=[{"product_id": "a"}]) for n in range(2)]
    expected, otherwise = run([known("d1", 0), added, *told]), run([known("d1", 0), added, *reversed(told)])
    (first,), (second,) = ([signal for signal in each.records(Signal) if signal.kind == "order_placed"] for each in (expected, otherwise))
    assert (first.id, first.order) == (second.id, second.order)
    assert second.at - first.at == apart, "told at once: the time is that of the one that came first"
    assert [each.outcome()["commands"] for each in (expected, otherwise)] == [[], []]


def a_login_long_after_the_cart(*between: Event) -> list[Event]:
    return [known("d1", 0), event("d2", MINUTE, "Product Added", product_id="a"), *between, event("d2", 3 * HOUR, user="ann")]


def steps_sent(shop: Partial) -> dict[str, str]:
    sent = {command.command_id: command.step for command in shop.records(Command)}
    assert len(sent) == len(shop.records(Command))
    return sent


def test_whether_time_had_passed_before_a_login_was_read_changes_no_more_than_which_steps_before_it_are_sent() -> None:
    """A merge acts when it is read. A cart that was left anonymously is nobody's who can be told while its steps come due, unless the login
    is read before time passes: from a backlog. The steps are the same ones, by their ids, and those after the login are always sent."""
    cart, login = a_login_long_after_the_cart()[:-1], a_login_long_after_the_cart()[-1]
    live = Partial().click(*cart).at(2 * HOUR).click(login).at(63 * HOUR)
    backlogs = [run([*cart, login], every=1), run([*cart, login], every=1_000)]

    assert list(steps_sent(live).values()) == ["offer"]
    for backlog in backlogs:
        assert sorted(steps_sent(backlog).values()) == ["offer", "reminder"]
        assert steps_sent(live).items() <= steps_sent(backlog).items()


@pytest.mark.parametrize("every", [1, 1_000])
def test_a_backlog_reminds_nobody_of_what_was_bought_before_the_login(every: int) -> None:
    bought = event("d2", HOUR, "Order Completed", order_id="o", products=[{"product_id": "a"}])
    assert steps_sent(run(a_login_long_after_the_cart(bought), every=every)) == {}
