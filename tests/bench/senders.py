"""How fast one sender process is: a topic full of commands, the ledger on, a fake provider at the other end, and every message counted."""

from __future__ import annotations

import json
import os
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from redis import Redis

from cartstream.embedded.child import free_port
from cartstream.events import topics
from cartstream.events.avro import codec
from cartstream.events.read_model import Contact, Guard
from cartstream.events.records import Cart, Command, Item
from cartstream.fakes.push import subscription
from cartstream.runtime.kafka import ensure_topics
from cartstream.runtime.vault import Vault
from cartstream.senders.push.vapid import generate
from cartstream.up.processes import Processes, answers
from cartstream.up.surroundings import fake_providers
from tests.bench.ground import PARTITIONS, SECRETS, Ground, Service, cpu_seconds, wait_until
from tests.support.contacts import keep_contact
from tests.support.guards import keep_guard

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "30000"))
CUSTOMERS = 20_000
_PAGE = 10_000
_VERSION = 7
_TEMPLATES = ("exit_intent", "cart_reminder", "cart_offer", "checkout_reminder", "checkout_offer", "browse_reminder")
_NAMES = ("Teapot, cast iron", "Linen napkins, set of six", "Kaffeemühle", "Cutting board <oak>")


def email(on: Ground) -> dict[str, Any]:
    return _measure(on, "email")


def sms(on: Ground) -> dict[str, Any]:
    return _measure(on, "sms")


def push(on: Ground) -> dict[str, Any]:
    return _measure(on, "push")


@dataclass(frozen=True)
class _Running:
    sender: Service
    pids: dict[str, int]
    http: str

    def cpu(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.http + path, timeout=30) as answer:
            return json.load(answer)


def _measure(on: Ground, channel: str) -> dict[str, Any]:
    """From the first message at the provider until the last delivery and offset are committed."""
    prefix = f"bench-{uuid.uuid4().hex[:6]}."
    ensure_topics(on.brokers, prefix, PARTITIONS, 1)
    providers = fake_providers(free_port(), free_port())
    _know_customers(on, prefix, providers["CARTSTREAM_TWILIO_URL"])
    wanted = _order(on, prefix, channel)
    with _running(on, prefix, channel, providers) as running:
        wait_until(lambda: _received(running, channel) > 0)
        begun, at_begin, before = time.perf_counter(), _received(running, channel), running.cpu()
        wait_until(lambda: _received(running, channel) >= MESSAGES)
        sent_s = time.perf_counter() - begun
        with _group(on, prefix, channel) as group:
            wait_until(lambda: _committed(group, prefix, channel) >= MESSAGES)
        seconds, after = time.perf_counter() - begun, running.cpu()
        handled = MESSAGES - at_begin
        resident_mib = running.sender.resident_mib
        messages = list(_messages(running))
    statuses = _statuses(on, prefix)
    assert Counter(message["command_id"] for message in messages) == Counter(wanted), "not every command is one message"
    assert statuses == {"accepted": MESSAGES}, f"deliveries: {dict(statuses)}"
    return {
        "name": channel,
        "messages": MESSAGES,
        "messages_per_s": round(handled / seconds),
        "provider_calls_per_s": round(handled / sent_s),
        "cpu_us_per_message": {name: round((after[name] - before[name]) / handled * 1e6) for name in running.pids},
        "rss_mib": resident_mib,
        "bytes_per_message": round(sum(message["length"] for message in messages) / len(messages)),
        "accepted": statuses["accepted"],
        "ambiguous": statuses["ambiguous"],
        "failed": statuses["failed"],
        "sent_more_than_once": 0,
    }


def _know_customers(on: Ground, prefix: str, http: str) -> None:
    """Reachable on every channel, with consent and a cart that no command contradicts."""
    vault = Vault(SECRETS["CARTSTREAM_VAULT_KEYS"])
    consent = dict.fromkeys(topics.CHANNELS, True)
    with Redis.from_url(on.redis_url) as redis, redis.pipeline(transaction=False) as pipe:
        for number in range(CUSTOMERS):
            name = _customer(number)
            contact = Contact(
                consent=consent,
                email=vault.seal("email", f"{name}@example.test"),
                phone=vault.seal("phone", f"+49151{number:08d}"),
                push=vault.seal("push", json.dumps(subscription(http, name))),
                timezone="Europe/Berlin",
                locale="de-DE",
            )
            keep_contact(pipe, prefix, name, contact)
            guard = Guard(cart_version=_VERSION, cart_empty=False)
            keep_guard(pipe, prefix, PARTITIONS, name, guard)
            if number % 1000 == 999:
                pipe.execute()
        pipe.execute()


