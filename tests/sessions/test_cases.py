"""The cases of docs/sessions.md: each comes out as it says, and the document has them all."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.sessions.cases import DOCUMENTED, TABLES, Case
from tests.sessions.shop import T0, Shop

CASES = [pytest.param(case, id=f"{title}: {case.name}") for title, cases in TABLES.items() for case in cases]


@pytest.mark.parametrize("case", CASES)
def test_each_case_comes_out_as_the_document_says(case: Case) -> None:
    shop = Shop()
    case.story(shop)
    if case.cart is not None:
        assert shop.cart() == case.cart
    if case.value is not None:
        assert value(shop) == case.value
    if case.order_mark is not None:
        assert shop.guards["c1"].order_mark == T0 + case.order_mark
    if case.counted is not None:
        assert Counter(one for one in shop.outcomes if one != ("cart", "corrected")) == Counter(case.counted)
    if case.orders is not None:
        assert orders(shop) == case.orders
    if case.sessions is not None:
        assert shop.end().sessions() == case.sessions


def value(shop: Shop) -> tuple[float, str | None]:
    cart = shop.of_kind("cart_updated")[-1].cart
    assert cart is not None
    return cart.value, cart.currency


def orders(shop: Shop) -> list[str | None]:
    """What was told last of each activity counts."""
    told = {one.id: one for one in shop.activities}
    return [one.order.order_id for one in told.values() if one.kind == "order_placed" and one.order]


@pytest.mark.parametrize("case", CASES)
def test_each_case_looks_at_something(case: Case) -> None:
    looked_at = (case.cart, case.value, case.sessions, case.orders, case.counted, case.order_mark)
    assert any(expected is not None for expected in looked_at)


def test_the_document_has_every_case() -> None:
    """`python -m tests.sessions.cases` writes them."""
    assert DOCUMENTED.documented() == DOCUMENTED.rendered()
