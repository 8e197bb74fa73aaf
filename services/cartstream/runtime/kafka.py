"""Kafka at the edge: how consumers and producers are set up, topics made, and a group's generation read."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from cartstream.errors import CartstreamError, Unavailable
from cartstream.events import topics
from cartstream.runtime.log import logger

LARGEST_RECORD = 12_000_000
# The brokers end a transaction after this: to wait longer for one of its calls is of no use.
TRANSACTION_TIMEOUT_MS = 10_000
# A broker that was away is found again within 0.5 s, not after up to 10; and once none is connected, those of the setting are tried anew.
RECONNECTING: dict[str, Any] = {
    "reconnect.backoff.max.ms": 500,
    "metadata.recovery.strategy": "rebootstrap",
    "metadata.recovery.rebootstrap.trigger.ms": 10_000,
}
# But a producer with transactions forgets no broker: librdkafka (2.16; its issues 5511 and 5456) waits for ever for the coordinator of the
# group, once forgotten. One lost answer, and `send_offsets_to_transaction` never returns. With no broker left its calls fail, and it is
# replaced.
RECONNECTING_IN_TRANSACTIONS: dict[str, Any] = {"reconnect.backoff.max.ms": 500, "metadata.recovery.strategy": "none"}
_MAGIC = b"CGMDv2:"


def consumer_config(brokers: str, group: str, session_timeout_ms: int, instance_id: str = "") -> dict[str, Any]:
    """Nothing is committed by itself; a lost offset is an error, never a silent jump."""
    return {
        "bootstrap.servers": brokers,
        "group.id": group,
        **({"group.instance.id": instance_id} if instance_id else {}),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": session_timeout_ms,
        "heartbeat.interval.ms": max(300, min(3_000, session_timeout_ms // 10)),
        "max.poll.interval.ms": 300_000,
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 20,
        "fetch.error.backoff.ms": 50,
        "fetch.queue.backoff.ms": 10,
        "fetch.message.max.bytes": 8_000_000,
        "queued.min.messages": 50_000,
        "queued.max.messages.kbytes": 65_536,
        "allow.auto.create.topics": False,
        **RECONNECTING,
        "log_level": 3,
    }


def producer_config(brokers: str, transactional_id: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": brokers,
        "transactional.id": transactional_id,
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 2,
        "batch.num.messages": 10_000,
        "batch.size": 1_000_000,
        "message.max.bytes": LARGEST_RECORD,
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": 524_288,
        # A transaction right after another waits for the broker's markers by trying again: 11 ms a round instead of 40 or, by default, 100.
        "retry.backoff.ms": 5,
        "retry.backoff.max.ms": 20,
        **RECONNECTING_IN_TRANSACTIONS,
        "log_level": 3,
    }


def generation_of(consumer: Any) -> int:
    """The consumer group generation of this member (member epoch under KIP-848), -1 outside a group.

    The layout is librdkafka's own: `CGMDv2:` and an int32 in the machine's byte order.
    """
    metadata = consumer.consumer_group_metadata()
    if metadata is None:
        return -1
    raw = bytes(metadata) if not isinstance(metadata, bytes) else metadata
    if not raw.startswith(_MAGIC):
        raise CartstreamError("this confluent-kafka keeps group metadata in a new form: pin the version of the lock file")
    return int(struct.unpack("=i", raw[len(_MAGIC) : len(_MAGIC) + 4])[0])


def ensure_topics(brokers: str, prefix: str, partitions: int, replication: int, clickstream_partitions: int | None = None) -> None:
    """Make the topics that are missing. The clickstream is the retailer's: it is made only when `clickstream_partitions` says so. So are
    products, which may have as many partitions as they like.

    Raises Unavailable, and CartstreamError when a topic that must have `partitions` has another number.
    """
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 3})
    wanted = {prefix + topic: partitions for topic in topics.ALL if topic != topics.CLICKSTREAM}
    if clickstream_partitions is not None:
        wanted[prefix + topics.CLICKSTREAM] = clickstream_partitions
    wanted |= {topics.dead_letters(prefix + topic): 1 for topic in topics.ALL}
    try:
        present = admin.list_topics(timeout=10).topics
    except KafkaException as error:
        raise Unavailable(f"Kafka at {brokers}: {error.args[0].str()}") from error
    for name, number in wanted.items():
        if (
            name != prefix + topics.PRODUCTS
            and name in present
            and not name.endswith(".dlq")
            and present[name].partitions
            and len(present[name].partitions) != number
        ):
            raise CartstreamError(
                f"topic {name} has {len(present[name].partitions)} partitions, CARTSTREAM_PARTITIONS asks for {number}: "
                "set it to what the topic has; state lives by partition, so the number is fixed for the topic's life"
            )
    _create(admin, [_new(name, number, replication, prefix) for name, number in wanted.items() if name not in present])


def partition_count(client: Any, topic: str) -> int:
    """Raises Unavailable when the topic is not there (yet)."""
    try:
        found = client.list_topics(topic, timeout=3).topics[topic]
    except KafkaException as error:
        raise Unavailable(f"Kafka: {error.args[0].str()}") from error
    if found.error is not None or not found.partitions:
        raise Unavailable(f"topic {topic} is not there: create it, or start with --create-topics")
    return len(found.partitions)


def _new(name: str, partitions: int, replication: int, prefix: str) -> NewTopic:
    config = {"max.message.bytes": str(LARGEST_RECORD)}
    if name.removeprefix(prefix) in topics.COMPACTED:
        config["cleanup.policy"] = "compact"
    return NewTopic(name, partitions, replication, config=config)


def _create(admin: Any, missing: Iterable[NewTopic]) -> None:
    made = list(missing)
    if not made:
        return
    for name, future in admin.create_topics(made).items():
        try:
            future.result(timeout=30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Unavailable(f"topic {name} could not be made: {error.args[0].str()}") from error
    logger().info("topics made", count=len(made))
