"""Identity as the runtime runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

import msgspec

from cartstream.events import topics
from cartstream.events.formats.native import Translate
from cartstream.events.times import DAY, EventTime
from cartstream.identity.audit import corrected_customer, refused_links
from cartstream.identity.correction import Erase
from cartstream.identity.directory import Directory
from cartstream.identity.nodes import Linked
from cartstream.identity.questions import Question, Questions
from cartstream.identity.reading import Reader
from cartstream.identity.settings import IdentitySettings
from cartstream.identity.state import DeviceState
from cartstream.identity.step import CorrectionEvent, IdentityEvent, step
from cartstream.runtime.clock import Clock
from cartstream.runtime.stage import Looked, Output, Record, Step
from cartstream.runtime.vault import AddressHash

_CUSTOMERS_KEPT = 200_000


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
        corrected = bool(self._reader.take_corrections())
        questions = Questions(self._erased, self._follow)
        for batch in batches:
            questions.add(batch, corrected=corrected)
        while questions:
            event = questions.take_correction()
            if event is None:
                asked = questions.next()
                questions.hear(asked, self._link(asked))
            else:
                self._correct(event, questions)

    def _correct(self, event: CorrectionEvent, questions: Questions) -> None:
        if (correction := event.correction) is not None:
            event.corrected = self._directory.correct(correction)
            event.told = [corrected_customer(correction, event.corrected, self._hash)]
            if isinstance(correction, Erase):
                questions.hear_erased(event.corrected.customers, event.corrected.at)

    def _link(self, asked: Sequence[Question]) -> list[Linked]:
        """The answers to the first of them, at least to one."""
        answers = self._directory.link([question.request for question in asked]) if asked else []
        for question, linked in zip(asked, answers, strict=False):
            event = question.event
            event.linked = linked
            self._largest = max(self._largest, linked.size)
            event.refused = refused_links(linked, event.event_id, event.at, self._hash) if linked.refused else None
        return answers

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

    def _follow(self, state: DeviceState | None, event: IdentityEvent, erased: Mapping[str, EventTime]) -> DeviceState | None:
        done = step(state, event, self._survivors, self._refresh_after, erased)
        return state if isinstance(done, Output) else done.state

    def wake(self, state: DeviceState, watermark: EventTime) -> Step[DeviceState]:
        return Step(state, changed=False)

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
