"""All shoppers of a run: from a seed to the events, in order, and to the messages that they must lead to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from cartstream.demo.kinds import KINDS, Kind
from cartstream.demo.promises import Expected, Unclear, promised
from cartstream.demo.story import Person, Story
from cartstream.events.adapters.recorded import Recorded
from cartstream.events.times import HOUR, MINUTE, SECOND, EventTime, parse_iso

ORIGIN = parse_iso("2024-03-05T08:00:00Z")
HOURS = 30
_TRIES = 200
_DUPLICATES = 0.01
_BROKEN = (b"{", b'{"type":"track","event":"Product Viewed"}', b'{"type":"hello","anonymousId":"broken"}')
_AREAS = (202, 212, 213, 303, 305, 312, 404, 415, 503, 512, 602, 617, 702, 713, 718, 773, 804, 816, 901, 919)
MOST_SHOPPERS = 100 * len(_AREAS)


@dataclass(frozen=True, slots=True)
class Purchase:
    """An order, and when the same person next did something that a later message may be about."""

    message_id: str
    at: EventTime
    next_act: EventTime | None


@dataclass(frozen=True, slots=True)
class Crowd:
    """`purchases` by every recipient that a provider may name; `kinds` counts the shoppers."""

    events: list[Recorded]
    expected: list[Expected]
    purchases: dict[str, list[Purchase]]
    kinds: dict[str, int]


def crowd(seed: int, shoppers: int, subscriptions: Sequence[dict[str, Any]], band: EventTime) -> Crowd:
    """`shoppers` people, `subscriptions` at least as many. No act follows a message's time within `band` ms of event time.

    Everything that is due is due within `HOURS` of `ORIGIN`. 1 % of the events come twice; a few cannot be read.
    """
    draw = Random(seed)
    events: list[Recorded] = []
    expected: list[Expected] = []
    purchases: dict[str, list[Purchase]] = {}
    kinds: dict[str, int] = {}
    for number, kind in enumerate(_kinds(draw, min(shoppers, MOST_SHOPPERS))):
        story, messages = _story(draw, kind, number, subscriptions[number], band)
        kinds[kind.name] = kinds.get(kind.name, 0) + 1
        expected += messages
        _note_purchases(story, purchases)
        for record in story.events():
            events.append(record)
            if draw.random() < _DUPLICATES:
                events.append(record._replace(at=record.at + draw.randint(0, 5 * SECOND)))
    end = ORIGIN + HOURS * HOUR
    events += [Recorded(draw.randrange(ORIGIN, end), f"broken-{n}", raw) for n, raw in enumerate(_BROKEN)]
    events.sort(key=lambda record: record.at)
    expected.sort(key=lambda message: message.due)
    return Crowd(events, expected, purchases, dict(sorted(kinds.items())))


def _kinds(draw: Random, shoppers: int) -> list[Kind]:
    """In the proportions of `KINDS`, each kind at least once if there are shoppers enough."""
    chosen = list(KINDS[:shoppers])
    chosen += draw.choices(KINDS, [kind.share for kind in KINDS], k=shoppers - len(chosen))
    draw.shuffle(chosen)
    return chosen


def _story(draw: Random, kind: Kind, number: int, subscription: dict[str, Any], band: EventTime) -> tuple[Story, list[Expected]]:
    """A story of the kind whose truth is clear and whose last message is due in time."""
    end = ORIGIN + HOURS * HOUR - 15 * MINUTE
    for _ in range(_TRIES):
        latest = max(20 * MINUTE, int((HOURS - kind.hours) * HOUR))
        story = Story(_person(draw, kind, number, subscription), draw, ORIGIN + draw.randrange(latest), kind.name)
        kind.play(story)
        if story.acts[-1].at > end:
            continue
        try:
            messages = promised(story, band)
        except Unclear:
            continue
        if all(message.due <= end for message in messages):
            return story, messages
    raise RuntimeError(f"no story of kind {kind.name} fits into {HOURS} h with a guard band of {band} ms: give the run more seconds")


def _person(draw: Random, kind: Kind, number: int, subscription: dict[str, Any]) -> Person:
    least = min(1, len(kind.reached))
    reached = set(draw.sample(kind.reached, draw.randint(least, len(kind.reached))))
    return Person(
        number,
        draw.choice(kind.zones),
        email=f"shopper{number}@example.test" if "email" in reached else None,
        phone=f"+1{_AREAS[number // 100]}55501{number % 100:02d}" if "sms" in reached else None,
        push=subscription if "push" in reached else None,
    )


def _note_purchases(story: Story, purchases: dict[str, list[Purchase]]) -> None:
    found = []
    for act in story.acts:
        if act.kind == "order":
            following = next((later.at for later in story.acts if later.at > act.at), None)
            found.append(Purchase(act.message_id, act.at, following))
    for channel in ("email", "sms", "push"):
        recipient = story.person.recipient(channel)
        if found and recipient is not None:
            purchases[recipient] = found
