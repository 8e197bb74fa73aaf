"""A contact is found wherever identity, of this release or of one before, has put it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from cartstream.events import read_model
from cartstream.events.read_model import ERASED, Contact
from cartstream.events.records import Identifier
from cartstream.identity.layouts import encode_node
from cartstream.identity.nodes import Node
from cartstream.senders.entries import Entries
from tests.support.contacts import keep_contact

PREFIX = "p."
ADA = Contact({"email": True, "sms": False}, b"sealed", None, b"sealed too", "Europe/Berlin", "de")
NODE = Node("ada", 5, [Identifier("user_id", "ada")], timezone="Europe/Berlin", locale="de")
NODE.consent = {"email": (True, 7), "sms": (False, 8)}
NODE.contacts = {"push": (b"sealed too", 6), "email": (b"sealed", 7)}


async def look(client: Redis, *names: str) -> Sequence[tuple[Contact | None, bool]]:
    entries = Entries(client, PREFIX)
    async with client.pipeline(transaction=False) as pipe:
        entries.ask(pipe, names)
        (answer,) = await pipe.execute()
    return await entries.answer(names, answer)


async def test_what_identity_writes_is_read(client: Redis, redis: SyncRedis) -> None:
    redis.set(PREFIX + read_model.node_key("ada"), encode_node(NODE))
    assert await look(client, "ada", "bob", "ada") == [(ADA, False), (None, False), (ADA, False)]


async def test_a_contact_with_a_key_of_its_own_counts_until_the_entry_has_one(client: Redis, redis: SyncRedis) -> None:
    redis.set(PREFIX + read_model.node_key("ada"), msgspec.msgpack.encode(NODE))
    redis.set(PREFIX + read_model.contact_key("ada"), read_model.encode(ADA))
    keep_contact(redis, PREFIX, "bob", Contact(merged_into="ada"))
    assert await look(client, "bob", "ada") == [(Contact(merged_into="ada"), False), (ADA, False)]

    keep_contact(redis, PREFIX, "ada", Contact(merged_into=ERASED))
    assert await look(client, "ada") == [(Contact(merged_into=ERASED), False)]


async def test_an_entry_that_moves_between_two_looks_is_read_where_it_is_then(client: Redis, redis: SyncRedis) -> None:
    redis.set(PREFIX + read_model.node_key("ada"), encode_node(NODE))
    assert await Entries(client, PREFIX).answer(["ada", "ada"], [msgspec.msgpack.encode(NODE)] * 2) == [(ADA, False)] * 2
    assert await Entries(client, PREFIX).answer(["bob"], [msgspec.msgpack.encode(NODE)]) == [(None, False)]


@pytest.mark.parametrize("entry", [b"\x92\x02\x05", b"\x92\x02", b"\xc1 not msgpack", msgspec.msgpack.encode(NODE)])
async def test_an_entry_that_cannot_be_read_is_told_from_none(client: Redis, redis: SyncRedis, entry: bytes) -> None:
    redis.set(PREFIX + read_model.node_key("ada"), entry)
    assert await look(client, "ada") == [(None, True)]


async def test_a_contact_of_its_own_that_cannot_be_read_is_told_from_none(client: Redis, redis: SyncRedis) -> None:
    redis.set(PREFIX + read_model.node_key("ada"), msgspec.msgpack.encode(NODE))
    redis.set(PREFIX + read_model.contact_key("ada"), b"\xc1")
    assert await look(client, "ada") == [(None, True)]
