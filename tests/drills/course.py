"""One run of the traffic through all services: topics, processes, feed, and what came of it."""

from __future__ import annotations

import importlib.resources
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import yaml
from confluent_kafka import IsolationLevel, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from cartstream.demo.truth import Message
from cartstream.errors import Unavailable
from cartstream.events import topics
from cartstream.events.times import MINUTE
from cartstream.runtime.group_offsets import GroupOffsets
from cartstream.runtime.kafka import ensure_topics
from cartstream.runtime.lifeline import STUCK_EXIT_CODE
from cartstream.up.launch import SERVICES
from tests.drills.feed import Feed
from tests.drills.fleet import Fleet
from tests.drills.surroundings import SECRETS, Surroundings
from tests.drills.traffic import FINAL, NOW, PARTITIONS, Traffic
from tests.drills.watch import Seen, Watch
from tests.support import RealKafka

SOURCES = {
    "identity": topics.CLICKSTREAM,
    "sessions": topics.IDENTIFIED,
    "detection": topics.ACTIVITY,
    "journeys": topics.SIGNALS,
    **{channel: topics.commands(channel) for channel in topics.CHANNELS},
}
"""What each service that a course waits for reads."""
SESSION_TIMEOUT_MS = 6_000
FINISH_SECONDS = 120.0
_TOPICS_S = 60.0
_LOOK_S = 0.03
_ASK_S = 5.0
_COMMITTED = IsolationLevel.READ_COMMITTED
# Real milliseconds set lower than where hours are hours; and an hour before the clock is ever asked how idle a partition is.
TUNING = {
    "CARTSTREAM_ANNOUNCE_MS": "50",
    "CARTSTREAM_IDLE_MS": "50",
    "CARTSTREAM_IDLE_GRACE_MS": "3600000",
    "CARTSTREAM_POLL_MS": "10",
    "CARTSTREAM_SESSION_TIMEOUT_MS": str(SESSION_TIMEOUT_MS),
    "CARTSTREAM_SEND_FLUSH_MS": "20",
    "CARTSTREAM_SEND_TIMEOUT_S": "2",
    "CARTSTREAM_SEND_SETTLE_S": "0.5",
    "CARTSTREAM_SEND_DRAIN_S": "4",
    "CARTSTREAM_SEND_BACKOFF_S": "0.05",
    "CARTSTREAM_SEND_BACKOFF_MAX_S": "1",
    "CARTSTREAM_TRANSACTION_TIMEOUT_MS": "10000",
    "CARTSTREAM_LOG_LEVEL": "info",
    "CARTSTREAM_UNSUBSCRIBE_URL": "https://shop.example.test/unsubscribe?t=",
}
_EXPIRY = "300h"


@dataclass(slots=True)
class Result:
    """What a course left: committed records by topic, what the providers got, and the longest silence while events were fed."""

    events: int
    records: dict[str, list[Seen]]
    messages: list[Message]
    max_stall_s: float
    seconds: float
    fed_twice: int = 0
    restarted: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a course is run: the traffic within `seconds`; `env` over every service's; `static` membership; which services."""

    traffic: Traffic
    seconds: float
    env: Mapping[str, str] = field(default_factory=dict)
    static: bool = False
    services: Sequence[str] = SERVICES
    finish_s: float = FINISH_SECONDS


