"""Detection held against the simulator's truth: seeds of shoppers whose events come out of order, twice, and without some of their ids.

    python -m tests.detection.truth

prints the table of `docs/detection.md`; it is made in memory, without any server, and is the same every time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import orjson

from cartstream.demo.kinds import KINDS as SHOPPERS
from cartstream.demo.shoppers import HOURS, ORIGIN
from cartstream.demo.signal_promises import KINDS, SILENCE, Said, catalogue_of, promised
from cartstream.demo.story import Person, Story
from cartstream.detection import DetectionSettings, DetectionStage
from cartstream.events import avro, topics
from cartstream.events.adapters.recorded import Recorded
from cartstream.events.records import Product, Signal
from cartstream.events.times import HOUR, MINUTE, SECOND, EventTime
from cartstream.products.stage import ProductsStage
from cartstream.replay.driver import Pipeline
from cartstream.runtime.settings import load
from cartstream.runtime.store import Wire
from tests.pipeline.shop import stages

SEEDS = (1, 2, 3, 4, 5)
PEOPLE = 400
PARTITIONS = 3
LATENESS = 5 * SECOND
TWICE, WITHOUT_USER, WITHOUT_MESSAGE_ID, NEW_COOKIE = 0.1, 0.2, 0.1, 0.3
END = ORIGIN + (HOURS + 8) * HOUR


class Arrival(NamedTuple):
    at: EventTime
    number: int
    topic: str
    key: str
    value: bytes


@dataclass(slots=True)
class Crowd:
    """`owners` has the person behind every device. `unreached`: nobody could know in time that some of it was done by the same person."""

    stories: list[Story]
    catalogue: dict[str, list[Product]]
    arrivals: list[Arrival] = field(default_factory=list)
    owners: dict[str, int] = field(default_factory=dict)
    unreached: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Score:
    right: int = 0
    extra: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.extra)

    @property
    def recall(self) -> float:
        return self.right / (self.right + self.missed)

    def add(self, other: Score) -> None:
        self.right, self.extra, self.missed = self.right + other.right, self.extra + other.extra, self.missed + other.missed


def crowd(seed: int) -> Crowd:
    draw = Random(seed)
    stories = []
    for number in range(PEOPLE):
        (kind,) = draw.choices(SHOPPERS, [kind.share for kind in SHOPPERS])
        person = Person(number, "Europe/Berlin", email=f"shopper{number}@example.test")
        story = Story(person, draw, ORIGIN + draw.randrange(HOUR, int((HOURS - kind.hours + 1) * HOUR)), kind.name)
        kind.play(story)
        stories.append(story)
    found = Crowd(stories, catalogue_of(stories, draw, ORIGIN, END - 8 * HOUR))
    for story in stories:
        _arrive(found, story, draw)
        if _judged_before_a_login(story):
            found.unreached.add(story.person.number)
    said = sorted((change for changes in found.catalogue.values() for change in changes), key=lambda change: change.at)
    encode = avro.codec().encode
    found.arrivals += [Arrival(change.at, -1, topics.PRODUCTS, change.product_id, encode(change)) for change in said]
    found.arrivals.sort(key=lambda arrival: arrival[:2])
    return found


def _arrive(found: Crowd, story: Story, draw: Random) -> None:
    """Out of order within the lateness; some twice. Some events have lost the login or their id; some visits begin with a new cookie."""
    cookies: dict[str, str] = {}
    known: set[str] = set()
    last: dict[str, EventTime] = {}
    for number, record in enumerate(story.events()):
        body: dict[str, Any] = orjson.loads(record.value)
        device = record.key
        if device in last and record.at > last[device] + 30 * MINUTE and "userId" in body and draw.random() < NEW_COOKIE:
            cookies[device] = f"{device}-again{number}"
        last[device] = record.at
        cookie = body["anonymousId"] = cookies.get(device, device)
        found.owners[cookie] = story.person.number
        if body["type"] != "identify" and draw.random() < WITHOUT_USER:
            body.pop("userId", None)
        if draw.random() < WITHOUT_MESSAGE_ID:
            del body["messageId"]
        if "userId" in body:
            known.add(cookie)
        elif cookie != device and cookie not in known and body.get("event") not in (None, "Product Viewed"):
            found.unreached.add(story.person.number)
        _send(found, Recorded(record.at, cookie, orjson.dumps(body)), draw)


def _judged_before_a_login(story: Story) -> bool:
    """Half an hour of silence is over while the shopper is there on another device and has not signed in on it yet."""
    for login in (act for act in story.acts if act.kind == "identify"):
        begun = min(act.at for act in story.acts if act.device == login.device)
        last = max((act.at for act in story.acts if act.device != login.device and act.at < begun), default=None)
        if last is not None and begun <= last + SILENCE <= login.at + LATENESS:
            return True
    return False


def _send(found: Crowd, record: Recorded, draw: Random) -> None:
    arrived = record.at + draw.randint(0, LATENESS)
    for at in (arrived, arrived + draw.randint(0, 10 * MINUTE)) if draw.random() < TWICE else (arrived,):
        found.arrivals.append(Arrival(at, len(found.arrivals), topics.CLICKSTREAM, record.key, record.value))


def detected(people: Crowd) -> list[Said]:
    """What detection says, by person; None of those that the devices name."""
    written: list[Wire] = []
    watching = DetectionStage(load(DetectionSettings, watch_products=True))
    chain = [ProductsStage(PARTITIONS), *(watching if stage.name == "detection" else stage for stage in stages())]
    shop = Pipeline(chain, PARTITIONS, observe=lambda wire: written.append(wire) if wire.topic == topics.SIGNALS else None)
    for arrival in people.arrivals:
        shop.feed(arrival.key, arrival.value, arrival.topic)
        shop.run()
    shop.advance(END + HOUR)
    found = [avro.codec().decode(wire.value) for wire in written]
    signals = [signal for signal in found if isinstance(signal, Signal) and signal.kind in KINDS]
    owners = _owners(shop, chain[1], people.owners, {signal.customer_id for signal in signals})
    return [Said(owners[signal.customer_id], signal.kind, signal.at) for signal in signals]


def _owners(shop: Pipeline, identity: Any, devices: Mapping[str, int], customers: Iterable[str]) -> dict[str, int]:
    """The person behind each customer, also behind one that was merged."""
    directory = identity._directory
    owned = {state.customer_id: devices[device] for device, state in shop.states("identity") if device in devices}
    survivors = directory.roots(sorted({*owned, *customers}))
    by_root = {survivors.get(customer, customer): person for customer, person in owned.items()}
    return {customer: by_root[survivors.get(customer, customer)] for customer in customers}


def judge(expected: Sequence[Said], found: Sequence[Said]) -> dict[str, Score]:
    """By person, kind and time, each once."""
    wanted, got = Counter(expected), Counter(found)
    scores = {kind: Score() for kind in KINDS}
    for said in wanted.keys() | got.keys():
        score, both = scores[said.kind], min(wanted[said], got[said])
        score.right, score.extra, score.missed = score.right + both, score.extra + got[said] - both, score.missed + wanted[said] - both
    return scores


class Measured(NamedTuple):
    """By kind: of those who can be known in time, and of everybody. `unreached` of `people` cannot."""

    reached: dict[str, Score]
    everybody: dict[str, Score]
    people: int
    unreached: int


def both(seed: int) -> tuple[Crowd, list[Said], list[Said]]:
    """The crowd, what must be said, and what is."""
    people = crowd(seed)
    expected = [said for story in people.stories for said in promised(story, people.catalogue) if said.at <= END]
    return people, expected, detected(people)


def measured(seeds: Sequence[int] = SEEDS) -> Measured:
    reached, everybody = ({kind: Score() for kind in KINDS} for _ in range(2))
    unreached = 0
    for seed in seeds:
        people, expected, found = both(seed)
        out = people.unreached
        unreached += len(out)
        of_reached = judge([said for said in expected if said.person not in out], [said for said in found if said.person not in out])
        of_all = judge(expected, found)
        for kind in KINDS:
            reached[kind].add(of_reached[kind])
            everybody[kind].add(of_all[kind])
    return Measured(reached, everybody, len(seeds) * PEOPLE, unreached)


def table(found: Measured) -> str:
    lines = ["| signal | promised | precision | recall | precision, everybody | recall, everybody |", "|---|---|---|---|---|---|"]
    for kind, score in found.reached.items():
        known, whole = f"{score.precision:.4f} | {score.recall:.4f}", found.everybody[kind]
        lines.append(f"| `{kind}` | {score.right + score.missed:,} | {known} | {whole.precision:.4f} | {whole.recall:.4f} |")
    return "\n".join([*lines, "", f"{found.unreached} of {found.people:,} shoppers could not be known in time."])


if __name__ == "__main__":
    print(table(measured()))
