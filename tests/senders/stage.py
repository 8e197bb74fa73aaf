"""A sender at work in the test's own event loop, with real Kafka, Redis and fake providers around it."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any, Protocol

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from redis import Redis as SyncRedis

from cartstream.events import topics
from cartstream.events.avro import codec
from cartstream.events.read_model import Contact, Guard
from cartstream.events.records import Cart, Command, Item
from cartstream.fakes.push import subscription
from cartstream.fakes.service import Fakes
from cartstream.runtime.health import Health
from cartstream.runtime.metrics import SenderMetrics, new_registry
from cartstream.runtime.settings import load
from cartstream.runtime.vault import Vault
from cartstream.senders import service
from cartstream.senders.channel import Channel
from cartstream.senders.email.smtp import EmailChannel
from cartstream.senders.loop import SenderLoop
from cartstream.senders.push import vapid
from cartstream.senders.push.webpush import PushChannel
from cartstream.senders.readiness import Readiness
from cartstream.senders.settings import EmailSettings, PushSettings, SenderSettings, SmsSettings
from cartstream.senders.sms.twilio import SmsChannel
from tests.support.contacts import keep_contact
from tests.support.guards import keep_guard

HASH_KEY = "h" * 32
VAULT_KEYS = "k1=" + base64.b64encode(b"v" * 32).decode()
VAPID_KEY = vapid.generate()[0]
WAIT_S = 60.0
PARTITIONS = 2


async def until(condition: Callable[[], Any], what: str = "the condition", seconds: float = WAIT_S) -> Any:
    """The first true value of `condition`; AssertionError after so many seconds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come true within {seconds:.0f} s"
        await asyncio.sleep(0.01)
    return found


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def command(channel: str = "email", n: int = 1, customer_id: str = "ada", **changes: Any) -> Command:
    """A valid command, number `n`, with a cart of version 7."""
    now = now_ms()
    cart = Cart(version=7, items=[Item("p1", 2, 12.5, "Teapot")], value=25.0, currency="EUR")
    made = Command(
        command_id=f"{channel}-{n}",
        customer_id=customer_id,
        channel=channel,
        journey="cart_abandonment",
        step="reminder",
        template="cart_reminder",
        at=now,
        expires_at=now + 3_600_000,
        guard="cart",
        order_mark=0,
        cart=cart,
    )
    return msgspec.structs.replace(made, **changes)


class Broker(Protocol):
    """Real, or the demo's."""

    @property
    def address(self) -> str: ...

    def create_topics(self, partitions: Mapping[str, int]) -> None: ...


