"""Customers' entries in identity's directory: their heads say how to reach them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis

from cartstream.events import read_model
from cartstream.events.read_model import Contact
from cartstream.senders.guards import decoded


class Entries:
    """Asks for the entry alone, where most have their contact; for those that an earlier release wrote, for the contact beside it too."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis, self._prefix = redis, prefix

    def ask(self, pipe: Any, customer_ids: Sequence[str]) -> None:
        """Adds the command to a pipeline."""
        pipe.execute_command("MGET", *self._node_keys(customer_ids))

    async def answer(self, customer_ids: Sequence[str], entries: Sequence[bytes | None]) -> list[tuple[Contact | None, bool]]:
        """Of each customer that was asked about: the contact, and whether there is one that cannot be read. Raises RedisError."""
        rows = list(zip(customer_ids, entries, strict=True))
        apart = dict.fromkeys(name for name, entry in rows if entry is not None and not read_model.has_contact(entry))
        found = await self._look_apart(list(apart)) if apart else {}
        return [found[name] if name in found else decoded(entry, read_model.contact_of) for name, entry in rows]

    async def _look_apart(self, names: Sequence[str]) -> dict[str, tuple[Contact | None, bool]]:
        """Both in one command: identity moves a contact from its own key into the entry in one transaction."""
        keys = [*self._node_keys(names), *(self._prefix + read_model.contact_key(name) for name in names)]
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.execute_command("MGET", *keys)
            (values,) = await pipe.execute()
        rows = zip(names, values, values[len(names) :], strict=False)
        return {name: _contact(entry, contact) for name, entry, contact in rows}

    def _node_keys(self, customer_ids: Iterable[str]) -> list[str]:
        return [self._prefix + read_model.node_key(name) for name in customer_ids]


def _contact(entry: bytes | None, contact: bytes | None) -> tuple[Contact | None, bool]:
    if entry is None or read_model.has_contact(entry):
        return decoded(entry, read_model.contact_of)
    return decoded(contact, read_model.decode_contact) if contact is not None else (None, True)
