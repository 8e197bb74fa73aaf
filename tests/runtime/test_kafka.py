from __future__ import annotations

from contextlib import closing

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from cartstream.errors import CartstreamError, Unavailable
from cartstream.events import topics
from cartstream.runtime.kafka import consumer_config, ensure_topics, generation_of, partition_count
from tests.runtime.live import until
from tests.support import RealKafka


def test_a_groups_generation_grows_by_one_a_rebalance(kafka: RealKafka, topic_prefix: str) -> None:
    kafka.create_topics({topic_prefix + "t": 1})
    found = []
    for _ in range(3):
        with closing(Consumer(consumer_config(kafka.address, topic_prefix + "g", 6_000))) as consumer:
            assert generation_of(consumer) == -1
            consumer.subscribe([topic_prefix + "t"])
            until(lambda joined=consumer: joined.poll(0.1) is None and generation_of(joined) > 0, "a generation")  # type: ignore[misc]
            found.append(generation_of(consumer))

    assert found == sorted(set(found))
    assert found[0] < 10, "a small number, read in the right byte order"
    assert found[-1] - found[0] < 10


def test_topics_are_made_once_and_never_with_another_number_of_partitions(kafka: RealKafka, topic_prefix: str) -> None:
    ensure_topics(kafka.address, topic_prefix, 3, 1, clickstream_partitions=2)
    ensure_topics(kafka.address, topic_prefix, 3, 1)

    admin = AdminClient({"bootstrap.servers": kafka.address})
    assert partition_count(admin, topic_prefix + topics.CLICKSTREAM) == 2
    assert partition_count(admin, topic_prefix + topics.ACTIVITY) == 3
    assert partition_count(admin, topics.dead_letters(topic_prefix + topics.CLICKSTREAM)) == 1
    with pytest.raises(CartstreamError, match=r"has 3 partitions, CARTSTREAM_PARTITIONS asks for 4"):
        ensure_topics(kafka.address, topic_prefix, 4, 1)


def test_a_topic_that_is_not_there_is_unavailable(kafka: RealKafka, topic_prefix: str) -> None:
    settings = consumer_config(kafka.address, topic_prefix + "g", 6_000)
    with closing(Consumer(settings)) as consumer, pytest.raises(Unavailable, match="is not there"):
        partition_count(consumer, topic_prefix + "nothing")
