"""Transactions whose calls do not come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from cartstream.embedded.child import free_port
from cartstream.errors import Unavailable
from cartstream.runtime import teller as telling
from cartstream.runtime.kafka import consumer_config
from cartstream.runtime.publisher import Publisher
from cartstream.runtime.settings import StageSettings
from cartstream.runtime.store import Wire
from tests.runtime.live import Place, running, until
from tests.runtime.toy import Act
from tests.support import Missing, RealKafka
from tests.support.records import read
from tests.support.toxiproxy import Proxy, Toxiproxy

LIMIT_S = 2.0


class ProxiedPlace(Place):
    """The loop comes by the proxy, the test directly."""

    proxy: str

    def settings(self, **changes: Any) -> StageSettings:
        return super().settings(**changes).model_copy(update={"brokers": self.proxy})


def test_a_watermark_that_cannot_be_told_ends_nothing_and_the_next_is_told(kafka: RealKafka) -> None:
    """Once the client knows the topic it refuses what the topic, as the broker that it asked has it, cannot take."""
    out = f"told-{uuid4().hex[:12]}"
    kafka.create_topics({out: 1})
    publisher = Publisher(kafka.address, "", f"{out}.one", 10.0)
    publisher.tell([Wire(out, None, b"first", partition=0)])
    assert read(kafka.address, out, 1, group=f"{out}.before") == [b"first"]
    publisher.tell([Wire(out, None, b"nowhere", partition=9)])
    publisher.tell([Wire(out, None, b"next", partition=0)])
    publisher.close()
    assert read(kafka.address, out, 2, group=f"{out}.after") == [b"first", b"next"]


@pytest.fixture(scope="module")
def way_in() -> Iterator[tuple[RealKafka, Proxy]]:
    port = free_port()
    try:
        with Toxiproxy() as network, RealKafka(advertised=[port]) as kafka:
            yield kafka, network.between("kafka", kafka.listening[0], port)
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def proxied(way_in: tuple[RealKafka, Proxy]) -> Iterator[tuple[RealKafka, Proxy]]:
    yield way_in
    way_in[1].heal()


def test_a_watermark_that_is_lost_on_its_way_is_told_again_by_a_new_client(
    proxied: tuple[RealKafka, Proxy], topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would tell it: the last watermark before a quiet hour is the one that ends sessions."""
    kafka, proxy = proxied
    out = f"{topic_prefix}out"
    kafka.create_topics({out: 1})
    monkeypatch.setattr(telling, "TELLING_S", 1.0)
    publisher = Publisher(proxy.address, "", f"{topic_prefix}one", LIMIT_S)
    publisher.tell([Wire(out, None, b"first", partition=0)])
    assert read(kafka.address, out, 1, group=f"{out}.before") == [b"first"]
    proxy.drop("upstream")
    lost = publisher._teller._client
    publisher.tell([Wire(out, None, b"last", partition=0)])

    def looked() -> bool:
        publisher.tell([])
        return True

    until(lambda: looked() and publisher._teller._client is not lost, "the client being given up")
    proxy.heal()
    until(lambda: looked() and publisher._teller.has_told, "the last one told")
    assert read(kafka.address, out, 2, group=f"{out}.after")[:2] == [b"first", b"last"]


class Counted(Publisher):
    """Counts how often it connects."""

    connects = 0

    def connect(self) -> None:
        self.connects += 1
        super().connect()


def test_a_call_that_ran_out_of_time_is_made_again_by_a_new_producer(kafka: RealKafka) -> None:
    """After an outage a producer may ask for its transactions' coordinator in vain for ever, while to abort them succeeds at once."""
    topic = f"late-{uuid4().hex[:12]}"
    kafka.create_topics({topic: 1})
    publisher = Counted(kafka.address, "", f"{topic}.one", 10.0)
    send_offsets = publisher._send_offsets

    def ran_out_of_time(offsets: list[TopicPartition], group: Any) -> None:
        publisher._send_offsets = send_offsets  # type: ignore[method-assign]
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "as librdkafka says it", retriable=True))

    publisher._send_offsets = ran_out_of_time  # type: ignore[method-assign]
    with closing(Consumer(consumer_config(kafka.address, f"{topic}.group", 6_000))) as consumer:
        outputs, offsets = [Wire(topic, None, b"once")], [TopicPartition(topic, 0, 7)]
        with pytest.raises(Unavailable, match="as librdkafka says it"):
            publisher.publish(outputs, offsets, consumer.consumer_group_metadata())
        publisher.publish(outputs, offsets, consumer.consumer_group_metadata())

    assert publisher.connects == 2
    publisher.publish([Wire(topic, None, b"last")], [], None)
    assert read(kafka.address, topic, 2, group=f"{topic}.reader") == [b"once", b"last"]


