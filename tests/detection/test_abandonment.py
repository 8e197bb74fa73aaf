from __future__ import annotations

from typing import Any

import pytest

from cartstream.detection import DetectionStage
from cartstream.detection.settings import DetectionSettings
from cartstream.errors import ConfigError
from cartstream.events.records import Activity, Order, Signal
from cartstream.events.times import DAY, HOUR
from cartstream.runtime.settings import load
from tests.detection.harness import END, Partition
from tests.detection.shopper import GAP, Shopper


def signals_of(shopper: Shopper, until: int | None = None, **settings: Any) -> list[Signal]:
    partition = Partition(DetectionStage(load(DetectionSettings, **settings)))
    partition.feed(*shopper.activities)
    partition.advance(until if until is not None else shopper.end)
    return partition.published("signals")


def kinds_of(shopper: Shopper, **settings: Any) -> list[str]:
    return [signal.kind for signal in sorted(signals_of(shopper, **settings), key=lambda signal: (signal.at, signal.kind))]


def test_a_cart_left_for_half_an_hour_is_abandoned_at_that_moment() -> None:
    shopper = Shopper().visit(0, 10).add(5)

    (signal,) = signals_of(shopper)

    assert signal.kind == "cart_abandoned"
    assert signal.at == shopper.time(40)
    assert signal.last_activity == shopper.time(10)
    assert signal.cart == shopper.cart
    assert signal.episode == str(shopper.time(5))


def test_nothing_is_said_before_the_watermark_has_passed_the_moment() -> None:
    shopper = Shopper().visit(0, 10).add(5)

    assert signals_of(shopper, until=shopper.time(40) - 1) == []


