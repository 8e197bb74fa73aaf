"""Two customers turn out to be one: what the loser had goes to the survivor, and what comes later is passed on."""

from __future__ import annotations

import pytest

from cartstream.events.read_model import Guard
from cartstream.events.records import Activity, Customer, Merge
from tests.sessions.shop import MINUTE, T0, Shop, add, click, remove, track

MERGE = Merge("old", "new", T0 + 50, "m1", "user_id")


def test_the_larger_quantity_of_each_product_wins() -> None:
    shop = Shop().see(add("a", 0, 3), add("b", 1), customer="old").see(add("a", 2), add("c", 3), customer="new").see(MERGE)
    assert shop.cart("new") == {"a": 3, "b": 1, "c": 1}
    assert shop.cart("old") == {}


def test_a_merge_told_twice_changes_nothing_more() -> None:
    shop = Shop().see(add("a", 0), customer="old").see(add("a", 2), customer="new").see(MERGE)
    states, count = dict(shop.states), len(shop.outputs)
    shop.see(MERGE)
    assert (shop.states, len(shop.outputs)) == (states, count)


def test_what_was_bought_on_either_side_leaves_the_cart_of_both() -> None:
    bought = track("Order Completed", 10, product_id="a")
    for buyer, other in (("old", "new"), ("new", "old")):
        shop = Shop().see(bought, customer=buyer).see(add("a", 5), add("b", 6), customer=other).see(MERGE)
        assert shop.cart("new") == {"b": 1}
        assert shop.guards["new"].order_mark == T0 + 10


@pytest.mark.parametrize("owner", ["old", "new"])
def test_a_cart_that_was_viewed_outlasts_a_merge_and_its_repetition(owner: str) -> None:
    shop = Shop().see(track("Cart Viewed", 10, products=[{"product_id": "a", "quantity": 2}]), customer=owner)
    before = shop.see(click("d2", 20), customer="old").states["old"]
    assert shop.see(MERGE).cart("new") == {"a": 2}

    shop.states["old"] = before
    assert shop.see(MERGE).cart("new") == {"a": 2}


def test_the_losers_guard_points_to_the_survivor() -> None:
    shop = Shop().see(add("a", 0), customer="old").see(MERGE)
    assert shop.guards["old"] == Guard(0, 0, True, "new")
    assert shop.guards["new"].cart_empty is False


def test_later_events_of_the_loser_go_to_the_survivor() -> None:
    shop = Shop().see(click("d1", 0), customer="old").see(MERGE).see(add("a", 60), customer="old").end()
    assert {activity.customer_id for activity in shop.of_kind("cart_updated")} == {"new"}
    assert shop.sessions() == [(0, 60, 2)]


def test_open_sessions_move_and_end_once() -> None:
    shop = Shop().see(click("d1", 0), customer="old").see(click("d2", 5), customer="new").see(MERGE).end()
    assert sorted((ended.customer_id, ended.device_id) for ended in shop.of_kind("session_ended")) == [("new", "d1"), ("new", "d2")]


def test_a_message_seen_by_the_loser_is_a_repetition_for_the_survivor() -> None:
    event = add("a", 0)
    shop = Shop().see(event, customer="old").see(MERGE).see(event, customer="new")
    assert shop.cart("new") == {"a": 1}


def test_a_chain_of_merges_ends_with_the_last() -> None:
    shop = Shop().see(add("a", 0), customer="c1").see(add("b", 1), customer="c2")
    shop.see(Merge("c2", "c3", T0 + 60, "m2", "email"), Merge("c1", "c2", T0 + 50, "m1", "email"))
    assert shop.cart("c3") == {"a": 1, "b": 1}
    assert shop.cart("c2") == {}


def test_a_customer_nobody_has_heard_of_can_be_merged() -> None:
    shop = Shop().see(MERGE).see(add("a", 60), customer="old")
    assert shop.cart("new") == {"a": 1}


def test_the_merge_goes_on_before_anything_of_the_survivor() -> None:
    shop = Shop().see(add("a", 0), customer="old").see(MERGE)
    passed = [(output.key, type(output.value)) for output in shop.outputs if output.topic == "activity"]
    assert passed[-2:] == [("old", Merge), ("new", Activity)]


def test_a_record_of_the_loser_that_comes_late_overwrites_nothing() -> None:
    shop = Shop().see(MERGE, Customer("old", T0, {"email": True}))
    assert not [output for output in shop.outputs if isinstance(output.value, Customer)]


def test_a_tombstone_goes_after_a_month() -> None:
    shop = Shop().see(MERGE).pass_to(31 * 24 * 60 * MINUTE)
    assert shop.state("old") is None


def test_an_empty_cart_takes_the_currency_of_the_one_that_joins_it() -> None:
    dollars = track("Product Added", 0, product_id="a", price=5.0, currency="USD")
    shop = Shop().see(dollars, customer="old").see(add("b", 1, currency="EUR"), remove("b", 2), customer="new").see(MERGE)
    cart = shop.of_kind("cart_updated")[-1].cart
    assert cart is not None
    assert (cart.value, cart.currency) == (5.0, "USD")


def test_an_order_that_both_tell_is_one_purchase() -> None:
    shop = Shop().see(track("Order Completed", 10, order_id="o1", message="browser"), customer="old").see(MERGE)
    shop.see(track("Order Completed", 60, order_id="o1", message="server"), customer="new")
    assert [placed.customer_id for placed in shop.of_kind("order_placed")] == ["old"]
