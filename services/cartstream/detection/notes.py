"""What shoppers and products of one partition tell each other: bodies of `Note`s on `activity`, and under which keys they live.

A shopper asks to hear of a product (`Watch`) and is answered at once (`News`); a change is told to all who asked (`News`). A product with
many watchers keeps them in pages, under keys of their own (`Spill`, `Heard`). Shoppers and what they wait for lie in the same partition,
so a note's Kafka key is always a shopper of it.
"""

from __future__ import annotations

import msgspec

from cartstream.events import topics
from cartstream.events.records import Note, Product
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Output

SERVICE = "detection"


class Change(msgspec.Struct, array_like=True, frozen=True):
    """A product from `at` on, and what it was before. None: nobody said."""

    at: EventTime
    price: float | None = None
    previous_price: float | None = None
    currency: str | None = None
    available: bool | None = None
    name: str | None = None


class Watcher(msgspec.Struct, array_like=True, frozen=True):
    """`until` when the shopper wants to hear of it."""

    customer_id: str
    until: EventTime


class Watch(msgspec.Struct, array_like=True, frozen=True, tag="watch"):
    product_id: str
    watcher: Watcher


class Spill(msgspec.Struct, array_like=True, frozen=True, tag="spill"):
    """Watchers that become a page."""

    product_id: str
    watchers: list[Watcher]


class Heard(msgspec.Struct, array_like=True, frozen=True, tag="heard"):
    """For a page: this changed."""

    product_id: str
    change: Change


class News(msgspec.Struct, array_like=True, frozen=True, tag="news"):
    """For a shopper: changes of the product in order of time. `answers`: this is all that is known, and the answer to a `Watch`."""

    product_id: str
    changes: list[Change]
    answers: bool = False


Body = Watch | Spill | Heard | News

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Body] = msgspec.msgpack.Decoder(Body)


def product_key(product_id: str) -> str:
    """No customer's id has a colon in its eighth place."""
    return f"product:{product_id}"


def page_key(product_id: str, number: int) -> str:
    return f"page:{number}:{product_id}"


def note(shopper: str, key: str, at: EventTime, body: Body) -> Output:
    """For `key`, which lies where `shopper` does."""
    return Output(topics.ACTIVITY, shopper, Note(SERVICE, key, at, _encode(body)))


def body_of(note: Note) -> Body:
    """Raises msgspec.MsgspecError."""
    return _decoder.decode(note.body)


def change_of(product: Product) -> Change:
    return Change(product.at, product.price, product.previous_price, product.currency, product.available, product.name)
