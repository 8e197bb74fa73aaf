"""The Kafka consumer, on a thread of its own: polls, pauses, and hands partitions over without losing what is under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from cartstream.errors import PartitionHalted
from cartstream.runtime.kafka import RECONNECTING
from cartstream.runtime.lifeline import Lifeline
from cartstream.runtime.log import logger
from cartstream.senders.settings import SenderSettings

Partitions = list[int]


class Arrived(msgspec.Struct, frozen=True):
    """A record as it came. `timestamp` is Kafka's, in ms."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes
    headers: list[tuple[str, str | bytes | None]]


class Intake:
    """Reads one topic in a group. Every method blocks and belongs to one thread, which also runs the callbacks.

    `revoked` may take its time: partitions are given away only when it returns. `lost` means that they are gone already.
    """

    def __init__(
        self,
        settings: SenderSettings,
        topic: str,
        group: str,
        assigned: Callable[[Partitions], None],
        revoked: Callable[[Partitions], None],
        lost: Callable[[Partitions], None],
        broken: Callable[[str], object],
    ) -> None:
        self._topic = topic
        self._paused = False
        self._group: Any = None
        self._broken = broken
        self._consumer = Consumer(_config(settings, group, self._on_error))
        self._lifeline = Lifeline(self._consumer, settings.brokers, topic)
        self._consumer.subscribe(
            [topic],
            on_assign=lambda _, found: assigned([p.partition for p in found]),
            on_revoke=lambda _, found: revoked([p.partition for p in found]),
            on_lost=lambda _, found: lost([p.partition for p in found]),
        )

    def poll(self, timeout_s: float, most: int) -> list[Arrived]:
        """What has come, at once; waits only if there is nothing. With `most` 0 it only serves the group.

        That throws away what was fetched ahead, and costs a fetch to get again: not for a moment's lack of room.
        """
        self._set_paused(not most)
        first = self._consumer.poll(timeout_s)
        self._group = self._consumer.consumer_group_metadata()
        self._lifeline.look(heard=first is not None)
        if first is None:
            return []
        found = [first, *self._consumer.consume(most - 1, 0)] if most > 1 else [first]
        return [_arrived(message) for message in found if self._is_record(message)]

    @property
    def group(self) -> Any:
        """The group's metadata as of the last poll, for a transaction. From any thread.

        Asking the client at the moment of need would wait for ever in a rebalance on closing.
        """
        return self._group

    def lags(self) -> dict[int, int]:
        """Records behind the end, as far as the client knows without asking."""
        found = {}
        for place in self._consumer.position(self._consumer.assignment()):
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, place.partition), cached=True)
            if high >= 0 and place.offset >= 0:
                found[place.partition] = max(0, high - place.offset)
        return found

    def reachable(self) -> bool:
        """Whether a broker answers and knows the topic."""
        try:
            found = self._consumer.list_topics(self._topic, timeout=1.0)
        except KafkaException:
            return False
        return found.topics[self._topic].error is None

    def close(self) -> None:
        """Leaves the group; calls `revoked` for what is left."""
        self._consumer.close()

    def _set_paused(self, pause: bool) -> None:
        """Again each time, as new partitions come unpaused."""
        if pause:
            self._consumer.pause(self._consumer.assignment())
        elif self._paused:
            self._consumer.resume(self._consumer.assignment())
        self._paused = pause

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED):
            self._broken(f"topic {self._topic}: {error.str()}")
        elif error.fatal():
            raise PartitionHalted(f"the consumer of {self._topic} cannot go on: {error.str()}")
        else:
            logger().warning("the consumer complains", topic=self._topic, error=error.str())
        return False

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._broken("no broker answers")


def _arrived(message: Message) -> Arrived:
    key, value, headers = message.key(), message.value(), message.headers()
    return Arrived(
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp=message.timestamp()[1],
        key=key if isinstance(key, bytes) else None,
        value=value if isinstance(value, bytes) else b"",
        headers=[(pair[0], pair[1]) for pair in headers or []],
    )


def _config(settings: SenderSettings, group: str, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "bootstrap.servers": settings.brokers,
        "group.id": group,
        "partition.assignment.strategy": "cooperative-sticky",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": settings.session_timeout_ms,
        "heartbeat.interval.ms": max(300, min(3_000, settings.session_timeout_ms // 10)),
        "fetch.wait.max.ms": 100,
        **RECONNECTING,
        "log_level": 3,
        "error_cb": on_error,
    }
    if settings.instance_id:
        config["group.instance.id"] = settings.instance_id
    return config
