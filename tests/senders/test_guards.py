"""A guard is found wherever the sessions service, of this release or of one before, has put it."""

from __future__ import annotations

import time

import msgspec
import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from cartstream.events import read_model
from cartstream.events.placement import partition_of
from cartstream.events.read_model import Guard
from cartstream.runtime import state_hashes
from cartstream.runtime.redis_store import RedisStore
from cartstream.runtime.store import Batch, Checkpoint
from cartstream.senders.guards import Guards
from cartstream.sessions import layouts
from cartstream.sessions.state import CustomerState
from tests.support.guards import ERA, keep_guard

PARTITIONS, PREFIX = 3, "p."
ADA, BOB = "c_0123456789abcdef01234567", "bob"
OLD, NEW = Guard(5, 5, True), Guard(9, 9, False)


async def look(guards: Guards, redis: Redis, *names: str) -> list[tuple[Guard | None, bool]]:
    async with redis.pipeline(transaction=False) as pipe:
        guards.ask(pipe, names)
        answers = await pipe.execute()
    return await guards.answer(names, answers)


async def test_nobody_has_a_guard_before_the_service_has_written_one(client: Redis) -> None:
    assert await look(Guards(client, PREFIX, PARTITIONS), client, ADA, BOB) == [(None, False), (None, False)]


async def test_what_the_service_writes_is_read_at_once_and_after_an_era(client: Redis, redis: SyncRedis) -> None:
    guards, present, ttl_s = Guards(client, PREFIX, PARTITIONS), time.time(), 1_000
    number = partition_of(ADA, PARTITIONS)
    store = RedisStore(redis, PREFIX, "sessions", ttl_s, lambda: present)
    for sequence, guard in enumerate((None, OLD, NEW), 1):
        state = layouts.encode_state(CustomerState(ADA, guard, last_activity=7))
        store.commit(number, Batch(Checkpoint(sequence), {ADA: state}, [], []))
        assert await look(guards, client, ADA, ADA) == [(guard, False)] * 2
        present += ttl_s

    store.commit(number, Batch(Checkpoint(4), {}, [], []))
    assert await look(guards, client, ADA) == [(NEW, False)], "it lies in the era before"


async def test_a_guard_with_a_key_of_its_own_counts_until_the_state_has_one(client: Redis, redis: SyncRedis) -> None:
    guards = Guards(client, PREFIX, PARTITIONS)
    redis.set(PREFIX + read_model.guard_key(ADA, PARTITIONS), read_model.encode(OLD))
    assert await look(guards, client, ADA, BOB) == [(OLD, False), (None, False)]

    keep_guard(redis, PREFIX, PARTITIONS, ADA, None)
    name, field = state_hashes.place(PREFIX + read_model.sessions_tag(ADA, PARTITIONS), ERA, ADA)
    redis.hset(name, field, msgspec.msgpack.encode(layouts.SecondState(ADA)))
    assert await look(guards, client, ADA) == [(OLD, False)]

    keep_guard(redis, PREFIX, PARTITIONS, ADA, NEW)
    assert await look(guards, client, ADA) == [(NEW, False)]
    keep_guard(redis, PREFIX, PARTITIONS, ADA, None)
    assert await look(guards, client, ADA) == [(None, False)]


@pytest.mark.parametrize("state", [b"\x93\x03\xa3bob\x01", b"\x92\x03"])
async def test_a_state_that_cannot_be_read_is_told_from_none(client: Redis, redis: SyncRedis, state: bytes) -> None:
    keep_guard(redis, PREFIX, PARTITIONS, BOB, NEW)
    redis.hset(*state_hashes.place(PREFIX + read_model.sessions_tag(BOB, PARTITIONS), ERA, BOB), state)

    assert await look(Guards(client, PREFIX, PARTITIONS), client, BOB) == [(None, True)]
