from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from cartstream.embedded import EmbeddedBroker
from cartstream.embedded.broker import DEFAULT_PARTITIONS
from tests.support.records import produce, read

WAIT_SECONDS = 20.0


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"clicks": 7}, rebalance_delay_ms=0) as broker:
        yield broker


def member(broker: EmbeddedBroker, *, partition_ends: bool = False) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": broker.address,
            "group.id": "readers",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "partition.assignment.strategy": "cooperative-sticky",
            "heartbeat.interval.ms": 100,
            "enable.partition.eof": partition_ends,
            "session.timeout.ms": 1_500,
        }
    )
    consumer.subscribe(["clicks"])
    return consumer


def partitions_of(broker: EmbeddedBroker, topic: str) -> int:
    return len(Producer({"bootstrap.servers": broker.address}).list_topics(topic, timeout=WAIT_SECONDS).topics[topic].partitions)


def test_topics_have_the_partitions_asked_for_and_others_the_default(broker: EmbeddedBroker) -> None:
    broker.create_topics({"orders": 1, "clicks": 3})
    produce(broker.address, "unplanned", [b"x"])

    assert partitions_of(broker, "orders") == 1
    assert partitions_of(broker, "clicks") == 7
    assert partitions_of(broker, "unplanned") == DEFAULT_PARTITIONS


def test_what_one_process_produces_another_reads(broker: EmbeddedBroker) -> None:
    source = (
        "import sys; from confluent_kafka import Producer; p = Producer({'bootstrap.servers': sys.argv[1]});"
        "[p.produce('clicks', b'%d' % n) for n in range(100)]; sys.exit(p.flush(10))"
    )
    subprocess.run([sys.executable, "-c", source, broker.address], check=True)

    assert sorted(map(int, read(broker.address, "clicks", 100, group="readers"))) == list(range(100))


def test_two_members_of_a_group_share_the_partitions(broker: EmbeddedBroker) -> None:
    with closing(member(broker)) as first, closing(member(broker)) as second:
        deadline = time.monotonic() + WAIT_SECONDS
        while not (len(first.assignment()) in (3, 4) and len(first.assignment()) + len(second.assignment()) == 7):
            assert time.monotonic() < deadline, (first.assignment(), second.assignment())
            first.poll(0.05)
            second.poll(0.05)

        owned = {p.partition for p in first.assignment()} | {p.partition for p in second.assignment()}
        assert owned == set(range(7))


def test_a_group_goes_on_from_what_it_committed(broker: EmbeddedBroker) -> None:
    broker.create_topics({"one": 1})
    produce(broker.address, "one", [b"a", b"b", b"c"])
    # No member of the group: a commit is then no matter of heartbeats.
    with closing(Consumer({"bootstrap.servers": broker.address, "group.id": "readers"})) as consumer:
        consumer.commit(offsets=[TopicPartition("one", 0, 2)], asynchronous=False)

    assert read(broker.address, "one", 1, group="readers") == [b"c"]


def test_the_end_of_a_partition_is_an_event(broker: EmbeddedBroker) -> None:
    produce(broker.address, "clicks", [b"a"])
    ended: set[int | None] = set()
    with closing(member(broker, partition_ends=True)) as consumer:
        deadline = time.monotonic() + WAIT_SECONDS
        while len(ended) < 7:
            assert time.monotonic() < deadline, ended
            message = consumer.poll(0.1)
            error = message.error() if message is not None else None
            if message is not None and error is not None and error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())

    assert ended == set(range(7))


def test_a_record_of_two_megabytes_comes_through(broker: EmbeddedBroker) -> None:
    large = b"x" * 2_000_000
    produce(broker.address, "clicks", [large], max_bytes=3_000_000)

    assert read(broker.address, "clicks", 1, group="readers") == [large]


def test_a_partition_forgets_what_is_older_than_its_newest_five_megabytes(broker: EmbeddedBroker) -> None:
    broker.create_topics({"one": 1})
    for first_byte in (b"a", b"b", b"c"):
        produce(broker.address, "one", [first_byte * 2_000_000], max_bytes=3_000_000)

    assert [value[:1] for value in read(broker.address, "one", 2, group="readers")] == [b"b", b"c"]


def test_the_broker_ends_with_its_block() -> None:
    with EmbeddedBroker() as broker:
        host, _, port = broker.address.partition(":")
        socket.create_connection((host, int(port)), timeout=1).close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=1)
    with pytest.raises(RuntimeError, match="only inside its `with` block"):
        _ = broker.address
