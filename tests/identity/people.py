"""Identity on its own, in memory: events in, people and forwarded events out."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from typing import Any

import orjson

from cartstream.events import avro, topics
from cartstream.events.records import Customer, Identifier, Merge, RefusedLink
from cartstream.events.times import EventTime, iso
from cartstream.identity.directory import MemoryDirectory
from cartstream.identity.nodes import identifier_name
from cartstream.identity.rules import Rules
from cartstream.identity.settings import IdentitySettings
from cartstream.identity.stage import IdentityStage
from cartstream.identity.state import DeviceState
from cartstream.identity.step import IdentityEvent
from cartstream.replay.driver import Pipeline
from cartstream.runtime.settings import load
from cartstream.runtime.stage import Output, Step
from cartstream.runtime.store import Wire
from cartstream.runtime.vault import AddressHash

T0 = 1_710_000_000_000
HASH_KEY = "h" * 32
HASH = AddressHash(HASH_KEY)
Event = dict[str, Any]
Person = frozenset[str]


def settings(**changes: Any) -> IdentitySettings:
    return load(IdentitySettings, hash_key=HASH_KEY, vault_keys="k1=" + base64.b64encode(b"v" * 32).decode(), **changes)


def page(device: str | None, at: int, user: str | None = None, **fields: Any) -> Event:
    """`at` is seconds after T0; it also names the message, unless `messageId` is given."""
    moment = iso(T0 + at * 1000)
    body = {"type": "page", "messageId": f"{device}-{at}", "anonymousId": device, "userId": user, "timestamp": moment, **fields}
    return {name: value for name, value in body.items() if value is not None}


def identify(device: str | None, at: int, user: str | None = None, **traits: Any) -> Event:
    return page(device, at, user, type="identify", traits=traits)


def email(address: str) -> str:
    """How an e-mail address is named in a person."""
    return identifier_name(Identifier("email", HASH("email", address)))


def phone(number: str) -> str:
    return identifier_name(Identifier("phone", HASH("phone", number)))


def user(value: str) -> str:
    return f"user_id:{value}"


def device(value: str) -> str:
    return f"device:{value}"


class _Counting(IdentityStage):
    """Adds up the outcomes that the metrics would show."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.outcomes: Counter[tuple[str, str]] = Counter()

    def step(self, state: DeviceState | None, event: IdentityEvent, watermark: EventTime) -> Step[DeviceState] | Output:
        done = super().step(state, event, watermark)
        if isinstance(done, Step):
            self.outcomes.update(done.outcomes)
        return done


def feed(pipeline: Pipeline, *events: Event) -> None:
    for event in events:
        pipeline.feed(str(event.get("anonymousId") or event.get("userId")), orjson.dumps(event))
    pipeline.run()


class People:
    """`see` feeds events in order; the rest tells what came of it."""

    def __init__(self, partitions: int = 1, batch_size: int = 1_000, rules: Rules | None = None, **changes: Any) -> None:
        self.directory = MemoryDirectory(rules=rules)
        self.outputs: list[Wire] = []
        self.stage = _Counting(settings(**changes), self.directory, None)
        self.pipeline = Pipeline([self.stage], partitions, batch_size, observe=self.outputs.append)

    def see(self, *events: Event) -> People:
        feed(self.pipeline, *events)
        return self

    def see_raw(self, raw: bytes) -> People:
        self.pipeline.feed("d1", raw)
        self.pipeline.run()
        return self

    @property
    def people(self) -> set[Person]:
        """Those who have an identifier, as the names of all that is theirs."""
        nodes = [node for node in self.directory.nodes.values() if node.merged_into is None and node.identifiers]
        return {frozenset([*map(identifier_name, node.identifiers), *map(device, node.devices)]) for node in nodes}

    def forwarded(self) -> list[tuple[str, Event]]:
        """(customer, event) in order; without the clickstream that was fed."""
        wires = [wire for wire in self.outputs if wire.topic == topics.IDENTIFIED and wire.value.startswith(b"{")]
        return [(wire.key or "", orjson.loads(wire.value)) for wire in wires]

    def customer_of(self, message_id: str) -> str:
        """Whose the event is once all merges are known."""
        (found,) = {self._root(key) for key, event in self.forwarded() if event["messageId"] == message_id}
        return found

    def records(self, topic: str, kind: type[Any]) -> list[Any]:
        wires = [wire.value for wire in self.outputs if wire.topic == topic and wire.value[:1] == b"\0"]
        return [value for value in map(avro.codec().decode, wires) if isinstance(value, kind)]

    def merges(self) -> list[Merge]:
        return self.records(topics.MERGES, Merge)

    def refused(self) -> list[RefusedLink]:
        return self.records(topics.AUDIT, RefusedLink)

    def counted(self, kind: str) -> dict[str, int]:
        return {detail: count for (found, detail), count in self.stage.outcomes.items() if found == kind}

    def customers(self) -> list[Customer]:
        return self.records(topics.CUSTOMERS, Customer)

    def written(self) -> str:
        """Everything that identity wrote to any topic but dead letters and the clickstream itself."""
        kept = [wire for wire in self.outputs if wire.topic not in (topics.CLICKSTREAM, topics.dead_letters(topics.CLICKSTREAM))]
        return "\n".join(f"{wire.key} {wire.value.decode(errors='replace')} {wire.headers}" for wire in kept)

    def _root(self, customer_id: str) -> str:
        return self.directory.roots([customer_id]).get(customer_id, customer_id)


def person(*names: str) -> Person:
    return frozenset(names)


def everybody(*people: Iterable[str]) -> set[Person]:
    return {frozenset(names) for names in people}
