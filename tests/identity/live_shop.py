"""All services on real servers, an hour of the shop in a few seconds, for the commands of identity."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import orjson
from confluent_kafka import Producer
from redis import Redis

from cartstream.demo.shoppers import ORIGIN
from cartstream.embedded.child import free_port
from cartstream.events import topics
from cartstream.events.times import HOUR, SECOND, iso
from cartstream.runtime.kafka import ensure_topics
from cartstream.up.processes import Processes
from cartstream.up.surroundings import fake_providers
from tests.drills.surroundings import SECRETS, Providers
from tests.identity.people import Event
from tests.support import RealKafka

HOUR_S = 12.0
"""Long enough for a command to be done before the message is due, also on a busy machine."""


def click(who: str, moment: int, number: int, **fields: Any) -> Event:
    said = {"messageId": f"{who}-{number}", "anonymousId": f"device-of-{who}", "userId": f"user-{who}", "timestamp": iso(moment)}
    return {**said, **fields}


def shopping(who: str, moment: int) -> list[Event]:
    traits = {"email": f"{who}@example.test", "timezone": "Europe/Berlin", "consent": {"email": True}}
    cart = {"product_id": f"lamp-of-{who}", "name": "Lamp", "price": 40.0, "quantity": 1, "currency": "EUR"}
    return [
        click(who, moment - 1, 0, type="identify", traits=traits),
        click(who, moment, 1, type="track", event="Product Added", properties=cart),
    ]


class Shop:
    """All services, an hour of the shop in HOUR_S."""

    def __init__(self, kafka: RealKafka, redis_url: str, prefix: str) -> None:
        self.redis_url, self.prefix = redis_url, prefix
        self.started, self.speed = time.time(), HOUR / SECOND / HOUR_S
        providers = fake_providers(free_port(), free_port())
        self.providers = Providers(providers["CARTSTREAM_TWILIO_URL"])
        self.env = {
            **SECRETS,
            **providers,
            "CARTSTREAM_BROKERS": kafka.address,
            "CARTSTREAM_REDIS_URL": redis_url,
            "CARTSTREAM_PREFIX": prefix,
            "CARTSTREAM_PARTITIONS": "2",
            "CARTSTREAM_CLOCK": f"scaled:{ORIGIN}:{self.started!r}:{self.speed!r}",
        }
        self.producer = Producer({"bootstrap.servers": kafka.address})
        ensure_topics(kafka.address, prefix, 2, 1, 2)

    @property
    def now(self) -> int:
        return ORIGIN + int((time.time() - self.started) * SECOND * self.speed)

    @contextmanager
    def open(self) -> Iterator[None]:
        with Processes(self.env, lambda name, line: None) as processes:
            processes.start("fakes", arguments=["fakes"])
            services = ("identity", "sessions", "detection", "journeys", "email")
            for service in services:
                processes.start(service)
            processes.wait_ready(services, 120)
            yield

    def put(self, *events: Event) -> None:
        for event in events:
            self.producer.produce(self.prefix + topics.CLICKSTREAM, orjson.dumps(event), event["anonymousId"])
        assert self.producer.flush(30) == 0

    def sent(self, who: str) -> int:
        return sum(f"{who}@example.test" in repr(message) for message in self.providers.messages())

    def stored(self) -> bytes:
        """All of Redis but the states of devices, whose keys name them."""
        with closing(Redis.from_url(self.redis_url)) as redis:
            names = [name for name in redis.scan_iter(f"{self.prefix}*") if b"{identity:" not in name]
            return b"".join(bytes(name) + _value(redis, name) for name in names)


def _value(redis: Redis, name: bytes) -> bytes:
    kind = redis.type(name)
    read: dict[bytes, Callable[[bytes], Any]] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"stream": redis.xrange,
        b"list": partial(redis.lrange, start=0, end=-1),
        b"zset": partial(redis.zrange, start=0, end=-1),
    }
    return repr(read[bytes(kind)](name)).encode()  # type: ignore[arg-type]
