"""Identity alone over recorded events, in memory: who is who by some rules. Nothing outside is read or changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from cartstream.events import topics
from cartstream.events.adapters.recorded import Recorded
from cartstream.events.times import EventTime
from cartstream.identity.directory import MemoryDirectory
from cartstream.identity.nodes import Linked, LinkRequest, identifier_name
from cartstream.identity.rules import Rules
from cartstream.identity.settings import IdentitySettings
from cartstream.identity.stage import IdentityStage
from cartstream.identity.state import DeviceState
from cartstream.replay.driver import Pipeline
from cartstream.runtime.store import Wire

_SLICE = 1_000


class Refused(msgspec.Struct, frozen=True):
    """A link that was refused: `identifier` was set aside from `customer_id`'s; it is `holder`'s, if anybody's."""

    event_id: str
    at: EventTime
    identifier: str
    reason: str
    limited: str
    customer_id: str
    holder: str | None


class Rehearsal:
    """What came of the events fed so far. `dead_letters` counts the events that could not be used."""

    def __init__(self, settings: IdentitySettings, rules: Rules) -> None:
        self.directory = _Noting(rules)
        self.dead_letters = 0
        self._pipeline = Pipeline([IdentityStage(settings, self.directory, None)], observe=self._observe)

    def feed(self, events: Iterable[Recorded]) -> None:
        for event in events:
            self._pipeline.feed(event.key, event.value)
        self._pipeline.run()

    @property
    def refused(self) -> list[Refused]:
        return list(self.directory.refused.values())

    def devices(self) -> list[DeviceState]:
        return [state for _, state in self._pipeline.states("identity")]

    def _observe(self, output: Wire) -> None:
        self.dead_letters += output.topic == topics.dead_letters(topics.CLICKSTREAM)


class _Noting(MemoryDirectory):
    """Keeps what it refused: of an event that is told again, the first answer."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules=rules)
        self.refused: dict[tuple[str, str], Refused] = {}

    def link(self, requests: Sequence[LinkRequest]) -> list[Linked]:
        answers = super().link(requests)
        for request, linked in zip(requests, answers, strict=False):
            for refusal in linked.refused:
                name = identifier_name(refusal.identifier)
                said = Refused(request.event_id, request.at, name, refusal.reason, refusal.limited, linked.customer_id, refusal.holder)
                self.refused.setdefault((request.event_id, name), said)
        return answers


def rehearse(events: Iterable[Recorded], *rehearsals: Rehearsal) -> int:
    """Feed all of them the same events, read once; gives how many there were."""
    count = 0
    waiting: list[Recorded] = []
    for event in events:
        waiting.append(event)
        if len(waiting) == _SLICE:
            count += _feed(waiting, rehearsals)
            waiting = []
    return count + _feed(waiting, rehearsals)


def _feed(events: list[Recorded], rehearsals: Sequence[Rehearsal]) -> int:
    for rehearsal in rehearsals:
        rehearsal.feed(events)
    return len(events)
