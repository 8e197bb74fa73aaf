"""Letting a broker's JVM compile itself before anything is measured: for its first minutes that takes more than its work does, and a
broker in production has long been through it."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from cartstream.runtime.kafka import consumer_config, producer_config
from tests.support.kafka import RealKafka

PARTITIONS = 4
LIMIT_S = 180.0
WINDOW_S = 6.0
QUIET = 0.06
"""Cores: what the compilers still use when they are as good as done."""
TICKS = 100.0
_BATCH = 1_000
_VALUE = (b'{"type":"page","anonymousId":"dev-00000001"}' * 10)[:430]


def warm_up(kafka: RealKafka) -> float:
    """Small and large transactions, each read again, until the compilers are quiet. Gives the seconds that it took."""
    topic, group = f"warm-{uuid.uuid4().hex[:6]}", uuid.uuid4().hex
    kafka.create_topics({topic: PARTITIONS})
    producer = Producer(producer_config(kafka.address, group))
    producer.init_transactions(30)
    consumer = Consumer(consumer_config(kafka.address, group, 45_000) | {"auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    begun = checked = time.monotonic()
    spent = _compiling(kafka.pid)
    count = 0
    try:
        while time.monotonic() - begun < LIMIT_S:
            _transaction(producer, consumer, topic, _BATCH if count % 4 else 5)
            count += 1
            if time.monotonic() - checked >= WINDOW_S:
                now, used = time.monotonic(), _compiling(kafka.pid)
                if (used - spent) / (now - checked) < QUIET:
                    break
                checked, spent = now, used
    finally:
        consumer.close()
    return time.monotonic() - begun


def _transaction(producer: Any, consumer: Any, topic: str, size: int) -> None:
    read = consumer.consume(size, 0.02)
    producer.begin_transaction()
    for number in range(size):
        producer.produce(topic, _VALUE, f"dev-{number:08d}")
    places = {message.partition(): message.offset() + 1 for message in read if message.error() is None}
    if places:
        offsets = [TopicPartition(topic, partition, offset) for partition, offset in places.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
    producer.commit_transaction(30)


def _compiling(pid: int) -> float:
    """CPU seconds of the JVM's compiler threads so far."""
    total = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text()
        if "Compil" in fields.partition(")")[0]:
            numbers = fields.rpartition(")")[2].split()
            total += (int(numbers[11]) + int(numbers[12])) / TICKS
    return total
