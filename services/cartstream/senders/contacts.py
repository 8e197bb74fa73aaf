"""What is known of a command's customer at the last moment: contact, guard, ledger entry, dead address. One round trip for many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
from redis.asyncio import Redis

from cartstream.events import read_model
from cartstream.events.read_model import Contact, Guard
from cartstream.events.records import Command
from cartstream.runtime.log import logger
from cartstream.senders.coalesce import Coalescer
from cartstream.senders.ledger import Ledger

T = TypeVar("T")
_HOPS = 8


@dataclass(frozen=True, slots=True)
class Standing:
    """`customer_id` is the survivor if the customer was merged. `entry` is the raw ledger value. `dead` is a reason and a hashed address.

    `order_mark` is the latest of all that were merged; `guard` is the survivor's.
    """

    customer_id: str
    contact: Contact | None
    guard: Guard | None
    order_mark: int
    entry: bytes | None
    dead: bytes | None
    lost: bool = False
    """The chain of merges is too long to follow."""
    unreadable: str | None = None
    """contact or guard, if its value is none."""


class Desk:
    """Looks customers up. Raises redis errors as they are."""

    def __init__(self, redis: Redis, prefix: str, partitions: int, ledger: Ledger) -> None:
        self._redis, self._prefix, self._partitions, self._ledger = redis, prefix, partitions, ledger
        self._asks: Coalescer[Command, Standing] = Coalescer(self._look_all)

    async def look(self, command: Command) -> Standing:
        return await self._asks(command)

    async def _look_all(self, commands: Sequence[Command]) -> Sequence[Standing]:
        standings = await self._first(commands)
        for _ in range(_HOPS):
            moved = [i for i, standing in enumerate(standings) if _next(standing)]
            if not moved:
                return standings
            for i, standing in zip(moved, await self._hop([standings[i] for i in moved]), strict=True):
                standings[i] = standing
        return [replace(standing, lost=True) if _next(standing) else standing for standing in standings]

    async def _first(self, commands: Sequence[Command]) -> list[Standing]:
        ids = [command.customer_id for command in commands]
        async with self._redis.pipeline(transaction=False) as pipe:
            self._ask_read_model(pipe, ids)
            pipe.mget([self._ledger.key(command.command_id) for command in commands])
            pipe.mget([self._ledger.dead_key(customer_id) for customer_id in ids])
            contacts, *guards, entries, dead = await pipe.execute()
        found = zip(ids, contacts, guards, entries, dead, strict=True)
        return [_standing(*row) for row in found]

    async def _hop(self, standings: Sequence[Standing]) -> list[Standing]:
        ids = [_next(standing) or "" for standing in standings]
        async with self._redis.pipeline(transaction=False) as pipe:
            self._ask_read_model(pipe, ids)
            pipe.mget([self._ledger.dead_key(customer_id) for customer_id in ids])
            contacts, *guards, dead = await pipe.execute()
        return [
            _joined(before, _standing(customer_id, contact, guard, before.entry, gone))
            for before, customer_id, contact, guard, gone in zip(standings, ids, contacts, guards, dead, strict=True)
        ]

    def _ask_read_model(self, pipe: object, ids: Sequence[str]) -> None:
        """One MGET for the contacts (one slot), a GET for each guard (slots of their own)."""
        pipe.mget([self._prefix + read_model.contact_key(customer_id) for customer_id in ids])  # type: ignore[attr-defined]
        for customer_id in ids:
            pipe.get(self._prefix + read_model.guard_key(customer_id, self._partitions))  # type: ignore[attr-defined]


def _standing(customer_id: str, contact: bytes | None, guard: bytes | None, entry: bytes | None, dead: bytes | None) -> Standing:
    reachable, bad_contact = _decoded(contact, read_model.decode_contact)
    known, bad_guard = _decoded(guard, read_model.decode_guard)
    unreadable = "contact" if bad_contact else "guard" if bad_guard else None
    if unreadable is not None:
        logger().error("an unreadable entry of the read model", kind=unreadable, customer=customer_id)
    return Standing(
        customer_id=customer_id,
        contact=reachable,
        guard=known,
        order_mark=known.order_mark if known else 0,
        entry=entry,
        dead=dead,
        unreadable=unreadable,
    )


def _decoded(raw: bytes | None, decode: Callable[[bytes], T]) -> tuple[T | None, bool]:
    """The value, and whether there was one that cannot be read."""
    try:
        return (decode(raw) if raw else None), False
    except msgspec.MsgspecError:
        return None, True


def _joined(before: Standing, after: Standing) -> Standing:
    """The loser's purchases count for the survivor; a survivor without a guard of its own has the loser's."""
    return replace(
        after,
        order_mark=max(before.order_mark, after.order_mark),
        guard=after.guard or (before.guard and Guard(before.guard.order_mark, before.guard.cart_version, before.guard.cart_empty)),
    )


def _next(standing: Standing) -> str | None:
    for entry in (standing.contact, standing.guard):
        if entry is not None and entry.merged_into and entry.merged_into != standing.customer_id:
            return entry.merged_into
    return None
