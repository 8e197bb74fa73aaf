"""The ledger's compare-and-set and the shared rate limit, on a real Redis."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from cartstream.runtime.health import Health
from cartstream.senders.contacts import Desk
from cartstream.senders.ledger import Entry, Ledger, Swap
from cartstream.senders.level import Level
from cartstream.senders.limits import Gate, Limiter
from cartstream.senders.readiness import Readiness, insist
from tests.senders.stage import command
from tests.support import RealKafka


def _entry(token: str, state: str = "intent", status: str = "") -> Entry:
    return Entry(state, token, 1, status=status)  # type: ignore[arg-type]


async def test_of_many_claims_one_wins(client: Redis) -> None:
    ledgers = [Ledger(client, "p.", "sms") for _ in range(5)]
    claims = [ledger.swap(Swap("c1", None, _entry(f"t{n}"), 60)) for n, ledger in enumerate(ledgers)]

    won = await asyncio.gather(*claims)

    assert sum(found is not None for found in won) == 1


async def test_a_claim_repeated_after_a_lost_answer_is_still_ones_own(client: Redis) -> None:
    ledger = Ledger(client, "p.", "sms")
    claim = Swap("c1", None, _entry("mine"), 60)

    assert await ledger.swap(claim) == await ledger.swap(claim) != None  # noqa: E711


async def test_an_entry_changed_by_somebody_else_is_left_alone_unless_forced(client: Redis) -> None:
    ledger = Ledger(client, "p.", "sms")
    mine = await ledger.swap(Swap("c1", None, _entry("mine"), 60))
    assert mine is not None
    theirs = await ledger.swap(Swap("c1", mine.raw, _entry("theirs"), 60))
    assert theirs is not None

    assert await ledger.swap(Swap("c1", mine.raw, _entry("mine", "final", "expired"), 60)) is None
    assert await client.get("p.{ledger:sms}:c1") == theirs.raw
    accepted = await ledger.swap(Swap("c1", mine.raw, _entry("mine", "final", "accepted"), 60, force=True))
    assert accepted is not None
    assert await client.get("p.{ledger:sms}:c1") == accepted.raw
    assert 0 < await client.ttl("p.{ledger:sms}:c1") <= 60


async def test_a_bucket_is_shared_and_who_comes_later_waits_longer(client: Redis) -> None:
    one, other = Limiter(client, "bucket", 10), Limiter(client, "bucket", 10)

    assert await one.take(10) == 0
    first, second = await one.take(5), await other.take(5)

    assert 0.3 < first <= 0.5
    assert 0.8 < second <= 1.0


async def test_no_rate_is_no_limit(client: Redis) -> None:
    assert await Limiter(client, "bucket", 0).take(1_000_000) == 0
    assert not await client.exists("bucket")


async def test_a_pause_closes_the_gate_of_every_process_at_its_next_look_and_is_not_made_shorter(client: Redis, kafka: RealKafka) -> None:
    limiter, gate = Limiter(client, "p.{limit:push}", 0), Gate()
    level = Level(client, kafka.address, "p.")
    desk = Desk(client, "p.", 4, Ledger(client, "p.", "push"), level, limiter.pause_key, gate)
    await insist("redis", Readiness(Health()), lambda: desk.look(command("push")))
    assert not gate.closed

    await limiter.pause(30)
    await limiter.pause(1)
    await desk.look(command("push"))

    assert 20 < gate.wait_s() <= 30


async def test_a_halted_gate_lets_one_try_at_a_time() -> None:
    gate = Gate()
    gate.halt(0)

    assert gate.wait_s() == 0
    assert gate.wait_s() > 0
    gate.released()
    assert gate.wait_s() == 0
    gate.answered()
    assert gate.wait_s() == gate.wait_s() == 0
