"""On the demo's broker, which keeps no transactional offsets: the ledger alone must keep messages single."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from cartstream.embedded import EmbeddedBroker
from cartstream.fakes.service import Fakes
from tests.senders.stage import Stage, command, until


@pytest.fixture
def demo(redis_url: str, redis: Redis, topic_prefix: str, fakes: Fakes) -> Iterator[Stage]:
    with EmbeddedBroker() as broker:
        yield Stage(broker, redis_url, redis, topic_prefix, fakes)


@pytest.mark.parametrize("channel", ["email", "sms", "push"])
async def test_messages_flow_and_a_restart_repeats_none(demo: Stage, channel: str) -> None:
    demo.create_topics(channel)
    demo.customer()
    demo.order(*(command(channel, n) for n in range(100)))

    async with demo.sending(channel, session_timeout_ms=2_000):
        assert {delivery.status for delivery in await demo.deliveries(100)} == {"accepted"}
        await until(lambda: demo.health.readiness() is None)
    demo.order(command(channel, 100))
    async with demo.sending(channel, session_timeout_ms=2_000):
        await until(lambda: len(demo.inbox(channel)) == 101)

    assert len({message.command_id for message in demo.inbox(channel)}) == 101
