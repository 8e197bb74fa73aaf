"""Identity as the runtime runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

import msgspec

from cartstream.events import topics
from cartstream.events.formats.native import Translate
from cartstream.events.times import DAY, EventTime
from cartstream.identity.audit import corrected_customer, refused_links
from cartstream.identity.contacts import Found
from cartstream.identity.directory import Directory
from cartstream.identity.nodes import LinkRequest, identifier_name
from cartstream.identity.reading import Reader
from cartstream.identity.settings import IdentitySettings
from cartstream.identity.state import DeviceState, anonymous_customer
from cartstream.identity.step import CorrectionEvent, IdentityEvent, step
from cartstream.runtime.clock import Clock
from cartstream.runtime.stage import Looked, Output, Record, Step
from cartstream.runtime.vault import AddressHash

_CUSTOMERS_KEPT = 200_000


_Question = tuple[IdentityEvent, LinkRequest | None]
"""None: a correction."""
_New = dict[int, tuple[str, DeviceState | None]]
"""By the id of the object: its device, and the state that it meets."""


class IdentityStage:
    """Reads the clickstream, writes it again keyed by customer. `clock` and `translate` are the reader's (see `reading.Reader`)."""

    name = "identity"
    source = topics.CLICKSTREAM
    sinks: tuple[str, ...] = (topics.IDENTIFIED,)

    def __init__(self, settings: IdentitySettings, directory: Directory, clock: Clock | None, translate: Translate | None = None) -> None:
        self.lateness_ms = settings.lateness_ms
        self._directory = directory
        self._refresh_after = settings.state_ttl_days * DAY // 2
        self._hash = AddressHash(settings.hash_key.get_secret_value())
        self._reader = Reader(settings, directory.rules, self._hash, clock, translate)
        self._largest = 0
        self._survivors: dict[str, str] = {}
        self._erased: dict[str, EventTime] = {}
        self._loaded: list[DeviceState] = []
        self._sound: set[str] = set()
        """Customers asked about once: whatever happens to them later is in the news."""
        # Called for every record: C code, not methods, and the reader's own.
        self.decode: Callable[[Record], IdentityEvent] = self._reader.read
        self.take_repairs: Callable[[], dict[str, int]] = self._reader.take_repairs
        self.key_of: Callable[[IdentityEvent], str] = attrgetter("device_id")
        self.time_of: Callable[[IdentityEvent], EventTime] = attrgetter("at")
        self._decode_state = msgspec.msgpack.Decoder(DeviceState).decode
        self.encode_state = msgspec.msgpack.Encoder().encode

    def decode_state(self, raw: bytes) -> DeviceState:
        state = self._decode_state(raw)
        if state.links:
            self._loaded.append(state)
        return state

    def prepare(self, batches: Sequence[Looked]) -> None:
        """Ask the directory about events that bring something new, and hear of merges made elsewhere."""
        self._hear(self._directory.news())
        if self._loaded:
            owners = {owner for state in self._loaded for owner in (state.customer_id, *state.links.values())} - self._sound
            self._loaded = []
            if owners:
                self._hear(self._directory.roots(sorted(owners)))
                if len(self._sound) > _CUSTOMERS_KEPT:
                    self._sound.clear()
                self._sound |= owners
        corrections = self._reader.take_corrections()
        asked: list[_Question] = []
        for batch in batches:
            asked += self._corrected_questions(batch) if corrections else self._usual_questions(batch)
        self._ask(asked)

    def _ask(self, asked: list[_Question]) -> None:
        """In order, corrections between the others."""
        requests: list[tuple[IdentityEvent, LinkRequest]] = []
        for event, request in asked:
            if request is not None:
                requests.append((event, request))
            elif isinstance(event, CorrectionEvent) and event.correction is not None:
                self._link(requests)
                requests = []
                event.corrected = self._directory.correct(event.correction)
                event.told = [corrected_customer(event.correction, event.corrected, self._hash)]
        self._link(requests)

    def _link(self, asked: list[tuple[IdentityEvent, LinkRequest]]) -> None:
        if asked:
            for (event, _), linked in zip(asked, self._directory.link([request for _, request in asked]), strict=True):
                event.linked = linked
                self._largest = max(self._largest, linked.size)
                if linked.refused:
                    event.refused = refused_links(linked, event.event_id, event.at, self._hash)

    def _new(self, batch: Looked) -> _New:
        """The events of a batch that bring something new."""
        events: list[IdentityEvent] = [event for _, _, event in batch.events if event.identifiers]
        if not events:
            return {}
        states: dict[str, DeviceState | None] = {device: batch.state_of(device) for device in {event.device_id for event in events}}
        return {id(event): (event.device_id, states[event.device_id]) for event in events if self._is_new(event, states[event.device_id])}

    def _usual_questions(self, batch: Looked) -> list[_Question]:
        new = self._new(batch)
        return self._questions(batch, new) if new else []

    def _corrected_questions(self, batch: Looked) -> list[_Question]:
        """After a correction each event that tells an identifier is asked about: what the states say of it may be true no more."""
        new, anew = self._new(batch), False
        for _, _, event in batch.events:
            anew |= event.__class__ is CorrectionEvent
            if anew and event.identifiers:
                new[id(event)] = (event.device_id, batch.state_of(event.device_id))
        return self._questions(batch, new) if new or anew else []

    def _questions(self, batch: Looked, new: _New) -> list[_Question]:
        asking = {device for device, _ in new.values()}
        first_seen: dict[str, EventTime] = {}
        told: set[tuple[str, str]] = set()
        linked_at: dict[str, EventTime] = {}
        found: list[_Question] = []
        for _, _, event in batch.events:
            device = event.device_id
            if device in asking:
                first_seen[device] = min(event.at, first_seen.get(device, event.at))
                if id(event) in new and not (event.at >= linked_at.get(device, event.at) and _tells_no_more(event, told)):
                    _, state = new[id(event)]
                    found.append((event, self._request(event, state, first_seen[device])))
                    linked_at[device] = max(event.at, linked_at.get(device, state.linked_at if state else 0))
                    told.add((device, event.user or ""))
            elif event.__class__ is CorrectionEvent:
                found.append((event, None))
                told.clear()
        return found

    def forget(self) -> None:
        self._survivors.clear()
        self._loaded.clear()
        self._sound.clear()
        self._erased.clear()
        self._reader.take_corrections()
        self._directory.forget()

    def largest(self) -> dict[str, int]:
        """Of the customers that this process linked: the most identifiers and devices of one."""
        return {"customer": self._largest}

    def step(self, state: DeviceState | None, event: IdentityEvent, watermark: EventTime) -> Step[DeviceState] | Output:
        return step(state, event, self._survivors, self._refresh_after, self._erased)

    def wake(self, state: DeviceState, watermark: EventTime) -> Step[DeviceState]:
        return Step(state, changed=False)

    def _is_new(self, event: IdentityEvent, state: DeviceState | None) -> bool:
        if event.found is not None or state is None or event.at < state.linked_at:
            return True
        links, erased = state.links, self._erased
        return any((owner := links.get(identifier_name(identifier))) is None or owner in erased for identifier in event.identifiers or ())

    def _request(self, event: IdentityEvent, state: DeviceState | None, first_seen: EventTime) -> LinkRequest:
        found = event.found or Found()
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
        )

    def _hear(self, merges: dict[str, str]) -> None:
        if merges:
            self._survivors |= merges
            self._erased |= self._directory.take_erased()
            for loser in self._survivors:
                last, survivor = loser, self._survivors[loser]
                while survivor in self._survivors:
                    last, survivor = survivor, self._survivors[survivor]
                self._survivors[loser] = survivor
                if last in self._erased:
                    self._erased[loser] = self._erased[last]


def _tells_no_more(event: IdentityEvent, told: set[tuple[str, str]]) -> bool:
    """Whether all that this event tells is the login on its device that one before it in the batch has told."""
    return event.user is not None and event.found is None and len(event.identifiers or ()) == 1 and (event.device_id, event.user) in told
