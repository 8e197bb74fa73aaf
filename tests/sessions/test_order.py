"""Nothing depends on arrival order, as long as no event is later than the watermark allows: not sessions, not carts and their versions,
not what a message may not contradict, and not what is told in the end: what is told later of a change replaces what was told before.

An exit is told at once, with what is known by then.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartstream.events.read_model import Guard
from cartstream.events.records import Cart, Habits, Session
from cartstream.sessions.basket import NOTHING, RECENT_LIMIT, Basket
from cartstream.sessions.state import CustomerState
from tests.sessions.shop import MINUTE, T0, Shop, add, click, remove, track

LATENESS = 5_000
CHANGES = ["Product Added", "Product Removed", "Cart Viewed", "Order Completed", "Checkout Started"]
Event = tuple[int, bytes]


@st.composite
def visits(draw: st.DrawFn) -> list[Event]:
    """Events in order of time: short steps, and pauses around the gap."""
    at, events = 0, []
    for number in range(draw(st.integers(1, 25))):
        at += draw(st.sampled_from([0, 1, 700, 2_000, 4_999, 10_000, 30 * MINUTE - 1, 30 * MINUTE, 30 * MINUTE + 1, 31 * MINUTE]))
        device, product = draw(st.sampled_from(["d1", "d2"])), draw(st.sampled_from("abc"))
        name = draw(st.sampled_from(["page", "Product Viewed", "Products Searched", "Product Added", *CHANGES]))
        properties: dict[str, Any] = {"product_id": product} if name != "Order Completed" or draw(st.booleans()) else {}
        if name in ("Product Added", "Product Removed", "Product Viewed"):
            properties |= {"quantity": draw(st.sampled_from([None, 1, 2])), "price": draw(st.sampled_from([None, 1.0, 2.345]))}
        properties["currency"] = draw(st.sampled_from([None, "EUR", "EUR", "USD"]))
        if name == "Order Completed":
            properties["order_id"] = draw(st.sampled_from([None, "o1", "o2"]))
        if name == "Products Searched":
            properties["query"] = draw(st.sampled_from(["shoes", "Shoes", "a bowl"]))
        if name == "Cart Viewed":
            price = draw(st.sampled_from([None, 3.0]))
            properties["products"] = [
                {"product_id": each, "quantity": 2, "price": price} for each in draw(st.sampled_from(["", "a", "bc"]))
            ]
        kind = ("page", None) if name == "page" else ("track", name)
        events.append((at, click(device, at, *kind, message=f"m{number}", **properties)))
    return events


class Seen(NamedTuple):
    """What must not depend on arrival order."""

    sessions: list[Session]
    cart: Basket
    activity: int
    guard: Guard | None
    habits: list[Habits]
    told: dict[str, tuple[str, int, Cart | None]]


def cart_of(state: CustomerState) -> Basket:
    basket, _ = state.open()
    basket.seen = b""
    return basket


def run(arrivals: list[Event], gap: int = 0) -> Seen:
    """The watermark keeps its promise, `gap` ms later than it could."""
    shop, newest = Shop(), 0
    for at, event in arrivals:
        newest = max(newest, at)
        shop.see(event).pass_to(newest - LATENESS - 1 - gap)
    shop.pass_to(newest + 25 * 60 * MINUTE)
    state = shop.state()
    assert state is not None
    assert (state.unsettled, state.waiting) == (0, NOTHING)
    told = {one.id: (one.kind, one.at, one.cart) for one in shop.activities if not one.kind.startswith("session")}
    shop.end()
    ended = sorted((one.session for one in shop.of_kind("session_ended") if one.session), key=lambda session: session.session_id)
    lately = [one.habits for one in shop.of_kind("session_ended") if one.habits]
    kept = {id: one for id, one in told.items() if one[0] != "retracted"}
    return Seen(ended, cart_of(state), state.last_activity, shop.guards.get("c1"), lately, kept)


def shuffled(events: list[Event], delays: list[int], repeated: list[bool]) -> list[Event]:
    arrivals = [(at + delay, n, (at, event)) for n, ((at, event), delay) in enumerate(zip(events, delays, strict=False))]
    arrivals += [(entry[0] + LATENESS, n + 100, entry) for _, n, entry in arrivals if repeated[n]]
    return [entry for _, _, entry in sorted(arrivals)]


DELAYS = st.lists(st.integers(0, LATENESS), min_size=25, max_size=25)
FLAGS = st.lists(st.booleans(), min_size=25, max_size=25)


@settings(max_examples=200, deadline=None)
@given(visits(), DELAYS, FLAGS, st.sampled_from([0, 1_000, 100 * MINUTE]))
def test_arrival_order_and_repetition_change_nothing(events: list[Event], delays: list[int], repeated: list[bool], gap: int) -> None:
    assert run(shuffled(events, delays, repeated), gap) == run(events)


@settings(max_examples=100, deadline=None)
@given(visits(), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_while_no_time_passes(events: list[Event], random: Random) -> None:
    arrivals = list(events)
    random.shuffle(arrivals)
    assert run(arrivals, 10**9).cart == run(events, 10**9).cart


IN_ORDER = [
    pytest.param([add("a", 0, 2), track("Product Removed", 1, product_id="a", quantity=1)], id="a partial removal before its add"),
    pytest.param([add("a", 0), track("Product Removed", 1, product_id="a"), add("a", 2)], id="a removal after the add that follows it"),
    pytest.param([track("Cart Viewed", 1, products=[{"product_id": "a"}]), add("b", 2)], id="a snapshot after the add that follows it"),
    pytest.param([add("a", 3), add("b", 5)], id="an add after a later one"),
]


@pytest.mark.parametrize("events", IN_ORDER)
def test_a_change_out_of_order_finds_its_place(events: list[bytes]) -> None:
    there, back = Shop().see(*events).state(), Shop().see(*reversed(events)).state()
    assert there is not None
    assert back is not None
    assert cart_of(back) == cart_of(there)
    assert back.open()[1].recent == there.open()[1].recent


def test_what_was_told_wrongly_is_told_again_under_the_same_id() -> None:
    shop = Shop().see(add("b", 2), track("Cart Viewed", 1, message="view", products=[{"product_id": "a"}]))
    told = [(one.id, one.at - T0, one.cart and [item.product_id for item in one.cart.items]) for one in shop.of_kind("cart_updated")]
    (first, second, third) = told
    assert first[1:] == (2, ["b"])
    assert second == ("view:cart", 1, ["a"])
    assert third == (first[0], 2, ["a", "b"])


def test_what_turns_out_not_to_have_happened_is_retracted() -> None:
    shop = Shop().see(add("a", 0), remove("a", 5)).see(track("Order Completed", 4, order_id="o"))
    (emptied,) = shop.of_kind("cart_emptied")
    (retracted,) = shop.of_kind("retracted")
    assert (retracted.id, retracted.at) == (emptied.id, emptied.at)


def test_only_the_first_checkout_before_an_order_is_told_in_the_end() -> None:
    shop = Shop().see(track("Checkout Started", 5, message="m5"), track("Checkout Step Viewed", 3, message="m3"))
    assert [one.id for one in shop.of_kind("checkout_started")] == ["m5:checkout_started", "m3:checkout_started"]
    assert [one.id for one in shop.of_kind("retracted")] == ["m5:checkout_started"]


def test_the_order_of_a_corrected_purchase_stays() -> None:
    shop = Shop().see(track("Order Completed", 5, order_id="o", products=[{"product_id": "a"}]), add("b", 3))
    first, second = shop.of_kind("order_placed")
    assert first.id == second.id
    assert first.order == second.order
    assert first.cart is None
    assert second.cart is not None


def test_an_exit_shows_the_cart_as_it_was_then() -> None:
    shop = Shop().see(add("a", 0), add("b", 20), track("Exit Intent", 10, trigger="idle"))
    (signal,) = shop.of_kind("exit_signal")
    assert signal.cart is not None
    assert [item.product_id for item in signal.cart.items] == ["a"]


def test_a_late_change_follows_arrival_but_those_that_wait_still_follow_it() -> None:
    shop = Shop().see(add("a", 0)).pass_to(10).see(add("c", 30), add("b", 20)).see(add("late", 5))
    versions = [(one.id, one.cart.version - T0, len(one.cart.items)) for one in shop.of_kind("cart_updated")[-3:] if one.cart]
    assert [version for _, version, _ in versions] == [5, 20, 30]
    assert [size for _, _, size in versions] == [2, 3, 4]


def test_only_so_many_changes_wait_for_their_watermark() -> None:
    shop = Shop().see(*(add(f"p{n}", n) for n in range(2 * RECENT_LIMIT)))
    state = shop.state()
    assert state is not None
    assert len(state.open()[1].recent) == RECENT_LIMIT
    assert len(shop.cart()) == 2 * RECENT_LIMIT
    assert shop.pass_to(10**6).see(click("d1", 10**6)).cart() == {f"p{n}": 1 for n in range(2 * RECENT_LIMIT)}


def test_an_order_that_two_devices_tell_is_the_same_purchase_whoever_comes_first() -> None:
    events = [
        (0, click("d1", 0)),
        *((at, click(device, at, "track", "Order Completed", order_id="o1")) for at, device in ((1, "d1"), (2, "d2"))),
    ]
    assert run(events[::-1]) == run(events)
