"""Price drops, what is back in stock, and carts of which nothing can be bought: for shoppers who want the product at that moment."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartstream.detection import DetectionStage
from cartstream.detection.product import CHANGES_KEPT, PAGE
from cartstream.detection.settings import DetectionSettings
from cartstream.detection.state import DetectionState
from cartstream.events.records import Merge, Note, Product, Signal
from cartstream.events.times import DAY, HOUR, MINUTE
from cartstream.runtime.settings import load
from tests.detection.harness import Partition
from tests.detection.shopper import T0, Shopper

# Nobody is forgotten by then.
END = T0 + 29 * DAY
KINDS = ("price_dropped", "back_in_stock")


def partition(**settings: Any) -> Partition:
    return Partition(DetectionStage(load(DetectionSettings, **{"watch_products": True, **settings})))


def product(at: float, price: float | None = None, before: float | None = None, *, there: bool | None = True, id: str = "shoe") -> Product:
    """As the products service tells it, `at` minutes after T0."""
    return Product(id, T0 + int(at * MINUTE), price, "EUR", there, None, before)


def told(running: Partition) -> list[Signal]:
    found = [signal for signal in running.published("signals") if isinstance(signal, Signal) and signal.kind in KINDS]
    return sorted(found, key=lambda signal: (signal.at, signal.kind, signal.id))


def kinds(running: Partition) -> list[str]:
    return [signal.kind for signal in running.published("signals") if isinstance(signal, Signal)]


def run(*records: msgspec.Struct, until: int = END, **settings: Any) -> Partition:
    """All of it in this order, time passing with it."""
    running = partition(**settings)
    for record in records:
        running.feed(record)
    running.advance(until)
    return running


def in_cart() -> Shopper:
    return Shopper().visit(0, 10).add(5)


def looked() -> Shopper:
    return Shopper().visit(0, 10, viewed=("hat", "shoe"))


def test_a_product_in_the_cart_that_becomes_cheaper_is_told_with_both_prices() -> None:
    shopper = in_cart()

    (signal,) = told(run(*shopper.activities, product(100, 8.0, 10.0)))

    assert (signal.kind, signal.at, signal.last_activity) == ("price_dropped", shopper.time(100), shopper.time(100))
    assert (signal.cart, signal.viewed) == (shopper.cart, ["shoe"])
    assert signal.product is not None
    assert (signal.product.previous_price, signal.product.price, signal.product.currency) == (10.0, 8.0, "EUR")


DAY_MINUTES = 24 * 60
TAKEN_BACK: dict[str, tuple[list[Product], list[str]]] = {
    "dearer again": ([product(100, 8.0, 10.0), product(200, 9.0, 8.0)], ["price_dropped", "product_changed"]),
    "sold out": ([product(100, 8.0, 10.0), product(200, 8.0, 8.0, there=False)], ["price_dropped", "product_changed"]),
    "cheaper still": ([product(100, 8.0, 10.0), product(200, 7.0, 8.0)], ["price_dropped"]),
    "back, and sold out at once": (
        [product(100, there=False), product(200), product(300, there=False)],
        ["back_in_stock", "product_changed"],
    ),
    "of another product that is wanted": (
        [product(100, 8.0, 10.0), product(200, 20.0, 10.0, id="hat")],
        ["price_dropped", "product_changed"],
    ),
    "of one that nobody wants": ([product(100, 8.0, 10.0), product(200, 20.0, 10.0, id="sock")], ["price_dropped"]),
    "two days later": ([product(100, 8.0, 10.0), product(100 + 2 * DAY_MINUTES, 9.0, 8.0)], ["price_dropped"]),
    "nothing was said": ([product(100, 12.0, 10.0), product(200, 12.0, 12.0, there=False)], []),
}


@pytest.mark.parametrize("case", TAKEN_BACK)
@pytest.mark.parametrize("products_first", [False, True])
def test_what_was_said_is_taken_back_when_it_holds_no_longer(case: str, products_first: bool) -> None:
    changes, expected = TAKEN_BACK[case]
    shopper = Shopper().visit(0, 10).add(5, "shoe").add(6, "hat")
    running = run(*([*changes, *shopper.activities] if products_first else [*shopper.activities, *changes]))
    signals = [signal for signal in running.published("signals") if isinstance(signal, Signal) and signal.product is not None]

    assert [signal.kind for signal in sorted(signals, key=lambda signal: signal.at)] == expected


STORIES: dict[str, tuple[Shopper, list[Product], list[str]]] = {
    "what was looked at lately counts": (looked(), [product(100, 8.0, 10.0)], ["price_dropped"]),
    "a week after the look it counts": (looked(), [product(10 + 7 * DAY_MINUTES - 1, 8.0, 10.0)], ["price_dropped"]),
    "later it does not": (looked(), [product(10 + 7 * DAY_MINUTES, 8.0, 10.0)], []),
    "the cart counts for longer": (in_cart(), [product(20 * DAY_MINUTES, 8.0, 10.0)], ["price_dropped"]),
    "what nobody wanted does not": (looked(), [product(100, 8.0, 10.0, id="sock")], []),
    "a change before the look is how it was": (looked(), [product(9, 8.0, 10.0)], []),
    "a change between look and end of the visit counts": (looked(), [product(11, 8.0, 10.0)], ["price_dropped"]),
    "a small drop is none": (in_cart(), [product(100, 9.6, 10.0)], []),
    "two small ones are one": (in_cart(), [product(100, 9.6, 10.0), product(200, 9.3, 9.6)], ["price_dropped"]),
    "from a rise down is none": (in_cart(), [product(100, 12.0, 10.0), product(200, 10.0, 12.0)], []),
    "without a price before there is none": (in_cart(), [product(100, 8.0)], []),
    "the first price said is the one to beat": (in_cart(), [product(100, 8.0), product(200, 7.0, 8.0)], ["price_dropped"]),
    "what was bought is not wanted": (in_cart().order(20), [product(100, 8.0, 10.0)], []),
    "bought in the visit in which it was seen": (
        Shopper().visit(0, 10, viewed=("shoe",), orders=1).add(5).order(8),
        [product(100, 8.0, 10.0)],
        [],
    ),
    "wanted again after it was bought": (
        Shopper().visit(0, 10, orders=1).add(5).order(8).visit(100, 110, viewed=("shoe",)),
        [product(200, 8.0, 10.0)],
        ["price_dropped"],
    ),
    "taken out of the cart it was looked at": (in_cart().empty(8), [product(100, 8.0, 10.0)], ["price_dropped"]),
    "out of stock and back": (in_cart(), [product(100, there=False), product(200)], ["back_in_stock"]),
    "out of stock from before": (in_cart(), [product(1, there=False), product(200)], ["back_in_stock"]),
    "never out of stock": (in_cart(), [product(100), product(200)], []),
    "cheaper and gone is no news": (in_cart(), [product(100, 8.0, 10.0, there=False)], []),
    "a sale is one message": (
        Shopper().visit(0, 10).add(5, "shoe").add(6, "hat"),
        [product(100, 8.0, 10.0), product(101, 5.0, 10.0, id="hat")],
        ["price_dropped"],
    ),
    "the next day there may be another": (
        Shopper().visit(0, 10).add(5, "shoe").add(6, "hat"),
        [product(100, 8.0, 10.0), product(100 + DAY_MINUTES, 5.0, 10.0, id="hat")],
        ["price_dropped", "price_dropped"],
    ),
}


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("products_first", [False, True])
def test_what_is_said_of_products(story: str, products_first: bool) -> None:
    shopper, changes, expected = STORIES[story]
    records: list[Any] = [*changes, *shopper.activities] if products_first else [*shopper.activities, *changes]

    assert [signal.kind for signal in told(run(*records))] == expected


@pytest.mark.parametrize("products_first", [False, True])
def test_a_cart_of_which_nothing_is_in_stock_is_not_abandoned(products_first: bool) -> None:
    gone, shopper = product(20, there=False), in_cart()
    running = run(*([gone, *shopper.activities] if products_first else [*shopper.activities, gone]))

    assert kinds(running) == []
    assert ("cart_abandoned", "out_of_stock") in running.outcomes


def test_a_cart_of_which_something_is_in_stock_is_abandoned() -> None:
    shopper = Shopper().visit(0, 10).add(5, "shoe").add(6, "hat")

    assert kinds(run(*shopper.activities, product(20, there=False))) == ["cart_abandoned"]


def test_what_is_sold_out_after_the_abandonment_changes_nothing() -> None:
    assert kinds(run(*in_cart().activities, product(40.1, there=False))) == ["cart_abandoned"]


def test_a_judgement_that_waits_for_an_answer_that_never_comes_is_made_in_the_end() -> None:
    stage = DetectionStage(load(DetectionSettings, watch_products=True))
    shopper = in_cart()
    state: Any = DetectionState("ann")
    for activity in shopper.activities:
        state = stage.step(state, activity, 0).state
    step: Any = stage.wake(state, shopper.time(1_000))
    assert [output.topic for output in step.outputs] == ["activity"]
    assert step.wake_at is not None
    assert step.wake_at > shopper.time(1_000)
    late = stage.wake(step.state, step.wake_at)

    assert [output.value.kind for output in late.outputs if isinstance(output.value, Signal)] == ["cart_abandoned"]


@settings(max_examples=60, deadline=None)
@given(
    order=st.randoms(use_true_random=False),
    story=st.sampled_from(sorted(STORIES)),
    every=st.sampled_from([7 * MINUTE, 90 * MINUTE, 3 * DAY]),
)
def test_when_records_come_and_how_often_time_is_told_changes_nothing(order: Random, story: str, every: int) -> None:
    """In any order that a lateness of half an hour allows, products by themselves in theirs."""
    shopper, changes, _ = STORIES[story]
    arrivals = [(activity.at + order.randint(0, 30 * MINUTE), 1, activity) for activity in shopper.activities]
    arrivals += [(change.at, 0, change) for change in changes]  # type: ignore[misc]
    arrivals.sort(key=lambda arrival: arrival[:2])
    expected = run(*shopper.activities, *changes)
    running = partition()
    running.advance(T0 - HOUR)
    for at, _, record in arrivals:
        while running.watermark + every < at - 30 * MINUTE:
            running.advance(running.watermark + every)
        running.feed(record)
    running.advance(END)

    found = [signal for signal in running.published("signals") if isinstance(signal, Signal)]
    assert sorted(found, key=lambda signal: signal.id) == sorted(expected.published("signals"), key=lambda signal: signal.id)


def test_many_who_wait_for_one_product_are_all_told_and_lie_in_pages() -> None:
    shoppers = [Shopper(f"shopper{n}").visit(0, 10).add(5) for n in range(3 * PAGE + 5)]
    running = partition()
    for shopper in shoppers:
        running.feed(*shopper.activities)
    running.advance(T0 + HOUR)
    pages = sorted(key for key in running.states if key.startswith(("page:", "product:")))
    running.feed(product(100, 8.0, 10.0))
    running.advance(T0 + 3 * HOUR)

    assert pages == ["page:0:shoe", "page:1:shoe", "page:2:shoe", "product:shoe"]
    assert {signal.customer_id for signal in told(running)} == {shopper.customer_id for shopper in shoppers}
    assert len(told(running)) == len(shoppers)


def test_nothing_is_kept_of_products_when_nobody_waits_any_more() -> None:
    shopper = in_cart()
    running = run(*shopper.activities, product(1, 8.0, 10.0), product(2, there=False, id="sock"), until=T0 + HOUR)
    assert {"product:shoe", "product:sock"} <= set(running.states)

    running.advance(T0 + 90 * DAY)
    running.advance(T0 + 90 * DAY + MINUTE)

    assert set(running.states) == {"product:sock"}
    running.feed(product(90 * DAY_MINUTES, id="sock"))
    running.advance(T0 + 90 * DAY + CHANGES_KEPT)
    running.advance(T0 + 90 * DAY + CHANGES_KEPT + MINUTE)
    assert running.states == {}


def test_who_looks_at_the_same_product_every_day_asks_once_a_week() -> None:
    shopper = Shopper()
    for day in range(7):
        shopper.visit(day * DAY_MINUTES, day * DAY_MINUTES + 10, viewed=("shoe",))
    running = run(*shopper.activities)

    asked = [note for note in running.published("activity") if isinstance(note, Note) and note.key == "product:shoe"]
    assert len(asked) == 1


@pytest.mark.parametrize(("loser", "survivor"), [("ann", "bob"), ("bob", "ann")])
def test_who_turns_out_to_be_another_is_told_once(loser: str, survivor: str) -> None:
    one, another = Shopper("ann").visit(0, 10).add(5), Shopper("bob").visit(0, 12, device="laptop", viewed=("shoe",))
    running = partition()
    running.feed(*one.activities, *another.activities)
    running.advance(T0 + HOUR)
    running.feed(Merge(loser, survivor, T0 + HOUR, "login", "user_id"), product(100, 8.0, 10.0))
    running.advance(END)

    assert [(signal.kind, signal.customer_id) for signal in told(running)] == [("price_dropped", survivor)]


@pytest.mark.parametrize(("loser", "survivor"), [("ann", "bob"), ("bob", "ann")])
def test_what_one_bought_the_other_does_not_want(loser: str, survivor: str) -> None:
    one, another = Shopper("ann").visit(0, 10).add(5), Shopper("bob").visit(20, 30, device="laptop", orders=1).add(22).order(25)
    running = partition()
    running.feed(*one.activities, *another.activities)
    running.advance(T0 + 3 * HOUR)
    running.feed(Merge(loser, survivor, T0 + 3 * HOUR, "login", "user_id"), product(200, 8.0, 10.0))
    running.advance(END)

    assert told(running) == []


def test_unless_products_are_watched_nothing_is_asked_and_nothing_kept() -> None:
    running = run(*in_cart().activities, product(20, there=False), until=T0 + 3 * HOUR, watch_products=False)

    assert kinds(running) == ["cart_abandoned"]
    assert set(running.states) == {"ann"}
    assert running.published("activity") == []
