"""A process that dies between the intent and the outcome."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import msgspec
import pytest

from cartstream.fakes.failures import Failure
from cartstream.senders.ledger import Entry, real_ms
from cartstream.senders.settings import SmsSettings
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


def _start_sms(stage: Stage) -> subprocess.Popen[bytes]:
    """`cartstream run sms` as its own process."""
    settings = stage.settings(SmsSettings)
    names = ("brokers", "prefix", "twilio_url", "twilio_sid", "sms_from", "sms_status_callback", "session_timeout_ms")
    environment = {f"CARTSTREAM_{name.upper()}": str(getattr(settings, name)) for name in names}
    environment |= {
        "CARTSTREAM_REDIS_URL": settings.redis_url.get_secret_value(),
        "CARTSTREAM_HASH_KEY": HASH_KEY,
        "CARTSTREAM_VAULT_KEYS": VAULT_KEYS,
    }
    code = "import sys; from cartstream.senders.service import run; sys.exit(run('sms'))"
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ | environment)
