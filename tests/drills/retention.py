"""`retention`: a service was away for longer than its topic keeps records. It stops loudly, skips nothing, and goes on when told to."""

from __future__ import annotations

import time
import urllib.request
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from cartstream.events import topics
from tests.drills.course import Course, Plan, Result, running
from tests.drills.drill import Form, Ground, Line
from tests.drills.redis_faults import not_ready, until
from tests.drills.traffic import PARTITIONS, Traffic

_ASK_S = 20.0
_STANDS_STILL_S = 1.0


@dataclass(frozen=True, slots=True)
class Retention:
    """No reference is needed: identity passes every event on, so every event that is still there must come out of it once."""

    name: str
    about: str
    short: Form
    long: Form

    def run(self, ground: Ground, seed: int, *, short: bool) -> tuple[Line, bool]:
        form = self.short if short else self.long
        traffic = ground.traffic(seed, form.shoppers)
        said: dict[str, Any] = {}
        with running(ground.surroundings, Plan(traffic, form.seconds), ground.out / f"{self.name}-{seed}") as course:
            result = course.play(lambda course: said.update(_expire(course)))
        seen, kept = _passed_on(result), _kept(traffic, said.pop("gone"))
        line = {
            "drill": self.name,
            "seed": seed,
            "form": "short" if short else "long",
            "faults": PARTITIONS,
            "events": result.events,
            "commands": sum(len(result.records.get(topics.commands(channel), ())) for channel in topics.CHANNELS),
            "lost": sum((kept - Counter(name for _, name in seen.elements())).values()),
            "duplicated": sum(max(0, count - kept[name]) for (_, name), count in seen.items()),
            **said,
            "seconds": round(result.seconds, 1),
        }
        return line, not line["lost"] and not line["duplicated"] and said["halted"] == PARTITIONS and not said["skipped_before_told"]


def _expire(course: Course) -> dict[str, Any]:
    course.feed.wait_share(0.3)
    until(lambda: min(_committed(course).values()) > 0, "identity to have begun with every partition")
    course.fleet.stop("identity")
    begin = _committed(course)
    course.feed.wait_share(0.5)
    end = _delete_all(course)
    course.fleet.start("identity")
    until(lambda: course.fleet.metric("identity", "cartstream_halted_partitions") == PARTITIONS, "every partition to stop")
    why = not_ready(course.fleet.url("identity"))
    assert why.count("out of retention") == PARTITIONS, why
    with urllib.request.urlopen(f"{course.fleet.url('identity')}/livez", timeout=5):
        passed_on = course.watch.count(topics.IDENTIFIED)
    course.feed.wait_share(0.6)
    time.sleep(_STANDS_STILL_S)
    skipped = course.watch.count(topics.IDENTIFIED) - passed_on + sum(_committed(course).values()) - sum(begin.values())
    course.fleet.stop("identity")
    for number in range(PARTITIONS):
        course.fleet.start(f"skip-{number}", arguments=("state", "skip", "identity", str(number)))
        assert course.fleet.wait(f"skip-{number}") == 0, course.fleet.last_words(f"skip-{number}")
        course.fleet.forget(f"skip-{number}")
    course.fleet.start("identity")
    return {
        "halted": PARTITIONS,
        "skipped_before_told": skipped,
        "out_of_retention": sum(end[number] - begin[number] for number in end),
        "gone": {number: (begin[number], end[number]) for number in end},
    }


def _committed(course: Course) -> dict[int, int]:
    """Waits for the end of a transaction under way: the broker's marker may come after its producer has gone."""
    group = {"group.id": f"{course.prefix}cartstream.identity", "isolation.level": "read_committed", "enable.auto.commit": False}
    asked = [TopicPartition(course.prefix + topics.CLICKSTREAM, number) for number in range(PARTITIONS)]
    with closing(Consumer({"bootstrap.servers": course.surroundings.bootstrap, **group, "log_level": 0})) as consumer:
        return {place.partition: place.offset for place in consumer.committed(asked, timeout=_ASK_S)}


def _delete_all(course: Course) -> dict[int, int]:
    """Everything that is in the clickstream now; gives where each partition begins then."""
    topic = course.prefix + topics.CLICKSTREAM
    all_of_it = [TopicPartition(topic, number, -1) for number in range(PARTITIONS)]
    admin = _admin(course)
    deleted = admin.delete_records(all_of_it)
    return {place.partition: future.result(_ASK_S).low_watermark for place, future in deleted.items()}


def _admin(course: Course) -> AdminClient:
    """To be kept until its answers have come."""
    return AdminClient({"bootstrap.servers": course.surroundings.bootstrap, "log_level": 0})


def _kept(traffic: Traffic, gone: dict[int, tuple[int, int]]) -> Counter[bytes | str]:
    """The records that identity could read, by name. A partition's come in the order of the traffic, from offset 0 on."""
    offsets: Counter[int] = Counter()
    kept: Counter[bytes | str] = Counter()
    for click in (*traffic.clicks, *traffic.final):
        begin, end = gone[click.partition]
        if not begin <= offsets[click.partition] < end:
            kept[_name(click.value)] += 1
        offsets[click.partition] += 1
    return kept


def _passed_on(result: Result) -> Counter[tuple[bytes | None, bytes | str]]:
    """What identity made of them, by customer and name: a login is told to two, whose device it was and whose it is now."""
    events = [record for record in result.records[topics.IDENTIFIED] if record.value[:1] == b"{"]
    letters = result.records[topics.dead_letters(topics.CLICKSTREAM)]
    return Counter([(event.key, _name(event.value)) for event in events] + [(None, _name(letter.value)) for letter in letters])


def _name(value: bytes) -> bytes | str:
    """An event's own id, or all of the record where it has none: addresses leave an event, its id stays."""
    try:
        return str(orjson.loads(value)["messageId"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return value


RETENTION = Retention(
    name="retention",
    about="identity is away for longer than the clickstream keeps records: it stops, says so, and skips nothing unless told to",
    short=Form(shoppers=300, seconds=6),
    long=Form(shoppers=2_000, seconds=60),
)