class Course:
    """A run under way, for a drill to disturb. `random` is seeded with the traffic's seed."""

    def __init__(self, surroundings: Surroundings, plan: Plan, out: Path) -> None:
        self.surroundings, self.plan, self.out = surroundings, plan, out
        self.prefix = f"drill-{uuid.uuid4().hex[:8]}."
        self.random = Random(plan.traffic.seed)
        self.restarted = 0
        out.mkdir(parents=True, exist_ok=True)
        for log in out.glob("*.log"):
            log.unlink()
        self.fleet = Fleet(surroundings.nursery, self._environment(), out, static=plan.static)
        self.watch = Watch(surroundings.bootstrap, self.prefix, PARTITIONS)
        self.feed = Feed(surroundings.bootstrap, self.prefix + topics.CLICKSTREAM, plan.traffic.clicks, plan.seconds)
        self._admin = AdminClient({"bootstrap.servers": surroundings.bootstrap, "log_level": 0})
        self._groups = {
            service: GroupOffsets(surroundings.bootstrap, f"{self.prefix}cartstream.{service}", self.prefix + topic)
            for service, topic in SOURCES.items()
        }

    def play(self, disturb: Callable[[Course], None] | None = None, inspect: Callable[[Course], None] | None = None) -> Result:
        """Everything from start to what came of it. `disturb` runs while the traffic is fed, `inspect` when all is done."""
        began = time.monotonic()
        self.surroundings.providers.reset()
        self._make_topics()
        for service in self.plan.services:
            self.fleet.start(service)
        self.watch.start()
        self.fleet.wait_ready(self.plan.services)
        self.feed.start()
        self.watch.listen()
        if disturb is not None:
            disturb(self)
        self.feed.join()
        self.watch.relax()
        self.feed.add(self.plan.traffic.final)
        self.feed.check()
        self.finish()
        if inspect is not None:
            inspect(self)
        return self._result(began)

    def _make_topics(self) -> None:
        """Again, when the admin client has lost the brokers that do not know each other yet: see `runtime.lifeline`."""
        end = time.monotonic() + _TOPICS_S
        while True:
            try:
                return ensure_topics(self.surroundings.bootstrap, self.prefix, PARTITIONS, self.surroundings.replication, PARTITIONS)
            except Unavailable:
                if time.monotonic() > end:
                    raise

    def finish(self) -> None:
        """Wait until the last watermark has passed everything and nothing is left to do. Raises AssertionError."""
        end = time.monotonic() + self.plan.finish_s
        while (left := self._left()) is not None:
            self._start_stuck()
            assert time.monotonic() < end, f"not done after {self.plan.finish_s:.0f} s: {left}; {self._ended()}"
            time.sleep(_LOOK_S)

    def revive(self) -> int:
        """As a supervisor would; how many so far. Whatever ended for another reason is a finding. Raises AssertionError."""
        self._start_stuck()
        for name in self.fleet.names:
            assert self.fleet.alive(name), f"{name} ended with {self.fleet.code(name)}: {self.fleet.last_words(name)}"
        return self.restarted

    def _start_stuck(self) -> None:
        """What ended because a Kafka client was stuck, and nothing else."""
        for name in self.fleet.names:
            if self.fleet.code(name) == STUCK_EXIT_CODE:
                self.fleet.start(name)
                self.restarted += 1

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until every service has done all that it has been given so far. Raises AssertionError."""
        end = time.monotonic() + seconds
        while (left := self._behind()) is not None:
            assert time.monotonic() < end, f"not settled after {seconds:.0f} s: {left}; {self._ended()}"
            time.sleep(_LOOK_S)

    def ends(self, service: str) -> dict[int, int]:
        """Behind the last record of each partition that the service reads, as far as has been seen."""
        seen = self.feed.ends if service == "identity" else {n: at for (name, n), at in self.watch.ends.items() if name == SOURCES[service]}
        return dict(seen)

    def has_done(self, service: str, ends: Mapping[int, int]) -> bool:
        committed = self._committed(service)
        return all(committed.get(number, 0) >= at for number, at in ends.items())

    def testify(self) -> None:
        """Keep, beside the services' logs, what tells why a course did not come to its end."""
        self.fleet.testify()
        for name, server in self.surroundings.servers.items():
            for log in server.logs if isinstance(server, RealKafka) else ():
                shutil.copy(log, self.out / f"{name}-{log.parent.name}.log")

    def close(self) -> None:
        """Kill what still runs, and delete the topics."""
        self.fleet.kill_all()
        if self.watch.is_alive():
            self.watch.close()
        if made := [name for name in self._admin.list_topics(timeout=10).topics if name.startswith(self.prefix)]:
            self._admin.delete_topics(made)

    def _left(self) -> str | None:
        final = FINAL - MINUTE
        marks = list(self.watch.last_told(topics.SIGNALS, "journeys"))
        if len(marks) < PARTITIONS or min(marks) < final:
            told = {topic: min(self.watch.told[topic].values(), default=None) for topic in SOURCES.values()}
            return f"the last watermark has not come to {topics.SIGNALS}; the least so far: {told}"
        return self._behind()

    def _behind(self) -> str | None:
        """Which service has records to do, by its committed offsets and the ends of its topic. None: nobody."""
        committed = {service: self._committed(service) for service in SOURCES}
        if not self._catch_up():
            return "the topics cannot be read to their ends"
        for service, topic in SOURCES.items():
            for number, at in sorted(self.ends(service).items()):
                if committed[service].get(number, 0) < at:
                    return f"{service} has committed {committed[service].get(number, 0)} of {at} on {topic}[{number}]"
        return None

    def _catch_up(self) -> bool:
        """Read all that is committed by now."""
        try:
            latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
            asked = self._admin.list_offsets(dict.fromkeys(self.watch.places, latest), isolation_level=_COMMITTED)
            found = {(place.topic, place.partition): future.result().offset for place, future in asked.items()}
        except KafkaException:  # a broker that is away: asked again
            return False
        ends = {(topic.removeprefix(self.prefix), number): offset for (topic, number), offset in found.items()}
        end = time.monotonic() + 10
        while not self.watch.has_read(ends):
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK_S / 3)
        return True

    def _committed(self, service: str) -> dict[int, int]:
        try:
            return self._groups[service].ask(_ASK_S)
        except Unavailable:  # a broker that is away: asked again
            return {}

    def _ended(self) -> str:
        gone = {name: self.fleet.code(name) for name in self.fleet.names if not self.fleet.alive(name)}
        return f"ended: {gone or 'none'}; logs in {self.out}"

    def _result(self, began: float) -> Result:
        messages = self.surroundings.providers.messages()
        seconds = time.monotonic() - began
        return Result(
            len(self.plan.traffic.clicks),
            dict(self.watch.records),
            messages,
            self.watch.longest_silence_s,
            seconds,
            self.feed.twice,
            self.restarted,
        )

    def _environment(self) -> dict[str, str]:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("CARTSTREAM_")}
        around = self.surroundings
        return {
            **inherited,
            **SECRETS,
            **TUNING,
            "CARTSTREAM_BROKERS": around.brokers,
            "CARTSTREAM_REDIS_URL": around.redis_url,
            "CARTSTREAM_REPLICATION": str(around.replication),
            "CARTSTREAM_PREFIX": self.prefix,
            "CARTSTREAM_PARTITIONS": str(PARTITIONS),
            "CARTSTREAM_CLOCK": f"scaled:{NOW}:{time.time()!r}:1",
            "CARTSTREAM_JOURNEYS": str(_write_journeys(self.out / "journeys.yaml")),
            **around.env,
            **self.plan.env,
        }


@contextmanager
def running(surroundings: Surroundings, plan: Plan, out: Path) -> Iterator[Course]:
    """A course that leaves no process and no topic behind, however it ends."""
    course = Course(surroundings, plan, out)
    try:
        yield course
    except BaseException:
        course.testify()
        raise
    finally:
        course.close()


def _write_journeys(path: Path) -> Path:
    """The default journeys, with messages that never expire: the clock of a course stands behind the end of its traffic."""
    journeys = yaml.safe_load(importlib.resources.files("cartstream.journeys").joinpath("default.yaml").read_text())
    for journey in journeys["journeys"]:
        for step in journey["steps"]:
            step["expires_after"] = _EXPIRY
    path.write_text(yaml.safe_dump(journeys, sort_keys=False))
    return path
