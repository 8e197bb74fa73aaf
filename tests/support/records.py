"""Reading and writing a few records of a topic, the long way round: through real clients."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

from confluent_kafka import Consumer, KafkaException, Message, Producer

READ_SECONDS = 20.0
POLL_SECONDS = 0.2


def produce(address: str, topic: str, values: list[bytes], *, max_bytes: int = 1_000_000) -> None:
    """Write the values without keys, and return once the broker has acknowledged every one."""
    producer = Producer({"bootstrap.servers": address, "message.max.bytes": max_bytes, "linger.ms": 1})
    refused: list[str] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: refused.append(str(error)) if error else None)
    left = producer.flush(READ_SECONDS)
    if refused or left:
        raise AssertionError(f"{topic} on {address}: {left} records unacknowledged, refused: {refused}")


def read(address: str, topic: str, count: int, *, group: str) -> list[bytes]:
    """The values of the first `count` committed records that a new group gets; fewer are an AssertionError."""
    values = [message.value() or b"" for message in _messages(address, topic, count, group)]
    if len(values) < count:
        raise AssertionError(f"{topic} on {address}: {len(values)} of {count} records within {READ_SECONDS:.0f} s")
    return values


def _messages(address: str, topic: str, count: int, group: str) -> Iterator[Message]:
    settings = {
        "bootstrap.servers": address,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "fetch.wait.max.ms": 20,
    }
    deadline = time.monotonic() + READ_SECONDS
    with closing(Consumer(settings)) as consumer:
        consumer.subscribe([topic])
        while count and time.monotonic() < deadline:
            message = consumer.poll(POLL_SECONDS)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            count -= 1
            yield message
