"""Records of the clickstream as identity understands them: who, when, what to pass on, and nothing of an address."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
import orjson

from cartstream.errors import Refused
from cartstream.events import clicks
from cartstream.events.clicks import MAX_BYTES, MAX_ID
from cartstream.events.formats import segment
from cartstream.events.formats.native import Incoming, Translate
from cartstream.events.records import Identifier
from cartstream.events.times import DAY, SECOND, EventTime, from_datetime
from cartstream.identity.contacts import Found, Redactor, may_hold_address
from cartstream.identity.correction import is_correction, is_signed, read_correction
from cartstream.identity.nodes import identifier_name
from cartstream.identity.rules import Rules
from cartstream.identity.settings import IdentitySettings
from cartstream.identity.step import CorrectionEvent, DeviceNotice, IdentityEvent
from cartstream.runtime.clock import Clock
from cartstream.runtime.stage import Record, Several
from cartstream.runtime.vault import AddressHash

_ANONYMOUS = clicks.TYPES - {"alias"}


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


class Reader:
    """`clock` bounds the event times that are believed; without one (replay) only the plainly absurd is refused. `translate` is for a
    clickstream in another format than the native one. `read` gives a record's one event; it raises Several, Refused, Unavailable."""

    def __init__(
        self, settings: IdentitySettings, rules: Rules, hash: AddressHash, clock: Clock | None, translate: Translate | None
    ) -> None:
        self._values = rules.values
        self._seems_usable = rules.values.usable
        self._clock = clock
        self._future, self._past = settings.future_limit_s * SECOND, settings.past_limit_days * DAY
        self._believable = (0, 0) if clock is not None else (clicks.EARLIEST, clicks.LATEST)
        self._hash = hash
        self._redactor = Redactor(hash, settings.consent_categories, rules.values.blocked)
        self._translate: Translate = translate or segment.translate
        self._repairs: dict[str, int] = {}
        self._corrections: list[CorrectionEvent] = []
        self.read: Callable[[Record], IdentityEvent] = self._native if translate is None else self._foreign

    def take_repairs(self) -> dict[str, int]:
        """How often what was mended since the last call."""
        taken, self._repairs = self._repairs, {}
        return taken

    def take_corrections(self) -> list[CorrectionEvent]:
        """Those read since the last call."""
        taken, self._corrections = self._corrections, []
        return taken

    def _native(self, record: Record) -> IdentityEvent:
        raw = record.value
        try:
            envelope = _decode_usual(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._as_it_is_or_mended(record)  # says what is wrong, or finds that it can be used
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
        return self._as_it_is_or_mended(record)

    def _as_it_is_or_mended(self, record: Record) -> IdentityEvent:
        """A native event that is not like most: as it is if it can be used so, else mended, or taken out of its batch."""
        try:
            return self._at_length(record.value)
        except Refused as refused:
            if is_correction(record.value):
                raise self._correction(record.value) from None
            if refused.reason in segment.MENDS:
                with suppress(Refused):  # then the first word counts
                    return self._translated(record)
            raise

    def _foreign(self, record: Record) -> IdentityEvent:
        try:
            return self._translated(record)
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

    def _translated(self, record: Record) -> IdentityEvent:
        """The record's one event. Raises Several, Refused, Unavailable."""
        events: list[IdentityEvent] = []
        refusals: list[Refused] = []
        pieces = self._translate(Incoming(record.value, record.key, record.headers, record.timestamp))
        for piece in pieces:
            try:
                if isinstance(piece, Refused):
                    raise piece
                events.append(self._at_length(piece.value))
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

    def _at_length(self, raw: bytes) -> IdentityEvent:
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
        return None if self._values.blocked(value) else value

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
            if found.loyalty_id and not self._values.blocked(found.loyalty_id):
                identifiers.append(Identifier("loyalty_id", found.loyalty_id))
            if found.addresses or found.consent or found.timezone or found.locale:
                event.found = found
        event.identifiers = identifiers
        event.user = identifier_name(identifiers[0]) if user is not None else None