STORIES = {
    "a started checkout outranks the cart": (Shopper().visit(0, 10).add(5).checkout(7), ["checkout_abandoned"]),
    "a checkout before the cart was emptied does not count": (
        Shopper().visit(0, 20).add(2).checkout(3).empty(5).add(9),
        ["cart_emptied", "cart_abandoned"],
    ),
    "emptying a cart is not abandoning it": (Shopper().visit(0, 10).add(5).empty(7), ["cart_emptied"]),
    "a purchase leaves nothing": (Shopper().visit(0, 10, orders=1).add(5).order(8), ["order_placed"]),
    "what an order leaves behind is abandoned": (
        Shopper().visit(0, 10, orders=1).add(4, "hat").add(5, "shoe").order(8, "shoe"),
        ["order_placed", "cart_abandoned"],
    ),
    "a second device keeps the shopper there": (
        Shopper().visit(0, 10).visit(30, 60, device="laptop").add(5),
        ["cart_abandoned"],
    ),
    "looking without a cart is browsing": (Shopper().visit(0, 10, viewed=("hat",)), ["browse_abandoned"]),
    "looking at nothing is nothing": (Shopper().visit(0, 10), []),
    "looking after buying is not browsing": (
        Shopper().visit(0, 10, viewed=("hat",), orders=1).add(1).order(5),
        ["order_placed"],
    ),
    "coming back and leaving again re-anchors the same cart": (
        Shopper().visit(0, 10).add(5).visit(100, 110),
        ["cart_abandoned", "shopper_returned", "shopper_idle"],
    ),
    "coming back and changing the cart begins a new episode": (
        Shopper().visit(0, 10).add(5).visit(100, 110).add(105),
        ["cart_abandoned", "shopper_returned", "cart_updated", "cart_abandoned"],
    ),
    "coming back and starting the checkout is more than a cart": (
        Shopper().visit(0, 10).add(5).visit(100, 110).checkout(105),
        ["cart_abandoned", "shopper_returned", "checkout_abandoned"],
    ),
    "coming back and emptying the cart ends it": (
        Shopper().visit(0, 10).add(5).visit(100, 110).empty(105),
        ["cart_abandoned", "shopper_returned", "cart_emptied"],
    ),
    "buying what was abandoned recovers it": (
        Shopper().visit(0, 10).add(5).visit(100, 110, orders=1).order(105),
        ["cart_abandoned", "shopper_returned", "cart_recovered", "order_placed"],
    ),
    "an order from elsewhere recovers it as well": (
        Shopper().visit(0, 10).add(5).order(90, device="laptop"),
        ["cart_abandoned", "cart_recovered", "order_placed"],
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_what_a_shopper_leaves_behind(story: str) -> None:
    shopper, expected = STORIES[story]

    assert kinds_of(shopper) == expected


def test_the_silence_counts_from_the_last_activity_on_any_device() -> None:
    shopper = Shopper().visit(0, 10).visit(5, 25, device="laptop").add(5)

    (signal,) = signals_of(shopper)

    assert (signal.last_activity, signal.at) == (shopper.time(25), shopper.time(55))


def test_a_session_that_opens_at_the_very_moment_is_in_time() -> None:
    shopper = Shopper().visit(0, 10).visit(40, 50, device="laptop").add(5)

    (signal,) = signals_of(shopper)

    assert signal.at == shopper.time(80)


def test_shopper_idle_carries_the_same_episode_and_the_new_last_activity() -> None:
    shopper = Shopper().visit(0, 10).add(5).visit(100, 110)

    abandoned, returned, idle = signals_of(shopper)

    assert abandoned.episode == returned.episode == idle.episode
    assert returned.at == shopper.time(100)
    assert (idle.last_activity, idle.at) == (shopper.time(110), shopper.time(140))


def test_a_cart_below_the_minimum_is_not_signalled() -> None:
    assert kinds_of(Shopper().visit(0, 10).add(5), min_cart_value=10.01) == []


@pytest.mark.parametrize(
    ("least", "signals"), [({"EUR": 10.01}, []), ({"EUR": 10.0}, ["cart_abandoned"]), ({"USD": 99.0}, ["cart_abandoned"])]
)
def test_a_currency_may_have_a_minimum_of_its_own(least: dict[str, float], signals: list[str]) -> None:
    assert kinds_of(Shopper().visit(0, 10).add(5), min_cart_values=least) == signals


@pytest.mark.parametrize("least", [{"euro": 1.0}, {"EUR": -1.0}, {"eur": 1.0}])
def test_a_minimum_that_is_none_is_refused_by_name(least: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="CARTSTREAM_MIN_CART_VALUES"):
        load(DetectionSettings, min_cart_values=least)


@pytest.mark.parametrize(("guard_s", "kinds"), [(5_341, []), (5_340, ["browse_abandoned"])])
def test_looking_soon_after_an_order_is_not_browsing(guard_s: int, kinds: list[str]) -> None:
    shopper = Shopper().visit(0, 10, orders=1).add(1).order(5).visit(60, 64, device="laptop", viewed=("parcel",))
    found = [kind for kind in kinds_of(shopper, no_abandonment_after_order_s=guard_s) if kind != "order_placed"]

    assert found == kinds


@pytest.mark.parametrize(("cooldown_s", "carts"), [(0, 2), (6_000, 2), (6_001, 1)])
def test_two_abandonments_of_a_kind_keep_the_cooldown_apart(cooldown_s: int, carts: int) -> None:
    shopper = Shopper().visit(0, 10).add(5).visit(100, 110).add(105)

    assert kinds_of(shopper, abandonment_cooldown_s=cooldown_s).count("cart_abandoned") == carts


def test_the_cooldown_of_one_kind_leaves_another_alone() -> None:
    shopper = Shopper().visit(0, 10).add(5).visit(100, 110).checkout(105)

    assert "checkout_abandoned" in kinds_of(shopper, abandonment_cooldown_s=36_000)


def recovered(*activities: Activity, left: Shopper) -> list[Signal]:
    partition = Partition(DetectionStage(load(DetectionSettings)))
    partition.feed(*left.activities)
    partition.advance(left.time(60))
    partition.feed(*activities)
    partition.advance(END)
    return [signal for signal in partition.published("signals") if signal.kind == "cart_recovered"]


@pytest.mark.parametrize(
    ("order", "amount"),
    [
        (Order("o", 17.5, "EUR", ["shoe"]), 17.5),
        (Order("o", None, "EUR", ["shoe"]), 10.0),
        (Order("o", None, None, []), 30.0),
        (Order("o", None, None, ["something else"]), 0.0),
    ],
)
def test_a_recovery_says_what_it_brought(order: Order, amount: float) -> None:
    left = Shopper().visit(0, 10).add(5, "shoe").add(6, "hat").add(7, "hat")
    bought = Activity("order", "order_placed", "ann", left.time(90), left.time(90), "phone", order=order)

    assert [signal.amount for signal in recovered(bought, left=left)] == [amount]


def test_a_cart_that_a_merge_finds_empty_at_the_time_of_the_order_was_recovered_by_it() -> None:
    """Two customers turn out to be one; the order took the cart of the one, by the event time at which the carts are joined."""
    left = Shopper().visit(0, 10).add(5)
    bought = Activity("order", "order_placed", "ann", left.time(90), left.time(90), "laptop", order=Order("o", 10.0, "EUR", []))
    joined = Activity("joined", "cart_emptied", "ann", left.time(90), left.time(90))

    assert [signal.amount for signal in recovered(joined, bought, left=left)] == [10.0]


def test_an_order_before_the_abandonment_that_comes_late_recovers_nothing() -> None:
    left = Shopper().visit(0, 10).add(5)
    bought = Activity("order", "order_placed", "ann", left.time(39), left.time(39), "phone", order=Order("o", 10.0, "EUR", []))

    assert recovered(bought, left=left) == []


def test_each_kind_has_its_own_delay() -> None:
    shopper = Shopper().visit(0, 10).add(5).checkout(6)

    (signal,) = signals_of(shopper, checkout_abandoned_after_s=3_600, cart_abandoned_after_s=7_200)

    assert signal.at == shopper.time(70)


def test_a_delay_below_the_session_gap_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"CARTSTREAM_BROWSE_ABANDONED_AFTER_S.*1800"):
        load(DetectionSettings, browse_abandoned_after_s=1_799)


def test_an_order_is_passed_on_before_any_watermark() -> None:
    shopper = Shopper().visit(0, 10).add(5).order(8)

    assert [signal.kind for signal in signals_of(shopper, until=0)] == ["order_placed"]


def test_a_silent_customer_is_forgotten() -> None:
    shopper = Shopper().visit(0, 10).add(5)
    partition = Partition(DetectionStage(load(DetectionSettings)))
    partition.feed(*shopper.activities)

    partition.advance(shopper.time(10) + GAP + 30 * DAY - 1)
    assert list(partition.states) == ["ann"]
    partition.advance(shopper.time(10) + GAP + 30 * DAY)
    assert partition.states == {}


def test_the_same_cart_is_not_signalled_twice_even_if_records_repeat() -> None:
    shopper = Shopper().visit(0, 10).add(5)
    partition = Partition(DetectionStage(load(DetectionSettings)))
    partition.feed(*shopper.activities, *shopper.activities)
    partition.advance(shopper.time(100))
    partition.feed(*shopper.activities)
    partition.advance(END)

    assert [signal.kind for signal in partition.published("signals")] == ["cart_abandoned"]


def test_more_waiting_records_than_the_limit_are_applied_early_and_counted() -> None:
    shopper = Shopper().visit(0, 60)
    for second in range(600):
        shopper.add(1 + second / 60)
    partition = Partition(DetectionStage(load(DetectionSettings)))
    partition.feed(*sorted(shopper.activities, key=lambda activity: activity.at))

    assert partition.outcomes.count(("pending", "applied_early")) == 602 - 512
    partition.advance(shopper.time(60) + 2 * HOUR)
    assert [signal.kind for signal in partition.published("signals")] == ["cart_abandoned"]


def test_views_alone_make_no_state() -> None:
    shopper = Shopper()
    shopper._add("product_viewed", shopper.time(1), "phone")
    partition = Partition(DetectionStage(load(DetectionSettings)))
    partition.feed(*shopper.activities)

    assert partition.states == {}


def test_a_session_whose_end_was_lost_is_over_when_none_can_last_longer() -> None:
    shopper = Shopper().visit(0, 10).add(5)
    partition = Partition(DetectionStage(load(DetectionSettings)))
    partition.feed(*(activity for activity in shopper.activities if activity.kind != "session_ended"))
    partition.advance(shopper.time(0) + 24 * HOUR + GAP)
    assert partition.published("signals") == []

    partition.advance(END)

    assert [(signal.kind, signal.last_activity) for signal in partition.published("signals")] == [("cart_abandoned", shopper.time(5))]
