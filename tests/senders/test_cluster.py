"""A sender on a Redis Cluster: contact, guard and ledger of one command lie on different servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cartstream.events.read_model import Guard
from cartstream.fakes.service import Fakes
from cartstream.runtime.redis_store import connect
from tests.senders.stage import Stage, command, until
from tests.support import Missing, RealKafka, RealRedisCluster


@pytest.fixture
async def stage(kafka: RealKafka, cluster_url: str, topic_prefix: str, fakes: Fakes) -> AsyncIterator[Stage]:
    with connect(cluster_url) as client:
        yield Stage(kafka, cluster_url, client, topic_prefix, fakes)


async def test_commands_of_many_customers_are_judged_sent_and_limited(stage: Stage) -> None:
    stage.create_topics("sms")
    for number in range(20):
        stage.customer(f"c{number}", guard=Guard(order_mark=0, cart_version=7, cart_empty=number == 3))
    stage.customer("merged", merged_into="c5")
    stage.customer("silent", consent={})
    named = [f"c{number}" for number in range(20)] + ["merged", "silent"]
    stage.order(*(command("sms", number, customer) for number, customer in enumerate(named)))

    async with stage.sending("sms", sms_rate=1_000.0):
        deliveries = await stage.deliveries(len(named))

    told = {delivery.command_id: (delivery.status, delivery.reason) for delivery in deliveries}
    assert told["sms-3"] == ("suppressed", "cart_empty")
    assert told["sms-21"] == ("suppressed", "no_consent")
    assert {told[f"sms-{number}"] for number in range(21) if number != 3} == {("accepted", None)}
    assert len(stage.inbox("sms")) == 20


async def test_a_command_that_comes_twice_is_sent_once(stage: Stage) -> None:
    stage.create_topics("sms")
    stage.customer()
    stage.order(command("sms"), command("sms"))

    async with stage.sending("sms"):
        first, second = await stage.deliveries(2)

    assert first == second
    assert len(stage.inbox("sms")) == 1


async def test_a_sender_goes_on_after_a_fail_over(kafka: RealKafka, topic_prefix: str, fakes: Fakes) -> None:
    try:
        with RealRedisCluster() as cluster, connect(cluster.url) as client:
            stage = Stage(kafka, cluster.url, client, topic_prefix, fakes)
            stage.create_topics("sms")
            stage.customer()
            async with stage.sending("sms"):
                stage.order(command("sms", 1))
                await stage.deliveries(1)
                await asyncio.to_thread(cluster.kill, cluster.primary_of(f"{topic_prefix}{{ledger:sms}}:sms-1"))
                stage.order(command("sms", 1), *(command("sms", number) for number in range(2, 12)))
                deliveries = await stage.deliveries(12)
                await until(lambda: stage.health.readiness() is None, "readiness")
    except Missing as missing:
        pytest.skip(str(missing))

    assert {delivery.status for delivery in deliveries} == {"accepted"}
    assert sorted(message.command_id for message in stage.inbox("sms")) == sorted(f"sms-{number}" for number in range(1, 12))
