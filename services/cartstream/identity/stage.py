"""Identity as the runtime runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec
import orjson

from cartstream.errors import Refused
from cartstream.events import clicks, topics
from cartstream.events.clicks import MAX_BYTES, MAX_ID
from cartstream.events.formats import segment
from cartstream.events.formats.native import Incoming, Translate
from cartstream.events.records import Identifier
from cartstream.events.times import DAY, SECOND, EventTime, from_datetime
from cartstream.identity.audit import corrected_customer, refused_links
from cartstream.identity.contacts import Found, Redactor, may_hold_address
from cartstream.identity.correction import is_correction, is_signed, read_correction
from cartstream.identity.directory import Directory
from cartstream.identity.nodes import LinkRequest, identifier_name
from cartstream.identity.settings import IdentitySettings
from cartstream.identity.state import DeviceState, anonymous_customer
from cartstream.identity.step import CorrectionEvent, DeviceNotice, IdentityEvent, step
from cartstream.runtime.clock import Clock
from cartstream.runtime.stage import Looked, Output, Record, Several, Step
from cartstream.runtime.vault import AddressHash

_CUSTOMERS_KEPT = 200_000
_ANONYMOUS = clicks.TYPES - {"alias"}


_Question = tuple[IdentityEvent, LinkRequest | None]
"""None: a correction."""
_New = dict[int, tuple[str, DeviceState | None]]
"""By the id of the object: its device, and the state that it meets."""


class _Device(msgspec.Struct, gc=False):
    token: msgspec.Raw | None = None


class _Context(msgspec.Struct, gc=False):
    traits: msgspec.Raw | None = None
    consent: msgspec.Raw | None = None
    device: _Device | None = None


class _Envelope(msgspec.Struct, gc=False, rename="camel"):
    type: str
    anonymous_id: str | None = None
    user_id: str | None = None
    previous_id: str | None = None
    message_id: str | None = None
    timestamp: clicks.Moment | None = None
    traits: msgspec.Raw | None = None
    context: _Context | None = None


class _Odd(_Envelope, rename="camel"):
    """An envelope whose traits or context have a shape of their own: looked through like one that tells of somebody."""

    traits: Any = None
    context: Any = None


_decode_usual = msgspec.json.Decoder(_Envelope, strict=False).decode
_decode_odd = msgspec.json.Decoder(_Odd, strict=False).decode


def _tells_of_somebody(envelope: _Envelope) -> bool:
    context = envelope.context
    if envelope.traits is not None or not (context is None or isinstance(context, _Context)):
        return True
    if context is None:
        return False
    return context.traits is not None or context.consent is not None or (context.device is not None and context.device.token is not None)


def _decode(raw: bytes) -> _Envelope:
    try:
        return _decode_usual(raw)
    except msgspec.ValidationError:
        return _decode_odd(raw)


def _in_sum(refusals: list[Refused], count: int) -> Refused | None:
    """Of a record with `count` events; None when none is refused."""
    if not refusals:
        return None
    return Refused(refusals[0].reason, f"{len(refusals)} of {count} events, the first of them: {refusals[0].detail}")


class IdentityStage:
    """Reads the clickstream, writes it again keyed by customer.

    `clock` bounds the event times that are believed; without one (replay) only the plainly absurd is refused. `translate` is for a
    clickstream in another format than the native one.
    """

    name = "identity"
    source = topics.CLICKSTREAM
    sinks: tuple[str, ...] = (topics.IDENTIFIED,)

    def __init__(self, settings: IdentitySettings, directory: Directory, clock: Clock | None, translate: Translate | None = None) -> None:
        self.lateness_ms = settings.lateness_ms
        self._directory = directory
        self._rules = directory.rules
        self._seems_usable = self._rules.values.usable
        self._clock = clock
        self._future, self._past = settings.future_limit_s * SECOND, settings.past_limit_days * DAY
        self._refresh_after = settings.state_ttl_days * DAY // 2
        self._hash = AddressHash(settings.hash_key.get_secret_value())
        self._redactor = Redactor(self._hash, settings.consent_categories, self._rules.values.blocked)
        self._largest = 0
        self._survivors: dict[str, str] = {}
        self._loaded: list[DeviceState] = []
        self._sound: set[str] = set()
        """Customers asked about once: whatever happens to them later is in the news."""
        self._believable = (0, 0) if clock is not None else (clicks.EARLIEST, clicks.LATEST)
        self.decode: Callable[[Record], IdentityEvent] = self._decode_native if translate is None else self._decode_foreign
        self._translate: Translate = translate or segment.translate
        self._repairs: dict[str, int] = {}
        self._erased: dict[str, EventTime] = {}
        self._corrections: list[CorrectionEvent] = []
        """Decoded, and not yet applied."""
        # Called for every record: C code, not methods.
        self.key_of: Callable[[IdentityEvent], str] = attrgetter("device_id")
        self.time_of: Callable[[IdentityEvent], EventTime] = attrgetter("at")
        self._decode_state = msgspec.msgpack.Decoder(DeviceState).decode
        self.encode_state = msgspec.msgpack.Encoder().encode

    def decode_state(self, raw: bytes) -> DeviceState:
        state = self._decode_state(raw)
        if state.links:
            self._loaded.append(state)
        return state

    def _decode_native(self, record: Record) -> IdentityEvent:
        raw = record.value
        try:
            envelope = _decode_usual(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._decode_or_mend(record)  # says what is wrong, or finds that it can be used
        moment, device = envelope.timestamp, envelope.anonymous_id
        if (
            envelope.user_id is None
            and device is not None
            and self._seems_usable(device)
            and envelope.type in _ANONYMOUS
            and envelope.message_id
            and moment.__class__ is datetime
            and not (len(raw) > MAX_BYTES or _tells_of_somebody(envelope) or may_hold_address(raw))
        ):
            at = from_datetime(moment)
            earliest, latest = self._believable
            if earliest <= at <= latest:
                return IdentityEvent(device, envelope.message_id, at, raw)
        return self._decode_or_mend(record)

    def _decode_or_mend(self, record: Record) -> IdentityEvent:
        """A native event that is not like most: as it is if it can be used so, else mended, or taken out of its batch."""
        try:
            return self._decode_at_length(record.value)
        except Refused as refused:
            if is_correction(record.value):
                raise self._correction(record.value) from None
            if refused.reason in segment.MENDS:
                with suppress(Refused):  # then the first word counts
                    return self._decode_translated(record)
            raise

    def _decode_foreign(self, record: Record) -> IdentityEvent:
        try:
            return self._decode_translated(record)
        except Refused:
            if is_correction(record.value):
                raise self._correction(record.value) from None
            raise

    def _correction(self, raw: bytes) -> Several:
        """It, and a notice for each device that it names. Raises Refused."""
        correction = read_correction(raw)
        if not is_signed(correction, self._hash):
            raise Refused("unsigned", "a correction of identity that is not signed with CARTSTREAM_HASH_KEY")
        at, forward = correction.at, b""
        if at > self._believable[1]:
            self._believe(at)
        event = CorrectionEvent(
            f"correction:{correction.message_id}", correction.message_id, at, forward, identifiers=[], correction=correction
        )
        self._corrections.append(event)
        notices = [DeviceNotice(device, correction.message_id, at, forward, identifiers=[], of=event) for device in correction.devices]
        return Several([event, *notices])

    def _decode_translated(self, record: Record) -> IdentityEvent:
        """The record's one event. Raises Several, Refused, Unavailable."""
        events: list[IdentityEvent] = []
        refusals: list[Refused] = []
        pieces = self._translate(Incoming(record.value, record.key, record.headers, record.timestamp))
        for piece in pieces:
            try:
                if isinstance(piece, Refused):
                    raise piece
                events.append(self._decode_at_length(piece.value))
            except Refused as refused:
                refusals.append(refused)
            else:
                for reason in piece.repairs:
                    self._repairs[reason] = self._repairs.get(reason, 0) + 1
        if len(pieces) > 1:
            raise Several(events, _in_sum(refusals, len(pieces)))
        if refusals:
            raise refusals[0]
        return events[0]

    def take_repairs(self) -> dict[str, int]:
        taken, self._repairs = self._repairs, {}
        return taken

    def _decode_at_length(self, raw: bytes) -> IdentityEvent:
        if len(raw) > MAX_BYTES:
            raise Refused("too_large", f"{len(raw)} bytes, at most {MAX_BYTES}")
        raw, envelope, found = self._open(raw)
        if envelope.type not in clicks.TYPES:
            raise Refused("unknown_type", "type is none of track, page, screen, identify, alias, group")
        at = clicks.time_of(envelope.timestamp, raw)
        earliest, latest = self._believable
        if not earliest <= at <= latest:
            self._believe(at)
        device, user = envelope.anonymous_id, envelope.user_id
        if user is not None:
            user = self._usable(user)
        if device is None or not self._seems_usable(device) or envelope.type == "alias":
            device = self._device(envelope, user)
        event = IdentityEvent(device, envelope.message_id or clicks.message_id_of(None, raw), at, raw)
        if user is not None or found is not None:
            self._identify(event, user, found)
        return event

    def _open(self, raw: bytes) -> tuple[bytes, _Envelope, Found | None]:
        """The event without addresses, its envelope, and the addresses. Raises Refused."""
        found = None
        try:
            envelope = _decode(raw)
            if may_hold_address(raw) or _tells_of_somebody(envelope):
                raw, found = self._redactor.redact(raw)
                envelope = _decode(raw)
        except msgspec.ValidationError as error:
            raise Refused("wrong_schema", "an envelope field has the wrong kind: see the Segment spec") from error
        except (msgspec.DecodeError, orjson.JSONDecodeError, UnicodeDecodeError) as error:
            raise Refused("unparseable", "not JSON in UTF-8") from error
        except RecursionError as error:
            raise Refused("unparseable", "nested too deeply") from error
        if len(raw) > MAX_BYTES:
            raise Refused("too_large", f"{len(raw)} bytes with hashes in place of addresses, at most {MAX_BYTES}")
        return raw, envelope, found

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
        corrections, self._corrections = self._corrections, []
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
        self._corrections.clear()
        self._directory.forget()

    def largest(self) -> dict[str, int]:
        """Of the customers that this process linked: the most identifiers and devices of one."""
        return {"customer": self._largest}

    def step(self, state: DeviceState | None, event: IdentityEvent, watermark: EventTime) -> Step[DeviceState] | Output:
        return step(state, event, self._survivors, self._refresh_after, self._erased)

    def wake(self, state: DeviceState, watermark: EventTime) -> Step[DeviceState]:
        return Step(state, changed=False)

    def _believe(self, at: EventTime) -> None:
        """Raises Refused. What lies in the range just worked out needs no look at the clock: time only goes on."""
        if self._clock is None:
            return
        now = self._clock.now()
        self._believable = (now - self._past + DAY, now + self._future)
        if at > now + self._future:
            raise Refused("future", "the event time lies too far ahead of the clock")
        if at < now - self._past:
            raise Refused("before_retention", "the event time lies further back than any state is kept")

    def _usable(self, value: str | None) -> str | None:
        """The value if it can name somebody. Raises Refused when it is too long to be an id."""
        if value is None or self._seems_usable(value):
            return value
        if len(value) > MAX_ID:
            raise Refused("missing_id", f"an id of {len(value)} characters, at most {MAX_ID}")
        return None if self._rules.values.blocked(value) else value

    def _device(self, envelope: _Envelope, user: str | None) -> str:
        if envelope.type == "alias":
            previous = self._usable(envelope.previous_id)
            if previous is not None and previous != user:
                return previous
        return clicks.device_of(self._usable(envelope.anonymous_id), user)

    def _identify(self, event: IdentityEvent, user: str | None, found: Found | None) -> None:
        identifiers = [Identifier("user_id", user)] if user is not None else []
        if found is not None:
            identifiers += [Identifier(kind, value) for kind, value in found.hashes.items()]
            if found.loyalty_id and not self._rules.values.blocked(found.loyalty_id):
                identifiers.append(Identifier("loyalty_id", found.loyalty_id))
            if found.addresses or found.consent or found.timezone or found.locale:
                event.found = found
        event.identifiers = identifiers
        event.user = identifier_name(identifiers[0]) if user is not None else None

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
