from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cartstream.events.read_model import Guard
from cartstream.events.records import Session
from cartstream.sessions.basket import SEEN_LIMIT, Basket, Held, Line
from cartstream.sessions.layouts import FirstState, FirstVisit
from tests.sessions.shop import MINUTE, T0, Shop, add, remove, track


def order(at: int, *products: str, **more: Any) -> bytes:
    return track("Order Completed", at, order_id=f"o{at}", products=[{"product_id": product} for product in products], **more)


def view(at: int, **cart: int) -> bytes:
    return track("Cart Viewed", at, products=[{"product_id": product, "quantity": quantity} for product, quantity in cart.items()])


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([add("a", 0), add("a", 1, 2), add("b", 2)], {"a": 3, "b": 1}, id="adds are deltas"),
        pytest.param([add("a", 0, 0), add("b", 1, -3)], {}, id="nothing added"),
        pytest.param([track("Product Added", 0, product_id="a")], {"a": 1}, id="an add without a quantity"),
        pytest.param([track("product_added", 0, sku="a")], {"a": 1}, id="snake case and a SKU"),
        pytest.param([track("Product Added", 0)], {}, id="an add without a product"),
        pytest.param([add("a", 0, 20_000)], {"a": 9_999}, id="an absurd quantity"),
        pytest.param(
            [track("Product Added", 0, products=[{"product_id": "a"}, {"sku": "b", "quantity": 2}])], {"a": 1, "b": 2}, id="several"
        ),
        pytest.param([add("a", 0, 3), remove("a", 1, 1)], {"a": 2}, id="some removed"),
        pytest.param([add("a", 0, 3), remove("a", 1, 3)], {}, id="all removed"),
        pytest.param([add("a", 0, 3), remove("a", 1)], {}, id="removed without a quantity"),
        pytest.param([remove("a", 5), add("a", 3)], {}, id="an older add cannot cross a removal"),
        pytest.param([remove("a", 5), add("a", 6)], {"a": 1}, id="a newer one can"),
        pytest.param([add("a", 6), remove("a", 5)], {"a": 1}, id="an older removal takes nothing newer"),
        pytest.param([add("a", 0, 5), view(1, b=2)], {"b": 2}, id="a snapshot overwrites"),
        pytest.param([add("a", 5), view(1, b=2)], {"a": 1, "b": 2}, id="an older snapshot not what came after it"),
        pytest.param([add("a", 0), view(1), add("b", 2)], {"b": 1}, id="an empty snapshot empties"),
        pytest.param([add("a", 0), track("Cart Viewed", 1)], {"a": 1}, id="a snapshot without products says nothing"),
        pytest.param([view(5, a=1), add("b", 3)], {"a": 1}, id="an older add cannot cross a snapshot"),
        pytest.param([add("a", 0), add("b", 1), order(2, "a")], {"b": 1}, id="an order takes what it names"),
        pytest.param([add("a", 0), add("b", 1), order(2)], {}, id="or everything when it names nothing"),
        pytest.param([add("a", 0), track("Order Completed", 1, product_id="a"), add("b", 2)], {"b": 1}, id="an order of one product"),
        pytest.param([order(5, "a"), add("a", 3), add("b", 3)], {"b": 1}, id="an older add cannot cross its order"),
        pytest.param([order(5), add("a", 3), add("b", 6)], {"b": 1}, id="nor an order of everything"),
        pytest.param([add("a", 6), order(5)], {"a": 1}, id="a late order takes nothing that came after it"),
        pytest.param([add("a", 0), order(5), order(3)], {}, id="two orders"),
    ],
)
def test_what_is_in_the_cart(events: list[bytes], expected: dict[str, int]) -> None:
    assert Shop().see(*events).cart() == expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(add("a", 3), {"a": 3, "b": 1}, id="an add counts"),
        pytest.param(add("c", 3), {"a": 2, "b": 1}, id="unless the product was removed later"),
        pytest.param(remove("a", 3), {"b": 1}, id="a removal counts"),
        pytest.param(remove("b", 3), {"a": 2, "b": 1}, id="unless the product was added later"),
        pytest.param(view(3, z=1), {"a": 2, "b": 1}, id="a snapshot does not"),
        pytest.param(order(3), {"b": 1}, id="an order takes what was older"),
    ],
)
def test_what_a_late_change_does(event: bytes, expected: dict[str, int]) -> None:
    shop = Shop().see(add("a", 0, 2), add("b", 5), remove("c", 6)).pass_to(10).see(event)
    assert shop.cart() == expected


def test_each_effective_change_has_a_later_version() -> None:
    shop = Shop().see(add("a", 5), add("b", 5), add("c", 5), remove("zzz", 9), view(9, a=1, b=1, c=1))
    versions = [activity.cart.version - T0 for activity in shop.of_kind("cart_updated") if activity.cart]
    assert versions == [5, 6, 7]


def test_a_cart_has_a_value_and_a_currency() -> None:
    shop = Shop().see(add("b", 0, 2, currency="EUR", name="Bowl"), track("Product Added", 1, product_id="a"))
    cart = shop.of_kind("cart_updated")[-1].cart
    assert cart is not None
    assert [(item.product_id, item.quantity, item.price, item.name) for item in cart.items] == [
        ("a", 1, None, None),
        ("b", 2, 10.0, "Bowl"),
    ]
    assert (cart.value, cart.currency) == (20.0, "EUR")


