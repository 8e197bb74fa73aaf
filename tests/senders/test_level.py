"""A sender does not judge by what Redis knew before it went back in time."""

from __future__ import annotations

from pathlib import Path

import msgspec
from confluent_kafka import Consumer, TopicPartition
from redis import Redis

from cartstream.embedded.redis import EmbeddedRedis
from cartstream.events import topics
from cartstream.events.read_model import Guard
from cartstream.fakes.service import Fakes
from cartstream.runtime.store import Checkpoint
from cartstream.senders.ledger import Entry, Ledger, Swap
from cartstream.senders.service import connect
from cartstream.senders.settings import SmsSettings
from tests.senders.stage import Stage, command, until
from tests.support import RealKafka


def commit(kafka: RealKafka, stage: Stage, service: str, topic: str, offset: int) -> None:
    kafka.create_topics({stage.prefix + topic: 1})
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": f"{stage.prefix}cartstream.{service}"})
    consumer.commit(offsets=[TopicPartition(stage.prefix + topic, 0, offset)], asynchronous=False)
    consumer.close()


def store(stage: Stage, service: str, offset: int) -> None:
    stage.redis.set(f"{stage.prefix}{{{service}:0}}:meta", msgspec.msgpack.encode(Checkpoint(1, 1, offset)))


async def test_a_customer_whom_redis_has_forgotten_is_waited_for(stage: Stage, kafka: RealKafka) -> None:
    """Identity wrote the contact, then the command was made, then Redis lost its tail: identity does it again."""
    stage.create_topics("sms")
    commit(kafka, stage, "identity", topics.CLICKSTREAM, 10)
    store(stage, "identity", 7)
    stage.order(command("sms"))

    async with stage.sending("sms"):
        await until(lambda: "identity has done 10 of partition 0, Redis knows of 7" in (stage.health.readiness() or ""), "the reason")
        stage.customer(guard=Guard(0, 7, False))
        store(stage, "identity", 10)
        (delivery,) = await stage.deliveries()
        await until(lambda: stage.health.readiness() is None, "readiness")

    assert (delivery.status, delivery.reason) == ("accepted", None)


async def test_a_redis_that_goes_back_while_a_sender_runs_is_noticed(
    kafka: RealKafka, topic_prefix: str, fakes: Fakes, tmp_path: Path
) -> None:
    with EmbeddedRedis(directory=tmp_path, append_only=True) as before:
        stage = Stage(kafka, before.url, Redis.from_url(before.url), topic_prefix, fakes)
        stage.create_topics("sms")
        commit(kafka, stage, "sessions", topics.IDENTIFIED, 10)
        store(stage, "sessions", 10)
        stage.customer(guard=Guard(0, 7, False))
        async with stage.sending("sms"):
            stage.order(command("sms", 1))
            await stage.deliveries(1)
            store(stage, "sessions", 8)
            port = int(before.url.rpartition(":")[2].partition("/")[0])
            before.__exit__(None, None, None)
            with EmbeddedRedis(directory=tmp_path, append_only=True, port=port):
                stage.order(command("sms", 2))
                await until(lambda: "sessions has done 10" in (stage.health.readiness() or ""), "the reason")
                stage.guard(Guard(order_mark=99, cart_version=7, cart_empty=True))
                store(stage, "sessions", 10)
                deliveries = await stage.deliveries(2)

    assert [(delivery.status, delivery.reason) for delivery in deliveries] == [("accepted", None), ("suppressed", "purchased")]


async def test_what_is_known_of_a_call_outlasts_a_ledger_that_forgot_it(stage: Stage) -> None:
    """Else the end of a call would be taken for somebody else's doing, and the call made again."""
    redis = connect(stage.settings(SmsSettings))
    ledger = Ledger(redis, stage.prefix, "sms")
    claimed = await ledger.swap(Swap("c", None, Entry("intent", "one", 1), 60))
    assert claimed is not None
    await redis.delete(ledger.key("c"))
    ended = await ledger.swap(Swap("c", claimed.raw, Entry("final", "two", 2, status="ambiguous"), 60))
    other = await ledger.swap(Swap("c", claimed.raw, Entry("final", "three", 3), 60))
    await redis.aclose()

    assert ended is not None
    assert other is None
