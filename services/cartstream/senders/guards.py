"""Customers' guards: the heads of their sessions states, where the sessions service keeps them (see `runtime.state_hashes`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from redis.asyncio import Redis

from cartstream.events import read_model
from cartstream.events.read_model import Guard
from cartstream.runtime import state_hashes
from cartstream.runtime.store import Checkpoint

T = TypeVar("T")
_decode_checkpoint = msgspec.msgpack.Decoder(Checkpoint).decode


def decoded(raw: bytes | None, decode: Callable[[bytes], T | None]) -> tuple[T | None, bool]:
    """The value, and whether there was one that cannot be read."""
    try:
        return (decode(raw) if raw else None), False
    except msgspec.MsgspecError:
        return None, True


class Guards:
    """Asks where a state was last written, which is where most are; for the few that are not there, wherever else they may be."""

    def __init__(self, redis: Redis, prefix: str, partitions: int) -> None:
        self._redis, self._prefix, self._partitions = redis, prefix, partitions
        self._eras: dict[str, int] = {}

    def ask(self, pipe: Any, customer_ids: Sequence[str]) -> None:
        """Adds the commands to a pipeline."""
        tags = [self._tag(name) for name in customer_ids]
        for name, tag in zip(customer_ids, tags, strict=True):
            pipe.execute_command("HGET", *state_hashes.place(tag, self._eras.get(tag, 0), name))
        _ask_metas(pipe, tags)

    async def answer(self, customer_ids: Sequence[str], answers: Sequence[Any]) -> list[tuple[Guard | None, bool]]:
        """Of each customer that was asked about: the guard, and whether there is one that cannot be read. Raises RedisError."""
        tags = [self._tag(name) for name in customer_ids]
        moved = self._learn(tags, answers[len(tags) :])
        states = {name: _guarded(name, raw) for name, raw in zip(customer_ids, answers, strict=False)}
        missing = [name for name, tag in zip(customer_ids, tags, strict=True) if tag in moved or states[name] is None]
        found = {name: decoded(state, read_model.guard_of) for name, state in states.items() if state is not None}
        if missing:
            found |= await self._look_everywhere(dict.fromkeys(missing))
        return [found[name] for name in customer_ids]

    async def _look_everywhere(self, customer_ids: Iterable[str]) -> dict[str, tuple[Guard | None, bool]]:
        """What is kept only moves on: from a key of its own into the state, from one era's hash to the next. So the older place is asked
        first, and how far the eras are, last: whatever moves meanwhile is seen."""
        names = list(customer_ids)
        tags = [self._tag(name) for name in names]
        while True:
            async with self._redis.pipeline(transaction=False) as pipe:
                for name, tag in zip(names, tags, strict=True):
                    pipe.execute_command("GET", self._prefix + read_model.guard_key(name, self._partitions))
                    for era in (self._eras.get(tag, 0) - 1, self._eras.get(tag, 0)):
                        pipe.execute_command("HGET", *state_hashes.place(tag, era, name))
                _ask_metas(pipe, tags)
                answers = await pipe.execute()
            if not self._learn(tags, answers[3 * len(names) :]):
                return {name: _newest(name, *answers[3 * place : 3 * place + 3]) for place, name in enumerate(names)}

    def _learn(self, tags: Iterable[str], metas: Sequence[bytes | None]) -> set[str]:
        """The partitions whose era turns out to be another than was known."""
        moved = set()
        for tag, meta in zip(dict.fromkeys(tags), metas, strict=True):
            era = _decode_checkpoint(meta).era if meta else self._eras.get(tag, 0)
            if era != self._eras.get(tag, 0):
                self._eras[tag] = era
                moved.add(tag)
        return moved

    def _tag(self, customer_id: str) -> str:
        return self._prefix + read_model.sessions_tag(customer_id, self._partitions)


def _ask_metas(pipe: Any, tags: Iterable[str]) -> None:
    for tag in dict.fromkeys(tags):
        pipe.execute_command("GET", f"{tag}meta")


def _guarded(customer_id: str, raw: bytes | None) -> bytes | None:
    """The state, if it is one with a guard."""
    state = None if raw is None else state_hashes.whole(customer_id, raw)
    return state if state is not None and read_model.has_guard(state) else None


def _newest(customer_id: str, own: bytes | None, before: bytes | None, now: bytes | None) -> tuple[Guard | None, bool]:
    state = _guarded(customer_id, now) or _guarded(customer_id, before)
    return decoded(own, read_model.decode_guard) if state is None else decoded(state, read_model.guard_of)
