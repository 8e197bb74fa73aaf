"""What batches ask the directory: about each event that brings something new, as if the events came one at a time.

All of it is asked in one go, expecting of each answer what the directory mostly says. It stops after another answer that later events
of the device depend on, and what those ask is then found again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from cartstream.events.times import EventTime
from cartstream.identity.contacts import Found
from cartstream.identity.nodes import Expected, Linked, LinkRequest, identifier_name, is_expected, left_out
from cartstream.identity.state import DeviceState, anonymous_customer, erased_at
from cartstream.identity.step import CorrectionEvent, IdentityEvent
from cartstream.runtime.stage import Looked

Follow: TypeAlias = Callable[[DeviceState | None, IdentityEvent, Mapping[str, EventTime]], DeviceState | None]
"""What a step makes of a state, given who is known to be erased; the state may be changed in place."""


def brings_news(event: IdentityEvent, state: DeviceState | None, erased: Mapping[str, EventTime]) -> bool:
    """Whether the directory is asked about an event that tells identifiers."""
    if event.found is not None or state is None or event.at < state.linked_at:
        return True
    links = state.links
    return any((owner := links.get(identifier_name(identifier))) is None or owner in erased for identifier in event.identifiers or ())


_WHATEVER = Expected(None)


class _Device(msgspec.Struct):
    """`state` is as the answers heard so far leave it. What is expected of those to come: that it has told `names`, the last at
    `linked_at`, and first happened at `first_seen`. `left_out` and `erased_at` are what the last answer about a name said.
    `tells_until` is the place of its last event that tells anything."""

    state: DeviceState | None
    tells_until: int = -1
    left_out: frozenset[str] = frozenset()
    erased_at: EventTime = 0
    names: frozenset[str] = frozenset()
    linked_at: EventTime = 0
    first_seen: EventTime | None = None
    asked: bool = False

    def expect_nothing(self) -> None:
        self.names, self.linked_at, self.first_seen, self.asked = frozenset(), 0, None, False

    def happens(self, at: EventTime) -> None:
        if (self.first_seen is None or at < self.first_seen) and (self.state is None or at > erased_at(self.state)):
            self.first_seen = at

    def is_told_news(self, event: IdentityEvent, erased: Mapping[str, EventTime]) -> bool:
        """As `brings_news`, of the state that is expected by then."""
        if not self.asked:
            return brings_news(event, self.state, erased)
        if event.found is not None or event.at < max(self.linked_at, self.state.linked_at if self.state else 0):
            return True
        links = self.state.links if self.state else {}
        names = {identifier_name(identifier) for identifier in event.identifiers or ()} - self.names
        return any((owner := links.get(name)) is None or owner in erased for name in names)

    def expect(self, event: IdentityEvent) -> Expected:
        names = {identifier_name(identifier) for identifier in event.identifiers or ()}
        nothing_known = not self.names and not (self.state and self.state.links.keys() - {""})
        self.asked = True
        if self.erased_at and nothing_known:
            return Expected(frozenset(names), self.erased_at)
        self.names |= names - self.left_out
        self.linked_at = max(self.linked_at, event.at)
        return Expected(frozenset(names & self.left_out))

    def learn(self, event: IdentityEvent, linked: Linked) -> None:
        identifiers = event.identifiers or []
        self.left_out -= {identifier_name(identifier) for identifier in identifiers}
        self.left_out |= left_out(identifiers, linked)
        self.erased_at = linked.erased_at


class Question(msgspec.Struct):
    place: int
    event: IdentityEvent
    request: LinkRequest


_Moment: TypeAlias = tuple[IdentityEvent, _Device | None]
"""An event and its device; a correction is no device's."""


class Questions:
    """Of any number of batches, in order. `erased` are the customers who are known to be; `follow` says what becomes of a state."""

    def __init__(self, erased: Mapping[str, EventTime], follow: Follow) -> None:
        self._erased, self._follow = erased, follow
        self._moments: list[_Moment] = []
        self._devices: list[_Device] = []
        self._at = self._end = 0

    def __bool__(self) -> bool:
        """Whether any may be left."""
        return self._at < len(self._moments)

    def add(self, batch: Looked, *, corrected: bool) -> None:
        """`corrected`: there may be corrections in it, after which each event that tells an identifier may bring something new."""
        events: list[IdentityEvent] = [event for _, _, event in batch.events if event.identifiers]
        if not events and not corrected:
            return
        states = {device: batch.state_of(device) for device in {event.device_id for event in events}}
        asking = [event for event in events if corrected or brings_news(event, states[event.device_id], self._erased)]
        if asking or corrected:
            self._place(batch, {event.device_id: _Device(states[event.device_id]) for event in asking})

    def _place(self, batch: Looked, devices: dict[str, _Device]) -> None:
        self._devices += devices.values()
        for _, _, event in batch.events:
            device = devices.get(event.device_id)
            if device is not None:
                if event.identifiers:
                    device.tells_until = len(self._moments)
                self._moments.append((event, device))
            elif event.__class__ is CorrectionEvent:
                self._moments.append((event, None))

    def take_correction(self) -> CorrectionEvent | None:
        """The one that is next, if it is one."""
        event = self._moments[self._at][0]
        if not isinstance(event, CorrectionEvent):
            return None
        self._at += 1
        return event

    def hear_erased(self, customers: Iterable[str], at: EventTime) -> None:
        """By a correction, or by an event from before one."""
        self._erased = {**self._erased, **dict.fromkeys(customers, at)}

    def next(self) -> list[Question]:
        """Those up to the next correction, in order; `hear` is then to be told the answers."""
        asked: list[Question] = []
        self._end = self._at
        for event, device in self._moments[self._at :] if self._at else self._moments:
            if device is None or (event.__class__ is not IdentityEvent and self._end > self._at):
                break
            self._end += 1
            if event.__class__ is not IdentityEvent:
                break
            device.happens(event.at)
            if event.identifiers and device.is_told_news(event, self._erased):
                asked.append(Question(self._end - 1, event, _request(event, device, self._end - 1)))
        return asked

    def hear(self, asked: Sequence[Question], answers: Sequence[Linked]) -> None:
        """The first answers; each is its event's `linked` already."""
        start, self._at = self._at, self._end
        if answers and not is_expected(asked[len(answers) - 1].request, answers[-1]):
            self._at = asked[len(answers) - 1].place + 1
        if not self:
            return
        for event, device in self._moments[start : self._at]:
            if device is not None:
                device.state = self._follow(_copy(device.state), event, self._erased)
        for question, linked in zip(asked, answers, strict=False):
            device = self._moments[question.place][1]
            if device is not None:
                device.learn(question.event, linked)
            if linked.erased_at:
                self.hear_erased((linked.customer_id, *(merge.loser for merge in linked.merges)), linked.erased_at)
        for each in self._devices:
            each.expect_nothing()


def _copy(state: DeviceState | None) -> DeviceState | None:
    return None if state is None else replace(state, links=dict(state.links))


def _request(event: IdentityEvent, device: _Device, place: int) -> LinkRequest:
    found, state = event.found or Found(), device.state
    first_seen = event.at if device.first_seen is None else min(event.at, device.first_seen)
    expected = device.expect(event) if place < device.tells_until else _WHATEVER
    return LinkRequest(
        event.event_id,
        event.at,
        event.device_id,
        state.customer_id if state else anonymous_customer(event.device_id),
        min(state.first_seen, first_seen) if state else first_seen,
        event.identifiers or [],
        found.addresses,
        found.consent,
        found.timezone,
        found.locale,
        expected,
    )
