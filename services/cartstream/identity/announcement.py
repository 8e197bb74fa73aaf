"""A correction on its way: to every partition of the clickstream, in one transaction."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaException, Producer

from cartstream.errors import Unavailable
from cartstream.events import topics
from cartstream.identity.correction import Correction, copies, written
from cartstream.runtime.kafka import partition_count, producer_config

_LIMIT_S = 30


def announce(brokers: str, prefix: str, correction: Correction) -> int:
    """How many partitions have it now: all, or it raises Unavailable and nobody reads any of it. Safe to repeat."""
    producer: Any = Producer(producer_config(brokers, f"{prefix}cartstream.correction.{correction.message_id}"))
    topic = prefix + topics.CLICKSTREAM
    count = partition_count(producer, topic)
    try:
        producer.init_transactions(_LIMIT_S)
        producer.begin_transaction()
        for partition, raw in enumerate(copies(written(correction), count)):
            producer.produce(topic, raw, correction.message_id.encode(), partition)
        producer.commit_transaction(_LIMIT_S)
    except KafkaException as error:
        raise Unavailable(f"Kafka at {brokers} ({topic}): {error.args[0].str()}; run the command again") from error
    return count
