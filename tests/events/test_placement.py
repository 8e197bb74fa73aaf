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


# Every key length modulo four, bytes that are negative in Java, and text beyond ASCII: as Kafka 4.1's own classes say,
# `Utils.murmur2(key)` and `Utils.toPositive(Utils.murmur2(key)) % 7`.
AS_JAVA_SAYS = [
    (b"", 275646681, 2),
    (b"\xff", -311467685, 5),
    (b"\xff" * 2, -1642832928, 0),
    (b"\xff" * 3, 1548199422, 0),
    (b"\xff" * 4, 644171429, 6),
    (b"\xff" * 5, -363838622, 2),
    (b"\xff" * 6, 28450676, 2),
    (b"\xff" * 7, -71293549, 4),
    (b"\xff" * 8, 185950397, 3),
    (b"\xff" * 9, 1612811207, 0),
    (bytes.fromhex("80"), 857690492, 1),
    (bytes.fromhex("809f"), -381272870, 3),
    (bytes.fromhex("809fbe"), 394737570, 3),
    (bytes.fromhex("809fbedd"), 1896165177, 4),
    (bytes.fromhex("809fbeddfc"), -478304908, 5),
    (bytes.fromhex("809fbeddfc1b"), 692448732, 3),
    (bytes.fromhex("809fbeddfc1b3a"), -1547894921, 3),
    (bytes.fromhex("809fbeddfc1b3a59"), 1948989397, 5),
    (bytes.fromhex("809fbeddfc1b3a5978"), -207980584, 2),
    (b"\0", 375494588, 0),
    (b"\0" * 4, 850957120, 6),
    (bytes.fromhex("7f8081"), 756355482, 1),
    (b"c_0123456789abcdef01234567", -540816151, 1),
    ("jürgen".encode(), 948909831, 2),
    ("日本語".encode(), 1431860170, 6),
    ("ключ".encode(), 2122343024, 4),
    ("😀".encode(), 131881617, 0),
    ("naïve café".encode(), 1338837213, 0),
    (b"dev-00000001", 332243015, 6),
    (b"user-4711", 7331019, 3),
    ("Ω≈ç√∫˜µ≤≥÷".encode(), -978880789, 4),
    (bytes(range(256)), -1948347274, 3),
]


@pytest.mark.parametrize(("key", "hashed", "of_seven"), AS_JAVA_SAYS)
def test_keys_lie_where_javas_partitioner_puts_them(key: bytes, hashed: int, of_seven: int) -> None:
    assert murmur2(key) == hashed & 0xFFFFFFFF
    assert partition_of(key, 7) == of_seven


def test_text_and_its_utf_8_are_the_same_key() -> None:
    assert [partition_of("jürgen", 8), partition_of("abc", 1)] == [partition_of("jürgen".encode(), 8), 0]


def test_a_real_producer_puts_keys_where_we_say(kafka: RealKafka, topic_prefix: str) -> None:
    kafka.create_topics({topic_prefix + "t": 7})
    keys = [f"customer-{n}-{'xäж😀'[n % 4] * (n % 5)}" for n in range(50)]
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