def test_what_is_begun_is_read_once_it_is_published_and_never_when_it_is_withdrawn(kafka: RealKafka) -> None:
    out = f"begun-{uuid4().hex[:12]}"
    kafka.create_topics({out: 1})
    publisher = Publisher(kafka.address, "", f"{out}.one", 10.0)
    publisher.connect()
    publisher.begin([Wire(out, None, b"withdrawn")])
    publisher.withdraw()
    publisher.withdraw()
    outputs = [Wire(out, None, b"begun")]
    publisher.begin(outputs)
    publisher.publish(outputs, [], None)
    publisher.publish([Wire(out, None, b"at once")], [], None)
    assert read(kafka.address, out, 2, group=f"{out}.reader") == [b"begun", b"at once"]


@pytest.mark.parametrize("strategy", ["none", "rebootstrap"])
def test_a_transaction_goes_on_after_its_questions_were_lost(proxied: tuple[RealKafka, Proxy], topic_prefix: str, strategy: str) -> None:
    """With `rebootstrap`, its default, librdkafka 2.16 forgets the coordinator, and the call under way never comes back."""
    kafka, proxy = proxied
    clicks, out = f"{topic_prefix}in", f"{topic_prefix}out"
    kafka.create_topics({clicks: 1, out: 1})
    publisher = Publisher(proxy.address, "", f"{topic_prefix}one", LIMIT_S)
    publisher._config["metadata.recovery.strategy"] = strategy
    with closing(Consumer({**consumer_config(kafka.address, f"{topic_prefix}group", 60_000), "auto.offset.reset": "earliest"})) as consumer:
        consumer.subscribe([clicks])
        end = time.monotonic() + 30
        while not consumer.assignment():
            assert time.monotonic() < end, "no assignment"
            consumer.poll(0.1)
        group = consumer.consumer_group_metadata()
        publisher.publish([Wire(out, None, b"before")], [TopicPartition(clicks, 0, 1)], group)
        proxy.drop("upstream")
        with suppress(Unavailable):
            publisher.publish([Wire(out, None, b"lost")], [TopicPartition(clicks, 0, 2)], group)
        proxy.heal()
        end = time.monotonic() + 60
        while True:
            assert time.monotonic() < end, "no transaction goes through"
            try:
                publisher.publish([Wire(out, None, b"after")], [TopicPartition(clicks, 0, 3)], group)
                break
            except Unavailable:
                continue
        assert read(kafka.address, out, 2, group=f"{topic_prefix}reader") == [b"before", b"after"]


def test_a_commit_without_an_answer_is_found_out_before_it_is_done_again(proxied: tuple[RealKafka, Proxy], redis_url: str) -> None:
    """The answer to each transaction's end is lost for longer than anybody waits: what is pending has been published already."""
    kafka, proxy = proxied
    place = ProxiedPlace(kafka, redis_url, f"test-{uuid4().hex[:12]}.")
    place.proxy = proxy.address
    with running(place, transaction_timeout_ms=1_000, session_timeout_ms=30_000) as loop:
        place.put(Act("a"))
        place.await_committed(1)
        publisher = loop.loop._publisher
        end_transaction = publisher._end_transaction

        def without_an_answer() -> None:
            publisher._end_transaction = end_transaction  # type: ignore[method-assign]
            publisher._producer.flush(5)
            proxy.drop("downstream")
            end_transaction()

        publisher._end_transaction = without_an_answer  # type: ignore[method-assign]
        place.put(Act("a"))
        until(lambda: loop.metric("commit_failures_total") > 0, "a transaction without an answer")
        proxy.heal()
        place.put(Act("a"))
        place.await_committed(3)
        loop.ready()

    assert place.said() == ["a:1", "a:2", "a:3"]
