"""Every case of sessions and carts that is easily got wrong, with the outcome that we chose and why: for the test and docs/sessions.md.

`python -m tests.sessions.cases` writes it into the document.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sessions.shop import MINUTE, T0, Merge, Shop, add, click, remove, track
from tests.support.case_tables import CaseTables

DOCUMENT = Path(__file__).parents[2] / "docs" / "sessions.md"
GAP, HOUR, DAY = 30 * MINUTE, 60 * MINUTE, 24 * 60 * MINUTE
LOGIN = Merge("guest", "c1", T0 + 50, "m1", "user_id")


@dataclass(frozen=True, slots=True)
class Case:
    """What is not said (None) is not looked at. `sessions` are (begin, end, events) after T0, `orders` the ids of the purchases told,
    `counted` outcomes that must be counted, `order_mark` after T0."""

    name: str
    outcome: str
    why: str
    story: Callable[[Shop], object]
    cart: dict[str, int] | None = None
    value: tuple[float, str | None] | None = None
    sessions: list[tuple[int, int, int]] | None = None
    orders: list[str | None] | None = None
    counted: tuple[tuple[str, str], ...] | None = None
    order_mark: int | None = None


def page(at: int, device: str = "d1", message: str | None = None) -> bytes:
    return click(device, at, message=message)


def order(at: int, *products: str, id: str | None = "o1", message: str | None = None, **more: Any) -> bytes:
    named = {"products": [{"product_id": product} for product in products]} if products else {}
    return track("Order Completed", at, order_id=id, message=message, **named, **more)


def refund(at: int, *products: str) -> bytes:
    """Of `o1`: in whole, or of these products."""
    return track(
        "Order Refunded", at, order_id="o1", **({"products": [{"product_id": product} for product in products]} if products else {})
    )


def snapshot(at: int, price: float | None = None, currency: str | None = None, **cart: int) -> bytes:
    products = [{"product_id": product, "quantity": quantity, "price": price} for product, quantity in cart.items()]
    return track("Cart Viewed", at, products=products, currency=currency)


def priced(product: Any, at: int, price: Any, currency: str | None = None) -> bytes:
    return track("Product Added", at, product_id=product, price=price, currency=currency)


def nameless(raw: bytes) -> bytes:
    """Without a message id."""
    before, _, rest = raw.partition(b'"messageId":"')
    return before + b'"messageId":"' + rest[rest.index(b'"') :]


BOUNDARIES = [
    Case(
        "silence of exactly 30:00",
        "one session",
        "Snowplow and GA end a session after more than that",
        lambda shop: shop.see(page(0), page(GAP)),
        sessions=[(0, GAP, 2)],
    ),
    Case(
        "a millisecond more",
        "two sessions",
        "the same rule",
        lambda shop: shop.see(page(0), page(GAP + 1)),
        sessions=[(0, 0, 1), (GAP + 1, GAP + 1, 1)],
    ),
    Case(
        "two sessions, and then an event between them that came out of order",
        "one session",
        "in event order there was no such silence",
        lambda shop: shop.see(page(0), page(2 * GAP), page(GAP)),
        sessions=[(0, 2 * GAP, 3)],
    ),
    Case(
        "midnight passes",
        "one session",
        "silence ends a session; GA4 and Snowplow do not split there either",
        lambda shop: shop.see(*(page(at) for at in range(0, 12 * HOUR, 20 * MINUTE))),
        sessions=[(0, 12 * HOUR - 20 * MINUTE, 36)],
    ),
    Case(
        "phone and laptop of one customer at once",
        "a session each",
        "a session is what one device does; the cart is the customer's",
        lambda shop: shop.see(page(0), page(5, "d2"), page(10)),
        sessions=[(0, 10, 2), (5, 5, 1)],
    ),
]

ENDLESS = [
    Case(
        "an event 24:00 after the session began, never silent for 30:00",
        "a new session",
        "24 h at most, so that nothing stays open for ever",
        lambda shop: shop.see(*(page(at) for at in range(0, DAY + 1, GAP))),
        sessions=[(0, DAY - GAP, 48), (DAY, DAY, 1)],
    ),
    Case(
        "a bot: a page every ten minutes for three days",
        "three sessions of 24 h; each is counted as endless, and no habit is learnt from it",
        "nobody shops for 24 hours; what it looked at is nobody's wish",
        lambda shop: shop.see(*(page(at) for at in range(0, 3 * DAY, 10 * MINUTE))).pass_to(4 * DAY),
        sessions=[(day * DAY, (day + 1) * DAY - 10 * MINUTE, 144) for day in range(3)],
        counted=(("session", "endless"),) * 3,
    ),
    Case(
        "a bot: 500 products looked at, 250 put into the cart",
        "the session counts all; the cart takes the first 200",
        "every list in a state has a limit",
        lambda shop: shop.see(
            *(track("Product Viewed", n, product_id=f"v{n}") for n in range(500)), *(add(f"p{n:03}", 500 + n) for n in range(250))
        ),
        cart={f"p{n:03}": 1 for n in range(200)},
        sessions=[(0, 749, 750)],
    ),
]

LATE = [
    Case(
        "events out of order, not later than the lateness",
        "as if in order",
        "they wait for the watermark",
        lambda shop: shop.see(page(20), add("a", 15), remove("a", 10), page(0)),
        cart={"a": 1},
        sessions=[(0, 20, 4)],
    ),
    Case(
        "later than the lateness, its session still open",
        "counts in the session, whose id stays",
        "others have acted on the id",
        lambda shop: shop.see(page(GAP)).pass_to(GAP + 1).see(page(5)),
        sessions=[(5, GAP, 2)],
        counted=(),
    ),
    Case(
        "its session is over",
        "neither opens nor stretches a session; counted as late",
        "what was told of a session that ended stays true",
        lambda shop: shop.see(page(0)).pass_to(3 * GAP).see(page(GAP)),
        sessions=[(0, 0, 1)],
        counted=(("record", "late"),),
    ),
    Case(
        "an add whose session is over",
        "corrects the cart all the same; counted as late",
        "a cart outlives its sessions",
        lambda shop: shop.see(add("a", 0)).pass_to(3 * GAP).see(add("b", 5)),
        cart={"a": 1, "b": 1},
        sessions=[(0, 0, 1)],
        counted=(("record", "late"),),
    ),
    Case(
        "an order that comes late",
        "takes what was in the cart by then, and stops messages",
        "what came into the cart after it was not bought",
        lambda shop: shop.see(add("a", 0), add("b", 9)).pass_to(20).see(order(5)),
        cart={"b": 1},
        orders=["o1"],
        order_mark=5,
    ),
    Case(
        "a cart view that comes late",
        "nothing",
        "a snapshot only counts when it is newer than all that is known",
        lambda shop: shop.see(add("a", 5)).pass_to(20).see(snapshot(3, b=1)),
        cart={"a": 1},
    ),
    Case(
        "an add later than the removal of its product, which came first",
        "the product stays away",
        "an older add cannot cross a removal",
        lambda shop: shop.see(remove("a", 5), add("a", 3)),
        cart={},
    ),
]

DUPLICATES = [
    Case(
        "one message twice",
        "counts once",
        "Kafka and trackers repeat",
        lambda shop: shop.see(add("a", 0, message="m"), add("a", 0, message="m")),
        cart={"a": 1},
        sessions=[(0, 0, 1)],
        counted=(("record", "duplicate"),),
    ),
    Case(
        "one message id, two contents",
        "the first to come counts",
        "the id is the sender's word that they are the same",
        lambda shop: shop.see(add("a", 0, message="m"), add("b", 1, message="m")),
        cart={"a": 1},
        counted=(("record", "duplicate"),),
    ),
    Case(
        "no message id, the same bytes twice",
        "counts once",
        "at one millisecond nobody does the same thing twice; more likely it was sent again",
        lambda shop: shop.see(nameless(add("a", 0)), nameless(add("a", 0))),
        cart={"a": 1},
        counted=(("record", "duplicate"),),
    ),
    Case(
        "no message id, a millisecond apart",
        "counts twice",
        "nothing says that they are the same",
        lambda shop: shop.see(nameless(add("a", 0)), nameless(add("a", 1))),
        cart={"a": 2},
    ),
    Case(
        "an order told by browser and server: one order id, two messages",
        "one purchase, the earlier one",
        "GA4, too, counts a transaction id once",
        lambda shop: shop.see(add("a", 0), order(9, "a", message="server"), order(5, "a", message="browser")),
        cart={},
        orders=["o1"],
        order_mark=5,
    ),
    Case(
        "an order told product by product under one order id",
        "one purchase, and all its products leave the cart",
        "that is how some shops write orders",
        lambda shop: shop.see(add("a", 0), add("b", 1), order(5, "a", message="1"), order(5, "b", message="2")),
        cart={},
        orders=["o1"],
    ),
    Case(
        "something is added before the order is told again",
        "it stays",
        "it was not there when the order was placed",
        lambda shop: shop.see(add("a", 0), order(5), add("b", 7), order(9, message="again")),
        cart={"b": 1},
        orders=["o1"],
        order_mark=5,
    ),
    Case(
        "what was bought is added once more before the order is told again with its products",
        "it stays",
        "an order told again is as old as it was",
        lambda shop: shop.see(add("a", 0), order(5, "a"), add("a", 7), order(9, "a", message="again")),
        cart={"a": 1},
        orders=["o1"],
        order_mark=5,
    ),
]

MISSING = [
    Case(
        "an add that names no product",
        "nothing comes into the cart; the event counts in the session",
        "there is nothing to remind of",
        lambda shop: shop.see(track("Product Added", 0, price=5.0)),
        cart={},
        sessions=[(0, 0, 1)],
    ),
    Case(
        "a SKU in place of a product id",
        "the SKU is the id",
        "Segment has both; one is enough",
        lambda shop: shop.see(track("Product Added", 0, sku="s"), track("Product Removed", 1, sku="s")),
        cart={},
    ),
    Case(
        "product id and SKU once, only the SKU later",
        "two products",
        "nothing else says that they are one: send the same in every event",
        lambda shop: shop.see(track("Product Added", 0, product_id="p", sku="s"), track("Product Added", 1, sku="s")),
        cart={"p": 1, "s": 1},
    ),
    Case(
        "a product id of over 256 characters",
        "as if there were none",
        "a few of those make a cart that no record can carry",
        lambda shop: shop.see(add("x" * 257, 0), add("a", 1)),
        cart={"a": 1},
    ),
    Case(
        "no quantity",
        "one",
        "Segment's default",
        lambda shop: shop.see(priced("a", 0, 5.0)),
        cart={"a": 1},
    ),
    Case(
        "a quantity of 0, or below",
        "nothing is added; below is counted as repaired",
        "an add takes nothing away: who means a removal says so",
        lambda shop: shop.see(add("a", 0, 0), add("b", 1, -3)),
        cart={},
        counted=(("repaired", "out_of_range"),),
    ),
    Case(
        "a quantity of 20,000",
        "9,999; counted as repaired",
        "a cart worth millions by a slip of the keyboard would outweigh all others",
        lambda shop: shop.see(add("a", 0, 20_000)),
        cart={"a": 9_999},
        counted=(("repaired", "out_of_range"),),
    ),
    Case(
        "no price",
        "in the cart without one; the cart's value is that of the others",
        "better a reminder without a price than none",
        lambda shop: shop.see(add("a", 0), priced("b", 1, None)),
        cart={"a": 1, "b": 1},
        value=(10.0, None),
    ),
    Case(
        "no price in a later add of the same product",
        "the price that is known stays",
        "nothing was said of it",
        lambda shop: shop.see(priced("a", 0, 7.5), priced("a", 1, None)),
        cart={"a": 2},
        value=(15.0, None),
    ),
    Case(
        "a price below 0, or beyond a thousand million",
        "as if there were none; counted as repaired",
        "no product costs that",
        lambda shop: shop.see(priced("a", 0, -5.0), priced("b", 1, 1e30)),
        cart={"a": 1, "b": 1},
        value=(0.0, None),
        counted=(("repaired", "out_of_range"),) * 2,
    ),
]

STRINGS = [
    Case(
        'a price as text, `"12.50"`',
        "read; not counted",
        "trackers do so by the million: it takes no second look",
        lambda shop: shop.see(priced("a", 0, "12.50")),
        value=(12.5, None),
        counted=(),
    ),
    Case(
        'a price as people write it, `"12,50 €"`',
        "12.50; counted as repaired",
        "there is one number in it, and one way to read it",
        lambda shop: shop.see(priced("a", 0, "12,50 €")),
        value=(12.5, None),
        counted=(("repaired", "number_in_text"),),
    ),
    Case(
        'thousands, `"1.299,00 €"`, `"$1,299.00"`, `"1,299"`',
        "1,299 each; counted as repaired",
        "of two marks the last is the decimal one; one mark before just three digits marks thousands",
        lambda shop: shop.see(priced("a", 0, "1.299,00 €"), priced("b", 1, "$1,299.00"), priced("c", 2, "1,299")),
        value=(3_897.0, None),
        counted=(("repaired", "number_in_text"),) * 3,
    ),
    Case(
        '`"1.299"`',
        "1.299; not counted",
        "it is a number as it is, and nothing says that it is not meant so",
        lambda shop: shop.see(priced("a", 0, "1.299"), priced("b", 1, 1.0)),
        value=(2.3, None),
        counted=(),
    ),
    Case(
        '`"on request"`, `"2 for 5"`, `{"amount": 5}`',
        "no price; counted as repaired",
        "a price is not guessed",
        lambda shop: shop.see(priced("a", 0, "on request"), priced("b", 1, "2 for 5"), priced("c", 2, {"amount": 5})),
        cart={"a": 1, "b": 1, "c": 1},
        value=(0.0, None),
        counted=(("repaired", "field_dropped"),) * 3,
    ),
    Case(
        "a number as product id",
        "read as text; counted as repaired",
        "shops number their products",
        lambda shop: shop.see(priced(17, 0, 5.0), remove("17", 1)),
        cart={},
        counted=(("repaired", "number_for_text"),),
    ),
]

CURRENCIES = [
    Case(
        "products in euros and in dollars in one cart",
        "the cart is in the currency of the latest price; other prices are kept, but neither told nor added up",
        "a sum over two currencies is no amount, and there are no rates here",
        lambda shop: shop.see(priced("a", 0, 100.0, "EUR"), priced("b", 1, 7.0, "USD")),
        cart={"a": 1, "b": 1},
        value=(7.0, "USD"),
    ),
    Case(
        "back to euros",
        "the first price counts again",
        "it was kept",
        lambda shop: shop.see(priced("a", 0, 100.0, "EUR"), priced("b", 1, 7.0, "USD"), priced("c", 2, 1.0, "EUR")),
        value=(101.0, "EUR"),
    ),
    Case(
        "the shop is switched to dollars, and the cart is viewed",
        "all in dollars",
        "a snapshot overwrites prices, too",
        lambda shop: shop.see(priced("a", 0, 100.0, "EUR"), snapshot(1, 110.0, "USD", a=1)),
        value=(110.0, "USD"),
    ),
    Case(
        "no currency",
        "the cart's",
        "a shop has one, and says so where it has to",
        lambda shop: shop.see(priced("a", 0, 100.0, "EUR"), priced("b", 1, 7.0)),
        value=(107.0, "EUR"),
    ),
    Case(
        "`eur`, then `EUR`",
        "one currency",
        "ISO 4217 has capitals",
        lambda shop: shop.see(priced("a", 0, 100.0, "eur"), priced("b", 1, 7.0, "EUR")),
        value=(107.0, "EUR"),
    ),
    Case(
        "an add in dollars that comes late",
        "the cart stays in euros",
        "its price is not the latest",
        lambda shop: shop.see(priced("a", 0, 100.0, "EUR"), priced("b", 9, 7.0, "EUR")).pass_to(20).see(priced("c", 5, 1.0, "USD")),
        cart={"a": 1, "b": 1, "c": 1},
        value=(107.0, "EUR"),
    ),
    Case(
        "a guest's cart in dollars joins one in euros",
        "in the currency of the account's cart; the dollar prices are kept, but not told",
        "as in any mixed cart",
        lambda shop: (
            shop.see(priced("a", 0, 5.0, "USD"), customer="guest").see(priced("b", 1, 100.0, "EUR"), customer="c1").see(LOGIN, page(60))
        ),
        cart={"a": 1, "b": 1},
        value=(100.0, "EUR"),
    ),
]

SNAPSHOTS = [
    Case(
        "adds",
        "deltas: they add up",
        "Segment, GA4",
        lambda shop: shop.see(add("a", 0), add("a", 1, 2)),
        cart={"a": 3},
    ),
    Case(
        "a cart view with products",
        "overwrites the cart",
        "it shows all there is (Segment, Snowplow's cart entity)",
        lambda shop: shop.see(add("a", 0, 5), snapshot(1, b=2)),
        cart={"b": 2},
    ),
    Case(
        "a cart view with an empty list",
        "empties it",
        "all there is, is nothing",
        lambda shop: shop.see(add("a", 0), snapshot(1)),
        cart={},
    ),
    Case(
        "a cart view without a list",
        "nothing",
        "it says nothing of what is in it",
        lambda shop: shop.see(add("a", 0), track("Cart Viewed", 1)),
        cart={"a": 1},
    ),
    Case(
        "an add from before the cart view that comes after it",
        "nothing",
        "the view had it, or had it no longer",
        lambda shop: shop.see(snapshot(5, a=1), add("b", 3)),
        cart={"a": 1},
    ),
    Case(
        "a cart view without prices",
        "the prices that are known stay",
        "nothing was said of them",
        lambda shop: shop.see(priced("a", 0, 7.5), snapshot(1, a=3)),
        cart={"a": 3},
        value=(22.5, None),
    ),
    Case(
        "a checkout that names products",
        "the cart stays as it is",
        "`buy now` checkouts name one product, and leave the others in the cart",
        lambda shop: shop.see(add("a", 0), track("Checkout Started", 1, products=[{"product_id": "b"}])),
        cart={"a": 1},
    ),
]

REMOVALS = [
    Case(
        "more than there is",
        "the product is gone; nothing is below 0",
        "the shopper does not want it",
        lambda shop: shop.see(add("a", 0, 2), remove("a", 1, 5), add("a", 2)),
        cart={"a": 1},
    ),
    Case(
        "of what is not there",
        "nothing, but an older add of it that comes later does not count",
        "out of order, it may be the removal of just that",
        lambda shop: shop.see(remove("a", 5), add("a", 3), add("b", 4)),
        cart={"b": 1},
    ),
    Case(
        "no quantity",
        "all of it",
        "the cross beside a line says none",
        lambda shop: shop.see(add("a", 0, 3), remove("a", 1)),
        cart={},
    ),
    Case(
        "a quantity of 0",
        "nothing",
        "nothing was removed",
        lambda shop: shop.see(add("a", 0, 3), remove("a", 1, 0)),
        cart={"a": 3},
    ),
    Case(
        "a quantity below 0",
        "as above 0; counted as repaired",
        "a removal of -1 is a delta with its sign",
        lambda shop: shop.see(add("a", 0, 3), remove("a", 1, -1)),
        cart={"a": 2},
        counted=(("repaired", "out_of_range"),),
    ),
]

ORDERS = [
    Case(
        "names products",
        "these leave the cart, the others stay",
        "a part of the cart can be bought, and the rest abandoned",
        lambda shop: shop.see(add("a", 0), add("b", 1), order(2, "a")),
        cart={"b": 1},
        orders=["o1"],
        order_mark=2,
    ),
    Case(
        "names none",
        "all that is in the cart by then leaves it",
        "an order without a list is one of the whole cart",
        lambda shop: shop.see(add("a", 0), add("b", 1), order(2), add("c", 3)),
        cart={"c": 1},
        orders=["o1"],
        order_mark=2,
    ),
    Case(
        "of one piece, where three are in the cart",
        "the product leaves altogether",
        "to be reminded of what one has just bought is worse than a reminder missed",
        lambda shop: shop.see(add("a", 0, 3), track("Order Completed", 1, products=[{"product_id": "a", "quantity": 1}])),
        cart={},
    ),
    Case(
        "of what is not in the cart (`buy now`)",
        "a purchase; the cart stays",
        "it stops messages all the same",
        lambda shop: shop.see(add("a", 0), order(1, "z")),
        cart={"a": 1},
        orders=["o1"],
        order_mark=1,
    ),
    Case(
        "two without an order id",
        "two purchases",
        "only their message ids tell",
        lambda shop: shop.see(order(1, id=None), order(2, id=None)),
        orders=[None, None],
    ),
    Case(
        "refunded in whole",
        "the purchase stays one, the cart as it is; no sign that the shopper is there",
        "what was sent back is not missed, and the shop's back office is not the shopper",
        lambda shop: shop.see(add("a", 0), order(1, "a"), refund(DAY)),
        cart={},
        orders=["o1"],
        order_mark=1,
        sessions=[(0, 1, 2)],
    ),
    Case(
        "refunded in part, once or piece by piece",
        "the same",
        "the products named are those sent back; none of them comes into the cart again",
        lambda shop: shop.see(add("a", 0), add("b", 1), add("c", 2), order(3, "a", "b"), refund(DAY, "a"), refund(2 * DAY, "b")),
        cart={"c": 1},
        orders=["o1"],
        order_mark=3,
        sessions=[(0, 3, 4)],
    ),
    Case(
        "refunded, of which a product lies in the cart once more",
        "it stays there",
        "that is a new wish, and no part of the order",
        lambda shop: shop.see(add("a", 0), order(1, "a"), add("a", 2), refund(3, "a")),
        cart={"a": 1},
        order_mark=1,
        sessions=[(0, 2, 3)],
    ),
    Case(
        "refunded before the cart that was left is reminded of, or after",
        "nothing changes: neither held, nor sooner, nor later",
        "the shopper has not come back; `tests/pipeline/test_refunds.py` looks at the messages",
        lambda shop: shop.see(add("a", 0), add("b", 1), order(2, "a"), refund(GAP // 2, "a")).pass_to(GAP + 3).see(refund(GAP + 4, "a")),
        cart={"b": 1},
        orders=["o1"],
        sessions=[(0, 2, 3)],
    ),
    Case(
        "cancelled",
        "the purchase stays one, the cart as it is; no sign that the shopper is there",
        "who cancels has decided: a reminder of it would be the worst message",
        lambda shop: shop.see(add("a", 0), order(1, "a")).see(track("Order Cancelled", 5, order_id="o1")),
        cart={},
        orders=["o1"],
        order_mark=1,
        sessions=[(0, 1, 2)],
    ),
    Case(
        "`Order Canceled`, `order_cancelled`, `order_refunded`",
        "the same",
        "Segment's name has two l; both spellings are written, and in snake case",
        lambda shop: shop.see(
            add("a", 0), order(1, "a"), *(track(name, 5, order_id="o1") for name in ("Order Canceled", "order_cancelled", "order_refunded"))
        ),
        cart={},
        orders=["o1"],
        order_mark=1,
        sessions=[(0, 1, 2)],
    ),
    Case(
        "cancelled or refunded before the order itself comes",
        "a purchase, at its own time",
        "back office and browser are two ways to here; that somebody bought stays true",
        lambda shop: shop.see(add("a", 0), track("Order Cancelled", 5, order_id="o1"), refund(6), order(1, "a")),
        cart={},
        orders=["o1"],
        order_mark=1,
        sessions=[(0, 1, 2)],
    ),
    Case(
        "refunded or cancelled, of which nobody has heard, or twice",
        "nothing",
        "a customer of whom nothing else is known has no session, no cart and no order by it",
        lambda shop: shop.see(refund(0, "a"), refund(0, "a"), track("Order Cancelled", 5, order_id="o9")),
        cart={},
        orders=[],
        sessions=[],
        counted=(),
    ),
    Case(
        "cancelled, and the product put into the cart again",
        "a cart like any other",
        "that is a new wish",
        lambda shop: shop.see(add("a", 0), order(1, "a"), track("Order Cancelled", 5, order_id="o1"), add("a", 9)),
        cart={"a": 1},
        order_mark=1,
    ),
    Case(
        "with a total that is no amount",
        "a purchase without a value",
        "that somebody bought matters more than for how much",
        lambda shop: shop.see(order(0, total="nan")),
        orders=["o1"],
    ),
]

GUESTS = [
    Case(
        "a guest with a cart logs in to an account without one",
        "the cart is the account's, the session goes on",
        "it is the same person",
        lambda shop: shop.see(add("a", 0), customer="guest").see(LOGIN, page(60)),
        cart={"a": 1},
        sessions=[(0, 60, 2)],
    ),
    Case(
        "both have the product",
        "the larger quantity",
        "safe to repeat; a sum would grow with each login (commercetools does the same)",
        lambda shop: shop.see(add("a", 0, 3), customer="guest").see(add("a", 1, 2), LOGIN),
        cart={"a": 3},
    ),
    Case(
        "the account has removed it since",
        "it stays away",
        "the later word counts",
        lambda shop: shop.see(add("a", 0), customer="guest").see(remove("a", 5), LOGIN),
        cart={},
    ),
    Case(
        "the account has bought since",
        "what was bought leaves the guest's cart, too",
        "a purchase on the phone ends the laptop's cart",
        lambda shop: shop.see(add("a", 0), add("b", 1), customer="guest").see(order(5, "a"), LOGIN),
        cart={"b": 1},
        order_mark=5,
    ),
    Case(
        "the login is told twice",
        "nothing more",
        "the guest's state has gone, what is left forwards",
        lambda shop: shop.see(add("a", 0, 2), customer="guest").see(LOGIN, LOGIN),
        cart={"a": 2},
    ),
    Case(
        "an event of the guest that comes after the login",
        "is the account's",
        "it is forwarded",
        lambda shop: shop.see(page(0), customer="guest").see(LOGIN).see(add("a", 40), customer="guest"),
        cart={"a": 1},
        sessions=[(0, 40, 2)],
    ),
]

TABS = [
    Case(
        "pages in turns",
        "one session",
        "a session is a device's, not a tab's (as with Snowplow's cookie)",
        lambda shop: shop.see(page(0, message="t1"), page(3, message="t2"), page(5, message="t1b")),
        sessions=[(0, 5, 3)],
    ),
    Case(
        "an add in each at the same millisecond",
        "both count",
        "two messages are two adds",
        lambda shop: shop.see(add("a", 0, message="t1"), add("a", 0, message="t2")),
        cart={"a": 2},
    ),
    Case(
        "the cart viewed in one, sent only after an add in the other",
        "the add stays",
        "by event time the view was first",
        lambda shop: shop.see(add("a", 0), add("b", 9), snapshot(5, a=1)),
        cart={"a": 1, "b": 1},
    ),
    Case(
        "bought in one, while the other adds",
        "what was added after the order stays",
        "by event time it was not in the order",
        lambda shop: shop.see(add("a", 0), add("b", 9), order(5)),
        cart={"b": 1},
        order_mark=5,
    ),
]

TABLES: dict[str, list[Case]] = {
    "Where a session ends": BOUNDARIES,
    "Bots and endless sessions": ENDLESS,
    "Late and out of order": LATE,
    "Duplicates": DUPLICATES,
    "Missing products, quantities and prices": MISSING,
    "Prices and ids of the wrong kind": STRINGS,
    "Currencies": CURRENCIES,
    "Snapshots and deltas": SNAPSHOTS,
    "Removals": REMOVALS,
    "Orders, refunds, cancellations": ORDERS,
    "Guest, then login": GUESTS,
    "Two tabs": TABS,
}

DOCUMENTED = CaseTables(DOCUMENT, TABLES)

if __name__ == "__main__":
    DOCUMENTED.write()
