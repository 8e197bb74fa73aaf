"""The whole pipeline in memory, from clicks to commands."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import orjson

from cartstream.detection import DetectionSettings, DetectionStage
from cartstream.events import avro, topics
from cartstream.events.records import Activity, Command, Decision, Signal
from cartstream.events.times import iso
from cartstream.identity.directory import MemoryDirectory
from cartstream.identity.settings import IdentitySettings
from cartstream.identity.stage import IdentityStage
from cartstream.journeys import JourneysSettings, JourneysStage, load_journeys
from cartstream.replay.driver import Pipeline
from cartstream.runtime.settings import load
from cartstream.runtime.stage import Stage
from cartstream.runtime.store import Wire
from cartstream.sessions.settings import SessionsSettings
from cartstream.sessions.stage import SessionsStage

T0 = 1_710_000_000_000
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
LATENESS = 5 * SECOND
SECRETS = {"hash_key": "h" * 32, "vault_keys": "k1=" + base64.b64encode(b"v" * 32).decode()}
Event = tuple[int, str, bytes]


def event(device: str, at: int, name: str = "page", user: str | None = None, number: int = 0, **fields: Any) -> Event:
    """(time after T0, key, bytes). `name` is page, identify or that of a track event; `fields` are its properties, or traits."""
    body: dict[str, Any] = {"messageId": f"{device}-{at}-{name}-{number}", "anonymousId": device, "timestamp": iso(T0 + at)}
    if user is not None:
        body["userId"] = user
    if name in ("page", "identify"):
        body |= {"type": name, "traits" if name == "identify" else "properties": fields}
    else:
        body |= {"type": "track", "event": name, "properties": fields}
    return at, device, orjson.dumps(body)


_JOURNEYS = load_journeys()


def stages() -> list[Stage[Any]]:
    return [
        IdentityStage(load(IdentitySettings, **SECRETS), MemoryDirectory(), None),
        SessionsStage(load(SessionsSettings)),
        DetectionStage(load(DetectionSettings)),
        JourneysStage(load(JourneysSettings), _JOURNEYS),
    ]


class Partial(Pipeline):
    """A pipeline of which some partitions of identity may be down: they neither read nor tell the time."""

    def __init__(self, partitions: int = 1, batch_size: int = 1_000, wakes: int = 5_000) -> None:
        self.written: list[Wire] = []
        self.down: set[int] = set()
        super().__init__(stages(), partitions, batch_size, observe=self.written.append, wakes=wakes)

    def click(self, *events: Event) -> Partial:
        for _, key, raw in events:
            self.feed(key, raw)
        self.run()
        return self

    def at(self, after: int) -> Partial:
        """All that is up is caught up at so many ms after T0."""
        self.advance(T0 + after)
        return self

    def records(self, kind: type[Any], topic: str | None = None) -> list[Any]:
        found = [
            avro.codec().decode(wire.value)
            for wire in self.written
            if wire.value[:1] == b"\0" and wire.topic != topics.CLICKSTREAM and (topic is None or wire.topic == topic)
        ]
        return [value for value in found if isinstance(value, kind)]

    def outcome(self) -> dict[str, list[bytes]]:
        """What must not depend on how the work was cut up: everything that was published, as a sorted list.

        An order is told at once, so its `last_activity` is only what was known by then: left out.
        """
        ended = [activity for activity in self.records(Activity, topics.ACTIVITY) if activity.kind == "session_ended"]
        return {
            "session_ended": _sorted(ended),
            "signals": _sorted(list(map(_settled, self.records(Signal, topics.SIGNALS)))),
            "decisions": _sorted(self.records(Decision, topics.DECISIONS)),
            "commands": _sorted(self.records(Command)),
        }

    def signals(self) -> list[str]:
        return [signal.kind for signal in sorted(self.records(Signal, topics.SIGNALS), key=lambda signal: (signal.at, signal.kind))]

    def _work(self, stage: Stage[Any], number: int) -> bool:
        return not (stage.name == "identity" and number in self.down) and super()._work(stage, number)

    def advance(self, now: int) -> None:
        if not self.down:
            super().advance(now)
            return
        for number, partition in enumerate(self._partitions["identity"]):
            if number not in self.down:
                partition.watermark.follow_clock(now)  # type: ignore[union-attr]
                self._whole = True
                self._commit(self._stages[0], number, [])
                self._whole = False
        self.run()


def _settled(signal: Signal) -> Signal:
    return msgspec.structs.replace(signal, last_activity=signal.at) if signal.kind == "order_placed" else signal


def _sorted(values: list[msgspec.Struct]) -> list[bytes]:
    return sorted(msgspec.json.encode(value) for value in values)
