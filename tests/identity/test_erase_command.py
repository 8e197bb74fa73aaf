"""`cartstream identity erase`: what it says before, and with real servers what becomes of the shopper in all services."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer
from redis import Redis

from cartstream.demo.shoppers import ORIGIN
from cartstream.embedded.child import free_port
from cartstream.errors import ConfigError, Unavailable
from cartstream.events import topics
from cartstream.events.times import HOUR, SECOND, iso
from cartstream.identity.correction import erasure
from cartstream.identity.nodes import identifier_named
from cartstream.identity.preview import NobodyKnown
from cartstream.identity.redis_directory import RedisDirectory
from cartstream.identity.stage import IdentityStage
from cartstream.identity.state import anonymous_customer
from cartstream.replay.driver import Pipeline
from cartstream.runtime.kafka import ensure_topics
from cartstream.runtime.redis_store import connect
from cartstream.up.processes import Processes
from cartstream.up.surroundings import fake_providers
from tests.drills.surroundings import SECRETS, Providers
from tests.identity.people import HASH, T0, Event, email, feed, identify, page, settings, user
from tests.identity.recorded import identity, json_of
from tests.runtime.live import until
from tests.support import RealKafka

ADDRESS = "ann@example.test"
EVENTS = (page("d1", 0), identify("d1", 10, "ann", email=ADDRESS), page("d2", 20, "ann"), page("d3", 30, "bob"))
HOUR_S = 4.0


@pytest.fixture
def directory(redis_url: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisDirectory]:
    """In Redis; it has seen EVENTS. No Kafka is there."""
    monkeypatch.setenv("CARTSTREAM_REDIS_URL", redis_url)
    monkeypatch.setenv("CARTSTREAM_PREFIX", topic_prefix)
    monkeypatch.setenv("CARTSTREAM_BROKERS", "127.0.0.1:1")
    with connect(redis_url) as client:
        made = RedisDirectory(
            client, topic_prefix, lambda kind, address: b"sealed", 1_000, news_s=0, conceal=lambda one: HASH(one.type, one.value)
        )
        feed(Pipeline([IdentityStage(settings(), made, None)]), *EVENTS)
        yield made


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("name", [user("ann"), f"email:{ADDRESS}", email(ADDRESS), "device:d2"])
def test_a_dry_run_says_whose_it_is_and_what_they_have(name: str) -> None:
    answer = identity("erase", name, "--dry-run")
    assert answer.exit_code == 0
    assert f"is {anonymous_customer('d1')} (1 email, 1 user_id, 2 device, merged from 2 customers)" in answer.stdout
    assert ADDRESS not in answer.output

    (said,) = json_of(identity("erase", name, "--dry-run", "--json"))
    assert (said["customer"], said["held"], said["done"], said["partitions"]) == (
        anonymous_customer("d1"),
        {"email": 1, "user_id": 1, "device": 2},
        False,
        0,
    )


def test_what_was_erased_is_said_to_be_and_nothing_is_written(directory: RedisDirectory) -> None:
    directory.correct(erasure("e", T0 + 40_000, identifier_named(user("ann")), []))
    for name in (user("ann"), f"email:{ADDRESS}"):
        answer = identity("erase", name)
        assert (answer.exit_code, answer.stdout.count("was erased at " + iso(T0 + 40_000))) == (0, 1)


@pytest.mark.usefixtures("directory")
def test_who_is_not_known_is_a_mistake_but_for_a_device_without_a_login() -> None:
    assert isinstance(identity("erase", user("eve")).exception, NobodyKnown)
    assert isinstance(identity("erase", "user:ann").exception, ConfigError)
    assert isinstance(identity("erase", user("ann"), CARTSTREAM_HASH_KEY="").exception, ConfigError)
    assert f"device:d9 is {anonymous_customer('d9')} (1 device)" in identity("erase", "device:d9", "--dry-run").stdout


@pytest.mark.usefixtures("directory")
def test_without_kafka_it_says_so() -> None:
    assert isinstance(identity("erase", user("ann")).exception, Unavailable)


def _click(who: str, moment: int, number: int, **fields: Any) -> Event:
    said = {"messageId": f"{who}-{number}", "anonymousId": f"device-of-{who}", "userId": f"user-{who}", "timestamp": iso(moment)}
    return {**said, **fields}


def _shopping(who: str, moment: int) -> list[Event]:
    traits = {"email": f"{who}@example.test", "timezone": "Europe/Berlin", "consent": {"email": True}}
    cart = {"product_id": f"lamp-of-{who}", "name": "Lamp", "price": 40.0, "quantity": 1, "currency": "EUR"}
    return [
        _click(who, moment - 1, 0, type="identify", traits=traits),
        _click(who, moment, 1, type="track", event="Product Added", properties=cart),
    ]


class _Shop:
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


def test_an_erased_shopper_gets_no_message_and_is_gone_from_all_services(kafka: RealKafka, redis_url: str, topic_prefix: str) -> None:
    shop = _Shop(kafka, redis_url, topic_prefix)
    with shop.open():
        moment = shop.now
        shop.put(*_shopping("ann", moment), *_shopping("bob", moment))
        until(lambda: b"lamp-of-ann" in shop.stored(), "a cart", 60)
        answer = identity("erase", user("user-ann"), "--json", **shop.env)
        (said,) = json_of(answer)
        assert (said["partitions"], said["held"]) == (2, {"email": 1, "user_id": 1, "device": 1})

        until(lambda: identity("erase", user("user-ann"), "--json", **shop.env).stdout.count('"done":true'), "the erasure", 60)
        late = _click("ann", moment + 1, 2, type="track", event="Product Added", properties={"product_id": "late-lamp", "price": 1.0})
        shop.put(late, *_shopping("eve", shop.now))
        until(lambda: shop.sent("bob") and shop.sent("eve"), "the others' messages", 120)

        gone = (b"lamp-of-ann", b"late-lamp", b"user-ann", b"device-of-ann")
        until(lambda: not any(word in shop.stored() for word in gone), "nothing left of her", 60)
        assert (shop.sent("ann"), shop.sent("bob")) == (0, 1)