class Stage:
    """One test's topics, keys and customers."""

    def __init__(self, kafka: Broker, redis_url: str, redis: SyncRedis, prefix: str, fakes: Fakes) -> None:
        self._kafka, self._redis_url, self.redis, self.prefix, self.fakes = kafka, redis_url, redis, prefix, fakes
        self._vault = Vault(VAULT_KEYS)
        self._producer = Producer(
            {"bootstrap.servers": kafka.address, "linger.ms": 1, "partitioner": "murmur2_random", "message.max.bytes": 5_000_000}
        )
        self.registry = new_registry("test", "0")
        self.health = Health()

    def create_topics(self, channel: str) -> None:
        """The channel's topics, of two partitions each."""
        self._kafka.create_topics(self.topics(channel))

    def topics(self, channel: str) -> dict[str, int]:
        """Partitions by topic, prefix and all."""
        names = [topics.commands(channel), topics.dead_letters(topics.commands(channel)), topics.DELIVERIES, topics.SIGNALS]
        return {self.prefix + name: PARTITIONS for name in names}

    def customer(self, customer_id: str = "ada", guard: Guard | None = None, **contact: Any) -> None:
        """Reachable on every channel, with consent, unless told otherwise."""
        browser = msgspec.json.encode(subscription(self.fakes.addresses.http, customer_id)).decode()
        known: dict[str, Any] = {
            "consent": {"email": True, "sms": True, "push": True},
            "email": self._vault.seal("email", f"{customer_id}@example.test"),
            "phone": self._vault.seal("phone", "+491701234567"),
            "push": self._vault.seal("push", browser),
        }
        keep_contact(self.redis, self.prefix, customer_id, Contact(**(known | contact)))
        if guard is not None:
            self.guard(guard, customer_id)

    def guard(self, guard: Guard, customer_id: str = "ada") -> None:
        keep_guard(self.redis, self.prefix, load(SenderSettings).partitions, customer_id, guard)

    def sealed(self, kind: str, text: str) -> bytes:
        return self._vault.seal(kind, text)

    def order(self, *commands: Command, partition: int | None = None) -> None:
        """Put commands on their topic."""
        place = -1 if partition is None else partition
        for wanted in commands:
            topic = self.prefix + topics.commands(wanted.channel)
            self._producer.produce(topic, codec().encode(wanted), wanted.customer_id.encode(), place)
        assert self._producer.flush(WAIT_S) == 0

    def put(self, topic: str, value: bytes, key: bytes = b"k", partition: int | None = None) -> None:
        refused: list[object] = []
        place = -1 if partition is None else partition
        self._producer.produce(
            self.prefix + topic, value, key, place, on_delivery=lambda error, _: refused.append(error) if error else None
        )
        assert self._producer.flush(WAIT_S) == 0
        assert not refused

    async def read(self, topic: str, count: int) -> list[Message]:
        """The first `count` committed records of a topic."""
        return await asyncio.to_thread(self._read, topic, count)

    async def dead_letter(self, topic: str) -> tuple[Message, dict[str, str]]:
        """The first dead letter of a topic, and its headers."""
        (message,) = await self.read(topics.dead_letters(topic), 1)
        return message, {str(pair[0]): bytes(pair[1] or b"").decode() for pair in message.headers() or []}  # type: ignore[arg-type]

    async def values(self, topic: str, count: int) -> list[Any]:
        return [codec().decode(message.value() or b"") for message in await self.read(topic, count)]

    async def deliveries(self, count: int = 1) -> list[Any]:
        return await self.values(topics.DELIVERIES, count)

    def _read(self, topic: str, count: int) -> list[Message]:
        settings = {
            "bootstrap.servers": self._kafka.address,
            "group.id": self.prefix + "reader." + topic,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            # The end of a transaction wakes up no reader that waits for it: it would wait for half a second.
            "fetch.wait.max.ms": 20,
        }
        found: list[Message] = []
        end = time.monotonic() + WAIT_S
        with closing(Consumer(settings)) as consumer:
            consumer.assign([TopicPartition(self.prefix + topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
            while len(found) < count:
                assert time.monotonic() < end, f"{len(found)} of {count} records on {topic}"
                message = consumer.poll(0.1)
                if message is not None and not message.error():
                    found.append(message)
        return found

    def committed(self, channel: str) -> dict[int, int]:
        """The group's offsets by partition, where there are any."""
        topic = self.prefix + topics.commands(channel)
        with closing(Consumer({"bootstrap.servers": self._kafka.address, "group.id": f"{self.prefix}cartstream.{channel}"})) as consumer:
            places = consumer.committed([TopicPartition(topic, number) for number in range(PARTITIONS)], timeout=WAIT_S)
        return {place.partition: place.offset for place in places if place.offset >= 0}

    def settings(self, kind: type[SenderSettings], **changes: Any) -> Any:
        addresses = self.fakes.addresses
        given: dict[str, Any] = {
            "brokers": self._kafka.address,
            "redis_url": self._redis_url,
            "prefix": self.prefix,
            "hash_key": HASH_KEY,
            "vault_keys": VAULT_KEYS,
            "smtp_host": addresses.smtp_host,
            "smtp_port": addresses.smtp_port,
            "twilio_url": addresses.http,
            "twilio_sid": "AC1",
            "twilio_token": "secret",
            "sms_from": "+15005550006",
            "sms_status_callback": f"{addresses.http}/callbacks/sms",
            "vapid_private_key": VAPID_KEY,
            "push_allow_http": True,
            "push_allow_private": True,
            "unsubscribe_url": "https://shop.example.test/unsubscribe/",
            "send_backoff_s": 0.05,
            "send_timeout_s": 1.0,
            "send_settle_s": 0.2,
            "send_drain_s": 3.0,
            "session_timeout_ms": 6_000,
        }
        return kind(**(given | changes))

    @asynccontextmanager
    async def sending(self, channel: str, **changes: Any) -> AsyncIterator[SenderLoop]:
        """A sender of `channel`, stopped in good order at the end."""
        settings, port = self._channel(channel, changes)
        redis = service.connect(settings)
        self.registry, self.health = new_registry(channel, "0"), Health()
        readiness = Readiness(self.health, "kafka", "redis")
        sender = await service.build(port, settings, redis, SenderMetrics(channel, self.registry), self.health, readiness)
        watching = asyncio.create_task(service.watch_redis(redis, readiness))
        running = asyncio.create_task(sender.run())
        try:
            yield sender
        finally:
            sender.stop()
            await running
            watching.cancel()
            await port.close()
            await redis.aclose()

    def _channel(self, channel: str, changes: dict[str, Any]) -> tuple[SenderSettings, Channel]:
        if channel == "email":
            email = self.settings(EmailSettings, **changes)
            return email, EmailChannel(email)
        if channel == "sms":
            sms = self.settings(SmsSettings, **changes)
            return sms, SmsChannel(sms)
        push = self.settings(PushSettings, **changes)
        return push, PushChannel(push)

    def inbox(self, channel: str) -> list[Any]:
        return [message for message in self.fakes.inbox.after(0) if message.channel == channel]
