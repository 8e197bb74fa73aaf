"""Reading records of the input a second time, for an outbox that only says where they are."""

from __future__ import annotations

import time
import uuid
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from cartstream.errors import PartitionHalted, Unavailable
from cartstream.runtime.kafka import consumer_config

LIMIT_S = 30.0


class SourceReader:
    """Reads `topic` beside the group: no membership, nothing committed."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._brokers = brokers
        self._topic = topic

    def values(self, partition: int, first: int, last: int) -> dict[int, bytes]:
        """The values by offset, both ends included. Raises Unavailable, and PartitionHalted when retention has taken the first."""
        config = consumer_config(self._brokers, f"cartstream.outbox.{uuid.uuid4().hex}", 45_000)
        consumer = Consumer(config)
        found: dict[int, bytes] = {}
        deadline = time.monotonic() + LIMIT_S
        try:
            consumer.assign([TopicPartition(self._topic, partition, first)])
            while True:
                for message in consumer.consume(10_000, 0.1):
                    offset = message.offset()
                    if message.error() is not None:
                        self._judge(message.error(), partition, first)
                    elif offset is not None:
                        found[offset] = message.value() or b""
                if last in found:
                    return found
                if time.monotonic() > deadline:
                    raise Unavailable(f"Kafka (outbox): {self._topic}[{partition}] not read up to {last} within {LIMIT_S:.0f} s")
        except KafkaException as error:
            raise Unavailable(f"Kafka (outbox): {error.args[0].str()}") from error
        finally:
            consumer.close()

    def _judge(self, fault: Any, partition: int, first: int) -> None:
        if fault.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise PartitionHalted(
                f"{self._topic}[{partition}]: the outbox has records from offset {first} on that are out of retention: what was decided "
                "about them cannot be published. See docs/operations.md"
            )
        if fault.code() != KafkaError._PARTITION_EOF:
            raise Unavailable(f"Kafka (outbox): {fault.str()}")
