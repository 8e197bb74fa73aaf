"""`last-shopper`: one cart is filled, and then nothing happens any more, on any partition. The message comes all the same, and in time.

The time is real: an hour of the shop takes a known number of seconds here, and everything else is as in production. The limit is
the journey's delay and the lateness that is allowed to events, both by the shop's clock, then the idle grace and one second.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import orjson

from cartstream.demo.shoppers import ORIGIN
from cartstream.demo.truth import Message
from cartstream.events import topics
from cartstream.events.adapters.recorded import Recorded, event
from cartstream.events.times import HOUR, SECOND, EventTime
from cartstream.runtime.kafka import ensure_topics
from tests.drills.course import Course, Plan, running
from tests.drills.drill import Ground, Line
from tests.drills.traffic import PARTITIONS, Click, Traffic, truth_of

_DELAY, _LATENESS = HOUR, 5 * SECOND
_GRACE_S = 2.0
_MARGIN_S = 1.0
_WAIT_S = 60.0
_LOOK_S = 0.02
_SHORT_HOUR_S, _LONG_HOUR_S = 3.0, 30.0
_SERVICES = ("identity", "sessions", "detection", "journeys", "email")
# What is real time in a service is as it is by default.
_AS_IN_PRODUCTION = {
    "CARTSTREAM_ANNOUNCE_MS": "100",
    "CARTSTREAM_IDLE_MS": "1000",
    "CARTSTREAM_IDLE_GRACE_MS": str(int(_GRACE_S * 1000)),
    "CARTSTREAM_POLL_MS": "25",
    "CARTSTREAM_SEND_FLUSH_MS": "40",
}


@dataclass(frozen=True, slots=True)
class LastShopper:
    name: str = "last-shopper"
    about: str = "one cart is filled, then silence on every partition: the message comes in time"

    def run(self, ground: Ground, seed: int, *, short: bool) -> tuple[Line, bool]:
        """The line, and whether the message came once and in time. Raises AssertionError when it does not come at all."""
        speed = HOUR / SECOND / (_SHORT_HOUR_S if short else _LONG_HOUR_S)
        shopper = _shopper(seed)
        traffic = Traffic(seed, 1, shopper, truth_of(shopper))
        started = time.time()
        env = _AS_IN_PRODUCTION | {"CARTSTREAM_CLOCK": f"scaled:{ORIGIN}:{started!r}:{speed!r}"}
        with running(ground.surroundings, Plan(traffic, 0.1, env, services=_SERVICES), ground.out / self.name) as course:
            added_at, messages = self._wait(course, shopper, started, speed)
        assert messages, f"a command that became no message: see {ground.out / self.name}"
        came_after = messages[0].received_at / 1000 - added_at
        delay, limit = _DELAY / SECOND / speed, (_DELAY + _LATENESS) / SECOND / speed + _GRACE_S + _MARGIN_S
        line: dict[str, Any] = {
            "drill": self.name,
            "seed": seed,
            "form": "short" if short else "long",
            "faults": 0,
            "events": len(shopper),
            "commands": course.watch.count(topics.commands("email")),
            "lost": 0,
            "duplicated": len(messages) - 1,
            "sent_after_purchase": 0,
            "max_stall_s": 0.0,
            "delay_s": round(delay, 2),
            "came_after_s": round(came_after, 2),
            "limit_s": round(limit, 2),
        }
        return line, len(messages) == 1 and delay <= came_after <= limit

    def _wait(self, course: Course, shopper: list[Click], started: float, speed: float) -> tuple[float, list[Message]]:
        """When the cart was filled (s since the epoch), and the message that came of it."""
        around = course.surroundings
        around.providers.reset()
        ensure_topics(around.bootstrap, course.prefix, PARTITIONS, around.replication, PARTITIONS)
        for service in _SERVICES:
            course.fleet.start(service)
        course.watch.start()
        course.fleet.wait_ready(_SERVICES)
        added_at = time.time()
        now = ORIGIN + int((added_at - started) * SECOND * speed)
        course.feed.add([_moved(click, now - ORIGIN) for click in shopper])
        end = time.monotonic() + _WAIT_S
        while not course.watch.count(topics.DELIVERIES):
            assert time.monotonic() < end, f"no message within {_WAIT_S:.0f} s: see {course.out}"
            time.sleep(_LOOK_S)
        return added_at, around.providers.messages()


def _shopper(seed: int) -> list[Click]:
    """Says who they are, and puts something into the cart in the same moment."""
    traits = {"email": f"last{seed}@example.test", "timezone": "Europe/Berlin", "consent": {"email": True}}
    cart = {"product_id": "lamp", "name": "Lamp", "price": 40.0, "quantity": 1, "currency": "EUR"}
    device, user = f"laptop-{seed}", f"user-{seed}"
    return [
        _click(event(ORIGIN - 1, device, f"{seed}-0", "identify", userId=user, traits=traits)),
        _click(event(ORIGIN, device, f"{seed}-1", "track", "Product Added", userId=user, properties=cart)),
    ]


def _click(record: Recorded) -> Click:
    return Click(record.at, 1, record.key.encode(), record.value)


def _moved(click: Click, by: EventTime) -> Click:
    """The same, later."""
    said: dict[str, Any] = orjson.loads(click.value)
    fields = {name: value for name, value in said.items() if name not in ("anonymousId", "messageId", "type", "event", "timestamp")}
    record = event(click.at + by, said["anonymousId"], said["messageId"], said["type"], said.get("event"), **fields)
    return Click(record.at, click.partition, click.key, record.value)


LAST_SHOPPER = LastShopper()
