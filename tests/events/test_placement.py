"""Keys land where Java's default partitioner puts them."""

from __future__ import annotations

import pytest
from confluent_kafka import Message, Producer

from cartstream.events.placement import murmur2, partition_of
from tests.support import RealKafka


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_kafkas_own_test(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed & 0xFFFFFFFF


def test_text_and_its_utf_8_are_the_same_key() -> None:
    assert [partition_of("jürgen", 8), partition_of("abc", 1)] == [partition_of("jürgen".encode(), 8), 0]


def test_a_real_producer_puts_keys_where_we_say(kafka: RealKafka, topic_prefix: str) -> None:
    kafka.create_topics({topic_prefix + "t": 7})
    keys = [f"customer-{n}-{'x' * (n % 5)}" for n in range(50)]
    placed: dict[str, int | None] = {}

    def arrived(_: object, message: Message) -> None:
        key = message.key()
        assert isinstance(key, bytes)
        placed[key.decode()] = message.partition()

    producer = Producer({"bootstrap.servers": kafka.address, "partitioner": "murmur2_random"})
    for key in keys:
        producer.produce(topic_prefix + "t", b"", key, on_delivery=arrived)
    assert producer.flush(30) == 0

    assert placed == {key: partition_of(key, 7) for key in keys}
