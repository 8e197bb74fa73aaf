"""How far a group is, as somebody is told who is not of it."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

import cartstream
from cartstream.embedded.child import free_port
from cartstream.errors import Unavailable
from cartstream.runtime.group_offsets import GroupOffsets
from cartstream.runtime.kafka import consumer_config, producer_config
from tests.runtime.live import until
from tests.support import RealKafka

ASK_S = 10.0
OF_A_COORDINATOR = (
    "list_consumer_group_offsets",
    "alter_consumer_group_offsets",
    "describe_consumer_groups",
    "delete_consumer_groups",
)


def commit(kafka: RealKafka, group: str, *places: TopicPartition) -> None:
    with closing(Consumer(consumer_config(kafka.address, group, 6_000))) as consumer:
        done = consumer.commit(offsets=list(places), asynchronous=False)
    assert [place.error for place in done] == [None] * len(places)


def told(offsets: GroupOffsets) -> dict[int, int]:
    """A broker that has just started does not know the group's coordinator at once."""
    answers: list[dict[int, int]] = []

    def answered() -> bool:
        with suppress(Unavailable):
            answers.append(offsets.ask(ASK_S))
        return bool(answers)

    until(answered, "the group's coordinator")
    return answers[0]


def test_it_tells_what_was_committed_and_what_came_since(kafka: RealKafka, topic_prefix: str) -> None:
    topic, group = topic_prefix + "t", topic_prefix + "g"
    kafka.create_topics({topic: 3})
    offsets = GroupOffsets(kafka.address, group, topic)
    assert told(offsets) == {}

    commit(kafka, group, TopicPartition(topic, 0, 7), TopicPartition(topic, 2, 1))
    assert told(offsets) == {0: 7, 2: 1}

    commit(kafka, group, TopicPartition(topic, 0, 8))
    assert told(offsets) == {0: 8, 2: 1}


def test_on_a_topic_that_is_not_there_nothing_is_committed(kafka: RealKafka, topic_prefix: str) -> None:
    assert GroupOffsets(kafka.address, topic_prefix + "g", topic_prefix + "nothing").ask(ASK_S) == {}


def test_a_transaction_under_way_is_neither_told_nor_waited_for(kafka: RealKafka, topic_prefix: str) -> None:
    topic, group = topic_prefix + "t", topic_prefix + "g"
    kafka.create_topics({topic: 1})
    commit(kafka, group, TopicPartition(topic, 0, 7))
    offsets = GroupOffsets(kafka.address, group, topic)
    producer = Producer(producer_config(kafka.address, topic_prefix + "p"))
    producer.init_transactions(ASK_S)
    producer.begin_transaction()
    with closing(Consumer(consumer_config(kafka.address, group, 6_000))) as consumer:
        producer.send_offsets_to_transaction([TopicPartition(topic, 0, 9)], consumer.consumer_group_metadata(), ASK_S)

    assert told(offsets) == {0: 7}

    producer.commit_transaction(ASK_S)
    until(lambda: told(offsets) == {0: 9}, "the broker's marker")


def test_a_kafka_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"offsets committed on t\b"):
        GroupOffsets(f"127.0.0.1:{free_port()}", "g", "t").ask(0.2)


def test_no_service_asks_a_coordinator_by_the_admin_client() -> None:
    """Any of these aborts the process now and then when the connection breaks under it: see `GroupOffsets`."""
    sources = sorted(Path(cartstream.__file__).parent.rglob("*.py"))
    calls = [f"{source.name}: {call}" for source in sources for call in OF_A_COORDINATOR if f".{call}(" in source.read_text()]
    assert sources
    assert calls == []