def _order(on: Ground, prefix: str, channel: str) -> list[str]:
    """Put MESSAGES commands on the channel's topic; gives their ids."""
    producer = Producer({"bootstrap.servers": on.brokers, "partitioner": "murmur2_random", "linger.ms": 50, "compression.type": "lz4"})
    topic, encode, ids = prefix + topics.commands(channel), codec().encode, []
    for number in range(MESSAGES):
        command = _command(channel, number)
        ids.append(command.command_id)
        producer.produce(topic, encode(command), command.customer_id.encode())
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0
    return ids


def _command(channel: str, number: int) -> Command:
    """Of one to four items, over all templates."""
    now, template = time.time_ns() // 1_000_000, _TEMPLATES[number % len(_TEMPLATES)]
    count = number % 4 + 1
    items = [Item(f"sku-{number % 500 + place}", place + 1, 19.99 + place, _NAMES[place]) for place in range(count)]
    return Command(
        command_id=f"{channel}-{number:08d}-{number * 2654435761 % 2**32:08x}",
        customer_id=_customer(number % CUSTOMERS),
        channel=channel,
        journey="cart_abandonment",
        step="reminder",
        template=template,
        at=now,
        expires_at=now + 3_600_000,
        guard="cart",
        order_mark=0,
        cart=Cart(_VERSION, items, sum((item.price or 0) * item.quantity for item in items), "EUR"),
        viewed=["sku-1", "sku-2"],
        offer="SAVE10" if template.endswith("_offer") else None,
    )


def _customer(number: int) -> str:
    return f"customer-{number:023d}"


@contextmanager
def _running(on: Ground, prefix: str, channel: str, providers: dict[str, str]) -> Iterator[_Running]:
    more = {"CARTSTREAM_VAPID_PRIVATE_KEY": generate()[0], "CARTSTREAM_UNSUBSCRIBE_URL": "https://shop.example.test/unsubscribe/"}
    env = on.environment(prefix, **providers, **more, CARTSTREAM_FAKES_KEEP=str(MESSAGES * 2))
    with Processes(env) as processes:
        processes.start("fakes", arguments=["fakes"])
        http = providers["CARTSTREAM_TWILIO_URL"]
        wait_until(lambda: answers(http + "/livez"))
        processes.start(channel)
        pids = {"sender": processes.pid(channel), "fake": processes.pid("fakes"), "redis": on.redis_pid, "broker": on.broker_pid}
        yield _Running(Service(None, processes.metrics_url(channel) + "/metrics"), pids, http)


def _received(running: _Running, channel: str) -> int:
    return int(running.get("/counts")[channel])


def _messages(running: _Running) -> Iterator[dict[str, Any]]:
    last = 0
    while page := running.get(f"/messages?after={last}"):
        yield from page
        last = page[-1]["n"]
        if len(page) < _PAGE:
            return


@contextmanager
def _group(on: Ground, prefix: str, channel: str) -> Iterator[Consumer]:
    with closing(Consumer({"bootstrap.servers": on.brokers, "group.id": f"{prefix}cartstream.{channel}"})) as consumer:
        yield consumer


def _committed(group: Consumer, prefix: str, channel: str) -> int:
    topic = prefix + topics.commands(channel)
    places = group.committed([TopicPartition(topic, number) for number in range(PARTITIONS)], timeout=10)
    return sum(max(0, place.offset) for place in places)


def _statuses(on: Ground, prefix: str) -> Counter[str]:
    """Of all committed deliveries, each told once."""
    settings = {
        "bootstrap.servers": on.brokers,
        "group.id": uuid.uuid4().hex,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
    }
    found: dict[str, str] = {}
    with closing(Consumer(settings)) as consumer:
        consumer.assign([TopicPartition(prefix + topics.DELIVERIES, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
        quiet_since = time.monotonic()
        while len(found) < MESSAGES and time.monotonic() - quiet_since < 10:
            for message in consumer.consume(10_000, 0.2):
                delivery = codec().decode(message.value() or b"")
                found[delivery.command_id] = delivery.status
                quiet_since = time.monotonic()
    return Counter(found.values())
