"""How far a consumer group is, asked by somebody who is not of it."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from cartstream.errors import Unavailable
from cartstream.runtime.kafka import RECONNECTING


class GroupOffsets:
    """The offsets of one group on one topic. Connects at the first question, and keeps its client. From any thread.

    A consumer that never subscribes, not the AdminClient: `list_consumer_group_offsets`, like all that the AdminClient asks of a group's
    coordinator, can abort the process when the connection breaks under it (librdkafka 2.16, its pull request 5397).
    """

    def __init__(self, brokers: str, group: str, topic: str) -> None:
        self._topic = topic
        # What a transaction under way is about to commit is neither told nor waited for.
        plain = {"isolation.level": "read_uncommitted", "enable.auto.commit": False}
        self._config = {"bootstrap.servers": brokers, "group.id": group, **plain, **RECONNECTING, "log_level": 3}
        self._client: Any = None

    def ask(self, timeout_s: float) -> dict[int, int]:
        """By partition, where there is one; nothing where there is no such topic. Raises Unavailable."""
        if self._client is None:
            self._client = Consumer(self._config)
        try:
            found = self._client.list_topics(self._topic, timeout=timeout_s).topics[self._topic]
            if found.error is not None:
                return self._without(found.error)
            asked = [TopicPartition(self._topic, number) for number in found.partitions]
            places = self._client.committed(asked, timeout=timeout_s)
            for place in places:
                if place.error is not None:
                    raise KafkaException(place.error)
        except KafkaException as error:
            self._client = None  # a new one next time: see `lifeline`
            raise Unavailable(f"Kafka (offsets committed on {self._topic}): {error.args[0].str()}") from error
        return {place.partition: place.offset for place in places if place.offset >= 0}

    def _without(self, error: KafkaError) -> dict[int, int]:
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return {}
        raise KafkaException(error)
