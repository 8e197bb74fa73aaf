"""What is known at the last moment: contact, guard, ledger entry, dead address, and whether to call at all. One round trip for many."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

import msgspec
from msgspec.structs import replace
from redis.asyncio import Redis

from cartstream.events.read_model import Contact, Guard
from cartstream.events.records import Command
from cartstream.runtime.log import logger
from cartstream.senders.coalesce import Coalescer
from cartstream.senders.entries import Entries
from cartstream.senders.guards import Guards
from cartstream.senders.ledger import Ledger
from cartstream.senders.level import Level
from cartstream.senders.limits import Gate

_HOPS = 8
_Values = list[bytes | None]
_Contact = tuple[Contact | None, bool]
_Guard = tuple[Guard | None, bool]


class Standing(msgspec.Struct, frozen=True):
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
    """Looks customers up, once Redis is `level` with what has been decided. Raises Unavailable, and redis errors as they are.

    Closes `gate` while `pause_key` lives: the provider has told some process of the channel to wait.
    """

    def __init__(self, redis: Redis, prefix: str, partitions: int, ledger: Ledger, level: Level, pause_key: str, gate: Gate) -> None:
        self._redis, self._prefix, self._ledger, self._level = redis, prefix, ledger, level
        self._entries = Entries(redis, prefix)
        self._guards = Guards(redis, prefix, partitions)
        self._pause_key, self._gate = pause_key, gate
        self._asks: Coalescer[Command, Standing] = Coalescer(self._look_all)

    def look(self, command: Command) -> Awaitable[Standing]:
        return self._asks(command)

    async def _look_all(self, commands: Sequence[Command]) -> Sequence[Standing]:
        standings = await self._look_level(commands)
        for _ in range(_HOPS):
            moved = [i for i, standing in enumerate(standings) if _next(standing)]
            if not moved:
                return standings
            for i, standing in zip(moved, await self._hop([standings[i] for i in moved]), strict=True):
                standings[i] = standing
        return [replace(standing, lost=True) if _next(standing) else standing for standing in standings]

    async def _look_level(self, commands: Sequence[Command]) -> list[Standing]:
        while True:
            await self._level.confirm()
            standings = await self._first(commands)
            if not self._level.in_doubt:
                return standings

    async def _first(self, commands: Sequence[Command]) -> list[Standing]:
        ids = [command.customer_id for command in commands]
        entries, dead = [self._ledger.key(command.command_id) for command in commands], [self._ledger.dead_key(name) for name in ids]
        (contacts, guards), (entry, gone) = await self._ask(ids, entries, dead)
        return [_standing(*row) for row in zip(ids, contacts, guards, entry, gone, strict=True)]

    async def _hop(self, standings: Sequence[Standing]) -> list[Standing]:
        ids = [_next(standing) or "" for standing in standings]
        (contacts, guards), (dead,) = await self._ask(ids, [self._ledger.dead_key(name) for name in ids])
        return [
            _joined(before, _standing(customer_id, contact, guard, before.entry, gone))
            for before, customer_id, contact, guard, gone in zip(standings, ids, contacts, guards, dead, strict=True)
        ]

    async def _ask(self, ids: Sequence[str], *ledger: list[str]) -> tuple[tuple[list[_Contact], list[_Guard]], list[_Values]]:
        """Contacts and guards of customers, and the ledger's keys, in one round trip; one more for each of the two if any is
        not where most are."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.execute_command("PTTL", self._pause_key)
            self._entries.ask(pipe, ids)
            for named in ledger:
                pipe.execute_command("MGET", *named)
            self._guards.ask(pipe, ids)
            pause_ms, entries, *found = await pipe.execute()
        if pause_ms > 0:
            self._gate.close_for(pause_ms / 1000)
        contacts = await self._entries.answer(ids, entries)
        guards = await self._guards.answer(ids, found[len(ledger) :])
        return (contacts, guards), found[: len(ledger)]


def _standing(customer_id: str, contact: _Contact, guard: _Guard, entry: bytes | None, dead: bytes | None) -> Standing:
    reachable, bad_contact = contact
    known, bad_guard = guard
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
