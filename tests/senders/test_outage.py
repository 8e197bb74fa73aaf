"""A broker that goes away while messages are being sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from cartstream.fakes.failures import Failure
from tests.senders.stage import Stage, command, until
from tests.support import Missing, RealKafka


@pytest.fixture
def kafka() -> Iterator[RealKafka]:
    """One of this test's own: what it stops, no other test may stand on."""
    try:
        with RealKafka() as own:
            yield own
    except Missing as missing:
        pytest.skip(str(missing))


async def test_what_was_sent_while_the_broker_was_away_is_told_when_it_is_back(stage: Stage, kafka: RealKafka) -> None:
    if not kafka.pids:
        pytest.skip("this Kafka is no process that the test may stop")
    stage.create_topics("sms")
    stage.customer()
    stage.fakes.failures.plan(Failure("sms", "503", times=0))
    stage.order(*(command("sms", n) for n in range(20)))

    async with stage.sending("sms", transaction_timeout_ms=3_000, session_timeout_ms=45_000, send_backoff_max_s=0.5):
        retried = {"channel": "sms", "reason": "transient"}
        await until(lambda: (stage.registry.get_sample_value("cartstream_send_retries_total", retried) or 0) >= 20)
        await asyncio.to_thread(kafka.stop)
        stage.fakes.failures.clear()
        await until(lambda: len(stage.inbox("sms")) == 20)
        await until(lambda: "kafka" in (stage.health.readiness() or ""))
        await asyncio.to_thread(kafka.restart)
        deliveries = await stage.deliveries(20)
        await until(lambda: stage.health.readiness() is None)

    assert {delivery.status for delivery in deliveries} == {"accepted"}
    assert len(stage.inbox("sms")) == 20