def test_a_snapshot_without_prices_keeps_those_that_are_known() -> None:
    shop = Shop().see(add("a", 0, name="Bowl"), view(1, a=3))
    cart = shop.of_kind("cart_updated")[-1].cart
    assert cart is not None
    assert [(item.quantity, item.price, item.name) for item in cart.items] == [(3, 10.0, "Bowl")]


def test_a_price_that_is_no_number_is_no_price() -> None:
    shop = Shop().see(track("Product Added", 0, product_id="a", price="nan"), track("Product Added", 1, product_id="b", price="12.50"))
    cart = shop.of_kind("cart_updated")[-1].cart
    assert cart is not None
    assert cart.value == 12.5


def test_emptying_a_cart_is_told_as_such_and_an_order_as_an_order() -> None:
    shop = Shop().see(add("a", 0), remove("a", 1), add("b", 2), order(3, "b", total=9.5, currency="EUR"))
    assert [kind for kind in shop.kinds if not kind.startswith("session")] == [
        "cart_updated",
        "cart_emptied",
        "cart_updated",
        "order_placed",
    ]
    (placed,) = shop.of_kind("order_placed")
    assert placed.order is not None
    assert (placed.order.order_id, placed.order.value, placed.order.currency, placed.order.product_ids) == ("o3", 9.5, "EUR", ["b"])
    assert placed.cart is None


def test_the_guard_says_what_a_message_may_not_contradict() -> None:
    shop = Shop().see(add("a", 5))
    assert shop.guards["c1"] == Guard(0, T0 + 5, False, None)

    shop.see(order(9))
    assert shop.guards["c1"] == Guard(T0 + 9, T0 + 9, True, None)

    shop.see(order(20))
    assert shop.guards["c1"].order_mark == T0 + 20


def test_a_late_add_still_corrects_the_cart() -> None:
    shop = Shop().see(add("a", 0)).pass_to(90 * MINUTE).see(add("b", MINUTE))
    assert shop.cart() == {"a": 1, "b": 1}
    assert len(shop.of_kind("session_started")) == 1


def test_a_cart_and_its_marks_are_bounded() -> None:
    shop = Shop().see(*(add(f"p{n:03}", n) for n in range(250)), *(remove(f"q{n:03}", n) for n in range(150)))
    state = shop.state()
    assert state is not None
    basket, _ = state.open()
    assert (len(basket.lines), len(basket.removed)) == (200, 100)
    assert min(basket.removed) == "q050"


def test_the_state_survives_its_encoding() -> None:
    shop = Shop().see(add("a", 0, currency="EUR", name="Ä"), order(1, "b"), track("Product Viewed", 2, product_id="v"), view(3, c=2))
    state = shop.state()
    assert state is not None
    assert state.visits[0].products() == [("v", T0 + 2)]
    assert shop.stage.decode_state(shop.stage.encode_state(state)) == state


def test_a_state_in_the_first_layout_is_read_as_what_it_meant() -> None:
    line = Line(2, 10.0, "Bowl", T0 + 4)
    visit = FirstVisit("d1", "s1", T0, T0 + 9, 7, 1, 3, {"v": T0 + 2, "w": T0 + 1})
    seen = bytes(range(200)) * 2
    first = FirstState("c1", [visit], {"a": line}, {"b": T0 + 1}, T0 + 2, T0 + 5, "EUR", T0 + 6, T0 + 7, T0 + 9, seen, None, b"four")

    state = Shop().stage.decode_state(msgspec.msgpack.encode(first))

    basket = Basket({"a": line}, {"b": T0 + 1}, T0 + 2, T0 + 5, "EUR", T0 + 6, T0 + 7, seen[-SEEN_LIMIT:])
    assert state.open()[0] == basket
    assert (state.customer_id, state.last_activity, state.browsed, state.merged_into) == ("c1", T0 + 9, b"four", None)
    assert [known.facts() for known in state.visits] == [Session("s1", "d1", T0, T0 + 9, 7, 1, 3, ["w", "v"], 2)]
    assert Shop().stage.decode_state(Shop().stage.encode_state(state)) == state


def test_a_tombstone_in_the_first_layout_stays_one() -> None:
    first = FirstState("c1", last_activity=5, order_mark=4, merged_into="c2")
    state = Shop().stage.decode_state(msgspec.msgpack.encode(first))
    assert (state.merged_into, state.last_activity, state.open()[0].order_mark) == ("c2", 5, 4)


def test_changes_that_waited_in_the_first_layout_still_find_their_place() -> None:
    shop = Shop().see(add("a", 5))
    state = shop.state()
    assert state is not None
    basket, waiting = state.open()
    first = FirstState("c1", version=T0 + 5, lines=basket.lines, seen=basket.seen, recent=waiting.recent, settled=Held())
    shop.states["c1"] = msgspec.msgpack.encode(first)
    assert shop.see(remove("a", 3), add("a", 4)).cart() == {"a": 2}


def test_a_click_that_had_to_be_mended_counts_as_such_by_reason() -> None:
    shop = Shop().see(track("Product Added", 0, product_id=17, price="9,50 €"), track("Product Added", 1, product_id="b", price="1.00"))
    assert shop.cart() == {"17": 1, "b": 1}
    assert [outcome for outcome in shop.outcomes if outcome[0] == "repaired"] == [
        ("repaired", "number_for_text"),
        ("repaired", "number_in_text"),
    ]


def test_a_removal_of_nothing_is_no_change() -> None:
    shop = Shop().see(add("a", 0, 3), remove("a", 1, 0))
    assert len(shop.of_kind("cart_updated")) == 1
