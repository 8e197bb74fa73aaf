"""A process that dies between the intent and the outcome."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from cartstream.events.read_model import Guard
from cartstream.fakes.failures import Failure
from cartstream.senders.ledger import Entry, Found, real_ms
from cartstream.senders.settings import SmsSettings
from tests.drills.fleet import Fleet
from tests.drills.nursery import Nursery
from tests.senders.stage import HASH_KEY, VAULT_KEYS, Stage, command, until


def _intent(stage: Stage, channel: str) -> str:
    """What a process leaves that died in its first call."""
    key = f"{stage.prefix}{{ledger:{channel}}}:{channel}-1"
    stage.redis.set(key, msgspec.msgpack.encode(Entry("intent", "dead", real_ms() - 60_000, attempts=1)))
    return key


@pytest.mark.parametrize(
    ("channel", "changes", "status", "sent"),
    [
        ("sms", {}, "ambiguous", 0),
        ("email", {}, "ambiguous", 0),
        ("email", {"email_idempotency_header": "Idempotency-Key"}, "accepted", 1),
        ("push", {}, "accepted", 1),
    ],
)
async def test_an_intent_without_an_outcome_follows_the_channels_policy(
    stage: Stage, channel: str, changes: dict[str, str], status: str, sent: int
) -> None:
    stage.create_topics(channel)
    stage.customer()
    _intent(stage, channel)
    stage.order(command(channel))

    async with stage.sending(channel, **changes):
        (delivery,) = await stage.deliveries()

    assert delivery.status == status
    assert len(stage.inbox(channel)) == sent


async def test_a_sender_killed_in_a_call_sends_no_second_sms(stage: Stage) -> None:
    stage.create_topics("sms")
    stage.customer()
    stage.fakes.failures.plan(Failure("sms", "accept_then_timeout"))
    stage.order(command("sms"))
    process = await asyncio.to_thread(_start_sms, stage)
    try:
        await until(lambda: stage.inbox("sms"))
    finally:
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)

    async with stage.sending("sms"):
        (delivery,) = await stage.deliveries()

    assert (delivery.status, delivery.reason) == ("ambiguous", "interrupted")
    assert len(stage.inbox("sms")) == 1


async def test_sigterm_lets_the_calls_under_way_end_and_commits_them(stage: Stage) -> None:
    stage.create_topics("sms")
    for n in range(30):
        stage.customer(f"c{n}")
    stage.order(*(command("sms", n, f"c{n}") for n in range(30)))
    process = await asyncio.to_thread(_start_sms, stage)
    await until(lambda: stage.inbox("sms"))
    process.send_signal(signal.SIGTERM)

    assert await asyncio.to_thread(process.wait, 60) == 0
    sent_before = {message.command_id for message in stage.inbox("sms")}
    async with stage.sending("sms"):
        deliveries = await stage.deliveries(30)

    assert len(stage.inbox("sms")) == 30
    assert sent_before <= {delivery.command_id for delivery in deliveries if delivery.status == "accepted"}


async def test_a_claim_that_is_stale_when_its_process_wakes_up_leads_to_no_call(stage: Stage, tmp_path: Path) -> None:
    async with _stopped_behind_its_claim(stage, tmp_path) as metric:
        stage.guard(Guard(order_mark=99, cart_version=7, cart_empty=True))
    (delivery,) = await stage.deliveries()

    assert (delivery.status, delivery.reason) == ("suppressed", "purchased")
    assert stage.inbox("sms") == []
    assert metric("cartstream_fenced_total") == 0


async def test_a_claim_that_another_process_has_settled_is_refused_and_leads_to_no_call(stage: Stage, tmp_path: Path) -> None:
    key = f"{stage.prefix}{{ledger:sms}}:sms-1"
    async with _stopped_behind_its_claim(stage, tmp_path) as metric:
        stage.redis.set(key, msgspec.msgpack.encode(Entry("final", "heir", real_ms(), 1, status="ambiguous", reason="interrupted")))
    (delivery,) = await stage.deliveries()

    assert (delivery.status, delivery.reason) == ("ambiguous", "interrupted")
    assert stage.inbox("sms") == []
    assert metric("cartstream_fenced_total") == 1


@asynccontextmanager
async def _stopped_behind_its_claim(stage: Stage, out: Path) -> AsyncIterator[Callable[[str], float]]:
    """A sender that has written that it is about to call, and stands still for longer than such a word is good. It goes on at the end of
    the block; what is given asks for a metric of it."""
    stage.create_topics("sms")
    stage.customer(guard=Guard(0, 7, False))
    stage.order(command("sms"))
    with Nursery() as nursery:
        fleet = Fleet(nursery, os.environ | _sms_environment(stage), out)
        fleet.start("sms", freeze_at="intent-after")
        await until(lambda: fleet.frozen("sms"))
        claim = Found.of(stage.redis.get(f"{stage.prefix}{{ledger:sms}}:sms-1")).entry  # type: ignore[arg-type]
        assert claim is not None
        assert claim.state == "intent"
        await until(lambda: real_ms() - claim.written_at > 500)
        told: dict[str, float] = {}
        yield told.__getitem__
        fleet.thaw("sms")
        await until(lambda: fleet.metric("sms", "cartstream_sends_total") == 1)
        told["cartstream_fenced_total"] = fleet.metric("sms", "cartstream_fenced_total")
        assert await asyncio.to_thread(fleet.stop, "sms") == 0


def _start_sms(stage: Stage) -> subprocess.Popen[bytes]:
    """`cartstream run sms` as its own process."""
    code = "import sys; from cartstream.senders.service import run; sys.exit(run('sms'))"
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ | _sms_environment(stage))


def _sms_environment(stage: Stage) -> dict[str, str]:
    settings = stage.settings(SmsSettings)
    names = ("brokers", "prefix", "twilio_url", "twilio_sid", "sms_from", "sms_status_callback", "session_timeout_ms", "send_settle_s")
    environment = {f"CARTSTREAM_{name.upper()}": str(getattr(settings, name)) for name in names}
    return environment | {
        "CARTSTREAM_REDIS_URL": settings.redis_url.get_secret_value(),
        "CARTSTREAM_HASH_KEY": HASH_KEY,
        "CARTSTREAM_VAULT_KEYS": VAULT_KEYS,
    }
