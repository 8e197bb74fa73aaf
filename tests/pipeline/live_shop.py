"""All services of a message's way as processes on a real Kafka and Redis, sending to fake providers."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from typing import Any

from cartstream.embedded.child import free_port
from cartstream.events import avro, topics
from cartstream.events.records import Activity, Signal
from cartstream.events.times import EventTime, iso, parse_iso
from cartstream.runtime.clock import ScaledClock
from cartstream.up.launch import start_fakes
from cartstream.up.processes import Processes
from cartstream.up.surroundings import fake_providers, throwaway_secrets
from tests.runtime.test_services import Shop
from tests.support import RealKafka

NOON: EventTime = parse_iso("2024-03-13T12:00:00Z")
SERVICES = ("products", "identity", "sessions", "detection", "journeys", "email", "sms")
READY_SECONDS = 240.0
QUICK = {"LATENESS_MS": "200", "IDLE_GRACE_MS": "300", "IDLE_MS": "50", "ANNOUNCE_MS": "20", "POLL_MS": "10", "PAST_LIMIT_DAYS": "3650"}


@dataclass(slots=True)
class LiveShop:
    """Running services; it is noon, and time passes as it does. `fakes` is where the providers tell what they took."""

    place: Shop
    clock: ScaledClock
    fakes: str
    told: int = 0

    def happens(self, name: str, **more: Any) -> EventTime:
        """Somebody does something now, on the device `d1`: page, identify or a track event. Gives the time."""
        self.told += 1
        at = self.clock.now()
        kind = {"type": name} if name in ("page", "identify") else {"type": "track", "event": name}
        self.place.send(self.place.event("d1", messageId=f"m{self.told}", timestamp=iso(at), **kind, **more))
        return at

    def says(self, at: EventTime, **product: Any) -> None:
        """A record of the shop's on the topic `products`."""
        record = json.dumps({"at": iso(at), "currency": "EUR", "available": True, **product}).encode()
        self.place.send(record, key=str(product["product_id"]).encode(), topic=self.place.prefix + topics.PRODUCTS)

    def signals(self, kind: str) -> list[Signal]:
        return [value for value in self._records(topics.SIGNALS) if isinstance(value, Signal) and value.kind == kind]

    def exits(self) -> list[Activity]:
        return [value for value in self._records(topics.ACTIVITY) if isinstance(value, Activity) and value.kind == "exit_signal"]

    def messages(self, journey: str) -> list[dict[str, Any]]:
        """What the providers took of it."""
        with urllib.request.urlopen(f"{self.fakes}/messages", timeout=10) as answer:
            return [message for message in json.load(answer) if message["journey"] == journey]

    def mail(self, number: int) -> str:
        """The text of a message by its number."""
        with urllib.request.urlopen(f"{self.fakes}/messages/{number}", timeout=10) as answer:
            body = message_from_bytes(answer.read(), policy=policy.default).get_body(("plain",))
        assert body is not None
        return str(body.get_content())

    def _records(self, topic: str) -> list[Any]:
        return [avro.codec().decode(message.value() or b"") for message in self.place.messages(self.place.prefix + topic)]


@contextmanager
def live_shop(kafka: RealKafka, redis_url: str, prefix: str, **settings: str) -> Iterator[LiveShop]:
    """With these settings (`watch_products="1"`) besides; all services are ready, and stop in good order at the end."""
    place = Shop(kafka, redis_url, prefix)
    started_at = time.time()
    given = {name.upper(): str(value) for name, value in {**place.environment, **settings}.items()} | QUICK
    env = throwaway_secrets() | fake_providers(free_port(), free_port()) | {f"CARTSTREAM_{name}": value for name, value in given.items()}
    env["CARTSTREAM_CLOCK"] = f"scaled:{NOON}:{started_at}:1"
    log: list[str] = []
    with Processes(env, lambda name, line: log.append(f"{name}: {line}")) as processes:
        fakes = start_fakes(processes, env, READY_SECONDS)
        for name in SERVICES:
            processes.start(name)
        processes.wait_ready(SERVICES, READY_SECONDS)
        yield LiveShop(place, ScaledClock(NOON, started_at, 1.0), fakes)
        assert processes.ended() is None, log[-5:]
        assert set(processes.stop_all().values()) == {0}, log[-5:]
