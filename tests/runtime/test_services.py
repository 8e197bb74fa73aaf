"""Identity and sessions as processes on real servers: bad input, a zombie, a stop in good order."""

from __future__ import annotations

import json
import re
import signal
import time
from contextlib import ExitStack
from typing import Any

import orjson
import pytest
from confluent_kafka import Message, Producer
from redis import Redis

from cartstream.events import avro, topics
from cartstream.events.records import Activity, Signal
from cartstream.events.times import iso
from cartstream.runtime.kafka import ensure_topics
from tests.runtime.live import Place, until
from tests.runtime.services import SECRETS, Service, service
from tests.support import RealKafka

PARTITIONS = 2


class Shop(Place):
    """All topics of a pipeline, and events of the present."""

    def __init__(self, kafka: RealKafka, redis_url: str, prefix: str) -> None:
        self.kafka, self.redis_url, self.prefix, self.partitions = kafka, redis_url, prefix, PARTITIONS
        self.source, self.sink = prefix + topics.CLICKSTREAM, prefix + topics.IDENTIFIED
        kafka.create_topics({self.source: PARTITIONS}, {"max.message.bytes": "4000000"})
        ensure_topics(kafka.address, prefix, PARTITIONS, 1)
        self._number = 0

    @property
    def environment(self) -> dict[str, Any]:
        return {
            "brokers": self.kafka.address,
            "redis_url": self.redis_url,
            "prefix": self.prefix,
            "partitions": PARTITIONS,
            "session_timeout_ms": 6_000,
            **SECRETS,
        }

    def event(self, device: str = "d1", **fields: Any) -> bytes:
        self._number += 1
        usual = {"type": "page", "anonymousId": device, "messageId": f"m{self._number}", "timestamp": iso(time.time_ns() // 1_000_000)}
        return json.dumps({name: value for name, value in {**usual, **fields}.items() if value is not None}).encode()

    def send(self, *events: bytes, key: bytes | None = b"d1", topic: str | None = None, partition: int = 0) -> None:
        producer = Producer({"bootstrap.servers": self.kafka.address, "linger.ms": 1, "message.max.bytes": 4_000_000})
        for event in events:
            producer.produce(topic or self.source, event, key, partition)
        assert producer.flush(30) == 0

    def activities(self) -> list[Activity]:
        found = [avro.codec().decode(message.value() or b"") for message in self.messages(self.prefix + topics.ACTIVITY)]
        return [value for value in found if isinstance(value, Activity)]

    def forwarded(self) -> list[str]:
        """The message ids that identity has passed on."""
        values = [message.value() or b"" for message in self.messages(self.sink)]
        return sorted(orjson.loads(value)["messageId"] for value in values if value.startswith(b"{"))


@pytest.fixture
def shop(kafka: RealKafka, redis: Redis, redis_url: str, topic_prefix: str) -> Shop:
    return Shop(kafka, redis_url, topic_prefix)


def heads_of(letters: list[Message]) -> list[dict[str, bytes]]:
    """The headers of dead letters."""
    return [{name: value for name, value in dict(letter.headers() or []).items() if isinstance(value, bytes)} for letter in letters]


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def bad_clicks(shop: Shop) -> list[tuple[bytes, str]]:
    """Events that identity must refuse, with the reason."""
    return [
        (b"\x80\xff\x00", "unparseable"),
        (b"", "unparseable"),
        (b"{", "unparseable"),
        (b'{"type":"page","anonymousId":"\xff"}', "unparseable"),
        (b"[1,2]", "wrong_schema"),
        (b'["ann@example.test"]', "wrong_schema"),
        (b'"ann@example.test"', "wrong_schema"),
        (shop.event(anonymousId={"a": 1}), "wrong_schema"),
        (shop.event(timestamp="yesterday"), "wrong_schema"),
        (shop.event(type="dance"), "unknown_type"),
        (shop.event(type=None), "wrong_schema"),
        (shop.event(anonymousId=None), "missing_id"),
        (shop.event(anonymousId="null", userId="undefined"), "missing_id"),
        (shop.event(anonymousId="x" * 300), "missing_id"),
        (shop.event(timestamp=None), "missing_time"),
        (shop.event(timestamp="2999-01-01T00:00:00Z"), "future"),
        (shop.event(timestamp=10**300), "future"),
        (shop.event(timestamp="inf"), "wrong_schema"),
        (shop.event(timestamp="1999-01-01T00:00:00Z"), "before_retention"),
        (shop.event(timestamp=-(10**18)), "before_retention"),
        (shop.event(properties={"name": "x" * 2_000_000}), "too_large"),
        (shop.event(properties=[f"a{n}@b.co" for n in range(70_000)]), "too_large"),
        (shop.event()[:-1] + b',"properties":{"deep":' + nested(100_000).encode() + b"}}", "unparseable"),
        (shop.event()[:-1] + b',"properties":{"mail":"a@b.co","deep":' + nested(300).encode() + b"}}", "unparseable"),
        (shop.event()[:-1] + b',"properties":{"mail":"a@b.co","deep":' + nested(900).encode() + b"}}", "unparseable"),
    ]


def test_each_bad_click_is_one_dead_letter_and_the_partition_goes_on(shop: Shop) -> None:
    bad = bad_clicks(shop)
    good = []
    with service("identity", **shop.environment) as identity:
        for event, _ in bad:
            good.append(shop.event())
            shop.send(event, good[-1])
        wanted = sorted(orjson.loads(event)["messageId"] for event in good)
        until(lambda: len(shop.forwarded()) >= len(wanted), "the good events behind the bad ones")
        assert shop.forwarded() == wanted
        letters = shop.messages(shop.source + ".dlq")
        counted = re.findall(r'cartstream_dlq_records_total\{reason="(\w+)",service="identity"\} ([\d.]+)', identity.get("/metrics")[1])
        assert identity.stop() == 0

    heads = heads_of(letters)
    assert [(letter.value() or b"", head["cs-reason"].decode()) for letter, head in zip(letters, heads, strict=True)] == bad
    assert [int(head["cs-offset"]) for head in heads] == [2 * n for n in range(len(bad))]
    assert {head["cs-topic"] for head in heads} == {b"clickstream"}
    assert sum(float(count) for _, count in counted) == len(bad)
    assert {reason for reason, _ in counted} == {reason for _, reason in bad}
    assert "example.test" not in repr(heads)


def test_each_bad_identified_record_is_one_dead_letter_and_the_partition_goes_on(shop: Shop) -> None:
    signal_record = avro.codec().encode(Signal("s", "exit_intent", "c_1", 1, 1))
    bad: list[tuple[bytes | None, bytes, str]] = [
        (b"c_1", b"", "bad_header"),
        (b"c_1", b"\x00\x00\x00\xff\xff nonsense", "bad_header"),
        (b"c_1", signal_record, "wrong_schema"),
        (b"c_1", signal_record[:9], "wrong_schema"),
        (b"c_1", b"{", "unparseable"),
        (None, shop.event(), "missing_id"),
        (b"\xff\xfe", shop.event(), "missing_id"),
        (b"c_1", shop.event(timestamp=10**300), "future"),
        (b"c_1", shop.event(timestamp=-(10**300)), "before_retention"),
        (b"c_1", shop.event(timestamp="nan"), "wrong_schema"),
        (b"c_1", shop.event()[:-1] + b',"properties":{"products":' + nested(100_000).encode() + b"}}", "unparseable"),
        (
            b"c_1",
            shop.event(event="Product Added", type="track")[:-1] + b',"properties":{"name":"\\ud800","product_id":"p"}}',
            "unparseable",
        ),
    ]
    with service("sessions", **shop.environment) as sessions:
        for key, event, _ in bad:
            shop.send(event, key=key, topic=shop.sink)
            shop.send(shop.event("good"), key=b"c_good", topic=shop.sink)
        shop.send(shop.event("last"), key=b"c_last", topic=shop.sink)
        until(lambda: "c_last" in [activity.customer_id for activity in shop.activities()], "the event behind the bad ones")
        letters = shop.messages(shop.sink + ".dlq")
        assert sessions.stop() == 0

    heads = heads_of(letters)
    assert [(letter.value() or b"", head["cs-reason"].decode()) for letter, head in zip(letters, heads, strict=True)] == [
        (event, reason) for _, event, reason in bad
    ]
    assert [int(head["cs-offset"]) for head in heads] == [2 * n for n in range(len(bad))]


def test_products_with_endless_names_do_not_stop_the_partition(shop: Shop) -> None:
    """Each fits into a record; together they would not."""
    with service("sessions", **shop.environment):
        for n in range(3):
            properties = {"product_id": f"p{n}", "name": "n" * 400_000, "currency": "EUR"}
            shop.send(shop.event(type="track", event="Product Added", properties=properties), key=b"c_1", topic=shop.sink)
        shop.send(shop.event(type="track", event="Product Added", properties={"product_id": "i" * 900_000}), key=b"c_1", topic=shop.sink)
        shop.send(shop.event(messageId="m" * 900_000), key=b"c_2", topic=shop.sink)
        shop.send(shop.event("last"), key=b"c_last", topic=shop.sink)
        until(lambda: "c_last" in [activity.customer_id for activity in shop.activities()], "the event behind them")

    carts = [activity.cart for activity in shop.activities() if activity.kind == "cart_updated"]
    assert [item.product_id for item in carts[-1].items] == ["p0", "p1", "p2"]  # type: ignore[union-attr]


def test_a_stopped_process_that_wakes_up_after_another_took_over_changes_nothing(shop: Shop) -> None:
    def click(n: int) -> None:
        for partition in range(PARTITIONS):
            shop.send(shop.event(f"d{partition}-{n}"), key=f"c{partition}-{n}".encode(), topic=shop.sink, partition=partition)

    with ExitStack() as stack:
        first: Service = stack.enter_context(service("sessions", **shop.environment))
        first.owns(PARTITIONS)
        click(1)
        until(lambda: len(shop.activities()) == 2, "the first owner's work")
        first.process.send_signal(signal.SIGSTOP)
        click(2)
        second: Service = stack.enter_context(service("sessions", **shop.environment))
        until(lambda: len(shop.activities()) == 4, "the second owner's work")
        first.process.send_signal(signal.SIGCONT)
        click(3)
        until(lambda: len(shop.activities()) == 6, "work after the first woke up")
        second.owns(1)
        first.owns(1)
        click(4)
        until(lambda: len(shop.activities()) == 8, "work of both")
        assert first.stop() == 0
        assert second.stop() == 0

    started = [activity.customer_id for activity in shop.activities() if activity.kind == "session_started"]
    assert sorted(started) == sorted(f"c{partition}-{n}" for partition in range(PARTITIONS) for n in (1, 2, 3, 4))


def test_the_log_of_a_service_is_json_and_holds_no_address(shop: Shop) -> None:
    with service("identity", **shop.environment) as identity:
        traits = {"email": "ann.secret@example.test", "phone": "+4915112345678"}
        shop.send(shop.event(type="identify", userId="ann", traits=traits), shop.event(type="dance", traits=traits))
        until(lambda: shop.messages(shop.prefix + topics.CUSTOMERS), "the customer record")
        assert identity.get("/livez") == (200, "ok\n")
        assert identity.stop() == 0

    assert all("text" not in line for line in identity.log)
    everything = repr(identity.log) + repr([(message.key(), message.value()) for message in shop.messages(shop.sink)])
    everything += repr([(message.key(), message.value()) for message in shop.messages(shop.prefix + topics.CUSTOMERS)])
    assert "secret" not in everything
    assert "15112345678" not in everything
