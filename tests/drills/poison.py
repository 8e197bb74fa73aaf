"""`poison`: records that nobody can use, among good ones, on every topic; then again while the dead-letter topics refuse everything."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from cartstream.events import topics
from cartstream.runtime.kafka import LARGEST_RECORD
from tests.drills.course import Course
from tests.drills.drill import Drill, Form, Ground, Line
from tests.drills.poisons import COUNTED_TOO, READERS, Poison, doses
from tests.drills.redis_faults import not_ready
from tests.drills.watch import Seen

_WAIT_S = 60.0
_LOOK_S = 0.02
_SLOWER = 2.0
_OURS = ("cs-reason", "cs-detail", "cs-service", "cs-topic", "cs-partition", "cs-offset", "cs-timestamp")
_SHARE_AWAY = 4
"""One in so many is given while no dead letter is taken."""
# Bytes. A transaction's marker is a batch of 78, and a broker that refuses it never ends the transaction; no dead letter is so small.
_REFUSES_ALL = "120"
_NAMED = 5
Place = tuple[str, int, int]


@dataclass(slots=True)
class _Dose:
    """One run of the drill: what was given where, and what was found of it among the dead letters."""

    seed: int
    given: dict[Place, Poison] = field(default_factory=dict)
    loud: dict[str, str] = field(default_factory=dict)
    failed: str | None = None

    def give(self, course: Course, form: Form) -> Mapping[str, Any]:
        """Three quarters of them while all is well, one quarter while no dead-letter topic takes a record."""
        course.feed.linger(_SLOWER)
        poisons = doses(Random(self.seed), form.faults)
        away = len(poisons) // _SHARE_AWAY
        pourer = _Pourer(course, self)
        pourer.pour(poisons[away:], 0.05, 0.45)
        _until(
            lambda: not self._missing(course), lambda: f"the dead letters of {', '.join(map(self._say, self._missing(course)[:_NAMED]))}"
        )
        pourer.refuse()
        pourer.pour(poisons[:away], 0.5, 0.6)
        for name in sorted({READERS[poison.topic] for poison in poisons[:away]}):
            _until(partial(self._says_so, course, name), lambda name=name: f"the word of {name}")  # type: ignore[misc]
        early = len(self._letters(course)) - self._wanted_of(poisons[away:])
        pourer.take_again()
        course.feed.hurry()
        return {"faults": form.faults, "poison": len(self.given), "while_refused": away, "stopped_loudly": len(self.loud), "early": early}

    def look(self, course: Course) -> Mapping[str, Any]:
        """Count the dead letters, and leave nothing of all this in what is compared with the undisturbed course.

        Insights, which has no transactions, may set a record aside again after a crash; nobody else may."""
        end = time.monotonic() + _WAIT_S
        while self._missing(course) and time.monotonic() < end:
            time.sleep(_LOOK_S)
        letters = self._letters(course)
        found = Counter(key for key, _ in letters)
        changed = [key for key, seen in letters if (poison := self.given.get(key[1])) and not _as_it_came(poison, seen)]
        missing = self._missing(course)
        twice = Counter(dict.fromkeys(READERS.values(), 0))
        for (service, _), count in found.items():
            twice[service] += count - 1
        again = twice.pop("insights")
        self._take_out(course)
        return {
            "dead_letters": len({place for (service, place) in found if service == READERS[self.given[place].topic]}),
            "counted_too": sum(1 for service, place in found if service != READERS[self.given[place].topic]),
            "letters_twice": twice.total(),
            "insights_again": again,
            "letters_changed": len(changed),
            **({"missing": [self._say(key) for key in missing[:_NAMED]]} if missing else {}),
            **({"changed": [self._say(key) for key in changed[:_NAMED]]} if changed else {}),
        }

    def _says_so(self, course: Course, name: str) -> bool:
        """That it is not ready, to whoever asks."""
        course.revive()
        why = not_ready(course.fleet.url(name))
        if why:
            self.loud[name] = why
        return bool(why)

    def _say(self, key: tuple[str, Place]) -> str:
        service, place = key
        return f"{self.given[place].kind} on {place[0]}[{place[1]}] at {place[2]}, by {service}"

    def _missing(self, course: Course) -> list[tuple[str, Place]]:
        """Who has not yet set aside what."""
        course.revive()
        found = {key for key, _ in self._letters(course)}
        return [key for key in self._wanted() if key not in found]

    def _wanted(self) -> Iterator[tuple[str, Place]]:
        for place, poison in list(self.given.items()):
            yield READERS[poison.topic], place
            if poison.opaque and poison.topic in COUNTED_TOO:
                yield "insights", place

    def _wanted_of(self, poisons: Sequence[Poison]) -> int:
        return sum(1 + (poison.opaque and poison.topic in COUNTED_TOO) for poison in poisons)

    def _letters(self, course: Course) -> list[tuple[tuple[str, Place], Seen]]:
        """The dead letters of what was given, by who set them aside."""
        found = []
        for topic in READERS:
            for seen in list(course.watch.records[topics.dead_letters(topic)]):
                said = {name: text.decode() for name, text in seen.headers[-len(_OURS) - 1 :] if name in _OURS}
                place = topic, int(said["cs-partition"]), int(said["cs-offset"])
                if place in self.given:
                    found.append(((said["cs-service"], place), seen))
        return found

    def _take_out(self, course: Course) -> None:
        letters = {id(seen) for _, seen in self._letters(course)}
        for topic in [*READERS, *map(topics.dead_letters, READERS)]:
            kept = [
                seen
                for seen in course.watch.records[topic]
                if (topic, seen.partition, seen.offset) not in self.given and id(seen) not in letters
            ]
            course.watch.records[topic] = kept


def _as_it_came(poison: Poison, letter: Seen) -> bool:
    """Key, value and headers, byte by byte. A key that is no text stands in a header of ours; nothing and no bytes look the same."""
    key = dict(letter.headers).get("cs-key", letter.key)
    headers = [(name, text or b"") for name, text in poison.headers]
    return (key, letter.value, letter.headers[: len(headers)]) == (poison.key, poison.value or b"", headers)


class _Pourer:
    """Puts records where they do not belong, and makes the dead-letter topics refuse what comes."""

    def __init__(self, course: Course, dose: _Dose) -> None:
        self._course, self._dose = course, dose
        address = course.surroundings.bootstrap
        self._producer = Producer({"bootstrap.servers": address, "message.max.bytes": LARGEST_RECORD, "linger.ms": 2, "log_level": 0})
        self._admin = AdminClient({"bootstrap.servers": address, "log_level": 0})

    def pour(self, poisons: Sequence[Poison], begin: float, end: float) -> None:
        """Evenly between these shares of the traffic. Returns when the broker has them all."""
        for number, poison in enumerate(poisons):
            self._course.feed.wait_share(begin + (end - begin) * number / len(poisons))
            self._produce(poison)
            self._producer.poll(0)
        assert self._producer.flush(_WAIT_S) == 0, "the broker does not take the poison"
        assert self._dose.failed is None, self._dose.failed

    def refuse(self) -> None:
        """From now on no dead-letter topic takes a dead letter."""
        self._limit(_REFUSES_ALL)

    def take_again(self) -> None:
        self._limit(str(LARGEST_RECORD))

    def _produce(self, poison: Poison) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._dose.failed = f"{poison.kind} on {poison.topic}: {error.str()}"
            else:
                self._dose.given[poison.topic, poison.partition, message.offset() or 0] = poison

        topic, headers = self._course.prefix + poison.topic, [*poison.headers]
        self._producer.produce(topic, poison.value, poison.key, poison.partition, headers=headers or None, on_delivery=delivered)  # type: ignore[arg-type]

    def _limit(self, size: str) -> None:
        changed = [
            ConfigResource(
                ResourceType.TOPIC,
                self._course.prefix + topics.dead_letters(topic),
                incremental_configs=[ConfigEntry("max.message.bytes", size, incremental_operation=AlterConfigOpType.SET)],
            )
            for topic in READERS
        ]
        for done in self._admin.incremental_alter_configs(changed).values():
            done.result(_WAIT_S)


def _until(condition: Callable[[], Any], what: Callable[[], str]) -> Any:
    """The first true value. Raises AssertionError."""
    end = time.monotonic() + _WAIT_S
    while not (found := condition()):
        assert time.monotonic() < end, f"{what()} did not come within {_WAIT_S:.0f} s"
        time.sleep(_LOOK_S)
    return found


def _broken(line: Line) -> bool:
    exact = line["poison"] == line["dead_letters"] == line["faults"]
    return not exact or bool(line["letters_twice"] or line["letters_changed"] or line["early"] or "missing" in line)


@dataclass(frozen=True, slots=True)
class PoisonDrill:
    """A `Drill` whose two halves know of each other."""

    of: Drill

    @property
    def name(self) -> str:
        return self.of.name

    @property
    def about(self) -> str:
        return self.of.about

    def run(self, ground: Ground, seed: int, *, short: bool) -> tuple[Line, bool]:
        dose = _Dose(seed)
        return replace(self.of, disturb=dose.give, inspect=dose.look).run(ground, seed, short=short)


def _nothing(course: Course, form: Form) -> Mapping[str, Any]:
    return {"faults": 0}


POISON = PoisonDrill(
    Drill(
        name="poison",
        about="records that nobody can use, of every kind, on every topic; then again while no dead-letter topic takes any",
        disturb=_nothing,
        short=Form(shoppers=300, seconds=6, faults=200),
        long=Form(shoppers=2_000, seconds=120, faults=2_000),
        broken=_broken,
    )
)
