from __future__ import annotations

import os
import signal
from contextlib import closing

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from redis import Redis

from cartstream.embedded.child import free_port
from tests.support import Missing, RealKafka
from tests.support.kafka import on_java
from tests.support.kafka.real import ADDRESS_VARIABLE
from tests.support.records import produce, read

SECONDS = 20.0


def consumer_of(kafka: RealKafka, group: str) -> Consumer:
    return Consumer({"bootstrap.servers": kafka.address, "group.id": group, "auto.offset.reset": "earliest"})


def transactional(kafka: RealKafka, name: str) -> Producer:
    producer = Producer({"bootstrap.servers": kafka.address, "transactional.id": name})
    producer.init_transactions(SECONDS)
    return producer


def test_a_transaction_moves_records_and_offsets_together(kafka: RealKafka, topic_prefix: str) -> None:
    clicks, carts, group = topic_prefix + "clicks", topic_prefix + "carts", topic_prefix + "group"
    kafka.create_topics({clicks: 1, carts: 1})
    produce(kafka.address, clicks, [b"add"])
    producer = transactional(kafka, topic_prefix)
    with closing(consumer_of(kafka, group)) as consumer:
        consumer.subscribe([clicks])
        message = consumer.poll(SECONDS)
        assert message is not None

        producer.begin_transaction()
        producer.produce(carts, b"aborted")
        producer.flush(SECONDS)
        producer.abort_transaction(SECONDS)
        producer.begin_transaction()
        producer.produce(carts, b"committed")
        producer.send_offsets_to_transaction([TopicPartition(clicks, 0, 1)], consumer.consumer_group_metadata(), SECONDS)
        producer.commit_transaction(SECONDS)

        assert [p.offset for p in consumer.committed([TopicPartition(clicks, 0)], SECONDS)] == [1]
    assert read(kafka.address, carts, 1, group=topic_prefix + "check") == [b"committed"]


def test_a_second_owner_of_a_transaction_fences_the_first(kafka: RealKafka, topic_prefix: str) -> None:
    kafka.create_topics({topic_prefix + "carts": 1})
    first = transactional(kafka, topic_prefix)
    transactional(kafka, topic_prefix)

    first.begin_transaction()
    first.produce(topic_prefix + "carts", b"zombie")
    with pytest.raises(KafkaException, match="fence"):
        first.commit_transaction(SECONDS)


def test_a_record_of_ten_megabytes_comes_through(kafka: RealKafka, topic_prefix: str) -> None:
    large = os.urandom(10_000_000)
    kafka.create_topics({topic_prefix + "large": 1})
    produce(kafka.address, topic_prefix + "large", [large], max_bytes=11_000_000)

    assert read(kafka.address, topic_prefix + "large", 1, group=topic_prefix) == [large]


def test_redis_is_empty_at_the_start_of_a_test(redis: Redis) -> None:
    assert redis.dbsize() == 0
    redis.set("left", "over")


def test_redis_is_empty_after_a_test_that_left_something(redis: Redis) -> None:
    assert redis.dbsize() == 0


def test_a_killed_kafka_of_ours_comes_back_with_its_records(kafka: RealKafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kafka.pids:
        pytest.skip(f"Kafka at {kafka.address} is no process of this machine")
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    with RealKafka() as own:
        address = own.address
        own.create_topics({"clicks": 1})
        produce(address, "clicks", [b"kept"])
        os.kill(own.pid, signal.SIGKILL)
        own.restart()

        assert own.address == address
        assert read(address, "clicks", 1, group="readers") == [b"kept"]


def test_without_any_kafka_every_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Missing, match=rf"no Docker engine answers .*no `java` on the PATH.*{ADDRESS_VARIABLE}"):
        RealKafka().__enter__()


def test_a_node_that_cannot_start_is_an_error_with_its_log(kafka: RealKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kafka.pids:
        pytest.skip(f"Kafka at {kafka.address} is no process of this machine")
    taken = int(kafka.address.rpartition(":")[2])
    ports = iter((taken, free_port()))
    monkeypatch.setattr(on_java, "free_port", lambda: next(ports))
    cluster = on_java.JavaKafka()
    with closing(cluster), pytest.raises(RuntimeError, match="Kafka node 1 ended with 1:"):
        cluster.start()
