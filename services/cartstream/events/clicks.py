"""The clickstream's native form: Segment-spec JSON, decoded to only the fields that a service uses.

Source: Segment Spec v2 (common fields, e-commerce events). A field of the wrong kind inside `properties` is repaired or dropped and
the event kept (see `properties`); what cannot be kept raises Refused with one of the reasons of `REASONS`.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import IntEnum
from math import isfinite
from typing import Any, TypeAlias

import msgspec

from cartstream.errors import Refused
from cartstream.events.properties import usable
from cartstream.events.times import EventTime, from_datetime, parse_iso

REASONS = (
    "too_large",
    "unparseable",
    "wrong_schema",
    "unknown_type",
    "missing_id",
    "missing_time",
    "future",
    "before_retention",
)

MAX_BYTES = 1_000_000
MAX_ID = 256
EARLIEST, LATEST = parse_iso("2000-01-01T00:00:00Z"), parse_iso("2100-01-01T00:00:00Z")

TYPES = frozenset({"track", "page", "screen", "identify", "alias", "group"})


Moment: TypeAlias = datetime | int | float


class Product(msgspec.Struct, gc=False):
    """One product of an event. Missing quantity is 1."""

    product_id: str | None = None
    sku: str | None = None
    quantity: int | None = None
    price: float | None = None
    name: str | None = None


class Properties(Product, gc=False):
    """The e-commerce properties that sessions read; of the event itself when it names one product."""

    currency: str | None = None
    products: list[Product] | None = None
    order_id: str | None = None
    total: float | None = None
    value: float | None = None
    revenue: float | None = None
    trigger: str | None = None
    dwell_ms: int | None = None
    scroll_pct: float | None = None
    query: str | None = None


class Action(IntEnum):
    """What an event means to sessions and carts. SILENT: no sign that the shopper is there."""

    SILENT = -1
    OTHER = 0
    PAGE = 1
    VIEW = 2
    ADD = 3
    REMOVE = 4
    CART = 5
    CHECKOUT = 6
    ORDER = 7
    EXIT = 8
    SEARCH = 9


_NAMES = {
    "Product Viewed": Action.VIEW,
    "Product Added": Action.ADD,
    "Product Removed": Action.REMOVE,
    "Cart Viewed": Action.CART,
    "Checkout Started": Action.CHECKOUT,
    "Checkout Step Viewed": Action.CHECKOUT,
    "Checkout Step Completed": Action.CHECKOUT,
    "Payment Info Entered": Action.CHECKOUT,
    "Order Completed": Action.ORDER,
    "Exit Intent": Action.EXIT,
    "Products Searched": Action.SEARCH,
    "Order Updated": Action.SILENT,
    "Order Refunded": Action.SILENT,
    "Order Cancelled": Action.SILENT,
    "Order Canceled": Action.SILENT,
    "Email Delivered": Action.SILENT,
    "Email Opened": Action.SILENT,
    "Email Link Clicked": Action.SILENT,
    "Email Bounced": Action.SILENT,
    "Email Marked as Spam": Action.SILENT,
    "Unsubscribed": Action.SILENT,
}
ACTIONS = _NAMES | {name.lower().replace(" ", "_"): action for name, action in _NAMES.items()}


class Click(msgspec.Struct, gc=False, rename="camel"):
    """An event as sessions see it."""

    type: str
    anonymous_id: str | None = None
    user_id: str | None = None
    message_id: str | None = None
    timestamp: Moment | None = None
    event: str | None = None
    properties: Properties | None = None


class RepairedClick(Click, gc=False, rename="camel"):
    """An event that is not as the sender meant it. `repairs`: why, of `properties.PROPERTY_REPAIRS`."""

    repairs: tuple[str, ...] = ()


class _Envelope(msgspec.Struct, rename="camel"):
    """The rest of the common fields, for the rare event that needs them."""

    type: str
    anonymous_id: str | None = None
    user_id: str | None = None
    message_id: str | None = None
    timestamp: Moment | None = None
    original_timestamp: Moment | None = None
    sent_at: Moment | None = None
    received_at: Moment | None = None
    event: str | None = None
    properties: Any = None


_decode_click = msgspec.json.Decoder(Click, strict=False).decode
_decode_envelope = msgspec.json.Decoder(_Envelope, strict=False).decode


def decode_click(raw: bytes) -> Click:
    """An event of the identified clickstream; a `RepairedClick` if something of it had to be mended or left out. Raises Refused."""
    try:
        return _decode_click(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _repaired(raw, error)
    except RecursionError as error:
        raise Refused("unparseable", "nested too deeply") from error


def _repaired(raw: bytes, error: Exception) -> Click:
    if not isinstance(error, msgspec.ValidationError):
        raise Refused("unparseable", "not JSON in UTF-8") from error
    try:
        envelope = _decode_envelope(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as again:
        raise Refused("wrong_schema", _path_only(again)) from again
    except RecursionError as again:
        raise Refused("unparseable", "nested too deeply") from again
    repairs: list[str] = []
    properties = usable(Properties, Product, envelope.properties, repairs) if envelope.properties is not None else None
    return RepairedClick(
        type=envelope.type,
        anonymous_id=envelope.anonymous_id,
        user_id=envelope.user_id,
        message_id=envelope.message_id,
        timestamp=envelope.timestamp,
        event=envelope.event,
        properties=properties,
        repairs=tuple(sorted(set(repairs))),
    )


def _path_only(error: Exception) -> str:
    """Where it went wrong, without the value: messages must not carry content."""
    return str(error).rpartition(" - at ")[2].strip("`") or "envelope"


def time_of(value: Moment | None, raw: bytes) -> EventTime:
    """Event time: `timestamp`, else what the other three say of it. Numbers are epoch ms. Raises Refused, also for a time that no
    clock could have shown."""
    if value is None:
        at = _spare_time(raw)
    elif isinstance(value, datetime):
        at = from_datetime(value)
    else:
        at = _number(value)
    if not EARLIEST <= at <= LATEST:
        raise Refused("future" if at > LATEST else "before_retention", "the event time is absurd")
    return at


def _spare_time(raw: bytes) -> EventTime:
    """Segment's own rule, receivedAt − (sentAt − originalTimestamp), which sets a wrong clock right, unless it sent before it happened;
    else the first that is there."""
    try:
        spare = _decode_envelope(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("wrong_schema", _path_only(error)) from error
    moments = [moment for moment in (spare.original_timestamp, spare.sent_at, spare.received_at) if moment is not None]
    given = [from_datetime(moment) if isinstance(moment, datetime) else _number(moment) for moment in moments]
    if not given:
        raise Refused("missing_time", "none of timestamp, originalTimestamp, sentAt, receivedAt")
    if len(given) < 3:
        return given[0]
    original, sent, received = given
    return received - (sent - original) if sent >= original else original


def _number(value: int | float) -> EventTime:
    if isinstance(value, float) and not isfinite(value):
        raise Refused("wrong_schema", "the event time is no number")
    return int(value)


def message_id_of(given: str | None, raw: bytes) -> str:
    """The de-duplication key: `messageId`, else (or when that is longer than an id may be) a digest of the bytes."""
    return given if given and len(given) <= MAX_ID else hashlib.blake2b(raw, digest_size=16).hexdigest()


def device_of(anonymous_id: str | None, user_id: str | None) -> str:
    """The device; events from a server without one get one of the user's own. Raises Refused."""
    if anonymous_id:
        return anonymous_id
    if user_id:
        return f"user:{user_id}"
    raise Refused("missing_id", "neither anonymousId nor userId")
