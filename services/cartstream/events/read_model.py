"""The public read model in Redis: what a sender checks at the last moment. Written by its owner, read by anyone.

| key | owner | value |
|---|---|---|
| `{identity}:node:<customer_id>` | identity | the customer in the directory: begins as `Reachable` does |
| `{identity}:contact:<customer_id>` | identity of earlier releases | msgpack `Contact`; counts while the directory's entry has none |
| `{sessions:<partition>}:h:<era>:<bucket>` | sessions | hash: states (see `runtime.state_hashes`) that begin as `Guarded` does |
| `{sessions:<partition>}:guard:<customer_id>` | sessions of earlier releases | msgpack `Guard`; counts while the state has no guard |

A customer that was merged keeps an entry whose `merged_into` names the survivor: follow it. Of one who was erased it is ERASED.
"""

from __future__ import annotations

import msgspec

from cartstream.events.placement import partition_of
from cartstream.events.times import EventTime

ERASED = ""
"""Merged into nobody."""


class Contact(msgspec.Struct, frozen=True, array_like=True):
    """How to reach a customer. `consent` has a channel only if the customer said something; without a word there is none.

    `email`, `phone` and `push` are sealed (see `runtime.vault`): plain text only inside a sender and only while sending.
    """

    consent: dict[str, bool] = {}
    email: bytes | None = None
    phone: bytes | None = None
    push: bytes | None = None
    timezone: str | None = None
    locale: str | None = None
    merged_into: str | None = None


class Guard(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a message may not contradict. Times are event times; 0 is never."""

    order_mark: EventTime = 0
    cart_version: EventTime = 0
    cart_empty: bool = True
    merged_into: str | None = None


REACHABLE = 2
"""The layout of the directory's entries that begin so: their second byte says it."""


class Reachable(msgspec.Struct, frozen=True, array_like=True, tag=REACHABLE):
    """How a customer's entry in the directory begins."""

    contact: Contact


GUARDED = 3
"""The layout of sessions states that begin so: their second byte says it."""


class Guarded(msgspec.Struct, frozen=True, array_like=True, tag=GUARDED):
    """How a sessions state begins. `guard` None: the customer has never had a cart, nor ordered."""

    customer_id: str
    guard: Guard | None = None


def node_key(customer_id: str) -> str:
    return f"{{identity}}:node:{customer_id}"


def contact_key(customer_id: str) -> str:
    return f"{{identity}}:contact:{customer_id}"


def sessions_tag(customer_id: str, partitions: int) -> str:
    """What the keys of the customer's partition begin with. `partitions` is the partition count of `clickstream.identified`."""
    return f"{{sessions:{partition_of(customer_id, partitions)}}}:"


def guard_key(customer_id: str, partitions: int) -> str:
    return f"{sessions_tag(customer_id, partitions)}guard:{customer_id}"


encode = msgspec.msgpack.Encoder().encode
decode_contact = msgspec.msgpack.Decoder(Contact).decode
decode_guard = msgspec.msgpack.Decoder(Guard).decode
_decode_reachable = msgspec.msgpack.Decoder(Reachable).decode
_decode_guarded = msgspec.msgpack.Decoder(Guarded).decode


def contact_of(entry: bytes) -> Contact:
    """Of an entry that `has_contact`. Raises msgspec.MsgspecError."""
    return _decode_reachable(entry).contact


def has_contact(entry: bytes) -> bool:
    """False for an entry of an earlier layout: its contact has a key of its own."""
    return entry[1:2] == bytes((REACHABLE,))


def guard_of(state: bytes) -> Guard | None:
    """Of a state that `has_guard`. Raises msgspec.MsgspecError."""
    return _decode_guarded(state).guard


def has_guard(state: bytes) -> bool:
    """False for a state of an earlier layout: its guard has a key of its own."""
    return state[1:2] == bytes((GUARDED,))
